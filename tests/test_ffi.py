"""Functions of other libraries in compiled programs: LAPACK's, which jaxlib brings, against NumPy; what is refused."""

import ctypes
import os

import numpy as np
import pytest
from refusals import raises

import pullback as pb
import pullback.numpy as pnp
from pullback import ffi
from pullback.interpreters import mlir

LOWER = np.uint8(ord("L"))
INFO = pb.ShapeDtypeStruct((), np.int32)
A = np.array([[4.0, 2.0], [2.0, 5.0]], np.float32)


@pytest.fixture(autouse=True)
def registered():
    pb.jit(pnp.linalg.cholesky)(pnp.eye(2))  # registers LAPACK's routines


def factor(vmap_method=None, **options):
    kind = pb.ShapeDtypeStruct((2, 2), np.float32)
    return ffi.ffi_call("lapack_spotrf_ffi", (kind, INFO), vmap_method=vmap_method, **options)


def test_a_call():
    """Eager, compiled, with side effects, and with the axes in another order."""
    expected = np.linalg.cholesky(A)
    column_by_column = factor(input_layouts=[(1, 0)], output_layouts=[(1, 0), ()], input_output_aliases={0: 0})
    for call in (column_by_column, pb.jit(lambda a: factor(has_side_effect=True)(a, uplo=LOWER))):
        out, info = call(A, uplo=LOWER) if call is column_by_column else call(A)
        assert int(info) == 0
        # row by row, what LAPACK takes for the lower triangle is the upper one
        if call is column_by_column:
            np.testing.assert_allclose(np.tril(out), expected, rtol=1e-6)
        else:
            np.testing.assert_allclose(np.triu(out), expected.T, rtol=1e-6)


@pytest.mark.parametrize("method", ["sequential", "expand_dims", "broadcast_all"])
def test_under_vmap(method):
    many = np.stack([A, 4 * A])
    out, info = pb.vmap(lambda a: factor(method)(a, uplo=LOWER))(many)
    np.testing.assert_allclose(np.triu(out), np.linalg.cholesky(many).transpose(0, 2, 1), rtol=1e-6)
    assert info.shape == (2,)


def test_with_a_rule():
    @pb.custom_jvp
    def log_determinant(a):
        u, _ = factor()(a, uplo=LOWER)
        return 2 * pnp.log(pnp.diagonal(u)).sum()

    log_determinant.defjvps(lambda t, out, a: pnp.trace(pnp.linalg.solve(a, t)))
    np.testing.assert_allclose(log_determinant(A), np.linalg.slogdet(A)[1], rtol=1e-6)
    np.testing.assert_allclose(pb.grad(log_determinant)(A), np.linalg.inv(A), rtol=1e-5)


def lowered_by(rule):
    """A primitive that factors a matrix, by a lowering rule."""
    p = pb.extend.core.Primitive("factor")
    p.multiple_results = True
    p.def_abstract_eval(lambda a, **settings: (a, pb.core.ShapedArray((), np.int32)))
    mlir.register_lowering(p, rule)
    return p


@pytest.mark.parametrize("compiled", [False, True])
def test_a_lowering_rule(compiled):
    """Layouts are from the fastest axis to the slowest: (0, 1) is column by column, as LAPACK has matrices."""
    columns = {"operand_layouts": [(0, 1)], "result_layouts": [(0, 1), ()]}
    p = lowered_by(ffi.ffi_lowering("lapack_spotrf_ffi", operand_output_aliases={0: 0}, **columns))

    def call(a):
        return p.bind(a, uplo=LOWER)

    out, info = (pb.jit(call) if compiled else call)(pnp.asarray(A))
    np.testing.assert_allclose(np.tril(out), np.linalg.cholesky(A), rtol=1e-6)
    assert int(info) == 0


def test_a_lowering_rule_within_one_that_builds_operations():
    from jaxlib.mlir.dialects import stablehlo

    def rule(ctx, x, **settings):
        return ffi.ffi_lowering("lapack_spotrf_ffi", backend_config=settings)(ctx, stablehlo.add(x, x))

    out, _ = pb.jit(lambda a: lowered_by(rule).bind(a, uplo=LOWER))(A)
    np.testing.assert_allclose(np.triu(out), np.linalg.cholesky(2 * A).T, rtol=1e-6)


def test_lowering_rules_that_are_refused():
    with raises(TypeError, "ffi_lowering", "call_target_name", "got 3"):
        ffi.ffi_lowering(3)
    with raises(ValueError, "ffi_lowering", "operand_layouts", "orders of the axes", "(0,)"):
        lowered_by(ffi.ffi_lowering("lapack_spotrf_ffi", operand_layouts=[(0,)])).bind(pnp.asarray(A), uplo=LOWER)
    with raises(ValueError, "lapack_spotrf_ffi", "backend_config is a text", "uplo"):
        lowered_by(ffi.ffi_lowering("lapack_spotrf_ffi", backend_config="L")).bind(pnp.asarray(A), uplo=LOWER)


def test_settings_of_all_kinds():
    from pullback._xla.foreign import setting

    assert setting({"a": 1, "b": 2.5, "c": True, "d": 'x"y'}) == (
        '{"a" = 1 : i64, "b" = 2.50000000000000000e+00 : f64, "c" = true, "d" = "\\78\\22\\79"}'
    )
    assert setting(np.float32(1)) == "1.00000000000000000e+00 : f32"
    assert setting(np.array([1, 2], np.int32)) == "array<i32: 1, 2>"
    assert setting([1, np.uint8(2)]) == "[1 : i64, 2 : ui8]"


def test_a_function_of_a_library():
    function = ctypes.CDLL(None).getpid
    assert type(ffi.pycapsule(function)).__name__ == "PyCapsule"
    assert os.path.isdir(os.path.join(ffi.include_dir(), "xla"))


def test_refusals():
    with raises(pb.errors.RuleNotDefinedError, "lapack_spotrf_ffi", "custom_jvp"):
        pb.grad(lambda a: factor()(a, uplo=LOWER)[0].sum())(A)
    with raises(NotImplementedError, "lapack_spotrf_ffi", "vmap_method"):
        pb.vmap(lambda a: factor()(a, uplo=LOWER))(A[None])
    with raises(ValueError, "vmap_method"):
        factor("in_parallel")
    with raises(TypeError, "ffi_call", "shape and a dtype"):
        ffi.ffi_call("f", 3)
    with raises(ValueError, "input_layouts", "(0, 0)"):
        factor(input_layouts=[(0, 0)])(A, uplo=LOWER)
    with raises(ValueError, "input_layouts"):
        factor(input_layouts=[])(A, uplo=LOWER)
    with raises(TypeError, "pycapsule", "3.5"):
        ffi.pycapsule(3.5)
    with raises(ValueError, "platform must be 'cpu' or 'cuda'"):
        ffi.register_ffi_target("f", None, platform="tpu")
    with pytest.raises(pb.errors.JaxRuntimeError, match="no_such_function"):
        ffi.ffi_call("no_such_function", INFO)(pnp.ones(2))
