"""`reduce` and `reduce_window` with computations that are no single operation: derivatives, batches, both modes."""

import jax
import numpy as np
import pytest
from agreement import Sampler, agree, check_batching, check_derivative, close
from jax import lax as jlax

import pullback as pb
from pullback import lax

data = Sampler(4)


def rotated(L, a, b):
    """Composition of the maps x -> 2 x + a, which depends on the order: associative, not commutative."""
    return {"scale": L.mul(a["scale"], b["scale"]), "shift": L.add(L.mul(a["scale"], b["shift"]), a["shift"])}


def maps(L):
    def composed(tree):
        start = {"scale": np.float32(1), "shift": np.float32(0)}
        return L.reduce(tree, start, lambda a, b: rotated(L, a, b), (1,))

    return composed


def log_sum(L):
    def log_add(a, b):
        top = L.max(a, b)
        return L.add(top, L.log(L.add(L.exp(L.sub(a, top)), L.exp(L.sub(b, top)))))

    return lambda x, start: L.reduce(x, start, log_add, (0, 2))


@pytest.mark.parametrize("length", [1, 2, 5, 8])
def test_values_and_derivatives(length):
    x, start = data((2, 3, length)), np.float32(0.5)
    agree(log_sum(lax), log_sum(jlax), x, start)
    check_derivative(log_sum(lax), x, start)
    check_batching(log_sum(lax), x, start)
    gradient = pb.grad(lambda x, s: log_sum(lax)(x, s).sum())(x, start)
    # the derivative of a sum of exponentials' logarithm is the share of each
    weights = np.exp(x.astype("float64"))
    np.testing.assert_allclose(
        gradient, weights / (weights.sum((0, 2), keepdims=True) + np.exp(0.5)), rtol=1e-5, atol=1e-7
    )


def test_the_order_of_a_computation_that_does_not_commute():
    tree = {"scale": data((2, 7)), "shift": data((2, 7))}
    expected = maps(jlax)(tree)
    for run in (maps(lax), pb.jit(maps(lax))):
        got = run(tree)
        close(got["scale"], expected["scale"])
        close(got["shift"], expected["shift"])
    loop = np.zeros(2)
    for k in reversed(range(7)):
        loop = tree["shift"][:, k] + tree["scale"][:, k] * loop
    np.testing.assert_allclose(got["shift"], loop, rtol=1e-4, atol=1e-6)
    check_derivative(lambda a, b: maps(lax)({"scale": a, "shift": b})["shift"], tree["scale"], tree["shift"])


def test_second_derivatives_and_forward_over_reverse():
    x = data((1, 3, 2))
    total = lambda x: log_sum(lax)(x, np.float32(0)).sum()  # noqa: E731
    hessian = pb.jacfwd(pb.grad(total))(x)
    reference = jax.hessian(
        lambda x: jax.nn.logsumexp(jax.numpy.concatenate([x.ravel().reshape(3, 2), np.zeros((3, 1))], 1), 1).sum()
    )
    np.testing.assert_allclose(np.asarray(hessian).reshape(6, 6), np.asarray(reference(x)).reshape(6, 6), atol=1e-6)
    np.testing.assert_allclose(pb.jacrev(pb.grad(total))(x), hessian, atol=1e-6)


def test_positions_beside_values():
    """An argmax by a computation of pairs: the derivative goes to the element that wins."""

    def larger(a, b):
        first = lax.ge(a[0], b[0])
        return lax.select(first, a[0], b[0]), lax.select(first, a[1], b[1])

    def winner(x):
        start = (np.float32(-np.inf), np.int32(-1))
        return lax.reduce((x, np.arange(5, dtype="int32")), start, larger, (0,))

    x = np.array([1.0, 3, 2, 5, 4], "float32")
    assert int(winner(x)[1]) == 3
    np.testing.assert_array_equal(pb.grad(lambda x: winner(x)[0])(x), [0, 0, 0, 1, 0])


def test_axes_without_elements():
    f = log_sum(lax)
    x = np.zeros((0, 3, 2), "float32")
    close(f(x, np.float32(0.5)), np.full(3, 0.5, "float32"))
    assert pb.grad(lambda s: f(x, s).sum())(np.float32(0.5)) == 3.0


WINDOWS = [
    {"window_dimensions": (1, 2), "window_strides": (1, 1)},
    {"window_dimensions": (2, 2), "window_strides": (1, 2), "padding": "SAME"},
    {"window_dimensions": (2, 3), "padding": [(1, 0), (0, 1)], "window_dilation": (1, 2), "base_dilation": (2, 1)},
]


@pytest.mark.parametrize("options", WINDOWS, ids=range(3))
def test_windows(options):
    def of(L):
        def times_plus(a, b):
            return L.sub(L.mul(L.add(a, L.full_like(a, 1)), L.add(b, L.full_like(b, 1))), L.full_like(a, 1))

        return lambda x, start: L.reduce_window(
            x, start, times_plus, **{"window_strides": (1, 1), "padding": "VALID", **options}
        )

    x, start = data((3, 4)), np.float32(0.25)
    agree(of(lax), of(jlax), x, start)
    check_derivative(of(lax), x, start)
    check_batching(of(lax), x, start)


def test_sums_from_another_start_are_differentiated():
    x = data((5,))
    f = lambda x, start: lax.reduce_window(x, start, lax.add, (2,))  # noqa: E731
    check_derivative(f, x, np.float32(1.5))


def test_closed_over_arrays_are_refused():
    def weighted(w):
        return lax.reduce(np.ones(3, "float32"), np.float32(0), lambda a, b: a + b * w, (0,))

    with pytest.raises(TypeError, match="close over no array"):
        pb.jit(weighted)(2.0)
