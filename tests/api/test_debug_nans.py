"""debug_nans: the operation that makes a nan is named with its line, inside of compiled functions and loops too."""

import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import debug_nans, lax


def makes_nan(x):
    y = x * 2.0
    return pnp.log(y)  # the line that is named


@pb.jit
def jit(x):
    return makes_nan(x)


@pb.jit
def nested_jit(x):
    return jit(x) + 1.0


def scan(x):
    return lax.scan(lambda c, _: (makes_nan(c), None), x, None, length=3)[0]


@pb.jit
def jit_of_a_long_loop(x):
    return lax.fori_loop(0, 100_000, lambda i, c: makes_nan(c), x)


def cond(x):
    return lax.cond(x < 0, makes_nan, lambda x: x, x)


def vmap(x):
    return pb.vmap(makes_nan)(x[None])


def grad(x):
    return pb.grad(makes_nan)(x)


@pytest.mark.parametrize("run", [makes_nan, jit, nested_jit, scan, jit_of_a_long_loop, cond, vmap, grad])
def test_a_nan_is_named(run):
    x = pnp.float32(-1.0)
    if run is not jit_of_a_long_loop:
        run(x)
    with debug_nans(), pytest.raises(FloatingPointError, match="'log' made a nan") as caught:
        run(x)
    if run in (jit, nested_jit, scan, jit_of_a_long_loop, cond):
        assert "(makes_nan)" in "".join(caught.value.__notes__)


def test_a_nan_of_the_backward_pass_is_named():
    with debug_nans(), pytest.raises(FloatingPointError, match="made a nan"):
        pb.grad(lambda x: pnp.sqrt(x) * 0.0)(0.0)


def test_without_the_option_nans_are_values():
    assert bool(pnp.isnan(pb.jit(makes_nan)(-1.0)))
    with debug_nans():
        assert float(pb.jit(lambda x: x + 1.0)(1.0)) == 2.0
