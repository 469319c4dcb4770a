"""Eager evaluation of primitives: by their kernel, by a program of one operation, or by a function of their own."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback._core.array import lift
from pullback._core.primitive import Primitive
from pullback._core.types import make_aval
from pullback._xla import engine, executable
from pullback._xla.evaluate import concrete, eagerly, evaluator
from pullback._xla.single_operations import program_if_worth, single_equation
from pullback.debug import counters
from pullback.errors import TypePromotionError, UnexpectedTracerError

F32 = make_aval((), np.dtype(np.float32))
ONE = lift(np.float32(1))


def same_type(x, **_):
    return x


def doubling(name, with_kernel):
    """A primitive that doubles, with a NumPy kernel or with a lowering alone."""
    p = Primitive(name)
    p.abstract_eval = same_type
    if with_kernel:
        p.kernel = lambda x: x + x
    p.lower = lambda ctx, x: ctx.op("stablehlo.add", [x, x])
    return p


def test_a_kernel_needs_no_compiler():
    p = doubling("doubled", with_kernel=True)
    with counters() as seen:
        assert float(p.bind(ONE)) == 2
    assert seen["compiles"] == 0


def test_without_a_kernel_a_program_is_made_once_for_each_type():
    p = doubling("doubled_by_xla", with_kernel=False)
    with counters() as seen:
        for x in (1.0, 2.0, 3.0):
            assert float(p.bind(lift(np.float32(x)))) == 2 * x
        assert seen["compiles"] == 1
        assert p.bind(lift(np.arange(3, dtype=np.float32))).tolist() == [0, 2, 4]
    assert seen["compiles"] == 2


def test_parameters_that_cannot_be_keys_still_compile():
    p = Primitive("with_a_list")
    p.abstract_eval = same_type
    p.lower = lambda ctx, x, numbers: ctx.op("stablehlo.add", [x, ctx.full_like(x, sum(numbers))])
    assert float(evaluator.process_primitive(p, [ONE], {"numbers": [1, 2]})) == 4
    assert float(evaluator.process_primitive(p, [ONE], {"numbers": [1, 3]})) == 5


def test_a_kernel_of_another_dtype_is_converted():
    p = Primitive("in_double")
    p.abstract_eval = same_type
    p.kernel = lambda x: np.float64(x) / 3
    out = p.bind(ONE)
    assert (out.dtype, out.value.dtype) == (np.dtype(np.float32),) * 2
    assert float(out) == float(np.float32(1) / np.float32(3))


def test_kernels_do_not_warn():
    p = Primitive("divided_by_zero")
    p.abstract_eval = same_type
    p.kernel = lambda x: np.asarray(x) / np.asarray(0, x.dtype)
    assert float(p.bind(ONE)) == np.inf
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        np.float32(1) / np.float32(0)


def test_the_state_of_warnings_comes_back_when_a_kernel_fails():
    p = Primitive("failing")
    p.abstract_eval = same_type

    def fail(x):
        raise ZeroDivisionError

    p.kernel = fail
    before = np.geterr()
    with pytest.raises(ZeroDivisionError):
        p.bind(ONE)
    assert np.geterr() == before


def test_several_results():
    p = Primitive("split")
    p.multiple_results = True
    p.abstract_eval = lambda x: [x, x.update(dtype=np.dtype(np.int32))]
    p.kernel = lambda x: (x, np.floor(x))
    whole, below = p.bind(lift(np.float32(2.5)))
    assert (float(whole), below.tolist(), below.dtype) == (2.5, 2, np.dtype(np.int32))


def test_a_function_of_its_own_gets_arrays_and_is_preferred():
    p = doubling("evaluated", with_kernel=False)
    p.evaluate = lambda x: x + 10
    assert float(p.bind(ONE)) == 11


def test_operands_become_arrays():
    p = doubling("of_numbers", with_kernel=True)
    assert float(evaluator.process_primitive(p, [1.5], {})) == 3
    on_device = pb.jit(lambda x: x + 1)(ONE)
    assert not hasattr(on_device, "_value")
    assert float(p.bind(on_device)) == 4


def test_what_is_no_number_is_refused_with_the_name_of_the_operation():
    with pytest.raises(TypeError, match=r"^strange: "):
        concrete("text", "strange")
    assert concrete(ONE, "strange") is ONE


def test_a_tracer_that_has_leaked_is_refused():
    leaked = []

    def leak(x):
        leaked.append(x)
        return x

    pb.jit(leak)(1.0)
    with pytest.raises(UnexpectedTracerError):
        pnp.sin(leaked[0])
    with pytest.raises(UnexpectedTracerError):
        concrete(leaked[0], "sin")


def test_eagerly_leaves_every_transformation():
    def with_constant(x):
        table = eagerly(lambda: pnp.arange(3.0) * 2)
        assert isinstance(table.value, np.ndarray)
        return x * table

    assert pb.jit(with_constant)(2.0).tolist() == [0, 4, 8]
    assert pb.jacfwd(with_constant)(2.0).tolist() == [0, 2, 4]
    assert len(pb.make_jaxpr(with_constant)(2.0).eqns) == 1


def test_a_jaxpr_of_one_equation():
    p = doubling("alone", with_kernel=True)
    jaxpr = single_equation(p, (F32,), {})
    assert [eqn.primitive for eqn in jaxpr.eqns] == [p]
    assert (jaxpr.in_avals, list(jaxpr.out_avals)) == ([F32], [F32])


def test_an_operation_is_compiled_when_its_kernel_has_taken_as_long():
    executable.lasting.clear()
    p = doubling("worth_it", with_kernel=True)
    shares = [program_if_worth(p, (F32,), {}, 0.4) for _ in range(4)]
    assert shares[:3] == [None, None, None]
    (out,) = shares[3].run([ONE])
    assert float(out) == 2
    assert program_if_worth(p, (F32,), {}, 0.0) is shares[3]


def test_nothing_is_compiled_where_the_engine_was_left_behind(monkeypatch):
    monkeypatch.setattr(engine, "_left_behind", True)
    assert program_if_worth(doubling("forked", with_kernel=True), (F32,), {}, 2.0) is None


@pytest.mark.parametrize("with_kernel", [True, False])
def test_nans_are_looked_for_when_asked(with_kernel):
    p = Primitive("born")
    p.abstract_eval = same_type
    if with_kernel:
        p.kernel = lambda x: x * np.float32(np.nan)
    p.lower = lambda ctx, x: ctx.op("stablehlo.multiply", [x, ctx.full_like(x, np.nan)])
    assert np.isnan(float(p.bind(ONE)))
    with pb.debug_nans(True), pytest.raises(FloatingPointError, match="born"):
        p.bind(ONE)


# --- operators and elementwise functions on concrete arrays, which are evaluated without look-ups ---

DTYPES = "bool int8 uint8 int32 uint32 float16 bfloat16 float32 complex64".split()
OF_TWO = {
    "add": (lambda x, y: x + y, lax.add_p),
    "subtract": (lambda x, y: x - y, lax.sub_p),
    "multiply": (lambda x, y: x * y, lax.mul_p),
    "divide": (lambda x, y: x / y, lax.div_p),
}


@pytest.mark.parametrize("shape", [(), (0,), (3,)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OF_TWO)
def test_operators_give_what_the_operation_gives(name, dtype, shape):
    operator, primitive = OF_TWO[name]
    x, y = (pnp.asarray(np.resize(values, shape)).astype(dtype) for values in ([3, -1, 1e30], [0, 2, 1e30]))
    if dtype == "bool" or (name == "divide" and pnp.issubdtype(x.dtype, np.integer)):
        pytest.skip("another operation is applied")
    for a, b in ((x, y), (y, x), (x, x)):
        expected = primitive.bind(a, b)
        for got in (operator(a, b), operator(a, b), getattr(pnp, name)(a, b)):
            assert got.aval is expected.aval
            assert type(got.value) is type(expected.value)
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("x", [2.5, -0.0, np.float32(np.nan), np.float16([np.inf, 1e-7]), np.float32([])])
@pytest.mark.parametrize("name", ["exp", "sin", "log", "negative", "tanh"])
def test_functions_of_one_operand_give_what_the_operation_gives(name, x):
    x = pnp.asarray(x)
    expected = {"log": lax.log_p, "negative": lax.neg_p}.get(name, getattr(lax, f"{name}_p", None)).bind(x)
    for _ in range(2):
        got = getattr(pnp, name)(x)
        assert got.aval is expected.aval
        np.testing.assert_array_equal(got, expected)


def test_a_scalar_is_a_scalar_in_every_thread_and_under_every_option():
    x = pnp.float32(1)
    assert (x + 1.5).dtype == (x + 1).dtype == np.float32
    with pb.enable_x64():
        assert pnp.add(1, 1.5).dtype == np.float64
        assert (pnp.asarray(1) + 2**40).dtype == np.int64
    assert pnp.add(1, 1.5).dtype == np.float32
    with pb.numpy_dtype_promotion("strict"), pytest.raises(TypePromotionError, match="float32, int32"):
        x + np.int32([1])
    with ThreadPoolExecutor(1) as other:
        assert other.submit(lambda: (pnp.add(1, 1.5).dtype, (x + 1.5).dtype)).result() == (np.float32, np.float32)


def test_operators_reach_what_is_on_the_device_alone():
    x = pb.jit(lambda x: x + 1)(np.float32([1, 2]))
    assert not hasattr(x, "_value")
    np.testing.assert_array_equal(x * 2, [4, 6])
    y = pb.jit(lambda x: x + 1)(np.float32([1, 2]))
    np.testing.assert_array_equal(pnp.exp(y), np.exp(np.float32([2, 3])))
    y.delete()
    for use in (pnp.exp, lambda y: y + 1):
        with pytest.raises(RuntimeError, match="deleted"):
            use(y)


def test_operators_do_not_warn():
    x = pnp.float32(3e38)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pnp.isinf(x + x)
        assert pnp.isnan(pnp.log(-x))
        assert pnp.isinf(1 / (x - x))


def test_operators_are_seen_by_transformations_that_must_see_all():
    c = pnp.float32(2)
    jaxpr = pb.make_jaxpr(lambda x: x * (c * c))(1.0)
    assert [eqn.primitive.name for eqn in jaxpr.eqns] == ["mul", "mul"]
    with pytest.raises(FloatingPointError), pb.debug_nans():
        pnp.log(-c)
    with pytest.raises(FloatingPointError), pb.debug_nans():
        (c - c) / (c - c)
