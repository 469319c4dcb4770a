"""Arrays: how they print, convert, copy and travel, and that nothing they hold is ever written to."""

import copy
import pickle
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback._core import array

ALL_DTYPES = [
    "bool",
    "int4",
    "uint4",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "float16",
    "bfloat16",
    "float32",
    "complex64",
    "float8_e3m4",
    "float8_e4m3",
    "float8_e4m3fn",
    "float8_e5m2",
    "float8_e4m3b11fnuz",
    "float8_e4m3fnuz",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
]
DTYPES = pytest.mark.parametrize("dtype", ALL_DTYPES)


def made(dtype, shape=(3,)):
    return pnp.asarray(np.ones(shape), dtype=dtype)


# ---- text


def test_repr_as_in_the_seed():
    assert repr(pnp.sin(1.0)) == "Array(0.84147096, dtype=float32, weak_type=True)"
    assert repr(pnp.arange(3.0)) == "Array([0., 1., 2.], dtype=float32)"


@pytest.mark.parametrize(
    "value",
    [
        3.0485873,
        -0.0,
        1e-12,
        float("nan"),
        True,
        2,
        1 + 2j,
        [1.0, 2.5],
        [[1, 2], [3, 4]],
        [],
        [[]],
        [float("inf"), 1.0],
        [True, False],
        [1e-10, 1e10],
        np.arange(2000.0),
        np.arange(30.0) / 7,
        np.eye(40),
        np.zeros((2, 0, 3)),
        np.arange(24).reshape(2, 3, 4),
        np.array([1 + 2j, -0.5j]),
    ],
    ids=lambda v: str(np.shape(v)),
)
def test_repr_and_str_as_jax_prints(value):
    ours, theirs = pnp.asarray(value), jnp.asarray(value)
    assert str(ours) == str(theirs)
    assert repr(ours).split() == repr(theirs).split()


@DTYPES
@pytest.mark.parametrize("shape", [(), (3,), (2, 2), (0,)])
def test_every_dtype_prints(dtype, shape):
    ours = made(dtype, shape)
    assert repr(ours).split() == repr(jnp.asarray(np.ones(shape), dtype=dtype)).split()
    assert str(ours) == str(jnp.asarray(np.ones(shape), dtype=dtype))


def test_format():
    assert f"{pnp.asarray(3.14159):.2f} {pnp.asarray(7):03d} {made('bfloat16', ()):.1f}" == "3.14 007 1.0"
    assert f"{pnp.arange(2.0)}" == "[0. 1.]"
    with pytest.raises(TypeError, match=r"format '\.2f' is for a single number, not for an array of shape \(2,\)"):
        f"{pnp.arange(2.0):.2f}"


# ---- Python numbers


def test_conversions():
    assert float(pnp.asarray(1.5)) == 1.5
    assert int(pnp.asarray(3.7)) == 3
    assert complex(pnp.asarray(1 + 2j)) == 1 + 2j
    assert bool(pnp.asarray(2))
    assert bool(pnp.asarray([0.0])) is False
    assert [10, 20, 30][pnp.asarray(1)] == 20
    assert list(range(pnp.asarray(2))) == [0, 1]
    assert pnp.asarray([[5]]).item() == 5
    assert pnp.arange(6).reshape(2, 3).item(1, 2) == 5
    assert pnp.asarray([[1, 2]]).tolist() == [[1, 2]]
    assert type(pnp.asarray(1.0).tolist()) is float
    assert np.frombuffer(pnp.arange(3).tobytes(), np.int32).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("convert", "x", "text"),
    [
        (float, [1.0, 2.0], r"float\(\): only an array of shape \(\) .* got shape \(2,\)"),
        (int, [1], r"int\(\): only an array of shape \(\)"),
        (complex, [[1.0]], r"complex\(\): .* got shape \(1, 1\)"),
        (lambda x: [1][x], 0.0, r"only an integer array of shape \(\) can be used as an index, got f32\[\]"),
        (lambda x: [1][x], [0], r"got i32\[1\]"),
        (lambda x: [1][x], True, r"got bool\[\]"),
        (len, 1.0, "len"),
        (list, 1.0, "0-d"),
    ],
)
def test_conversions_that_are_refused(convert, x, text):
    with pytest.raises(TypeError, match=text):
        convert(pnp.asarray(x))


@pytest.mark.parametrize("value", [[1, 2], [], [[1.0], [2.0]]])
def test_the_truth_of_many_values_is_refused(value):
    with pytest.raises(
        ValueError, match=r"truth value of an array of shape .* is ambiguous: use \.any\(\) or \.all\(\)"
    ):
        bool(pnp.asarray(value))


