"""The operators of arrays: every one, with the array on either side, eagerly and traced; foreign operands."""

import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp

X = np.array([1.5, -2.0, 3.0], np.float32)
I = np.array([1, 2, 3], np.int32)  # noqa: E741
B = np.array([True, False, True])

FLOATING = [
    operator.add,
    operator.sub,
    operator.mul,
    operator.truediv,
    operator.floordiv,
    operator.mod,
    operator.pow,
    divmod,
    operator.eq,
    operator.ne,
    operator.lt,
    operator.le,
    operator.gt,
    operator.ge,
]
INTEGRAL = [operator.and_, operator.or_, operator.xor, operator.lshift, operator.rshift]


def assert_equal(got, expected):
    if isinstance(expected, tuple):
        for g, e in zip(got, expected, strict=True):
            assert_equal(g, e)
        return
    assert isinstance(got, pb.Array)
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    np.testing.assert_allclose(np.asarray(got), np.asarray(expected), rtol=1e-6)


@pytest.mark.parametrize("symbol", FLOATING, ids=lambda f: f.__name__)
def test_arithmetic_and_comparison(symbol):
    base = pnp.asarray(np.abs(X))
    theirs = jnp.asarray(np.abs(X))
    others = (2, 2.5, True, np.float32(0.5), np.float64(0.5), np.abs(X[::-1]), I, np.int8(3))

    def both_ways(x):
        return [symbol(x, x), *(pair for other in others for pair in (symbol(x, other), symbol(other, x)))]

    # all of them in one program: it compiles for longer than it runs
    expected = jax.jit(both_ways)(theirs)
    for run in (both_ways, pb.jit(both_ways)):
        for got, right in zip(run(base), expected, strict=True):
            assert_equal(got, right)


@pytest.mark.parametrize("symbol", INTEGRAL, ids=lambda f: f.__name__)
def test_bits(symbol):
    for other in (2, np.int32(1), I[::-1].copy()):
        assert_equal(symbol(pnp.asarray(I), other), symbol(jnp.asarray(I), other))
        assert_equal(symbol(other, pnp.asarray(I)), symbol(other, jnp.asarray(I)))
    if symbol not in (operator.lshift, operator.rshift):
        assert_equal(symbol(pnp.asarray(B), True), symbol(jnp.asarray(B), True))


def test_unary():
    for symbol in (operator.neg, operator.pos, abs):
        assert_equal(symbol(pnp.asarray(X)), symbol(jnp.asarray(X)))
    for x in (I, B):
        assert_equal(~pnp.asarray(x), ~jnp.asarray(x))
    assert_equal(round(pnp.asarray(X)), round(jnp.asarray(X)))
    assert_equal(round(pnp.asarray(X), 1), round(jnp.asarray(X), 1))


def test_matrix_product():
    m, v = np.arange(6, dtype=np.float32).reshape(2, 3), np.arange(3, dtype=np.float32)
    assert_equal(pnp.asarray(m) @ pnp.asarray(v), jnp.asarray(m) @ v)
    assert_equal(pnp.asarray(m) @ v, jnp.asarray(m) @ v)
    assert_equal(m @ pnp.asarray(v), jnp.asarray(m) @ v)


def test_assignment_operators_rebind():
    x = y = pnp.asarray(X)
    x += 1
    x *= 2
    x **= 2
    np.testing.assert_allclose(np.asarray(x), ((X + 1) * 2) ** 2)
    np.testing.assert_array_equal(np.asarray(y), X)


def test_chained_comparison_and_conditions():
    x = pnp.float32(0.5)
    assert 0 < x < 1
    assert not x > 1
    assert (x if x == 0.5 else None) is x


def test_foreign_operands_get_their_turn():
    class Foreign:
        def __radd__(self, other):
            return "theirs"

        def __rpow__(self, other):
            return "theirs"

        def __eq__(self, other):
            return "equal"

        __hash__ = None

    x = pnp.asarray(X)
    assert x + Foreign() == "theirs"
    assert x ** Foreign() == "theirs"
    assert (x == Foreign()) == "equal"
    assert (x == None) is False  # noqa: E711
    assert (x != None) is True  # noqa: E711
    assert (x == "a") is False
    with pytest.raises(TypeError, match="unsupported operand"):
        x + "a"
    with pytest.raises(TypeError, match="unsupported operand"):
        x % object()
    with pytest.raises(TypeError):
        x < None  # noqa: B015


@pytest.mark.parametrize("other", [[1, 2, 3], (1, 2, 3), {1: 2}, {1}])
def test_containers_are_refused_with_a_hint(other):
    x = pnp.asarray(X)
    for symbol in (operator.add, operator.mul, operator.pow, operator.eq, operator.lt):
        for args in ((x, other), (other, x)):
            with pytest.raises(TypeError, match=r"unsupported operand types.*asarray|can only concatenate"):
                symbol(*args)


def test_hashing_stays_refused():
    with pytest.raises(TypeError, match="unhashable"):
        hash(pnp.asarray(X))
    with pytest.raises(TypeError, match="unhashable"):
        {pnp.asarray(X): 1}


def test_operators_have_their_names():
    assert pb.Array.__add__.__qualname__ == "Array.__add__"
    assert pb.Array.__radd__.__name__ == "__radd__"
    assert pb.Array.__matmul__.__name__ == "__matmul__"


def test_gradients_through_operators():
    def f(x):
        return ((2 * x - 1) / (x**2 + 1) + 3 // (abs(x) + 10) - (-x) % 2).sum()

    def g(x):
        return ((2 * x - 1) / (x**2 + 1)).sum() + (x - 2 * np.floor(-X / 2)).sum() * 0 + x.sum()

    np.testing.assert_allclose(np.asarray(pb.grad(f)(X)), np.asarray(pb.grad(g)(X)), rtol=1e-5)
