"""checkify around tapped, and the other way around: checks and taps pass each other."""

import pytest
from refusals import raises

import pullback as pb
import pullback.numpy as pnp
from pullback import debug, lax
from pullback.experimental.checkify import all_checks, check, checkify, user_checks


def logarithm_of_tapped_square(x):
    y = debug.tap(x * x, "y")
    check(y > 0, "y must be positive, got {y}", y=y)
    return pnp.log(y)


def steps(x):
    return lax.scan(lambda c, _: (logarithm_of_tapped_square(c) + 2.0, None), x, None, length=2)[0]


@pb.custom_jvp
def ruled(x):
    return logarithm_of_tapped_square(x)


ruled.defjvp(lambda primals, tangents: (ruled(*primals), 5 * tangents[0]))


@pytest.mark.parametrize(
    "fun", [logarithm_of_tapped_square, pb.jit(logarithm_of_tapped_square), pb.checkpoint(ruled), steps]
)
def test_checks_and_taps_pass_each_other(fun):
    message = "y must be positive, got 0.0 (`check` failed)"
    assert message in checkify(fun)(0.0)[0].get()
    for errors in (user_checks, all_checks):
        (error, _), taps = debug.tapped(checkify(fun, errors))(0.0)
        assert message in error.get()
        assert list(taps.values) == ["y"]
        assert pnp.ravel(taps.values["y"])[0] == 0
    error, (_, taps) = checkify(debug.tapped(fun))(0.0)
    assert message in error.get()
    assert list(taps.values) == ["y"]


def test_taps_in_derivatives_of_checked_functions():
    (error, slope), taps = debug.tapped(checkify(pb.grad(logarithm_of_tapped_square)))(2.0)
    assert (error.get(), slope, taps.values, taps.cotangents) == (None, 1, {"y": 4}, {"y": 0.25})
    (_, slope), taps = debug.tapped(checkify(pb.grad(ruled)))(2.0)
    assert (slope, taps.values) == (5, {"y": 4})


def test_checks_of_while_loops_pass_taps():
    def loop(x):
        return lax.while_loop(lambda c: c < 5, lambda c: logarithm_of_tapped_square(c) + 6, x)

    assert "y must be positive" in checkify(loop)(0.0)[0].get()
    with raises(NotImplementedError, "tapped: the tap 'y' stands in a while_loop"):
        debug.tapped(checkify(loop))(0.0)

    def checked_loop(x):
        def body(c):
            check(c > 0, "c must be positive")
            return c + 6

        return debug.tap(lax.while_loop(lambda c: c < 5, body, x), "end")

    error, (_, taps) = checkify(debug.tapped(checked_loop))(0.0)
    assert "c must be positive" in error.get()
    assert taps.values == {"end": 6}
