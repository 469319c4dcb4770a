"""Routines of NumPy's that compiled programs call on their own memory."""

import subprocess
import sys

import numpy as np
import pytest
from emitted import aval_of, jaxpr_of, program_of

import pullback as pb
import pullback.numpy as pnp
from pullback import export, lax
from pullback._core.array import array_of
from pullback._ops import by_size
from pullback._xla import engine, kernel_calls
from pullback._xla.lowering import lower_module
from pullback.debug import counters

N = by_size.HOST


def numbers(n=N, dtype="float32"):
    return np.random.default_rng(0).standard_normal(n).astype(dtype)


def calls(function, *args):
    """How many calls of routines, and how many sorts of XLA's, the program of the function has."""
    text = pb.jit(function).lower(*args).as_text()
    return text.count("pullback_kernel"), text.count('"stablehlo.sort"')


def described(operands, results, *given):
    results[0][...] = [x.ndim for x in operands] + [x.dtype.num for x in operands] + list(given)


def transposed(operands, results):
    results[0][...] = operands[0].T
    results[1][...] = operands[1]


def failing(operands, results):
    raise MemoryError("no room")


@pytest.mark.parametrize("dtype", sorted(kernel_calls._KNOWN, key=str), ids=str)
def test_operands_arrive_with_their_types_and_contents(dtype):
    x = np.arange(12).reshape(3, 4).astype(dtype)

    avals = [aval_of((4, 3), dtype), aval_of((0,), dtype)]

    def emit(ctx, *values):
        return kernel_calls.kernel_call(ctx, f"{__name__}:transposed", values, avals)

    program = program_of(emit, avals, [aval_of((3, 4), dtype), aval_of((0,), dtype)])
    given = [array_of(aval_of(v.shape, v.dtype), v) for v in (x, x[:0, 0])]
    got, empty = [np.asarray(out) for out in program.run(given)]
    np.testing.assert_array_equal(got, x.T)
    assert empty.shape == (0,)


def test_numbers_of_a_call():
    aval = aval_of((4,), "int32")

    def emit(ctx, *values):
        return kernel_calls.kernel_call(ctx, f"{__name__}:described", values, [aval], -7, 2**30)

    x = array_of(aval_of((), "float32"), np.float32(1))
    (got,) = program_of(emit, [aval], [x.aval]).run([x])
    np.testing.assert_array_equal(np.asarray(got), [0, np.dtype("float32").num, -7, 2**30])


def test_an_error_in_a_routine_is_raised():
    aval = aval_of((4,), "float32")

    def emit(ctx, *values):
        return kernel_calls.kernel_call(ctx, f"{__name__}:failing", values, [aval])

    program = program_of(emit, [aval], [aval])
    with pytest.raises(RuntimeError, match="failing' on the host failed: MemoryError: no room"):
        np.asarray(program.run([array_of(aval, np.ones(4, "float32"))])[0])


def test_small_sorts_and_those_in_loops_stay_with_xla():
    large, small = numbers(), numbers(N - 1)
    assert calls(pnp.sort, large) == (1, 0)
    assert calls(pnp.sort, small) == (0, 1)

    def in_loop(x):
        return lax.fori_loop(0, 3, lambda i, x: pnp.sort(x) * -1, x)

    assert calls(in_loop, large) == (0, 1)
    assert calls(in_loop, numbers(by_size.HOST_IN_LOOP)) == (1, 0)

    def after_a_loop(x):
        return pnp.sort(lax.fori_loop(0, 3, lambda i, x: x * -1, x))

    assert calls(after_a_loop, large) == (1, 0)


def test_in_a_loop_and_under_vmap():
    x = numbers(by_size.HOST_IN_LOOP)

    def scanned(x):
        def step(x, _):
            x = -pnp.sort(x)
            return x, x[0]

        return lax.scan(step, x, None, length=5)

    end, firsts = pb.jit(scanned)(x)
    np.testing.assert_array_equal(end, -np.sort(x))
    np.testing.assert_array_equal(firsts, [-x.min(), x.max(), -x.min(), x.max(), -x.min()])
    rows = x.reshape(100, -1)
    for axis in (0, 1):
        assert calls(pb.vmap(pnp.sort, axis), rows) == (1, 0)
        np.testing.assert_array_equal(pb.jit(pb.vmap(pnp.sort, axis, axis))(rows), np.sort(rows, 1 - axis))


def test_programs_are_kept_by_their_text():
    def made():
        def fun(x):
            return pnp.sort(x) + 1.5

        return pb.jit(fun)

    first = made()(numbers())
    with counters() as seen:
        np.testing.assert_array_equal(made()(numbers()), first)
    assert seen["compiles"] == 0


def test_a_file_of_a_program_has_no_such_call():
    exported = export.export(pb.jit(pnp.sort))(pb.ShapeDtypeStruct((N,), "float32"))
    assert "pullback_kernel" not in exported.mlir_module()
    x = numbers()
    np.testing.assert_array_equal(exported.call(x), np.sort(x))


def test_a_jaxpr_that_is_lowered_for_another_platform_has_none():
    jaxpr = jaxpr_of(lambda ctx, *values: list(values), [aval_of((2,), "float32")], [aval_of((2,), "float32")])
    assert not lower_module(jaxpr).leaves
    closed = pb.make_jaxpr(pnp.sort)(numbers())
    assert "pullback_kernel" in lower_module(closed.jaxpr).text()
    assert "pullback_kernel" not in lower_module(closed.jaxpr, platform="cuda").text()


def test_subnormal_numbers_keep_their_order():
    x = numbers() * np.float32(1e-40)
    assert engine.client() is not None
    np.testing.assert_array_equal(np.asarray(pb.jit(pnp.sort)(x)), np.sort(x))


def test_a_process_ends_after_such_a_program():
    program = """
import numpy as np, pullback as pb, pullback.numpy as pnp
from pullback import lax

def sorted_often(x):
    return lax.scan(lambda x, _: (-pnp.sort(x), None), x, None, length=100)[0]

run = pb.jit(sorted_often)
x = np.ones(40_000, "float32")
held = [run(x) for _ in range(5)]
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
