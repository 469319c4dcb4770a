"""What `vjp`, `linearize` and `linear_transpose` return is a pytree: it crosses `jit`, `vmap`, `scan` and `cond`."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.debug import counters
from pullback.tree_util import tree_flatten, tree_leaves, tree_map, tree_structure, tree_unflatten

X = np.array([0.5, 1.5, -2.0], np.float32)
CT = {"a": np.array([1.0, 2.0, 3.0], np.float32), "b": np.float32(0.5)}


def fun(x, np_=pnp):
    return {"a": np_.sin(x) * x, "b": np_.exp(x[0]) * 2.0}


def expected(x=X, ct=CT):
    return jax.vjp(lambda x: fun(x, jnp), jnp.asarray(x))[1](tree_map(jnp.asarray, ct))[0]


@pb.jit
def forward(x):
    return pb.vjp(fun, x)


@pb.jit
def backward(f_vjp, ct):
    return f_vjp(ct)


@pb.custom_vjp
def tripled(x):
    return x * x


tripled.defvjp(lambda x: (x * x, x), lambda x, ct: (3.0 * x * ct,))


def test_the_leaves_are_what_was_saved():
    _, f_vjp = pb.vjp(lambda x: pnp.sin(x), X)
    (saved,) = tree_leaves(f_vjp)
    np.testing.assert_allclose(saved, np.cos(X), rtol=1e-6)
    # a value that two operations need is one leaf
    _, f_vjp = pb.vjp(lambda x: (2.0 * x * 3.0, x * x), X)
    assert sum(leaf is tree_leaves(f_vjp)[-1] for leaf in tree_leaves(f_vjp)) == 1


def test_it_is_called_after_a_round_trip():
    _, f_vjp = pb.vjp(fun, X)
    leaves, tree = tree_flatten(f_vjp)
    for f in (f_vjp, tree_unflatten(tree, leaves)):
        for _ in range(2):
            np.testing.assert_allclose(f(CT)[0], expected(), rtol=1e-5)
    doubled = tree_map(lambda leaf: leaf, f_vjp)
    assert tree_structure(doubled) == tree
    with pytest.raises(TypeError, match="the vjp of fun: the cotangent must have the structure of the result"):
        doubled(CT["a"])


def test_jit_returns_it_and_takes_it():
    value, f_vjp = forward(X)
    np.testing.assert_allclose(value["a"], np.sin(X) * X, rtol=1e-6)
    for f in (f_vjp, pb.vjp(fun, X)[1]):
        np.testing.assert_allclose(f(CT)[0], expected(), rtol=1e-5)
        np.testing.assert_allclose(backward(f, CT)[0], expected(), rtol=1e-5)


def test_another_point_compiles_nothing():
    backward(pb.vjp(fun, X)[1], CT)
    backward(forward(X)[1], CT)
    with counters() as seen:
        np.testing.assert_allclose(backward(pb.vjp(fun, X + 1)[1], CT)[0], expected(X + 1), rtol=1e-5)
        np.testing.assert_allclose(backward(forward(X + 1)[1], CT)[0], expected(X + 1), rtol=1e-5)
    assert seen["compiles"] == 0


def loop(x):
    return lax.fori_loop(0, 3, lambda i, x: pnp.sin(x) * x, x)


@pytest.mark.parametrize(
    "function",
    [fun, tripled, pb.jit(fun), pb.vmap(tripled), loop],
    ids=["plain", "custom rule", "jit", "batched rule", "loop"],
)
def test_structures_are_equal_for_one_function(function):
    one, two = pb.vjp(function, X)[1], pb.vjp(function, X + 1.0)[1]
    assert tree_structure(one) == tree_structure(two)
    assert hash(tree_structure(one)) == hash(tree_structure(two))
    for f, x in ((one, X), (two, X + 1.0)):
        (got,) = backward(f, tree_map(pnp.ones_like, function(x)))
        (want,) = f(tree_map(pnp.ones_like, function(x)))
        np.testing.assert_allclose(got, want, rtol=1e-5)


def test_structures_differ_for_different_functions():
    structures = [
        tree_structure(pb.vjp(f, 2.0)[1])
        for f in (
            lambda x: x * x,
            lambda x: x * 2.0,
            lambda x: -x,
            tripled,
            lambda x: (x, x),
            lambda x: lax.stop_gradient(x),
        )
    ]
    assert len(set(structures)) == len(structures)
    # a vjp and a linearized function are not the same either
    assert tree_structure(pb.linearize(pnp.sin, 2.0)[1]) != tree_structure(pb.vjp(pnp.sin, 2.0)[1])


def test_a_rule_with_another_constant_is_another_function():
    def scaled(factor):
        f = pb.custom_vjp(lambda x: x)
        f.defvjp(lambda x: (x, None), lambda _, ct: (factor * ct,))
        return f

    two, three = (pb.vjp(scaled(factor), 1.0)[1] for factor in (2.0, 3.0))
    assert tree_structure(two) != tree_structure(three)
    assert float(backward(two, 1.0)[0]) == 2.0
    assert float(backward(three, 1.0)[0]) == 3.0


def test_through_control_flow():
    def body(carry, x):
        return pb.vjp(lambda a: pnp.sin(a) * x, x)[1], carry(1.0)[0]

    @pb.jit
    def run(xs):
        x = xs[0]
        first = pb.vjp(lambda a: pnp.sin(a) * x, x)[1]
        last, rows = lax.scan(body, first, xs)
        return last(1.0)[0], rows

    last, rows = run(X)
    derivatives = np.cos(X) * X
    np.testing.assert_allclose(last, derivatives[-1], rtol=1e-5)
    np.testing.assert_allclose(rows, [derivatives[0], *derivatives[:-1]], rtol=1e-5)

    def chosen(flag, x):
        return lax.cond(flag, lambda x: pb.vjp(pnp.sin, x)[1], lambda x: pb.vjp(pnp.sin, 2.0 * x)[1], x)(1.0)[0]

    for f in (chosen, pb.jit(chosen)):
        assert float(f(True, 0.5)) == pytest.approx(np.cos(0.5), rel=1e-6)
        assert float(f(False, 0.5)) == pytest.approx(np.cos(1.0), rel=1e-6)


def test_under_vmap_and_grad():
    pullbacks = pb.vmap(lambda x: pb.vjp(pnp.sin, x)[1])(X)
    (got,) = pb.vmap(lambda f, ct: f(ct))(pullbacks, np.ones(3, np.float32))
    np.testing.assert_allclose(got, np.cos(X), rtol=1e-6)
    assert float(pb.grad(lambda x: forward_sin(x)[1](1.0)[0])(1.0)) == pytest.approx(-np.sin(1.0), rel=1e-5)
    f_vjp = forward_sin(1.0)[1]
    assert float(pb.grad(lambda ct: f_vjp(ct)[0])(1.0)) == pytest.approx(np.cos(1.0), rel=1e-6)
    np.testing.assert_allclose(pb.vmap(lambda ct: f_vjp(ct)[0])(X), np.cos(1.0) * X, rtol=1e-6)
    # the residuals are arguments like any other
    doubled = pb.grad(lambda f: f(1.0)[0])(f_vjp)
    assert float(tree_leaves(doubled)[0]) == 1.0


@pb.jit
def forward_sin(x):
    return pb.vjp(pnp.sin, x)


def test_integers_and_vanishing_cotangents():
    _, f_vjp = forward_int(2.0, 3)
    ct_x, ct_n, ct_unused = f_vjp(1.0)
    assert float(ct_x) == 3.0
    assert ct_n.dtype == pb.dtypes.float0
    assert float(ct_unused) == 0.0


@pb.jit
def forward_int(x, n):
    return pb.vjp(lambda x, n, unused: x * n, x, n, 1.0)


def test_linearize_and_linear_transpose():
    _, f_jvp = pb.jit(lambda x: pb.linearize(fun, x))(X)
    _, want = jax.jvp(lambda x: fun(x, jnp), (jnp.asarray(X),), (jnp.ones(3),))
    for f in (f_jvp, pb.linearize(fun, X)[1]):
        for got in (f(np.ones(3, np.float32)), pb.jit(lambda f, t: f(t))(f, np.ones(3, np.float32))):
            np.testing.assert_allclose(got["a"], want["a"], rtol=1e-5)
            np.testing.assert_allclose(got["b"], want["b"], rtol=1e-5)


@pb.jit
def transpose_of_multiplication(a):
    return pb.linear_transpose(lambda x: a * x, 1.0)


def test_linear_transpose_comes_out_of_jit():
    assert float(transpose_of_multiplication(3.0)(2.0)[0]) == 6.0


def test_eager_gradients_make_no_forms(monkeypatch):
    def refuse(linear):
        raise AssertionError

    monkeypatch.setattr("pullback._api.linear_functions.form_of", refuse)
    assert float(pb.grad(lambda x: x * x)(3.0)) == 6.0
    assert float(pb.vjp(lambda x: x * x, 3.0)[1](1.0)[0]) == 6.0


def squared(x):
    return x * x


def doubled(x):
    return 2.0 * x


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy])
def test_copies_do_what_the_original_does(make):
    ones = pnp.ones(3)
    _, f_vjp = pb.vjp(squared, X)
    _, f_jvp = pb.linearize(squared, X)
    transposed = pb.linear_transpose(doubled, X)
    # before and after it was first taken apart
    for _ in range(2):
        np.testing.assert_allclose(make(f_vjp)(ones)[0], 2 * X)
        np.testing.assert_allclose(make(make(f_jvp))(ones), 2 * X)
        np.testing.assert_allclose(make(transposed)(ones)[0], 2 * np.ones(3))
        tree_leaves((f_vjp, f_jvp, transposed))
    assert tree_structure(make(f_vjp)) == tree_structure(f_vjp)


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy])
def test_copies_of_traced_functions_are_differentiated(make):
    @pb.grad
    def second(x):
        _, f_vjp = pb.vjp(lambda x: x * x * x, x)
        return make(f_vjp)(1.0)[0]

    assert float(second(2.0)) == 12.0


def test_a_deep_copy_outlives_the_donation_of_the_original():
    _, f_vjp = pb.vjp(lambda x: x * x, X)
    kept = copy.deepcopy(f_vjp)
    pb.jit(lambda f: f(pnp.ones(3)), donate_argnums=0)(f_vjp)
    np.testing.assert_allclose(kept(pnp.ones(3))[0], 2 * X)


def test_what_does_not_fit_is_named():
    _, f_vjp = pb.vjp(squared, 1.0)
    _, f_jvp = pb.linearize(squared, 1.0)
    for args, kwargs, got in (((1.0, 2.0), {}, "got 2"), ((), {}, "got 0"), ((1.0,), {"ct": 1.0}, "keywords ct")):
        with pytest.raises(
            TypeError,
            match=f"the vjp of squared takes one argument, the cotangent of the result, {got}" if "got" in got else got,
        ):
            f_vjp(*args, **kwargs)
    with pytest.raises(TypeError, match="the linearized squared takes tangents by position, got the keywords t"):
        f_jvp(t=1.0)
    with pytest.raises(TypeError, match="at the top: expected a leaf, got a tuple of 2 children"):
        f_vjp((1.0, 2.0))
    local = pb.custom_vjp(lambda x: 2.0 * x)
    local.defvjp(lambda x: (local(x), None), lambda _, ct: (2.0 * ct,))
    with pytest.raises(TypeError, match="the vjp of <lambda> cannot be pickled: the operation 'custom_backward' of"):
        pickle.dumps(pb.vjp(local, 1.0)[1])


def test_other_processes_get_it():
    for function in (fun, loop):
        _, f_vjp = pb.vjp(function, X)
        _, f_jvp = pb.linearize(function, X)
        ct = tree_map(pnp.ones_like, function(X))
        copied, pushed = pickle.loads(pickle.dumps((f_vjp, f_jvp)))
        np.testing.assert_array_equal(copied(ct)[0], f_vjp(ct)[0])
        np.testing.assert_array_equal(tree_leaves(pushed(X))[0], tree_leaves(f_jvp(X))[0])
        assert tree_structure(copied) == tree_structure(f_vjp)


def halved_fwd(x):
    return halved(x), x


def halved_bwd(x, ct):
    return (5.0 * x * ct,) if ct.shape == () else None


@pb.custom_vjp
def halved(x):
    return x / 2


halved.defvjp(halved_fwd, halved_bwd)


def test_other_processes_get_rules():
    """Those of functions that have a name; a message after the journey still says where the call was."""
    _, f_vjp = pb.vjp(halved, 3.0)
    copied = pickle.loads(pickle.dumps(f_vjp))
    assert copied(2.0)[0] == 30.0
    _, over_rows = pb.vjp(pb.vmap(halved), pnp.ones((2, 1)))
    with pytest.raises(
        pb.errors.RuleError, match=rf"halved_bwd .* of custom_vjp function halved .*, called at {__file__}"
    ):
        pickle.loads(pickle.dumps(over_rows))(pnp.ones((2, 1)))
