"""gather and the scatters: kernel, compiled code and JAX agree for random dimension numbers; derivatives; batching."""

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from agreement import check_batching, check_derivative, check_value, close
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

import pullback as pb
from pullback import lax as gs
from pullback._ops.gather_numpy import GatherDimensionNumbers, GatherScatterMode, ScatterDimensionNumbers

MODES = ["clip", "fill", "promise_in_bounds"]
SCATTERS = ["scatter", "scatter_add", "scatter_mul", "scatter_min", "scatter_max"]


@st.composite
def gathers(draw):
    """(operand shape, indices shape, dimension numbers, slice sizes): any with at least one indexed axis."""
    rank = draw(st.integers(1, 4))
    shape = draw(st.lists(st.integers(1, 4), min_size=rank, max_size=rank))
    axes = draw(st.permutations(range(rank)))
    n_batching = draw(st.integers(0, min(rank - 1, 2)))
    batching, free = sorted(axes[:n_batching]), axes[n_batching:]
    mapped = free[: draw(st.integers(1, len(free)))]
    collapsed = sorted(d for d in free if draw(st.booleans()))
    sizes = [1 if d in collapsed or d in batching else draw(st.integers(1, shape[d])) for d in range(rank)]
    batch = draw(st.lists(st.integers(1, 3), min_size=n_batching, max_size=n_batching + 2))
    places = draw(st.permutations(range(len(batch))))[:n_batching]
    for d, place in zip(batching, places, strict=True):
        batch[place] = shape[d]
    n_offset = rank - len(collapsed) - n_batching
    offsets = sorted(draw(st.permutations(range(len(batch) + n_offset)))[:n_offset])
    numbers = (tuple(offsets), tuple(collapsed), tuple(mapped), tuple(batching), tuple(places))
    return tuple(shape), (*batch, len(mapped)), numbers, tuple(sizes)


def operand_and_indices(case, seed, outside):
    shape, indices_shape, numbers, sizes = case
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape).astype(np.float32)
    low, high = (-3, 6) if outside else (0, 1)
    indices = rng.integers(low, high, indices_shape).astype(np.int32)
    if not outside:
        tops = np.array([shape[d] - sizes[d] + 1 for d in numbers[2]], np.int32)
        indices = (rng.integers(0, 100, indices_shape) % tops if len(tops) else indices).astype(np.int32)
    return x, indices


def updates_shape(case):
    _, indices_shape, numbers, sizes = case
    dropped = {*numbers[1], *numbers[3]}
    windows = iter([n for d, n in enumerate(sizes) if d not in dropped])
    batch = iter(indices_shape[:-1])
    return tuple(
        next(windows) if i in numbers[0] else next(batch) for i in range(len(indices_shape) - 1 + len(numbers[0]))
    )


@settings(deadline=None, max_examples=25, derandomize=True)
@given(gathers(), st.sampled_from(MODES), st.integers(0, 2**16))
def test_gather_agrees_with_jax(case, mode, seed):
    x, indices = operand_and_indices(case, seed, outside=mode != "promise_in_bounds")
    _, _, numbers, sizes = case
    expected = lax.gather(jnp.asarray(x), jnp.asarray(indices), lax.GatherDimensionNumbers(*numbers), sizes, mode=mode)
    f = lambda x, i: gs.gather(x, i, GatherDimensionNumbers(*numbers), sizes, mode=mode)  # noqa: E731
    close(f(x, indices), expected)
    close(pb.jit(f)(x, indices), expected)
    check_derivative(
        lambda x: gs.gather(x, indices, GatherDimensionNumbers(*numbers), sizes, mode=mode, fill_value=0), x
    )


@settings(deadline=None, max_examples=15, derandomize=True)
@given(gathers(), st.sampled_from(MODES), st.integers(0, 2**16))
def test_gather_batches(case, mode, seed):
    x, indices = operand_and_indices(case, seed, outside=mode != "promise_in_bounds")
    _, _, numbers, sizes = case
    check_batching(lambda x, i: gs.gather(x, i, GatherDimensionNumbers(*numbers), sizes, mode=mode), x, indices)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(gathers(), st.sampled_from(SCATTERS), st.sampled_from(MODES), st.integers(0, 2**16))