@pytest.mark.parametrize("use", [hash, lambda x: {x: 1}, lambda x: {x}])
def test_hashing_is_refused(use):
    with pytest.raises(TypeError, match="unhashable type: 'Array'"):
        use(pnp.arange(3.0))


def test_attributes():
    x = pnp.ones((2, 3), "float16")
    assert (x.shape, x.ndim, x.size, x.itemsize, x.nbytes, len(x)) == ((2, 3), 2, 6, 2, 12, 2)
    assert x.dtype == np.float16
    assert isinstance(x, pb.Array)
    assert not x.weak_type
    with pytest.raises(TypeError, match="not made by calling it"):
        pb.Array([1.0])


# ---- NumPy


@DTYPES
def test_to_numpy_and_back(dtype):
    x = made(dtype, (2, 3))
    value = np.asarray(x)
    assert value.dtype == x.dtype
    back = pnp.asarray(value)
    assert back.dtype == x.dtype
    np.testing.assert_array_equal(np.asarray(back).astype(complex), np.ones((2, 3)))


def test_array_protocol():
    x = pnp.arange(3.0)
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    assert not np.asarray(x).flags.writeable
    assert not np.asarray(pnp.asarray(1.0)).flags.writeable
    assert np.array(x).flags.writeable
    with pytest.raises(ValueError, match="a copy cannot be avoided"):
        np.asarray(x, dtype=np.float64, copy=False)
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(x)[0] = 5.0
    assert np.sum(x) == 3.0
    np.testing.assert_array_equal(np.arange(3.0) + x, [0.0, 2.0, 4.0])


# ways into the library for an array of the user's


def identity(x):
    return x


def reshape(a):
    return pnp.reshape(a, (10, 10_000))


def jit(a):
    return pb.jit(identity)(a)


def jit_that_computes(a):
    return pb.jit(lambda x: x + 0)(a)


def vmap(a):
    return pb.vmap(identity)(a)


def jvp(a):
    return pb.jvp(identity, (a,), (a,))[1]


def grad(a):
    return pb.grad(lambda x: (x * a).sum())(a)


def constant_of_a_jaxpr(a):
    return pb.make_jaxpr(lambda x: x + a)(1.0).consts[0]


def linearize(a):
    return pb.linearize(lambda x: x * a, a)[1](np.ones_like(a))


def strided(a):
    return pnp.asarray(a[::2])


@pytest.mark.parametrize(
    "enter",
    [pnp.asarray, pnp.array, reshape, jit, jit_that_computes, vmap, jvp, grad, constant_of_a_jaxpr, linearize, strided],
)
def test_the_users_memory_is_never_aliased(enter):
    mine = np.ones(100_000, np.float32)
    x = enter(mine)
    mine[:] = 7.0
    assert float(np.asarray(x).max()) == 1.0


def test_what_is_remembered_for_the_pullback_is_not_the_users_memory():
    mine = np.full(100_000, 3.0, np.float32)
    _, pullback = pb.vjp(lambda x: x * x, mine)
    mine[:] = 0.0
    assert float(pullback(np.ones_like(mine))[0][0]) == 6.0


def test_results_do_not_share_memory_that_someone_writes():
    x = pnp.arange(6.0)
    y = x.reshape(2, 3)
    z = x.at[0].set(9.0)
    assert (float(x[0]), float(y[0, 0]), float(z[0])) == (0.0, 0.0, 9.0)


def test_arrays_are_immutable():
    x = pnp.arange(3.0)
    with pytest.raises(TypeError, match=r"immutable.*x\.at\[i\]\.set\(y\)"):
        x[0] = 1.0
    y = x
    y += 1
    assert (float(x[0]), float(y[0])) == (0.0, 1.0)
    with pytest.raises(AttributeError):
        x.shape = (3, 1)


def test_what_is_no_array():
    for value in ("text", None, object(), b"bytes"):
        with pytest.raises(TypeError, match="array"):
            pnp.sin(value)
    for value in (np.array(["a"]), np.array([None]), np.array(["2020-01-01"], "datetime64[D]")):
        with pytest.raises(TypeError, match="arrays cannot have dtype"):
            pnp.sin(value)
    with pytest.raises(TypeError, match=r"masked arrays are not supported.*filled"):
        pnp.sin(np.ma.array([1.0, 2.0], mask=[False, True]))
    with pytest.raises(OverflowError, match=r"Python integer 1099511627776 does not fit int32.*enable_x64"):
        pnp.asarray(2**40)


