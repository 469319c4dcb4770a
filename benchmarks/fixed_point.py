"""Figures: implicit differentiation of the fixed point x = tanh(W x + b), 1,000 unknowns.

W has a spectral norm of about 0.5. Two rows: the gradient of sum(x²) in W and b, a Hessian-vector product in b. Each
library gets the solver that is its own, or the usual one. All apply the function to x until its relative change (in the
largest entry) is 1e-5, and solve the derivative's linear system to the same 1e-5, in single precision.

- pullback: `implicit.fixed_point` with `tol`, and `linear_solve` with the Neumann series and `tol`, under `jit`.
- JAX: `lax.custom_root` and, for the linear system, `lax.custom_linear_solve` by iteration (the Neumann series), under
  `jit`. A `custom_vjp` whose backward rule is a second fixed point takes as long or longer.
- PyTorch: a `torch.autograd.Function` whose backward is a second fixed point by the same `Function`, eager.
- autograd: `autograd.misc.fixed_points`, which does the same, eager.

The Hessian-vector product is the gradient of the gradient for all. The eager ones get W as a constant there, and so
have no work for a gradient in W; a compiler leaves that out by itself. A sample is the mean of forty calls.
"""

import functools

import numpy
from timing import once

GRADIENT = "gradient in W and b of a fixed point of 1,000 unknowns"
HVP = "Hessian-vector product in b of it"
GOALS = {}
PEERS = ("pullback", "JAX", "PyTorch", "autograd")
ROUNDS = 15
FRESH = False
CALLS = 40
UNKNOWNS, TOLERANCE, STEPS = 1_000, 1e-5, 1_000


def data():
    """(W, b, v) in single precision: the matrix, the shift, the direction of the Hessian-vector product."""
    random = numpy.random.default_rng(0)
    w = random.standard_normal((UNKNOWNS, UNKNOWNS)) / (4 * UNKNOWNS**0.5)
    return [a.astype("float32") for a in (w, random.standard_normal(UNKNOWNS), random.standard_normal(UNKNOWNS))]


def prepare(peer):
    """The derivatives are checked against the implicit function theorem, by elimination in double precision."""
    own = {
        "pullback": pullback_derivatives,
        "JAX": jax_derivatives,
        "PyTorch": torch_derivatives,
        "autograd": autograd_derivatives,
    }[peer]
    w, b, v = data()
    gradient, hvp, arrays, wait = own(w, b, v)
    for result, expected in zip(gradient(*arrays), exact(w, b), strict=True):
        near(result, expected)
    step = 1e-4 * v.astype(float)
    near(hvp(*arrays), (exact(w, b + step)[1] - exact(w, b - step)[1]) / 2e-4)

    def time(f):
        def run():
            for _ in range(CALLS):
                wait(f(*arrays))  # freed before the next: the end of a pile of results would fall on the next row

        return once(run) / CALLS

    return lambda: {GRADIENT: time(gradient), HVP: time(hvp)}


def exact(w, b):
    """The gradients of sum(x²) in W and b."""
    w, x = w.astype(float), numpy.zeros(UNKNOWNS)
    for _ in range(100):
        x = numpy.tanh(w @ x + b)
    slope = 1 - x**2
    b_bar = slope * numpy.linalg.solve(numpy.eye(UNKNOWNS) - w.T * slope, 2 * x)
    return numpy.outer(b_bar, x), b_bar


def near(result, expected):
    error = numpy.linalg.norm(numpy.asarray(result) - expected) / numpy.linalg.norm(expected)
    assert error < 1e-4, f"relative error {error}"


# --- each library's own words ---


def pullback_derivatives(w, b, v):
    import pullback as pb
    import pullback.numpy as pnp
    from pullback import implicit

    solve = functools.partial(implicit.linear_solve, method="neumann", tol=TOLERANCE)

    def loss(w, b):
        x = implicit.fixed_point(
            lambda x: pnp.tanh(w @ x + b), pnp.zeros_like(b), tol=TOLERANCE, max_steps=STEPS, linear_solver=solve
        )
        return pnp.sum(x**2)

    def hvp(w, b, v):
        return pb.grad(lambda b: pnp.vdot(pb.grad(loss, 1)(w, b), v))(b)

    gradient = pb.jit(pb.grad(loss, (0, 1)))
    return lambda w, b, v: gradient(w, b), pb.jit(hvp), [pnp.asarray(a) for a in (w, b, v)], pb.block_until_ready


