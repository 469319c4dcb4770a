"""Arrays from data, of one value, from ranges and by formula: against JAX, eagerly and compiled."""

import array as python_array
from functools import partial

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from agreement import all_close, check_batching, check_derivative, close

import pullback as pb
import pullback.numpy as pnp

DATA = [
    1,
    1.0,
    True,
    1j,
    [1, 2],
    [1, 2.5],
    [True, 2],
    [[1, 2], [3, 4]],
    [],
    [[]],
    (1, 2),
    [1.0, 2j],
    range(3),
    np.arange(3),
    np.arange(3.0),
    np.float64(2),
    np.int8(3),
    [np.int8(1), 2],
    [np.float32(1), 2.0],
    [np.arange(2), [3, 4]],
    [np.int8(1), np.uint8(2)],
    np.zeros((2, 0)),
    np.array(True),
    np.array([1 + 2j]),
    np.zeros(2, ml_dtypes.bfloat16),
    [np.float16(1), 2],
    (np.arange(3), np.arange(3.0)),
    [[np.float32(1)], [2]],
]


@pytest.mark.parametrize("data", DATA, ids=repr)
def test_array_and_asarray_as_jax(data):
    if isinstance(data, range):
        expected = jnp.array(list(data))
    else:
        expected = jnp.array(data)
    for make in (pnp.array, pnp.asarray):
        got = make(data)
        close(got, expected)
        assert got.weak_type == expected.weak_type
        close(pb.jit(lambda: make(data))(), expected)  # noqa: B023


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint32", "float16", "float32", "complex64", int, float])
@pytest.mark.parametrize("data", [1, 2.7, True, [1, 0, 2], [1.5, 2.5], np.arange(3.0), np.float64(1.9)], ids=repr)
def test_with_a_dtype_as_jax(data, dtype):
    with jax.enable_x64(False), np.errstate(all="ignore"):
        expected = jnp.array(data, jax.dtypes.canonicalize_dtype(dtype))
    got = pnp.array(data, dtype)
    close(got, expected)
    assert not got.weak_type


def test_arrays_in_sequences():
    x = pnp.arange(2.0)
    close(pnp.array([x, x]), np.array([[0, 1], [0, 1]], np.float32))
    close(pnp.array([[x[0], 5], [6, x[1]]]), np.array([[0, 5], [6, 1]], np.float32))
    close(pb.jit(lambda x: pnp.array([x[0], 2, x[1]]))(x), np.array([0, 2, 1], np.float32))
    close(pb.jit(lambda i: pnp.array([[i, 2.5], [3, i]]))(1), np.array([[1, 2.5], [3, 1]], np.float32))
    close(pb.grad(lambda a: (pnp.array([a, 2 * a, 3.0]) ** 2).sum())(2.0), np.float32(20))
    with pytest.raises(ValueError, match="one shape"):
        pb.jit(lambda a: pnp.array([a, [a, a]]))(1.0)


def test_data_is_copied():
    data = np.arange(3.0, dtype=np.float32)
    for make in (pnp.array, pnp.asarray, pnp.from_dlpack):
        x = make(data)
        data[0] = 9.0
        assert float(x[0]) == 0.0
        data[0] = 0.0
    x = pnp.arange(3.0)
    assert pnp.asarray(x) is x
    assert pnp.array(x) is not x  # a copy, which outlives the donation of x
    with pytest.raises(ValueError, match="copy=False"):
        pnp.asarray(data, copy=False)


def test_data_of_others():
    close(pnp.from_dlpack(jnp.arange(3.0)), np.arange(3, dtype=np.float32))
    close(pnp.asarray(jnp.arange(3)), np.arange(3, dtype=np.int32))
    close(pnp.asarray(python_array.array("f", [1, 2])), np.array([1, 2], np.float32))
    close(pnp.asarray(memoryview(b"ab")), np.frombuffer(b"ab", np.uint8))
    close(pnp.frombuffer(b"\x01\x00\x02\x00", "int16"), np.array([1, 2], np.int16))
    close(pnp.frombuffer(b"abcd", "uint8", 2, 1), np.array([98, 99], np.uint8))
    close(pnp.fromiter(iter([1, 2]), "int32"), np.array([1, 2], np.int32))

    class Wrapped:
        def __array__(self, dtype=None, copy=None):
            return np.array([7.0])

    close(pnp.asarray(Wrapped()), np.array([7.0], np.float32))


