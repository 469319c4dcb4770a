"""Calls of Python functions from eager and compiled code: values, types, order, exceptions, vmap, derivatives."""

import gc
import threading
import traceback
import weakref
from functools import partial

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.core import check_jaxpr
from pullback.debug import counters
from pullback.experimental import io_callback

X = np.array([3.0, 1.0, 2.0], np.float32)
DTYPES = (
    "bool",
    "int4",
    "int8",
    "uint8",
    "int16",
    "int32",
    "uint32",
    "float16",
    "float32",
    "complex64",
    "bfloat16",
    "float8_e4m3fn",
    "float8_e5m2",
)


def either(f):
    """The function as it is, and compiled."""
    return [f, pb.jit(f)]


def host_sin(x, **options):
    return pb.pure_callback(np.sin, pb.ShapeDtypeStruct(x.shape, x.dtype), x, **options)


def on_host(function):
    """The function as a call to the host that returns what it is given."""
    return lambda x: pb.pure_callback(function, x, x)


# --- values and types ---


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_arrays_of_every_dtype_go_there_and_back(dtype, shape):
    seen = []

    def same(x):
        seen.append(x)
        return x

    x = (np.arange(np.prod(shape, dtype=int)).reshape(shape) % 3).astype(pnp.zeros((), dtype).dtype)
    for f in either(lambda x: pb.pure_callback(same, x, x)):
        y = f(pnp.asarray(x))
        got = seen.pop()
        assert type(got) is type(y)
        assert got.dtype == x.dtype == y.dtype
        assert got.shape == shape == y.shape
        assert (np.asarray(y) == x).all()
        assert (np.asarray(got) == x).all()
        assert not np.asarray(got).flags.writeable


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.float64, np.complex128])
def test_64_bit_types(dtype):
    with pb.enable_x64(True):
        x = np.arange(3).astype(dtype)
        for f in either(on_host(lambda v: v + 1)):
            y = f(x)
            assert y.dtype == dtype
            assert (np.asarray(y) == x + 1).all()


def test_pytrees_and_keywords():
    def fun(tree, *, scale):
        assert isinstance(tree["a"], pb.Array)
        return {"sum": tree["a"] * scale + tree["b"][0], "both": (tree["a"], tree["b"][0])}

    x, y = pnp.asarray(X), pnp.asarray(2 * X)
    declared = {"sum": x, "both": (x, x)}
    for f in either(lambda x, y: pb.pure_callback(fun, declared, {"a": x, "b": [y]}, scale=2.0)):
        out = f(x, y)
        assert (np.asarray(out["sum"]) == 4 * X).all()
        assert (np.asarray(out["both"][1]) == 2 * X).all()


def test_a_callback_may_use_what_arrays_have():
    """JAX passes its arrays, so that programs use their methods, and functions of the library."""

    def fun(x):
        assert not isinstance(x, pb.core.Tracer)
        return pb.jit(pnp.sort)(x.at[0].set(5.0)) * x.block_until_ready()

    for f in either(lambda x: pb.pure_callback(fun, x, x)):
        assert f(pnp.array([3.0, 1.0, 2.0])).tolist() == [3.0, 2.0, 10.0]


def test_named_tuples_and_lists_are_taken_for_tuples():
    x = pnp.eye(2)
    vector = pb.ShapeDtypeStruct((2,), "float32")
    for f in either(lambda x: pb.pure_callback(np.linalg.svd, (x, vector, x), x)):
        assert (np.asarray(f(x)[1]) == 1).all()


@pytest.mark.parametrize("value", [1, 1.0, True, np.float64(1.0), np.float64([1.0])[0]])
def test_python_numbers_and_64_bit_results_take_the_declared_type(value):
    scalar = pb.ShapeDtypeStruct((), "float32")
    for f in either(partial(pb.pure_callback, lambda _: value, scalar)):
        assert f(0.0).dtype == np.float32
        assert float(f(0.0)) == 1.0


def test_what_a_function_keeps_is_not_overwritten():
    kept = []

    def keep(v):
        kept.append(v)
        return v

    f = pb.jit(lambda x: on_host(keep)(x) * 2 + 1)
    for i in range(20):
        f(np.full(1000, i, np.float32)).block_until_ready()
    assert [v[0] for v in kept] == list(range(20))
    assert all((v == v[0]).all() for v in kept)


def test_results_are_copied():
    buffer = np.zeros(3, np.float32)

    def fun(x):
        buffer[:] = x
        return buffer

    for f in either(lambda x: pb.pure_callback(fun, x, x)):
        first = f(X)
        f(2 * X)
        assert (np.asarray(first) == X).all()


