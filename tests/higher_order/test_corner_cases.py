"""Uses that are rare and allowed: predicates of numbers, one branch, complex operands of checkpoints, linear maps that
differ in little, batches of what has no batch."""

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.ad_checkpoint import saved_residuals

X = pnp.arange(1.0, 4.0)


def plus(x):
    return x + 1


def minus(x):
    return x - 1


# --- choices ---


@pytest.mark.parametrize(("number", "expected"), [(2, 6), (0, 4), (-1, 6), (0.5, 6), (0.0, 4)])
def test_a_number_as_predicate(number, expected):
    def choose(p):
        return lax.cond(p, plus, minus, 5.0)

    for run in (choose, pb.jit(choose)):
        assert float(run(number)) == expected
        assert float(run(pnp.asarray(number))) == expected


def test_a_switch_of_one_branch():
    def only(i, x):
        return lax.switch(i, [plus], x)

    for run in (only, pb.jit(only), pb.grad(only, 1)):
        assert float(run(7, 2.0)) in (3.0, 1.0)
    assert float(only(-3, 2.0)) == 3
    assert float(pb.grad(only, 1)(7, 2.0)) == 1


def test_a_scan_of_nothing():
    def step(total, x):
        return total + x, total * x

    for run in (lax.scan, pb.jit(lax.scan, static_argnums=0)):
        total, products = run(step, 1.0, pnp.zeros((0,)))
        assert (float(total), products.shape) == (1, (0,))


# --- checkpoints ---


@pytest.mark.parametrize("transform", [lambda f: f, pb.jit], ids=["eager", "jit"])
def test_a_checkpoint_of_complex_numbers(transform):
    waves = pb.checkpoint(lambda z: pnp.exp(z) * pnp.sin(z))

    def power(x):
        return pnp.abs(waves(x * (1 + 2j))) ** 2

    def plain(x):
        z = x * (1 + 2j)
        return pnp.abs(pnp.exp(z) * pnp.sin(z)) ** 2

    np.testing.assert_allclose(transform(pb.grad(power))(0.7), pb.grad(plain)(0.7), rtol=1e-5)


def test_residuals_of_constants_and_of_what_is_traced_around():
    table = pnp.array([2.0, 3.0, 4.0])

    def scaled(x):
        return pnp.sin(x * table)

    assert any("constant" in str(residual) for residual in saved_residuals(scaled, X))
    texts = []

    def around(y):
        texts.extend(map(str, saved_residuals(lambda x: pnp.sin(x * y), X)))
        return y

    pb.jit(around)(2.0)
    assert any("jit" in text for text in texts)


# --- linear maps that differ in little ---


def scaled_by(table):
    return lambda x: x * table


def total_along(axis):
    return lambda x: pnp.stack([x, 2 * x]).sum(axis)


def linear_map(f):
    return pb.linearize(f, X)[1]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (pnp.sin, lambda x: pnp.sin(pnp.sin(x))),
        (lambda x: x[0], lambda x: x[1]),
        (lambda x: x[:1], lambda x: x[:2]),
        (total_along(0), total_along(1)),
        (lambda x: pnp.cumsum(x), lambda x: -x),
    ],
)
def test_structures_of_linear_maps_are_unequal(first, second):
    assert pb.tree.structure(linear_map(first)) != pb.tree.structure(linear_map(second))


@pytest.mark.parametrize(("make", "argument"), [(scaled_by, X), (total_along, 0), (total_along, 1)])
def test_structures_of_linear_maps_made_twice_are_equal(make, argument):
    assert pb.tree.structure(linear_map(make(argument))) == pb.tree.structure(linear_map(make(argument)))


def test_the_text_of_a_linear_map():
    assert "linear map" in repr(pb.tree.structure(linear_map(pnp.sin)))


# --- calls to the host ---


def halves(x):
    return np.asarray(x) / 2


def test_a_linear_callback_without_batch_or_tangent():
    half = pb.linear_callback(halves, halves)

    np.testing.assert_array_equal(half(X), X / 2)
    np.testing.assert_array_equal(pb.vmap(lambda y: half(X) + y)(X)[1], X / 2 + 2)
    assert pb.grad(lambda y: half(X).sum() * y)(2.0) == 3
    np.testing.assert_array_equal(pb.grad(lambda x: half(x).sum())(X), np.full(3, 0.5))


def test_nans_of_a_callback_are_found():
    def bad(x):
        return np.full_like(x, np.nan)

    def call(x):
        return pb.pure_callback(bad, pb.ShapeDtypeStruct((), np.float32), x)

    with pb.debug_nans(True), pytest.raises(FloatingPointError):
        call(pnp.float32(1))


def test_nans_born_at_several_places_are_all_told():
    def born(x):
        a = pnp.log(x - 1) * 0
        b = pnp.sqrt(x - 2)
        return a + b

    report = pb.debug.find_nan(born)(0.5)
    assert "later, at other places:" in str(report)
    assert len(report.births) > 1