def test_others_read_arrays():
    x = pnp.arange(3.0)
    assert jnp.from_dlpack(x).tolist() == [0.0, 1.0, 2.0]
    close(np.from_dlpack(x), np.arange(3, dtype=np.float32))


def test_what_numpy_allows_and_jax_does_not():
    close(pnp.asarray(np.arange(3, dtype=">i4")), np.arange(3, dtype=np.int32))
    all_close(
        pnp.meshgrid(np.arange(2), 5, sparse=True), np.meshgrid(np.arange(2, dtype=np.int32), np.int32(5), sparse=True)
    )


def test_ndmin_order_device():
    assert pnp.array(1.0, ndmin=2).shape == (1, 1)
    assert pnp.array([1.0], order="C", device=pnp.zeros(1).device).shape == (1,)
    with pytest.raises(NotImplementedError, match="order"):
        pnp.array([1.0], order="F")
    with pytest.raises(TypeError, match="zeros: device: expected None, a device"):
        pnp.zeros(2, device="tpu")


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (None, TypeError, "got None"),
        ("abc", TypeError, "got 'abc'"),
        ([[1, 2], [3]], ValueError, "inhomogeneous"),
        (object(), TypeError, "type builtins.object"),
        (np.array(["a"]), TypeError, "dtype str"),
        ([1, "a"], TypeError, "'a'"),
        (np.array([None]), TypeError, "object"),
        (b"ab", TypeError, "frombuffer"),
        ({1: 2}, TypeError, "dict"),
    ],
)
def test_refused_data(data, error, message):
    with pytest.raises(error, match=message):
        pnp.array(data)
    with pytest.raises(error, match=message):
        pnp.asarray(data)


def test_integers_that_do_not_fit():
    for data in (2**40, [2**40]):
        with pytest.raises(OverflowError):
            pnp.array(data)
    with pb.enable_x64(True):
        assert pnp.array(2**40).dtype == np.int64


CASES = [
    ("zeros", (3,), {}),
    ("zeros", ((2, 0), "int8"), {}),
    ("zeros", (np.int64(2),), {}),
    ("zeros", ([2, 3], bool), {}),
    ("ones", ((2,), complex), {}),
    ("ones", ((), None), {}),
    ("full", ((2, 2), 3), {}),
    ("full", (2, 1.5, int), {}),
    ("full", ((2, 3), np.arange(3)), {}),
    ("full", (2, True), {}),
    ("zeros_like", (np.ones((2, 3), np.int8),), {}),
    ("ones_like", (1.0,), {}),
    ("full_like", (np.arange(3.0), 2), {}),
    ("zeros_like", (np.arange(3), float), {}),
    ("ones_like", (np.arange(3),), {"shape": (2, 2)}),
    ("full_like", (np.arange(3), 2.7), {}),
    ("arange", (5,), {}),
    ("arange", (2, 9, 3), {}),
    ("arange", (9, 2, -3), {}),
    ("arange", (0.0, 1.0, 0.3), {}),
    ("arange", (3.5,), {}),
    ("arange", (2, 2), {}),
    ("arange", (5, 1), {}),
    ("arange", (3,), {"dtype": "int8"}),
    ("arange", (np.float32(2),), {}),
    ("arange", (1, 3, np.int8(1)), {}),
    ("arange", (3,), {"dtype": "bfloat16"}),
    ("arange", (1, 7, 2.5), {}),
    ("arange", (4,), {"step": 2}),
    ("linspace", (0, 1, 5), {}),
    ("linspace", (0, 1), {"num": 4, "endpoint": False}),
    ("linspace", (2.0, 3.0, 1), {}),
    ("linspace", (0, 1, 0), {}),
    ("linspace", (np.arange(2.0), 5, 3), {}),
    ("linspace", (0, 10, 4), {"dtype": int}),
    ("linspace", (np.arange(2.0), 5, 3), {"axis": -1}),
    ("linspace", (0, 1, 3), {"retstep": True}),
    ("linspace", (0, 1j, 3), {}),
    ("linspace", (0, 1, 3), {"dtype": "float16"}),
    ("linspace", (-3, 3, 5), {"dtype": int}),
    ("logspace", (0, 2, 3), {}),
    ("logspace", (0, 2, 4, False, 2.0), {}),
    ("geomspace", (1, 1000, 4), {}),
    ("geomspace", (-1, -8, 4), {}),
    ("geomspace", (1, 16, 4, False), {}),
    ("eye", (3,), {}),
    ("eye", (2, 4, 1), {}),
    ("eye", (3, 2, -1, int), {}),
    ("eye", (0,), {}),
    ("identity", (3,), {}),
    ("tri", (3,), {}),
    ("tri", (2, 4, 1), {}),
    ("tri", (3, 3, -1, bool), {}),
    ("tril", (np.ones((2, 3, 4)),), {}),
    ("tril", (np.arange(12).reshape(3, 4), -1), {}),
    ("triu", (np.arange(12).reshape(3, 4), 1), {}),
    ("triu", (np.ones((3, 3), bool), -1), {}),
    ("tril_indices", (3,), {}),
    ("tril_indices", (3, 1, 4), {}),
    ("triu_indices", (3, -1), {}),
    ("tril_indices_from", (np.ones((3, 4)),), {"k": 1}),
    ("triu_indices_from", (np.ones((3, 4)),), {}),
    ("diag_indices", (3,), {}),
    ("diag_indices", (2, 3), {}),
    ("diag_indices_from", (np.ones((2, 2)),), {}),
    ("diag", (np.arange(3.0),), {}),
    ("diag", (np.arange(3), 2), {}),
    ("diag", (np.arange(3), -1), {}),
    ("diag", (np.arange(12).reshape(3, 4),), {}),
    ("diag", (np.arange(12).reshape(3, 4), 2), {}),
    ("diagflat", (np.ones((2, 2)), 1), {}),
    ("diagonal", (np.arange(24).reshape(2, 3, 4), 1, 2, 1), {}),
    ("diagonal", (np.arange(24).reshape(2, 3, 4), -1), {}),
    ("diagonal", (np.arange(12).reshape(3, 4), 9), {}),
    ("vander", (np.arange(1, 4),), {}),
    ("vander", (np.arange(3.0), 2), {}),
    ("vander", (np.arange(3.0),), {"increasing": True}),
    ("meshgrid", (np.arange(2), np.arange(3.0)), {}),
    ("meshgrid", (np.arange(2), np.arange(3), np.arange(4)), {}),
    ("meshgrid", (np.arange(2), np.arange(3)), {"indexing": "ij", "sparse": True}),
    ("meshgrid", (np.arange(2),), {}),
    ("meshgrid", (), {}),
    ("indices", ((2, 3),), {}),
    ("indices", ((2, 3),), {"sparse": True}),
    ("indices", ((2,), float), {}),
    ("indices", ((),), {}),
    ("copy", (np.arange(3),), {}),
    ("mask_indices", (3, "triu"), {}),
]