# ---- copies and pickles


@DTYPES
@pytest.mark.parametrize("shape", [(), (0, 2), (3,)])
def test_pickle(dtype, shape):
    x = made(dtype, shape)
    y = pickle.loads(pickle.dumps(x))
    assert (y.shape, y.dtype, y.weak_type) == (x.shape, x.dtype, x.weak_type)
    np.testing.assert_array_equal(np.asarray(y).astype(complex), np.asarray(x).astype(complex))


def test_pickle_keeps_the_weak_type_and_reads_devices():
    assert pickle.loads(pickle.dumps(pnp.sin(1.0))).weak_type
    x = pb.jit(lambda x: x + 1)(np.arange(3.0))
    assert pickle.loads(pickle.dumps({"x": [x]}))["x"][0].tolist() == [1.0, 2.0, 3.0]


def test_copies():
    x = pnp.arange(3.0)
    for y in (copy.copy(x), copy.deepcopy(x), copy.deepcopy({"a": [x]})["a"][0]):
        assert y.tolist() == x.tolist()
        assert y.dtype == x.dtype
    assert copy.deepcopy(pnp.sin(1.0)).weak_type
    kept = copy.deepcopy(x)
    x.delete()
    assert kept.tolist() == [0.0, 1.0, 2.0]


def test_a_traced_value_has_no_data_to_pickle_but_may_be_copied():
    with pytest.raises(TypeError, match=r"a traced value .* cannot be pickled"):
        pb.jit(pickle.dumps)(1.0)
    assert float(pb.grad(lambda x: copy.deepcopy({"x": x})["x"] ** 2)(3.0)) == 6.0


def successor(x):
    return x + 1


def as_list(x):
    return x.tolist()


def test_the_memory_of_a_result_is_looked_up_once(monkeypatch):
    looked_at = []
    monkeypatch.setattr(array, "_asarray", lambda source: looked_at.append(source) or np.asarray(source))
    x = of_a_program()
    first, second = np.asarray(x), np.asarray(x)
    assert looked_at == [x.buffer, first.base]
    assert (first.flags.writeable, second.flags.writeable) == (False, False)
    assert np.shares_memory(first, second)
    copied = np.array(x)
    assert copied.flags.writeable
    assert not np.shares_memory(first, copied)
    np.testing.assert_array_equal(second, np.full((2, 3), 2))
    x.delete()
    np.testing.assert_array_equal(first, np.full((2, 3), 2))
    with pytest.raises(RuntimeError, match=r"Array f32\[2,3\] has been deleted"):
        np.asarray(x)


def of_a_program():
    return pb.jit(lambda x: x + 1)(np.ones((2, 3), np.float32))


@pytest.mark.parametrize(
    "make",
    [of_a_program, lambda: pnp.full((2, 3), 2.0), lambda: pnp.broadcast_to(pnp.asarray([2.0]), (2, 3))],
)
@pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning")
def test_an_array_keeps_its_shape_when_a_view_of_it_gets_another(make):
    x = make()
    for _ in range(2):
        np.asarray(x).dtype = np.int32
        x.value.sum()
        view = np.asarray(x)
        view.shape = (6, 1) if view.flags.c_contiguous else (2, 3, 1)
        assert (np.asarray(x).shape, np.asarray(x).dtype) == ((2, 3), np.float32)


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("count", [1, 300])
def test_donation_does_not_copy_what_was_read(warm, count):
    f = pb.jit(lambda *xs: [x + 1 for x in xs], donate_argnums=range(count))
    start = pb.jit(lambda: [pnp.zeros(100) for _ in range(count)])
    if warm:
        f(*start())
    xs = start()
    views = [np.asarray(x) for x in xs]
    places = {view.ctypes.data for view in views}
    del views
    ys = f(*xs)
    assert xs[0].is_deleted()
    assert {np.asarray(y).ctypes.data for y in ys} == places
    xs, held = ys, np.asarray(ys[0])
    ys = f(*xs)
    assert (held[0], np.asarray(ys[0])[0]) == (1, 2)  # a view that the user holds stays as it is


def test_deleted_arrays():
    x = pnp.arange(3.0)
    assert not x.is_deleted()
    x.delete()
    assert x.is_deleted()
    assert repr(x) == "Array(deleted, shape=(3,), dtype=float32)"
    assert x.shape == (3,)
    for use in (str, pickle.dumps, copy.deepcopy, np.asarray, jit, grad, successor, as_list):
        with pytest.raises(RuntimeError, match=r"Array f32\[3\] has been deleted"):
            use(x)


