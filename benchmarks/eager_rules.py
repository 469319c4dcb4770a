"""Figures: eager derivatives through custom rules beyond the seed's, warm.

A reverse rule (`custom_vjp`) that clips the gradient of a vector of ten; a forward rule (`custom_jvp`) of a function of
a dict of three arrays; a Hessian-vector product of log1pexp at a Python float, by the gradient of the gradient.
PyTorch and HIPS autograd have no counterpart of the second.
"""

import log1pexp
import numpy
from peers import load
from timing import per_call

CLIP = "eager `grad` with a `custom_vjp` rule that clips it, 10 numbers"
TREE = "eager `grad` with a `custom_jvp` rule for a dict of 3 arrays"
HVP = "eager Hessian-vector product of log1pexp, its rule used twice"
GOALS = {}
PEERS = ("pullback", "JAX", "PyTorch", "autograd")
ROUNDS = 7
FRESH = False


def prepare(peer):
    timers = {CLIP: clipped(peer), HVP: second(peer)}
    if peer in ("pullback", "JAX"):
        timers[TREE] = of_tree(peer)
    return lambda: {row: timers[row]() for row in (CLIP, TREE, HVP) if row in timers}


def calls(f, x):
    def run(n):
        for _ in range(n):
            result = f(x)
        return numpy.asarray(result)  # waits, where the library computes behind our back

    return per_call(run)


# --- the gradient of sum(clip_gradient(-1, 1, x)²): 2 x, clipped to [-1, 1] ---


def clipped(peer):
    x = numpy.linspace(-1, 1, 10).astype("float32")
    grad, x_own = {"PyTorch": torch_clipped, "autograd": autograd_clipped}.get(peer, custom_vjp_clipped)(peer, x)
    assert numpy.allclose(numpy.asarray(grad(x_own)), numpy.clip(2 * x, -1, 1))
    return calls(grad, x_own)


def custom_vjp_clipped(peer, x):
    library = load(peer)
    np = library.numpy

    @library.core.custom_vjp
    def clip_gradient(low, high, x):
        return x

    def clip_fwd(low, high, x):
        return x, (low, high)

    def clip_bwd(limits, g):
        low, high = limits
        return None, None, np.clip(g, low, high)

    clip_gradient.defvjp(clip_fwd, clip_bwd)
    return library.core.grad(lambda x: np.sum(clip_gradient(-1.0, 1.0, x) ** 2)), np.asarray(x)


def torch_clipped(peer, x):
    import torch

    class ClipGradient(torch.autograd.Function):
        @staticmethod
        def forward(ctx, low, high, x):
            ctx.limits = low, high
            return x.view_as(x)

        @staticmethod
        def backward(ctx, g):
            return None, None, torch.clamp(g, *ctx.limits)

    def grad(x):
        x = x.detach().requires_grad_()
        return torch.autograd.grad(torch.sum(ClipGradient.apply(-1.0, 1.0, x) ** 2), x)[0]

    return grad, torch.tensor(x)


def autograd_clipped(peer, x):
    import autograd
    import autograd.numpy as np
    from autograd.extend import defvjp, primitive

    @primitive
    def clip_gradient(low, high, x):
        return x

    defvjp(clip_gradient, None, None, lambda ans, low, high, x: lambda g: np.clip(g, low, high))
    return autograd.grad(lambda x: np.sum(clip_gradient(-1.0, 1.0, x) ** 2)), x


# --- the gradient of half the squared norm of a dict: the dict ---


def of_tree(peer):
    library = load(peer)
    np = library.numpy
    random = numpy.random.default_rng(0)
    shapes = {"weight": (8, 8), "bias": (8,), "scale": (8,)}
    parameters = {name: np.asarray(random.standard_normal(shape).astype("float32")) for name, shape in shapes.items()}

    @library.core.custom_jvp
    def half_square(p):
        return 0.5 * sum(np.sum(x * x) for x in p.values())

    @half_square.defjvp
    def half_square_jvp(primals, tangents):
        (p,), (t,) = primals, tangents
        return half_square(p), sum(np.sum(p[name] * t[name]) for name in p)

    grad = library.core.grad(half_square)
    slopes = grad(parameters)
    assert all(numpy.allclose(numpy.asarray(slopes[name]), numpy.asarray(parameters[name])) for name in shapes)
    return calls(lambda p: grad(p)["weight"], parameters)


# --- the second derivative of log1pexp, times a direction ---


def second(peer):
    hvp = torch_second() if peer == "PyTorch" else grad_of_grad(peer)
    slope = 1 / (1 + numpy.exp(-3.0))
    assert abs(float(hvp(3.0)) - 2 * slope * (1 - slope)) < 1e-5
    return calls(hvp, 3.0)


def grad_of_grad(peer):
    if peer == "autograd":
        from autograd import grad
    else:
        grad = load(peer).core.grad
    gradient = grad(log1pexp.function(peer))
    return grad(lambda x: 2.0 * gradient(x))


def torch_second():
    import torch

    function = log1pexp.function("PyTorch")

    def hvp(x):
        x = torch.tensor(x, requires_grad=True)
        (slope,) = torch.autograd.grad(function(x), x, create_graph=True)
        return torch.autograd.grad(2.0 * slope, x)[0]

    return hvp