@pytest.mark.parametrize(("name", "args", "kwargs"), CASES, ids=[f"{i}-{c[0]}" for i, c in enumerate(CASES)])
def test_agrees_with_jax(name, args, kwargs):
    theirs, ours = args, args
    if name == "mask_indices":
        theirs, ours = (3, jnp.triu), (3, pnp.triu)
    expected = getattr(jnp, name)(*theirs, **kwargs)
    got = getattr(pnp, name)(*ours, **kwargs)
    all_close(got, expected, 10)
    leaves = jax.tree.leaves(got, is_leaf=lambda x: isinstance(x, pb.Array))
    assert [x.weak_type for x in leaves] == [x.weak_type for x in jax.tree.leaves(expected)]
    if name != "mask_indices":
        all_close(pb.jit(lambda: getattr(pnp, name)(*ours, **kwargs))(), expected, 10)


def test_grids_by_slices():
    close(pnp.mgrid[0:3, 0:2], jnp.mgrid[0:3, 0:2])
    close(pnp.mgrid[0:1:4j], jnp.mgrid[0:1:4j])
    close(pnp.mgrid[0:2, 0:1:3j], jnp.mgrid[0:2, 0:1:3j])
    all_close(pnp.ogrid[0:3, 0:2], jnp.ogrid[0:3, 0:2])


@pytest.mark.parametrize("run", [lambda f: f(), lambda f: pb.jit(f)()], ids=["eager", "compiled"])
@pytest.mark.parametrize("k", [0, 2, -1, -7, 7, 2**31 - 1, -(2**40)])
def test_diagonals_near_and_far(run, k):
    """Those that lie outside of the matrix, as far as no 32 bits say, select as NumPy's."""
    for shape in ((3, 3), (2, 5), (4, 1), (0, 2), (2, 0)):
        ones = np.ones((2, *shape), np.float32)
        for ours, numpys in (
            (lambda shape=shape: pnp.eye(*shape, k, int), np.eye(*shape, k, int)),
            (lambda shape=shape: pnp.tri(*shape, k), np.tri(*shape, k)),
            (lambda ones=ones: pnp.tril(ones, k), np.tril(ones, k)),
            (lambda ones=ones: pnp.triu(ones, k), np.triu(ones, k)),
        ):
            np.testing.assert_array_equal(np.asarray(run(ours)), numpys)