def test_inside_loops_and_branches():
    def f(x):
        def step(c, v):
            y = lax.cond(v > 1.5, lambda v: host_sin(v), lambda v: -v, v)
            return c + y, y

        total, ys = lax.scan(step, 0.0, x)
        return lax.while_loop(lambda t: t < 3, lambda t: t + host_sin(t) ** 2 + 0.5, total), ys

    expected = [np.sin(3), -1, np.sin(2)]
    for g in either(f):
        last, ys = g(X)
        np.testing.assert_allclose(ys, expected, rtol=1e-6)
        assert last >= 3


def test_a_function_may_use_this_library():
    @pb.jit
    def inner(x):
        return pnp.sin(x).sum()

    for f in either(partial(pb.pure_callback, inner, pb.ShapeDtypeStruct((), "float32"))):
        np.testing.assert_allclose(f(X), np.sin(X).sum(), rtol=1e-6)


def test_threads():
    successor = on_host(lambda v: v + 1)
    f = pb.jit(lambda x: successor(x) * 2)
    f(X)
    results = []

    def work():
        for i in range(50):
            results.append((i, float(f(np.full(3, i, np.float32))[0])))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(results) == 200
    assert all(y == 2 * (i + 1) for i, y in results)


def test_the_jaxpr_is_well_formed():
    jaxpr = pb.make_jaxpr(pb.vmap(lambda x: host_sin(x, vmap_method="expand_dims")))(X)
    check_jaxpr(jaxpr)
    assert "pure_callback[function=sin vmap_method=expand_dims]" in str(jaxpr)


# --- programs ---


def test_programs_with_one_text_and_different_functions_are_different():
    def make(k):
        return pb.jit(on_host(lambda v: v + k))

    assert [float(make(k)(1.0)) for k in range(5)] == [1, 2, 3, 4, 5]


def test_a_program_is_compiled_once_and_keeps_its_function():
    def make():
        def local(v):
            return 2 * v

        return pb.jit(on_host(local)), weakref.ref(local)

    f, local = make()
    with counters() as seen:
        for _ in range(3):
            assert float(f(2.0)) == 4
    assert seen["compiles"] == 1
    gc.collect()
    assert local() is not None
    del f
    gc.collect()
    assert local() is None


def test_lower_and_compile():
    f = pb.jit(on_host(np.sin))
    lowered = f.lower(X)
    assert "xla_ffi_python_cpu_callback" in lowered.as_text()
    np.testing.assert_allclose(lowered.compile()(X), np.sin(X), rtol=1e-6)


# --- errors ---


class Own(Exception):
    pass


def fails(x):
    raise Own("inside")


@pytest.mark.parametrize("where", ["plain", "scan", "while", "cond", "vmap"])
def test_an_exception_arrives_as_itself(where):
    def f(x):
        def call(v):
            return pb.pure_callback(fails, v, v, vmap_method="sequential")

        if where == "scan":
            return lax.scan(lambda c, v: (c, call(v)), 0.0, x)
        if where == "while":
            return lax.while_loop(lambda v: v < 10, call, x[0])
        if where == "cond":
            return lax.cond(x[0] > 0, call, lambda v: v, x)
        return pb.vmap(call)(x) if where == "vmap" else call(x)

    for g in either(f):
        for _ in range(3):
            with pytest.raises(Own, match="inside") as info:
                g(X)
            names = [entry.name for entry in traceback.extract_tb(info.value.__traceback__)]
            assert names[-1] == "fails"
            assert info.value.__cause__ is None
            assert info.value.__context__ is None


def test_a_program_works_after_an_exception():
    calls = []

    def fun(x):
        calls.append(1)
        if len(calls) == 2:
            raise KeyError("second")
        return x

    f = pb.jit(on_host(fun))
    assert float(f(1.0)) == 1
    with pytest.raises(KeyError, match="second"):
        f(1.0)
    assert float(f(1.0)) == 1


def wrong(x):
    return {"a": x, "b": x[:2]}


CASES = [
    ({"a": X, "b": X}, "expected f32[3] at ['b'], got an array of dtype float32 and shape (2,)"),
    ({"a": X, "b": X[:2].astype(np.int32)}, "expected i32[2] at ['b'], got an array of dtype float32"),
    ({"a": X, "c": X}, "expected a dict with keys ['a', 'c'], got a dict with keys ['a', 'b']"),
    (X, "got a dict with keys ['a', 'b']"),
]