def test_scatter_agrees_with_jax(case, name, mode, seed):
    x, indices = operand_and_indices(case, seed, outside=mode != "promise_in_bounds")
    numbers = case[2]
    u = np.random.default_rng(seed + 1).standard_normal(updates_shape(case)).astype(np.float32)
    oracle = getattr(lax, name)(
        jnp.asarray(x), jnp.asarray(indices), jnp.asarray(u), lax.ScatterDimensionNumbers(*numbers), mode=mode
    )
    f = lambda x, i, u: getattr(gs, name)(x, i, u, ScatterDimensionNumbers(*numbers), mode=mode)  # noqa: E731
    close(f(x, indices, u), oracle, 10)
    close(pb.jit(f)(x, indices, u), oracle, 10)


@settings(deadline=None, max_examples=15, derandomize=True)
@given(gathers(), st.sampled_from(SCATTERS), st.sampled_from(MODES), st.integers(0, 2**16))
def test_scatter_differentiates(case, name, mode, seed):
    x, indices = operand_and_indices(case, seed, outside=mode != "promise_in_bounds")
    numbers = ScatterDimensionNumbers(*case[2])
    u = np.random.default_rng(seed + 1).standard_normal(updates_shape(case)).astype(np.float32)
    # values of one sort lie well apart, so that finite differences meet no kink
    x, u = (
        (np.argsort(np.argsort(a.ravel())).reshape(a.shape) + o).astype(np.float32) / 8 for a, o in ((x, 0.0), (u, 0.5))
    )
    f = lambda x, u: getattr(gs, name)(x, indices, u, numbers, mode=mode)  # noqa: E731
    if name == "scatter_mul":
        check_derivative(lambda x: f(x, u), x)
    else:
        check_derivative(f, x, u)


@settings(deadline=None, max_examples=8, derandomize=True)
@given(gathers(), st.sampled_from(SCATTERS), st.integers(0, 2**16))
def test_scatter_batches(case, name, seed):
    x, indices = operand_and_indices(case, seed, outside=True)
    numbers = ScatterDimensionNumbers(*case[2])
    u = np.random.default_rng(seed + 1).integers(1, 4, updates_shape(case)).astype(np.float32)
    check_batching(lambda x, i, u: getattr(gs, name)(x, i, u, numbers), x, indices, u, size=2)


ROWS = GatherDimensionNumbers((1,), (0,), (0,))


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int32", "float16", "bfloat16", "complex64"])
@pytest.mark.parametrize("mode", MODES)
def test_every_dtype(dtype, mode):
    kind = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    rng = np.random.default_rng(0)
    x, u = (rng.integers(0, 2 if dtype == "bool" else 9, s).astype(kind) for s in ((4, 3), (5, 3)))
    i = np.array([[3], [0], [3], [1], [1]], np.int32)
    if mode != "promise_in_bounds":
        i[4] = 7
    check_value(
        lambda x: gs.gather(x, i, ROWS, (1, 3), mode=mode),
        lambda x: lax.gather(jnp.asarray(x), i, lax.GatherDimensionNumbers(*ROWS), (1, 3), mode=mode),
        x,
    )
    for name in SCATTERS:
        refused = ("scatter_add", "scatter_mul") if dtype == "bool" else ("scatter_min", "scatter_max")
        if dtype in ("bool", "complex64") and name in refused:
            with pytest.raises(TypeError, match=f"^{name}: expected a (real )?number"):
                getattr(gs, name)(x, i, u, ScatterDimensionNumbers(*ROWS))
            continue
        check_value(
            lambda x, u: getattr(gs, name)(x, i, u, ScatterDimensionNumbers(*ROWS), mode=mode),  # noqa: B023
            lambda x, u: getattr(lax, name)(  # noqa: B023
                jnp.asarray(x), i, u, lax.ScatterDimensionNumbers(*ROWS), mode=mode
            ),
            x,
            u,
        )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "uint32", "int16"])
def test_every_index_dtype(dtype, mode):
    x = np.arange(300, dtype=np.float32)
    i = np.array([[0], [100], [127]], dtype)
    numbers = ((), (0,), (0,))

    def ours(x, i):
        return (
            gs.gather(x, i, GatherDimensionNumbers(*numbers), (1,), mode=mode),
            gs.scatter(x, i, x[:3], ScatterDimensionNumbers(*numbers), mode=mode),
        )

    def theirs(x, i):
        return (
            lax.gather(x, i, lax.GatherDimensionNumbers(*numbers), (1,), mode=mode),
            lax.scatter(x, jnp.asarray(i, "int32"), x[:3], lax.ScatterDimensionNumbers(*numbers), mode=mode),
        )

    check_value(ours, theirs, x, i)