def test_an_eager_identity_takes_no_positions(monkeypatch):
    """Its mask is one of NumPy's; with positions and a comparison it took three times as long."""
    monkeypatch.setattr(pb.lax.iota_p, "kernel", None)
    np.testing.assert_array_equal(pnp.eye(3), np.eye(3))


def test_fromfunction():
    for dtype in (int, float):
        close(
            pnp.fromfunction(lambda i, j: i * 10 + j, (2, 3), dtype=dtype),
            jnp.fromfunction(lambda i, j: i * 10 + j, (2, 3), dtype=dtype),
        )


@pytest.mark.parametrize(
    ("start", "stop"),
    [(np.inf, 1.0), (1.0, -np.inf), (2.0, -0.0), (-0.0, -0.0), (np.nan, 2.0), (3e4, -7.0), (0.1, 0.7)],
)
@pytest.mark.parametrize("num", [1, 2, 3, 6])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_ends_of_linspace_are_the_bounds(start, stop, num, dtype):
    first, last = np.array(start, dtype), np.array(stop, dtype)
    eager = pnp.linspace(first, last, num, retstep=True)[0]
    compiled = pb.jit(lambda a, b: pnp.linspace(a, b, num))(first, last)
    for got in (eager, compiled):
        np.testing.assert_array_equal(got[-1:].view("uint8"), (first if num == 1 else last)[None].view("uint8"))
        if np.isfinite(stop):
            np.testing.assert_array_equal(got[:1], first[None])
        # rounded once, where JAX rounds at every step
        error = 4 * np.finfo(dtype).eps * max(abs(x) for x in (start, stop) if np.isfinite(x))
        np.testing.assert_allclose(got, jnp.linspace(first, last, num), rtol=0, atol=error)
    along = pnp.linspace(pnp.stack([first, last]), last, num, axis=-1)
    assert along.shape == (2, num)
    np.testing.assert_array_equal(along[1, -1], last)


def test_one_number_of_linspace_is_the_start():
    for endpoint in (True, False):
        assert pnp.linspace(1.0, np.inf, 1, endpoint).tolist() == [1.0]
        assert pnp.geomspace(2.0, 8.0, 1, endpoint).tolist() == [2.0]
        assert pnp.logspace(2.0, np.inf, 1, endpoint).tolist() == [100.0]
    assert pnp.linspace(0, 7.9, 3, dtype=int).tolist() == [0, 3, 7]
    assert pnp.logspace(np.inf, 2.0, 3).tolist() == [np.inf, np.inf, 100.0]
    assert pnp.geomspace(3.0, 0.1, 4)[-1] == np.float32(0.1)


def test_the_last_number_of_linspace_depends_on_the_stop_alone():
    jacobian = pb.jacobian(lambda ab: pnp.linspace(ab[0], ab[1], 3))(np.array([2.0, 5.0], "float32"))
    np.testing.assert_array_equal(jacobian, [[1, 0], [0.5, 0.5], [0, 1]])
    check_derivative(lambda a, b: pnp.linspace(a, b, 4, axis=-1), np.arange(3, dtype="float32"), np.float32(3))


def test_traced_bounds_of_linspace():
    f = lambda a, b: pnp.linspace(a, b, 5)  # noqa: E731
    close(pb.jit(f)(1.0, 3.0), np.linspace(1, 3, 5, dtype=np.float32))
    check_derivative(f, np.float32(1), np.float32(3))
    check_batching(f, np.float32(1), np.float32(3))
    check_derivative(lambda a, b: pnp.geomspace(a, b, 4), np.float32(1), np.float32(3))
    check_derivative(lambda a, b: pnp.logspace(a, b, 3), np.float32(0), np.float32(0.5))


@pytest.mark.parametrize("name", ["tril", "triu", "diag", "diagonal", "diagflat", "vander"])
def test_differentiates(name):
    x = np.random.default_rng(0).standard_normal((4,) if name in ("diag", "diagflat", "vander") else (3, 4))
    check_derivative(lambda x: getattr(pnp, name)(x), x.astype(np.float32))


def test_full_of_a_traced_value():
    check_derivative(lambda v: pnp.full((2, 3), v), np.float32(2))
    check_derivative(lambda v: pnp.full_like(np.zeros(3, np.float32), v), np.float32(2))


