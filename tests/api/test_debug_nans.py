"""debug_nans: the operation that makes a nan is named with its line, inside of compiled functions and loops too."""

import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import debug_nans, lax


def makes_nan(x):
    y = x * 2.0
    return pnp.log(y)  # the line that is named


RUNS = {
    "eager": makes_nan,
    "jit": pb.jit(makes_nan),
    "nested jit": pb.jit(lambda x: pb.jit(makes_nan)(x) + 1.0),
    "scan": lambda x: lax.scan(lambda c, _: (makes_nan(c), None), x, None, length=3)[0],
    "jit of a long loop": pb.jit(lambda x: lax.fori_loop(0, 100_000, lambda i, c: makes_nan(c), x)),
    "cond": lambda x: lax.cond(x < 0, makes_nan, lambda x: x, x),
    "vmap": lambda x: pb.vmap(makes_nan)(x[None]),
    "grad": pb.grad(makes_nan),
}


@pytest.mark.parametrize("run", RUNS)
def test_a_nan_is_named(run):
    x = pnp.float32(-1.0)
    RUNS[run](x) if run != "jit of a long loop" else None
    with debug_nans(), pytest.raises(FloatingPointError, match="'log' made a nan") as caught:
        RUNS[run](x)
    if run in ("jit", "nested jit", "scan", "jit of a long loop", "cond"):
        assert "(makes_nan)" in "".join(caught.value.__notes__)


def test_a_nan_of_the_backward_pass_is_named():
    with debug_nans(), pytest.raises(FloatingPointError, match="made a nan"):
        pb.grad(lambda x: pnp.sqrt(x) * 0.0)(0.0)


def test_without_the_option_nans_are_values():
    assert bool(pnp.isnan(pb.jit(makes_nan)(-1.0)))
    with debug_nans():
        assert float(pb.jit(lambda x: x + 1.0)(1.0)) == 2.0