def test_waiting():
    x = pb.jit(lambda x: x + 1)(np.ones(3))
    assert x.block_until_ready() is x
    assert x.is_ready()
    assert pnp.ones(2).block_until_ready().is_ready()


# ---- DLPack


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int32", "float16", "float32", "complex64"])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_dlpack_with_numpy(dtype, shape):
    x = made(dtype, shape)
    value = np.from_dlpack(x)
    np.testing.assert_array_equal(value, np.asarray(x))
    back = pnp.from_dlpack(value)
    assert (back.dtype, back.shape) == (x.dtype, x.shape)
    assert x.__dlpack_device__() == (1, 0)


def test_what_dlpack_exports_is_not_ours_to_be_written():
    x = pnp.arange(3.0)
    exported = np.from_dlpack(x)
    if exported.flags.writeable:
        exported[0] = 9.0
    assert x.tolist() == [0.0, 1.0, 2.0]
    assert not np.from_dlpack(x, copy=False).flags.writeable


@pytest.mark.parametrize("max_version", [None, (0, 8)])
def test_dlpack_shares_memory_only_where_it_can_say_read_only(max_version):
    x = pnp.arange(3.0)
    with pytest.raises(BufferError, match=r"copy=False shares .* got max_version=.*Pass max_version=\(1, 0\)"):
        x.__dlpack__(copy=False, max_version=max_version)
    assert "dltensor_versioned" in repr(x.__dlpack__(copy=False, max_version=(1, 0)))


def test_what_dlpack_imports_is_not_theirs_to_be_written():
    mine = np.arange(3, dtype=np.float32)
    x = pnp.from_dlpack(mine)
    mine[0] = 9.0
    assert x.tolist() == [0.0, 1.0, 2.0]


def test_dlpack_with_jax():
    assert pnp.from_dlpack(jnp.arange(3.0)).tolist() == [0.0, 1.0, 2.0]
    assert jnp.from_dlpack(pnp.arange(3.0)).tolist() == [0.0, 1.0, 2.0]


def test_dlpack_of_dtypes_it_does_not_carry():
    with pytest.raises(BufferError, match=r"DLPack: arrays of dtype int4 are not exchanged.*astype"):
        np.from_dlpack(pnp.ones(2, "int4"))


def test_arrays_of_other_libraries_are_operands():
    torch = pytest.importorskip("torch", reason="PyTorch is a peer of the benchmarks, not a dependency of the tests")
    tensor = torch.arange(3.0)
    x = pnp.from_dlpack(tensor)
    tensor[0] = 9.0
    assert x.tolist() == [0.0, 1.0, 2.0]
    exported = torch.from_dlpack(x)
    exported[1] = 9.0
    assert x.tolist() == [0.0, 1.0, 2.0]
    assert (pnp.sin(jnp.zeros(2)) + 1).tolist() == [1.0, 1.0]


def test_the_class_is_not_called_and_the_traceback_ends_at_the_call():
    with pytest.raises(TypeError, match=r"use pullback\.numpy\.array") as caught:
        pb.Array([1, 2])
    assert caught.traceback[-1].path == Path(__file__)


def ones_from(offset):
    """Four million ones of float32, whose first byte is so many bytes after a multiple of 64."""
    memory = np.zeros(16_000_128, np.uint8)
    first = -memory.ctypes.data % 64 + offset
    x = memory[first : first + 16_000_000].view(np.float32)
    x[:] = 1
    return x


@pytest.mark.parametrize("offset", [0, 4, 16])
@pytest.mark.parametrize(
    "move",
    [
        pnp.asarray,
        pnp.array,
        pb.device_put,
        pb.jit(lambda x: 1.0 * x),
        pb.jit(lambda x: {"a": [x, -x]}),
    ],
    ids=["asarray", "array", "device_put", "jit", "jit_to_a_tree"],
)
def test_numpy_arrays_may_be_written_to_after_a_call(move, offset):
    """JAX reads them later, or shares their memory: findings/jax_numpy_arguments_read_later.sh."""
    for _ in range(3):  # the first call, and warm ones
        x = ones_from(offset)
        y = move(x)
        x[:] = 2
        first = pb.tree.leaves(y)[0]
        assert (np.asarray(first) == 1).all()


@pytest.mark.parametrize("may_alias", [None, True, False])
def test_an_array_on_the_device_has_its_own_memory(may_alias):
    x = ones_from(0)
    y = pb.device_put(x, may_alias=may_alias)
    y.block_until_ready()
    x[:] = 2
    assert y[0] == 1
