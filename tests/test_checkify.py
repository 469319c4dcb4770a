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
    assert err.get().startswith("at mapped index 1: x must be positive, got -2.0")


def test_nested():
    def outer(x):
        err, y = checkify.checkify(OURS["plain"])(x)
        checkify.check_error(err)
        return y

    for fun in (pb.jit(outer), outer):
        err, _ = checkify.checkify(fun)(-1.0)
        assert err.get().startswith("x must be positive, got -1.0")
        assert checkify.checkify(fun)(1.0)[0].get() is None


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: checkify.check(1.0, "a"), TypeError, "check: the condition must be a bool, got 1.0"),
        (lambda: checkify.check(True, 3), TypeError, "check: the message must be a string, got 3"),
        (lambda: checkify.checkify(3), TypeError, "checkify: expected a function"),
        (lambda: checkify.checkify(pnp.sin, {"nan"}), TypeError, "checkify: errors must be kinds of checks"),
    ],
)
def test_refusals(call, error, says):
    with pytest.raises(error, match=says):
        call()


# --- checks of operations ---


def checked_programs(library, np_):
    """Functions with operations that may fail, by name, with arguments at which they do, or do not."""
    lax, one = library.lax, np_.asarray
    x = np_.arange(3.0)

    def scanned(x):
        return lax.scan(lambda c, v: (c + np_.log(v), c), 0.0, x)[0]

    def repeated(x):
        return lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, np_.log(s[1])), (0, x))[1]

    def repeated_until(x):
        return lax.while_loop(lambda s: np_.log(s) < 3, lambda s: s + 1, x)

    def nested(x):
        def outer(c, row):
            return lax.fori_loop(0, 2, lambda i, s: s + np_.sqrt(row[i]), c), c

        return lax.scan(outer, 0.0, x)[0]

    def beyond(x):
        return lax.fori_loop(0, 5, lambda i, s: s + x[i], 0.0)

    def chosen(x):
        return lax.cond(x > 0, lambda x: np_.log(x), lambda x: 1 / (x + 1), x)

    log, get = np_.log, lambda x, i: x[i]
    return {
        "log": (log, one(-1.0)),
        "log of 2": (log, one(2.0)),
        "passed on": (lambda x: -x, one(np.nan)),
        "sum": (np_.sum, one([np.inf, -np.inf])),
        "jit": (library.jit(log), one(-1.0)),
        "vmap": (library.vmap(log), one([1.0, -1.0])),
        "grad": (library.grad(np_.sqrt), one(0.0)),
        "checkpoint": (library.checkpoint(log), one(-1.0)),
        "not chosen": (lambda x: np_.where(x > 0, np_.log(x), 0.0), one(-1.0)),
        "scan": (scanned, one([1.0, -1.0, 2.0])),
        "scan that holds": (scanned, one([1.0, 1.0, 2.0])),
        "while": (repeated, one(0.5)),
        "while that holds": (repeated, one(50.0)),
        "condition": (repeated_until, one(-1.0)),
        "nested": (nested, one([[1.0, 1.0], [1.0, -1.0]])),
        "cond": (chosen, one(-1.0)),
        "cond that holds": (chosen, one(1.0)),
        "div": (lambda x: 1 / x, one(0.0)),
        "div of integers": (lambda x: 6 // x, one([1, 0])),
        "index": (get, x, one(5)),
        "fixed index": (lambda x: x[5], x),
        "negative index": (get, x, one(-4)),
        "indices": (get, x, one([0, 1, 7])),
        "indices inside": (get, x, one([0, 1, -3])),
        "set": (lambda x, i: x.at[i].set(1.0), x, one(5)),
        "add": (lambda x, i: x.at[i].add(1.0), x, one([0, 7])),
        "dynamic_slice": (lambda x, i: lax.dynamic_slice(x, (i,), (2,)), x, one(2)),
        "dynamic_update_slice": (lambda x, i: lax.dynamic_update_slice(x, np_.ones(2), (i,)), x, one(5)),
        "in a loop": (beyond, x),
    }


@pytest.mark.parametrize("name", checked_programs(jax, jnp))
def test_checks_of_operations_are_those_of_jax(name):
    fun, *args = checked_programs(pb, pnp)[name]
    theirs, *their_args = checked_programs(jax, jnp)[name]
    expected, value = jax.jit(jax_checkify.checkify(theirs, errors=jax_checkify.all_checks))(*their_args)
    ours = checkify.checkify(fun, errors=checkify.all_checks)
    for run in (ours, pb.jit(ours)):
        err, out = run(*args)
        assert err.get() == expected.get()
        np.testing.assert_allclose(out, value, rtol=1e-6)


def test_kinds_of_checks():
    def all_of_them(x):
        y = pnp.log(x) / (x + 1)
        checkify.check(x > 0, "user")
        return y + pnp.arange(3.0)[x.astype("int32") + 9]

    for errors_, says in [
        (checkify.nan_checks, "nan generated by primitive: log."),
        (checkify.div_checks, "division by zero"),
        (checkify.index_checks, "out-of-bounds indexing for array of shape (3,): index 8"),
        (checkify.user_checks, "user (`check` failed)"),
        (checkify.user_checks | checkify.index_checks, "user (`check` failed)"),
        (checkify.float_checks, "nan generated by primitive: log."),
    ]:
        err, _ = checkify.checkify(all_of_them, errors=errors_)(pnp.array(-1.0))
        assert err.get().startswith(says)
    err, _ = checkify.checkify(all_of_them, errors=frozenset())(pnp.array(-1.0))
    assert err.get() is None


def test_of_several_failures_in_a_loop_the_first_step_is_reported():
    def f(x):
        def step(c, t):
            checkify.check(t < 3, "A at {}", t)
            checkify.check(t != 1, "B at {}", t)
            return c, t

        return pb.lax.scan(step, x, pnp.arange(5))[0]

    def g(x):
        def more(s):
            checkify.check(s != 4, "more {}", s)
            return s < 5

        def step(s):
            checkify.check(s < 3, "step {}", s)
            return s + 1

        return pb.lax.while_loop(more, step, x)

    for fun, x, says in [(f, 1.0, "B at 1"), (g, 0, "step 3"), (g, 4, "more 4"), (pb.vmap(f), pnp.ones(2), "B at 1")]:
        assert checkify.checkify(fun)(x)[0].get() == f"{says} (`check` failed)"
    err, _ = pb.vmap(checkify.checkify(f))(pnp.ones(2))
    assert err.get() == "at mapped index 0: B at 1 (`check` failed)\nat mapped index 1: B at 1 (`check` failed)"


def test_derivatives_pass_through_checked_functions():
    checked = checkify.checkify(lambda x: pnp.log(x) * x, errors=checkify.all_checks)
    slope, err = pb.grad(lambda x: checked(x)[::-1], has_aux=True)(2.0)
    np.testing.assert_allclose(slope, 1 + np.log(2), rtol=1e-6)
    assert err.get() is None
    with pytest.raises(ValueError, match="nan generated by primitive: log"):
        checkify.check_error(checked(-1.0)[0])


def test_values_in_a_message_are_arrays():
    """In a tree they look as arrays do; alone they take formats of numbers."""

    def f(x):
        checkify.check(x[0] < 0, "{tree}, {0}, {first:.2f}", x, tree={"a": x, "b": x[1]}, first=x[0])
        return x

    for run in (checkify.checkify(f), pb.jit(checkify.checkify(f))):
        text = run(pnp.array([1.5, 2.0]))[0].get()
        assert text.startswith(
            "{'a': Array([1.5, 2. ], dtype=float32), 'b': Array(2., dtype=float32)}, [1.5 2. ], 1.50"
        )


# --- checks in rules ---


def checked_rules(library, module, debug=False):
    """A function whose rule for derivatives has a check: in fwd, and in a jvp rule."""

    @library.custom_vjp
    def by_vjp(x):
        return 2 * x

    def fwd(x):
        module.check(x > 0, "the rule got {x}", x=x, debug=debug)
        return 2 * x, None

    by_vjp.defvjp(fwd, lambda _, ct: (2 * ct,))

    @library.custom_jvp
    def by_jvp(x):
        return 2 * x

    @by_jvp.defjvp
    def rule(primals, tangents):
        module.check(primals[0] > 0, "the rule got {x}", x=primals[0], debug=debug)
        return 2 * primals[0], 2 * tangents[0]

    return {"fwd": by_vjp, "jvp": by_jvp}


def derivatives_of_checked(library, module, f):
    """Derivatives of `checkify(f)`: the rule runs outside of it."""
    checked = module.checkify(f)
    checked_program = module.checkify(library.jit(f))
    of_result = library.value_and_grad(lambda x: checked(x)[::-1], has_aux=True)
    of_program = library.value_and_grad(lambda x: checked_program(x)[::-1], has_aux=True)

    return {
        "vjp": lambda x: library.vjp(checked, x)[0][1],
        "grad": of_result,
        "grad of jit": of_program,
        "jit of grad": library.jit(of_result),
        "vmap of grad": lambda x: library.vmap(of_result)(library.numpy.stack([1 + 0 * x, x])),
    }


@pytest.mark.parametrize("way", derivatives_of_checked(pb, checkify, pnp.sin))
@pytest.mark.parametrize("rule", ["fwd", "jvp"])
def test_a_failed_check_in_a_rule_is_not_lost_outside_of_checkify(rule, way):
    ours = derivatives_of_checked(pb, checkify, checked_rules(pb, checkify)[rule])[way]
    theirs = derivatives_of_checked(jax, jax_checkify, checked_rules(jax, jax_checkify)[rule])[way]
    with pytest.raises((ValueError, jax_checkify.JaxRuntimeError)) as expected:  # it cannot be known in a program
        theirs(jnp.asarray(-1.0))
    with pytest.raises(ValueError, match="the rule got") as caught:
        ours(pnp.asarray(-1.0))
    known = isinstance(expected.value, jax_checkify.JaxRuntimeError)
    assert isinstance(caught.value, checkify.JaxRuntimeError) == known
    if not known:
        assert "checkify(grad(f)), not grad(checkify(f))" in str(caught.value)


@pytest.mark.parametrize("rule", ["fwd", "jvp"])
def test_in_a_scan_such_a_check_is_not_lost_either(rule):  # JAX loses it
    f = checked_rules(pb, checkify)[rule]

    def in_scan(x):
        return pb.lax.scan(lambda c, _: (f(c), None), x, None, length=2)[0]

    checked = checkify.checkify(in_scan)
    for slope in (pb.grad(lambda x: checked(x)[1]), pb.jit(pb.grad(lambda x: checked(x)[1]))):
        with pytest.raises(ValueError, match="the rule got"):
            slope(-1.0)


@pytest.mark.parametrize("decorated", [pb.custom_vjp, pb.custom_jvp])
def test_checks_in_functions_with_rules_are_collected_once(decorated):
    @decorated
    def f(x):
        checkify.check(x > 0, "got {}", x)
        return 2 * x

    if decorated is pb.custom_vjp:
        f.defvjp(lambda x: (2 * x, None), lambda _, ct: (5 * ct,))
    else:
        f.defjvp(lambda primals, tangents: (2 * primals[0], 5 * tangents[0]))
    says = "got -1.0 (`check` failed)"
    for fun in (f, pb.jit(f), pb.checkpoint(f), lambda x: pb.lax.map(f, x[None])[0]):
        for checked in (checkify.checkify(fun), pb.jit(checkify.checkify(fun))):
            error, value = checked(pnp.asarray(-1.0))
            assert error.get() == says
            assert value == -2
        error, _ = pb.vmap(checkify.checkify(fun))(pnp.array([1.0, -1.0]))
        assert error.get() == f"at mapped index 1: {says}"
        slope, error = pb.grad(lambda x, fun=fun: checkify.checkify(fun)(x)[::-1], has_aux=True)(pnp.asarray(-1.0))
        assert slope == 5  # by the rule, which has no check
        assert error.get() == says


@pytest.mark.parametrize("rule", ["fwd", "jvp"])
def test_a_check_in_a_rule_that_holds_and_one_for_debugging_leave_derivatives_alone(rule):
    checked, debugged = checked_rules(pb, checkify)[rule], checked_rules(pb, checkify, debug=True)[rule]
    for f, x in [(checked, 1.0), (debugged, 1.0), (debugged, -1.0)]:
        assert pb.grad(lambda y, f=f: checkify.checkify(f)(y)[1])(x) == 2
    assert pb.jit(pb.grad(lambda y: checkify.checkify(debugged)(y)[1]))(-1.0) == 2
    for f in (checked, debugged):
        for around in (pb.grad(f), pb.jit(pb.grad(f)), pb.grad(pb.jit(f))):
            error, slope = checkify.checkify(around)(-1.0)
            assert error.get() == "the rule got -1.0 (`check` failed)"
            assert slope == 2
