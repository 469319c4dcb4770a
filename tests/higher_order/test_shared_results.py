"""Functions with rules under `vmap`, of which a result depends on no batched argument: as the plain function."""

from __future__ import annotations

import numpy as np
import pytest
from wrappers import EAGER_AND_JIT, eager

import pullback as pb
import pullback.numpy as pnp

XS = np.array([1.0, 2.0, 4.0], "float32")
W = np.float32(2.0)


def plain(x, w):
    return x * w, w**3


by_jvp = pb.custom_jvp(plain)


@by_jvp.defjvp
def _(primals, tangents):
    (x, w), (tx, tw) = primals, tangents
    return by_jvp(x, w), (tx * w + x * tw, 3 * w**2 * tw + 0 * tx)


inline = pb.custom_jvp(plain)


@inline.defjvp
def _(primals, tangents):
    (x, w), (tx, tw) = primals, tangents
    return (x * w, w**3), (tx * w + x * tw, 3 * w**2 * tw)


def bwd(saved, cts):
    (x, w), (ct_product, ct_cube) = saved, cts
    return ct_product * w, ct_product * x + 3 * w**2 * ct_cube


def saving(f):
    """The fwd rule that calls this function and saves its arguments."""

    def fwd(x, w):
        return f(x, w), (x, w)

    return fwd


by_vjp = pb.custom_vjp(plain)
by_vjp.defvjp(saving(by_vjp), bwd)

by_both = pb.custom_rules(plain)
by_both.defvjp(saving(by_both), bwd)


@by_both.defjvp
def _(primals, tangents):
    (x, w), (tx, tw) = primals, tangents
    return by_both(x, w), (tx * w + x * tw, 3 * w**2 * tw)


with_vmap = pb.custom_rules(plain)
with_vmap.defvjp(saving(with_vmap), bwd)


@with_vmap.defvmap
def _(size, batched, x, w):
    return plain(x, w), (any(batched), batched[1])


FORWARD = {"jvp": by_jvp, "inline": inline, "both": by_both}
ALL = FORWARD | {"vjp": by_vjp, "vmap": with_vmap}


def looped(fun):
    """The total over a Python loop: what every `vmap` below must agree with."""

    def total(xs, w):
        firsts = [fun(x, w)[0] for x in xs]
        return sum(firsts) + 5 * fun(xs[0], w)[1]

    return total


def batched(fun, wrap):
    mapped = wrap(pb.vmap(fun, (0, None), (0, None)))

    def total(xs, w):
        firsts, shared = mapped(xs, w)
        return firsts.sum() + 5 * shared

    return total


@pytest.mark.parametrize("inner", EAGER_AND_JIT)
@pytest.mark.parametrize("outer", EAGER_AND_JIT)
@pytest.mark.parametrize("name", ALL)
def test_a_result_without_a_batch_axis(name, outer, inner):
    fun = ALL[name]
    first, shared = outer(pb.vmap(fun, (0, None), (0, None)))(XS, W)
    np.testing.assert_allclose(np.asarray(first), XS * W)
    assert shared.shape == ()
    assert float(shared) == 8
    total = batched(fun, inner)
    modes = [pb.grad, pb.jacfwd] if name in FORWARD else [pb.grad]
    for argument in (0, 1):
        right = np.asarray(pb.grad(looped(plain), argument)(list(XS), W))
        for mode in modes:
            np.testing.assert_allclose(np.asarray(outer(mode(total, argument))(XS, W)), right)
    if name != "inline":
        assert float(outer(pb.grad(pb.grad(total, 1), 1))(XS, W)) == 60


@pytest.mark.parametrize("name", ALL)
def test_under_two_maps(name):
    rows = pb.vmap(ALL[name], (None, 0), (0, 0))
    both = pb.vmap(rows, (0, None), (0, None))
    ws = np.array([1.0, 3.0], "float32")
    first, shared = both(XS, ws)
    np.testing.assert_allclose(np.asarray(first), XS[:, None] * ws)
    np.testing.assert_allclose(np.asarray(shared), ws**3)
    right = XS.sum() + 5 * 3 * ws**2

    def total(ws):
        first, shared = both(XS, ws)
        return first.sum() + 5 * shared.sum()

    np.testing.assert_allclose(np.asarray(pb.grad(total)(ws)), right)
    np.testing.assert_allclose(np.asarray(pb.jit(pb.grad(total))(ws)), right)


def test_a_result_that_has_values_of_its_own_is_refused_as_before():
    with pytest.raises(ValueError, match="out_axes is None for leaf 0"):
        pb.vmap(by_jvp, (0, None), (None, None))(XS, W)


def test_of_no_examples_the_value_is_known_and_the_cotangent_refused():
    none = np.zeros(0, "float32")
    assert float(pb.vmap(by_vjp, (0, None), (0, None))(none, W)[1]) == 8
    with pytest.raises(ValueError, match="axis of length 0"):
        pb.grad(batched(by_vjp, eager), 1)(none, W)
    assert float(pb.grad(batched(inline, eager), 1)(none, W)) == 60
    assert pnp.isfinite(pb.grad(batched(plain, eager), 1)(none, W))
