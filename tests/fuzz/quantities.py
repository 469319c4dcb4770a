"""What is computed of every program, each in several ways that must agree.

A quantity is a function of a case. `like` names the way it is compared with: the first of each group is the reference,
which is also run in double precision.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fuzz.case import Case, Data, kind_of_array, pair
from fuzz.libraries import PULLBACK
from fuzz.program import Program
from pullback.core import check_jaxpr, eval_jaxpr


@dataclass(frozen=True)
class Quantity:
    """`forward`, `reverse`: the modes that it takes. `rate`: how often it is computed, `second`: with all second
    derivatives. `small`: only of small programs. `real`: only of real ones. `edges`: also where arguments are infinite
    or NaN. `ours`: not of JAX."""

    name: str
    run: Callable[[Case], object]
    like: str
    forward: bool = False
    reverse: bool = False
    rate: float = 1.0
    second: bool = False
    small: bool = False
    real: bool = False
    edges: bool = False
    ours: bool = False

    def suits(self, program: Program, data: Data) -> bool:
        if program.edge and not self.edges:
            return False
        if (self.forward and program.has("no jvp")) or (self.reverse and program.has("no vjp")):
            return False
        if self.real and any(np.asarray(x).dtype.kind == "c" for x in (*program.args, *data.cotangents)):
            return False
        sizes = [np.size(program.args[i]) for i in program.active]
        return not self.small or sum(sizes) <= 12


QUANTITIES: dict[str, Quantity] = {}


def quantity(like: str | None = None, **kw) -> Callable:
    """A decorator that enters a function in the table under its name."""

    def enter(run: Callable) -> Callable:
        QUANTITIES[run.__name__] = Quantity(run.__name__, run, like or run.__name__, **kw)
        return run

    return enter


# --- values ---


@quantity(edges=True)
def value(c: Case):
    return c.whole(*c.xs)


@quantity("value", edges=True, ours=True, rate=0.2)
def staged_value(c: Case):
    """By way of a jaxpr, which must be well-formed."""
    closed = PULLBACK.t.make_jaxpr(c.whole)(*c.xs)
    check_jaxpr(closed)
    return eval_jaxpr(closed.jaxpr, closed.consts, *c.xs)


@quantity("value", forward=True, rate=0.1)
def value_beside_jvp(c: Case):
    return c.t.jvp(c.whole, c.xs, c.vs)[0]


@quantity("value", reverse=True, rate=0.1)
def value_beside_vjp(c: Case):
    return c.t.vjp(c.whole, *c.xs)[0]


# --- first derivatives ---


@quantity(forward=True)
def jvp(c: Case):
    return c.t.jvp(c.f, c.xs, c.vs)[1]


@quantity("jvp", forward=True, rate=0.2)
def linearized(c: Case):
    return c.t.linearize(c.f, *c.xs)[1](*c.vs)


@quantity("jvp", forward=True, ours=True, rate=0.1)
def staged_jvp(c: Case):
    closed = PULLBACK.t.make_jaxpr(lambda *xs: c.t.jvp(c.f, xs, c.vs)[1])(*c.xs)
    check_jaxpr(closed)
    return eval_jaxpr(closed.jaxpr, closed.consts, *c.xs)


@quantity("jvp", forward=True, real=True, small=True, rate=0.1)
def jacfwd_along(c: Case):
    return along(c, c.t.jacfwd(c.f, c.every)(*c.xs))


def along(c: Case, jacobians):
    outs = []
    for rows in jacobians:
        parts = [c.np.tensordot(j, v, v.ndim) if v.ndim else j * v for j, v in zip(rows, c.vs, strict=True)]
        outs.append(sum(parts[1:], start=parts[0]))
    return outs


@quantity(reverse=True)
def vjp(c: Case):
    return c.t.vjp(c.f, *c.xs)[1](c.cts)


@quantity("vjp", reverse=True, rate=0.25)
def gradient(c: Case):
    return c.t.grad(c.loss, c.every)(*c.xs)


@quantity("vjp", forward=True, reverse=True, rate=0.2)
def transposed(c: Case):
    return c.t.linear_transpose(c.t.linearize(c.f, *c.xs)[1], *c.xs)(c.cts)


@quantity("vjp", reverse=True, rate=0.2)
def checkpointed(c: Case):
    return c.t.vjp(c.t.checkpoint(c.f), *c.xs)[1](c.cts)


@quantity("vjp", reverse=True, ours=True, rate=0.15)
def staged_vjp(c: Case):
    closed = PULLBACK.t.make_jaxpr(lambda *xs: c.t.vjp(c.f, *xs)[1](c.cts))(*c.xs)
    check_jaxpr(closed)
    return eval_jaxpr(closed.jaxpr, closed.consts, *c.xs)


@quantity("vjp", reverse=True, real=True, small=True, rate=0.1)
def jacrev_along(c: Case):
    sums = []
    jacobians = c.t.jacrev(c.f, c.every)(*c.xs)
    for i in c.every:
        parts = [
            c.np.tensordot(ct, rows[i], ct.ndim) if ct.ndim else ct * rows[i]
            for ct, rows in zip(c.cts, jacobians, strict=True)
        ]
        sums.append(sum(parts[1:], start=parts[0]).astype(c.xs[i].dtype))
    return sums


@quantity(forward=True, reverse=True, rate=0.7)
def pairing(c: Case):
    """⟨u, Jv⟩"""
    return [pair(c.np, c.cts, jvp(c))]


@quantity("pairing", forward=True, reverse=True, rate=0.7)
def adjoint_pairing(c: Case):
    """⟨Jᵀu, v⟩"""
    return [pair(c.np, vjp(c), c.vs)]


@quantity(forward=True, real=True, small=True, rate=0.15)
def jacfwd(c: Case):
    return c.t.jacfwd(c.f, c.every)(*c.xs)


@quantity("jacfwd", forward=True, reverse=True, real=True, small=True, rate=0.15)
def jacrev(c: Case):
    return c.t.jacrev(c.f, c.every)(*c.xs)


# --- second derivatives ---


@quantity(forward=True, reverse=True, second=True)
def forward_over_reverse(c: Case):
    return c.t.jvp(c.t.grad(c.loss, c.every), c.xs, c.vs)[1]


@quantity("forward_over_reverse", forward=True, reverse=True, second=True)
def reverse_over_forward(c: Case):
    return c.t.grad(lambda *xs: c.t.jvp(c.loss, xs, c.vs)[1], c.every)(*c.xs)


@quantity("forward_over_reverse", forward=True, reverse=True, second=True)
def reverse_over_reverse(c: Case):
    return c.t.grad(lambda *xs: pair(c.np, c.t.grad(c.loss, c.every)(*xs), c.vs), c.every)(*c.xs)


@quantity(forward=True, reverse=True, second=True)
def curvature(c: Case):
    return [pair(c.np, forward_over_reverse(c), c.vs)]


@quantity("curvature", forward=True, reverse=True, second=True)
def forward_over_forward(c: Case):
    return [c.t.jvp(lambda *xs: c.t.jvp(c.loss, xs, c.vs)[1], c.xs, c.vs)[1]]


# --- batches ---


def rows(c: Case):
    """The arguments of each row of the batch."""
    size = next(np.shape(b)[a] for b, a in zip(c.data.batches, c.data.axes, strict=True) if a is not None)
    for i in range(size):
        yield [
            c.np.asarray(b) if a is None else c.np.take(c.np.asarray(b), i, axis=a)
            for b, a in zip(c.data.batches, c.data.axes, strict=True)
        ]


def stacked(c: Case, results: list) -> list:
    return [c.np.stack(outs) for outs in zip(*results, strict=True)]


def batches(c: Case) -> list:
    return [c.np.asarray(b) for b in c.data.batches]


def row_gradient(c: Case):
    """A function of all arguments to the gradient in the differentiable ones."""

    def loss(*args):
        outs = [out for out in c.call(*args) if kind_of_array(out) in "fc"]
        return pair(c.np, c.cts, outs)

    return lambda *args: list(c.t.grad(loss, c.active)(*args))


@quantity(edges=True, rate=0.4)
def looped(c: Case):
    return stacked(c, [c.call(*row) for row in rows(c)])


@quantity("looped", edges=True, rate=0.4)
def batched(c: Case):
    return c.t.vmap(c.call, c.data.axes)(*batches(c))


@quantity(reverse=True, rate=0.15)
def looped_gradient(c: Case):
    return stacked(c, [row_gradient(c)(*row) for row in rows(c)])


@quantity("looped_gradient", reverse=True, rate=0.15)
def batched_gradient(c: Case):
    return c.t.vmap(row_gradient(c), c.data.axes)(*batches(c))


@quantity("looped_gradient", reverse=True, rate=0.1)
def batched_checkpointed_gradient(c: Case):
    return c.t.vmap(c.t.checkpoint(row_gradient(c)), c.data.axes)(*batches(c))