def test_fill_values():
    i = np.array([[9]], np.int32)
    element = GatherDimensionNumbers((), (0,), (0,))
    for x, expected in (
        (np.zeros(2, "float32"), np.nan),
        (np.zeros(2, "int16"), -(2**15)),
        (np.zeros(2, "uint8"), 255),
        (np.zeros(2, bool), True),
    ):
        np.testing.assert_array_equal(np.asarray(gs.gather(x, i, element, (1,))), np.array([expected], x.dtype))
        np.testing.assert_array_equal(np.asarray(gs.gather(x, i, element, (1,), fill_value=1)), np.ones(1, x.dtype))


def test_scatter_mul_has_a_derivative_in_its_updates():
    x, u = np.arange(1.0, 5.0, dtype="float32"), np.array([3.0, 5.0], "float32")
    i = np.array([[2], [0]], np.int32)
    numbers = ScatterDimensionNumbers((), (0,), (0,))
    check_derivative(lambda x, u: gs.scatter_mul(x, i, u, numbers, unique_indices=True), x, u)
    check_derivative(
        lambda x, u: gs.scatter_mul(x, np.int32([[2], [0], [2], [9], [2]]), u, numbers),
        x,
        np.array([3.0, 5.0, 2.0, 7.0, 0.5], "float32"),
    )
    # windows that overlap
    rows = ScatterDimensionNumbers((1,), (), (0,))
    check_derivative(
        lambda x, u: gs.scatter_mul(x, np.int32([[0], [1], [3]]), u, rows),
        x,
        np.arange(1.0, 7.0, dtype="float32").reshape(3, 2),
    )


def test_equal_extremes_share_the_derivative():
    x = np.array([1.0, 2.0], "float32")
    i = np.array([[0], [0], [1]], np.int32)
    f = lambda x, u: gs.scatter_max(x, i, u, ScatterDimensionNumbers((), (0,), (0,))).sum()  # noqa: E731
    dx, du = pb.grad(f, (0, 1))(x, np.array([1.0, 1.0, 1.0], "float32"))
    close(dx, np.array([1 / 3, 1], "float32"))
    close(du, np.array([1 / 3, 1 / 3, 0], "float32"))


def test_second_derivative_of_scatter_with_repeated_places():
    i = np.array([[0], [0], [1]], np.int32)
    numbers = ScatterDimensionNumbers((), (0,), (0,))
    u = np.array([1.0, 2.0, 3.0], "float32")
    f = lambda u: (gs.scatter(np.zeros(2, "float32"), i, u, numbers) ** 3).sum()  # noqa: E731
    for run in (pb.hessian(f), pb.jit(pb.hessian(f))):
        close(run(u), np.diag([0.0, 12.0, 18.0]).astype("float32"))


def test_modes_by_name():
    assert GatherScatterMode.from_any("drop") is GatherScatterMode.from_any(None) is GatherScatterMode.FILL_OR_DROP
    with pytest.raises(ValueError, match="unknown out-of-bounds mode 'wrap'"):
        GatherScatterMode.from_any("wrap")


REFUSED = [
    (GatherDimensionNumbers((1,), (0,), (0,)), (2, 3), "length 1 along"),
    (GatherDimensionNumbers((1,), (0,), (0,)), (1, 4), "do not fit"),
    (GatherDimensionNumbers((1,), (0,), (0, 1)), (1, 3), "last axis of the indices"),
    (GatherDimensionNumbers((1, 1), (), (0,)), (1, 3), "distinct"),
    (GatherDimensionNumbers((), (0,), (0,)), (1, 3), "a window axis"),
    (GatherDimensionNumbers((1,), (0,), (5,)), (1, 3), r"lie in \[0, 2\)"),
    (GatherDimensionNumbers((1,), (), (1,), (0,), (0,)), (1, 3), "equal lengths"),
]


@pytest.mark.parametrize(("numbers", "sizes", "message"), REFUSED)
def test_gather_refuses(numbers, sizes, message):
    with pytest.raises(ValueError, match=message):
        gs.gather(np.zeros((4, 3)), np.zeros((5, 1), np.int32), numbers, sizes)


def test_scatter_refuses():
    numbers = ScatterDimensionNumbers((1,), (0,), (0,))
    with pytest.raises(TypeError, match="one dtype"):
        gs.scatter(np.zeros((4, 3), "float32"), np.zeros((5, 1), np.int32), np.zeros((5, 3), "int32"), numbers)
    with pytest.raises(TypeError, match="indices must be integers"):
        gs.scatter(np.zeros((4, 3)), np.zeros((5, 1)), np.zeros((5, 3)), numbers)
    with pytest.raises(ValueError, match="beside the window axes"):
        gs.scatter(np.zeros((4, 3)), np.zeros((5, 1), np.int32), np.zeros((6, 3)), numbers)
