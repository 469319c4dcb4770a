"""checkify: checks inside traced code, as results, beside JAX's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify as jax_checkify

import pullback as pb
import pullback.numpy as pnp
from pullback import errors
from pullback.experimental import checkify


def programs(library, np_, module):
    """Functions of one number with checks, by name, for either library."""

    def plain(x):
        module.check(x > 0, "x must be positive, got {x}", x=x)
        module.check(x < 10, "x must be small, got {} of {}", x, x + 1)
        return np_.sqrt(np_.abs(x))

    def in_scan(x):
        def step(c, t):
            module.check(c + t < 3, "step {} at {}", t, c)
            return c + t, c

        return library.lax.scan(step, x, np_.arange(4.0))[0]

    def in_cond(x):
        def strict(y):
            module.check(y < 5, "too large: {}", y)
            return y * 2

        return library.lax.cond(x > 2, strict, lambda y: y, x)

    return {
        "plain": plain,
        "jit inside": library.jit(plain),
        "scan": in_scan,
        "cond": in_cond,
        "grad": library.grad(plain),
    }


OURS, THEIRS = programs(pb, pnp, checkify), programs(jax, jnp, jax_checkify)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("x", [-1.0, 0.5, 1.5, 7.0, 20.0])
@pytest.mark.parametrize("name", OURS)
def test_outcomes_are_those_of_jax(name, x, compiled):
    ours, theirs = checkify.checkify(OURS[name]), jax_checkify.checkify(THEIRS[name])
    if compiled:
        ours, theirs = pb.jit(ours), jax.jit(theirs)
    (err, out), (expected_err, expected) = ours(x), theirs(jnp.asarray(x))
    assert (err.get() is None) == (expected_err.get() is None)
    if err.get() is not None:
        assert err.get().split(" (`check`")[0] == expected_err.get().split(" (`check`")[0]
    np.testing.assert_allclose(out, expected, rtol=1e-6)


def test_errors_are_thrown():
    err, _ = checkify.checkify(OURS["plain"])(-1.0)
    with pytest.raises(errors.JaxRuntimeError, match=r"x must be positive, got -1.0"):
        err.throw()
    with pytest.raises(checkify.JaxRuntimeError, match="x must be positive"):
        checkify.check_error(err)
    assert checkify.init_error().get() is None
    assert "x must be positive" in repr(err)
    with pytest.raises(TypeError, match="check_error: expected an Error"):
        checkify.check_error("no error")


def test_outside_of_checkify():
    checkify.check(True, "fine")
    checkify.check(pnp.ones(3) > 0, "fine")
    with pytest.raises(errors.JaxRuntimeError, match="values 1 and"):
        checkify.check(False, "values {} and {}", 1, pnp.ones(2))
    with pytest.raises(ValueError, match="check: the condition is a traced value, and there is no checkify around"):
        pb.jit(OURS["plain"])(1.0)
    checkify.debug_check(False, "left out")

    @pb.jit
    def f(x):
        checkify.debug_check(x > 0, "left out")
        return x

    assert f(-1.0) == -1.0


def test_under_vmap():
    err, out = checkify.checkify(pb.vmap(OURS["plain"]))(pnp.array([1.0, -2.0, 30.0]))
    assert err.get().startswith("x must be positive, got -2.0")
    assert out.shape == (3,)
    err, out = pb.vmap(checkify.checkify(OURS["plain"]))(pnp.array([1.0, -2.0]))
    assert err.get().startswith("x must be positive, got -2.0")


def test_nested():
    def outer(x):
        err, y = checkify.checkify(OURS["plain"])(x)
        checkify.check_error(err)
        return y

    err, _ = checkify.checkify(pb.jit(outer))(-1.0)
    assert err.get().startswith("x must be positive, got -1.0")


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: checkify.check(1.0, "a"), TypeError, "check: the condition must be a bool, got 1.0"),
        (lambda: checkify.check(True, 3), TypeError, "check: the message must be a string, got 3"),
        (lambda: checkify.checkify(3), TypeError, "checkify: expected a function"),
        (
            lambda: checkify.checkify(pnp.sin, checkify.float_checks),
            NotImplementedError,
            r"checkify: checks of the kinds \['div', 'nan'\] are planned",
        ),
    ],
)
def test_refusals(call, error, says):
    with pytest.raises(error, match=says):
        call()