@pytest.mark.parametrize(("declared", "message"), CASES)
def test_a_result_that_is_not_as_declared_is_named(declared, message):
    for f in either(lambda x: pb.pure_callback(wrong, declared, x)):
        with pytest.raises(TypeError) as info:
            f(X)
        text = str(info.value)
        assert message in text
        assert "pure_callback: wrong (defined at " in text
        assert "test_host_call.py:" in text


def test_results_that_are_no_arrays():
    for f in either(on_host(lambda x: "text")):
        with pytest.raises(TypeError, match=r"expected f32\[3\], got 'text' of type str"):
            f(X)
    for f in either(partial(io_callback, lambda x: x, None)):
        with pytest.raises(TypeError, match="must return what was declared"):
            f(X)


def test_double_precision_is_not_narrowed_where_it_exists():
    with pb.enable_x64(True), pytest.raises(TypeError, match="got an array of dtype float64"):
        pb.pure_callback(lambda x: x.astype(np.float64), X, X)


def test_bad_calls():
    with pytest.raises(TypeError, match="pure_callback: expected a function"):
        pb.pure_callback(3, X, X)
    with pytest.raises(TypeError, match=r"but \['a'\] is 'float' of type str"):
        pb.pure_callback(np.sin, {"a": "float"}, X)
    with pytest.raises(TypeError, match=r"pure_callback of .*: argument 'x': expected an array"):
        pb.pure_callback(fails, X, "text")
    with pytest.raises(ValueError, match="vmap_method must be None or one of 'sequential'"):
        host_sin(X, vmap_method="loop")
    with pytest.raises(ValueError, match="sharding=None"):
        host_sin(X, sharding=1)


# --- effects: once, and in order ---


def test_effects_are_never_left_out_and_keep_their_order():
    seen = []

    def note(tag, *values):
        io_callback(lambda *v: seen.append((tag, *map(int, v))), None, *values, ordered=True)

    def f(n, x):
        note("start")

        def step(c, i):
            note("step", c, i)
            lax.cond(i % 2 == 0, lambda i: note("even", i), lambda i: note("odd", i), i)
            return c + i, None

        total, _ = lax.scan(step, 0, pnp.arange(4))
        note("between", total)

        def cond(i):
            note("test", i)
            return i < n

        def body(i):
            note("body", i)
            pb.jit(lambda i: note("call", i))(i)
            return i + 1

        lax.while_loop(cond, body, 0)
        note("end")
        return x

    expected = [("start",)]
    total = 0
    for i in range(4):
        expected += [("step", total, i), ("odd" if i % 2 else "even", i)]
        total += i
    expected += [("between", total)]
    for i in range(3):
        expected += [("test", i), ("body", i), ("call", i)]
    expected += [("test", 3), ("end",)]
    for g in either(f):
        for _ in range(30):
            seen.clear()
            g(3, 1.0)
            assert seen == expected


def test_order_holds_against_the_order_of_the_data():
    # the second call is ready long before the first
    seen = []

    def tell(v):
        seen.append(int(v))

    def f(x):
        slow = lax.fori_loop(0, 200, lambda i, y: y @ y / 8, x)
        io_callback(lambda v: seen.append("first"), None, slow.sum(), ordered=True)
        for i in range(5):
            io_callback(tell, None, x[0, i] * i, ordered=True)
        return slow

    g = pb.jit(f)
    for _ in range(10):
        seen.clear()
        g(np.ones((8, 8), np.float32))
        assert seen == ["first", 0, 1, 2, 3, 4]


def test_results_of_effectful_calls_are_used():
    state = [0]

    def count(_):
        state[0] += 1
        return np.int32(state[0])

    def f(x):
        return lax.scan(lambda c, v: (c, io_callback(count, pb.ShapeDtypeStruct((), "int32"), v)), 0, x)[1]

    assert list(f(X)) == [1, 2, 3]
    assert list(pb.jit(f)(X)) == [4, 5, 6]


def test_programs_whose_results_do_not_depend_on_the_call():
    seen = []

    @pb.jit
    def tells_and_returns_nothing(x):
        io_callback(lambda v: seen.append(float(v)), None, x)

    @pb.jit
    def tells_without_operands(x):
        io_callback(lambda: seen.append("no operands"), None)
        return x

    assert tells_and_returns_nothing(2.0) is None
    tells_without_operands(1.0)
    assert seen == [2.0, "no operands"]


def test_long_eager_loops():
    seen = []

    def tell(i):
        seen.append(int(i))

    def body(i, x):
        io_callback(tell, None, i)
        return x * 0.5 + 1

    lax.fori_loop(0, 3000, body, 0.0)
    assert seen == list(range(3000))