def jax_derivatives(w, b, v):
    import jax
    import jax.numpy as jnp

    def iterate(f, x):
        def moves(state):
            x, last, k = state
            return (jnp.abs(x - last).max() > TOLERANCE * jnp.abs(x).max()) & (k < STEPS)

        return jax.lax.while_loop(moves, lambda s: (f(s[0]), s[0], s[2] + 1), (f(x), x, 1))[0]

    def neumann(matvec, y):
        return iterate(lambda u: u - matvec(u) + y, y)

    def solve(matvec, y):
        return jax.lax.custom_linear_solve(matvec, y, neumann, neumann)

    def loss(w, b):
        def f(x):
            return jnp.tanh(w @ x + b)

        x = jax.lax.custom_root(lambda x: x - f(x), jnp.zeros_like(b), lambda _, x: iterate(f, x), solve)
        return jnp.sum(x**2)

    def hvp(w, b, v):
        return jax.grad(lambda b: jnp.vdot(jax.grad(loss, 1)(w, b), v))(b)

    gradient = jax.jit(jax.grad(loss, (0, 1)))
    return lambda w, b, v: gradient(w, b), jax.jit(hvp), [jnp.asarray(a) for a in (w, b, v)], jax.block_until_ready


def torch_derivatives(w, b, v):
    import torch
    from torch.func import vjp

    class FixedPoint(torch.autograd.Function):
        @staticmethod
        def forward(ctx, f, x, *args):
            for _ in range(STEPS):
                x, last = f(x, *args), x
                if (x - last).abs().max() <= TOLERANCE * x.abs().max():
                    break
            ctx.f = f
            ctx.save_for_backward(x, *args)
            return x

        @staticmethod
        def backward(ctx, ct):
            f, (x, *args) = ctx.f, ctx.saved_tensors

            def adjoint(u, x, ct, *args):
                return ct + vjp(lambda x: f(x, *args), x)[1](u)[0]

            u = FixedPoint.apply(adjoint, torch.zeros_like(ct), x, ct, *args)
            return None, None, *vjp(lambda *args: f(x, *args), *args)[1](u)

    def loss(f, *args):
        return torch.sum(FixedPoint.apply(f, torch.zeros(UNKNOWNS), *args) ** 2)

    def gradient(w, b, v):
        w, b = w.detach().requires_grad_(), b.detach().requires_grad_()
        return torch.autograd.grad(loss(lambda x, w, b: torch.tanh(w @ x + b), w, b), (w, b))

    def hvp(w, b, v):
        b = b.detach().requires_grad_()
        (slope,) = torch.autograd.grad(loss(lambda x, b: torch.tanh(w @ x + b), b), b, create_graph=True)
        return torch.autograd.grad(torch.dot(slope, v), b)[0]

    return gradient, hvp, [torch.tensor(a) for a in (w, b, v)], lambda result: result


def autograd_derivatives(w, b, v):
    import autograd
    import autograd.numpy as np
    from autograd.builtins import tuple as traced_tuple
    from autograd.misc.fixed_points import fixed_point

    def distance(x, last):
        return np.max(np.abs(x - last)) / np.max(np.abs(x))

    def loss(f, args):
        return np.sum(fixed_point(f, args, np.zeros_like(b), distance, TOLERANCE) ** 2)

    def gradient(w, b, v):
        def f(args):
            return lambda x: np.tanh(np.dot(args[0], x) + args[1])

        return autograd.grad(lambda args: loss(f, args))(traced_tuple((w, b)))

    def hvp(w, b, v):
        def f(b):
            return lambda x: np.tanh(np.dot(w, x) + b)

        return autograd.grad(lambda b: np.dot(autograd.grad(lambda b: loss(f, b))(b), v))(b)

    return gradient, hvp, [w, b, v], lambda result: result
