"""The seed of the first two figures: grad(log1pexp)(3.) with its own rule, in each library's words.

`gradient` imports the library, defines the function and its rule, and returns a function that computes the
derivative at a Python float.
"""

from collections.abc import Callable

from peers import load


def gradient(peer: str) -> Callable[[float], object]:
    if peer == "PyTorch":
        return torch_gradient()
    if peer == "autograd":
        return autograd_gradient()
    return custom_jvp_gradient(peer)


def custom_jvp_gradient(peer: str) -> Callable[[float], object]:
    library = load(peer)
    np = library.numpy

    @library.core.custom_jvp
    def log1pexp(x):
        return np.log(1.0 + np.exp(x))

    @log1pexp.defjvp
    def log1pexp_jvp(primals, tangents):
        (x,), (x_dot,) = primals, tangents
        return log1pexp(x), (1 - 1 / (1 + np.exp(x))) * x_dot

    return library.core.grad(log1pexp)


def torch_gradient() -> Callable[[float], object]:
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

    def grad_log1pexp(x):
        x = torch.tensor(x, requires_grad=True)
        return torch.autograd.grad(Log1pExp.apply(x), x)[0]

    return grad_log1pexp


def autograd_gradient() -> Callable[[float], object]:
    import autograd
    import autograd.numpy as np
    from autograd.extend import defvjp, primitive

    @primitive
    def log1pexp(x):
        return np.log(1.0 + np.exp(x))

    defvjp(log1pexp, lambda ans, x: lambda g: g * (1 - 1 / (1 + np.exp(x))))
    return autograd.grad(log1pexp)
