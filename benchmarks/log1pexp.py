"""The seed: log1pexp with its own derivative rule, in each library's words.

`function` imports the library, defines the function and its rule; `gradient` returns a function that computes the
derivative at a Python float.
"""

from collections.abc import Callable

from peers import load


def function(peer: str) -> Callable:
    if peer == "PyTorch":
        return torch_function()
    if peer == "autograd":
        return autograd_function()
    return custom_jvp_function(peer)


def gradient(peer: str) -> Callable[[float], object]:
    if peer == "PyTorch":
        return torch_gradient()
    if peer == "autograd":
        import autograd

        return autograd.grad(autograd_function())
    return load(peer).core.grad(custom_jvp_function(peer))


def custom_jvp_function(peer: str) -> Callable:
    library = load(peer)
    np = library.numpy

    @library.core.custom_jvp
    def log1pexp(x):
        return np.log(1.0 + np.exp(x))

    @log1pexp.defjvp
    def log1pexp_jvp(primals, tangents):
        (x,), (x_dot,) = primals, tangents
        return log1pexp(x), (1 - 1 / (1 + np.exp(x))) * x_dot

    return log1pexp


def torch_function() -> Callable:
    import torch

    class Log1pExp(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return torch.log(1.0 + torch.exp(x))

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * (1 - 1 / (1 + torch.exp(x)))

    return Log1pExp.apply


def torch_gradient() -> Callable[[float], object]:
    import torch

    log1pexp = torch_function()

    def grad_log1pexp(x):
        x = torch.tensor(x, requires_grad=True)
        return torch.autograd.grad(log1pexp(x), x)[0]

    return grad_log1pexp


def autograd_function() -> Callable:
    import autograd.numpy as np
    from autograd.extend import defvjp, primitive

    @primitive
    def log1pexp(x):
        return np.log(1.0 + np.exp(x))

    defvjp(log1pexp, lambda ans, x: lambda g: g * (1 - 1 / (1 + np.exp(x))))
    return log1pexp