def test_sizes_that_are_data_are_refused_with_advice():
    for f in (pnp.zeros, pnp.ones, pnp.eye, lambda n: pnp.full((2, n), 1.0)):
        with pytest.raises(TypeError, match=r"static_argnums"):
            pb.jit(f)(3)
    with pytest.raises(TypeError, match=r"arange: argument start.*static_argnums"):
        pb.jit(pnp.arange)(3)
    with pytest.raises(ValueError, match=r"zeros: .*non-negative"):
        pnp.zeros(-1)
    with pytest.raises(TypeError, match=r"zeros: .*integers"):
        pnp.zeros(2.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (partial(pnp.arange, 0, 1, 0), "step must not be 0"),
        (partial(pnp.linspace, 0, 1, -1), "num"),
        (partial(pnp.tril, pnp.ones(3)), "at least 2 axes"),
        (partial(pnp.diag, pnp.ones((1, 1, 1))), "vector or a matrix"),
        (partial(pnp.meshgrid, pnp.ones(2), indexing="yx"), "'xy' or 'ij'"),
        (partial(pnp.meshgrid, pnp.ones((2, 2))), "vectors"),
        (partial(pnp.diagonal, pnp.ones((2, 2)), 0, 1, 1), "different axes"),
        (partial(pnp.diag_indices_from, pnp.ones((2, 3))), "one length"),
    ],
)
def test_refused_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_types():
    x = pnp.ones((2, 3), "int8")
    assert (pnp.shape(x), pnp.ndim(x), pnp.size(x), pnp.size(x, 1), pnp.size(x, (0, 1))) == ((2, 3), 2, 6, 3, 6)
    assert pnp.shape(1.0) == ()
    assert pnp.iscomplexobj(pnp.ones(2) * 1j)
    assert pnp.isrealobj(x)
    for y in (1.0, x, pnp.array(1.0), np.float32(1), "a", [1]):
        assert pnp.isscalar(y) == jnp.isscalar(jnp.asarray(y) if isinstance(y, pb.Array) else y)
    for args in (
        (1, 2.0),
        (np.int8(1), 2),
        (np.zeros(2, "int8"), np.uint8(3)),
        ("bfloat16", 1.0),
        (int, "float16"),
        (True, 1),
    ):
        assert pnp.result_type(*args) == jnp.result_type(*args)
    assert pnp.issubdtype("bfloat16", np.floating)
    assert pnp.isdtype(np.dtype("int8"), "integral")
    assert not pnp.isdtype(np.dtype("int8"), ("real floating", "bool"))
    assert pnp.can_cast("int8", "int16")
    assert pnp.iterable(x)
    assert not pnp.iterable(pnp.array(1))
    with pytest.raises(ValueError, match="unknown kind"):
        pnp.isdtype(np.dtype("int8"), "whole")


VIEWS = [
    ("float32", "int32"),
    ("float32", "uint8"),
    ("int16", "float32"),
    ("bool", "uint8"),
    ("uint8", "bool"),
    ("complex64", "float32"),
    ("float32", "complex64"),
    ("int8", "complex64"),
    ("float16", "int8"),
]


@pytest.mark.parametrize(("old", "new"), VIEWS)
def test_view(old, new):
    x = np.random.default_rng(0).integers(0, 2, (2, 8)).astype(old)
    expected = x.view(new)
    close(pnp.asarray(x).view(new), expected)
    close(pb.jit(lambda x: x.view(new))(x), expected)
    with pytest.raises(ValueError, match="does not divide"):
        pnp.zeros(3, "int8").view("float32")


@pytest.mark.parametrize("run", [lambda fun: fun, pb.jit])
@pytest.mark.parametrize(("start", "stop", "num"), [(-1, 2, 4), (-100.0, 100.0, 7), (-7.0, 14.0, 22), (1, -5, 7)])
def test_linspace_of_whole_numbers_is_whole(run, start, stop, num):
    def space(start, stop):
        return pnp.linspace(start, stop, num), pnp.linspace(start, stop, num, dtype="int32")[: num - 1]

    exact = np.arange(num) * ((stop - start) / (num - 1)) + start
    floats, integers = run(space)(start, stop)
    np.testing.assert_array_equal(np.asarray(floats) == 0, np.abs(exact) < 1e-6)
    np.testing.assert_allclose(floats, exact, rtol=1e-7)
    np.testing.assert_array_equal(integers, np.floor(np.round(exact, 9))[: num - 1])
