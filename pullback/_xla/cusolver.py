"""LAPACK's routines on NVIDIA's devices: custom calls of the plugin's, which take and return what LAPACK's do.

`CALLS` has the emission by routine. Each gets what `lapack_call` gets, and returns the results that the routine of
LAPACK has. None of this was ever run on a device, see docs/gpu.md; the modules are compared with JAX's, and compiled by
XLA's compiler for such devices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pullback._core.types import ShapedArray, make_aval
from pullback._xla.attributes import int_array
from pullback._xla.lowering import Block, Value
from pullback._xla.matrix_calls import matrix_call

Settings = Mapping[str, Any]
Call = Callable[[Block, Sequence[Value], Sequence[ShapedArray], int, Settings], list[Value]]

# up to this size Jacobi's method is the faster one for singular values, and has no economic form up to the second
_JACOBI, _BATCHED = 1024, 32
# the least size that cuSPARSE's solver takes
_TRIDIAGONAL = 3

# routines that no custom call of the plugin's replaces, and what they are used for
MISSING = {"gees": "schur", "gehrd": "hessenberg"}


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _triangle(settings: Settings) -> dict[str, str]:
    return {"lower": _flag(settings["uplo"] == "L")}


def _plain(target: str, config: Callable[[Settings], dict[str, str]] = lambda settings: {}) -> Call:
    """A call with LAPACK's operands and results, the first result in the memory of the first operand."""

    def call(ctx, operands, out_avals, rank, settings):
        return matrix_call(ctx, target, operands, out_avals, rank, config(settings), overwrites=[0])

    return call


def _pivoted(ctx, operands, out_avals, rank, settings):
    return matrix_call(ctx, "cuhybrid_geqp3", operands, out_avals, rank, {"magma": '"auto"'}, overwrites=[0, 1])


def _eigenvalues(ctx, operands, out_avals, rank, settings):
    target = "cuhybrid_eig_comp" if operands[0].aval.dtype.kind == "c" else "cuhybrid_eig_real"
    sides = {name: _flag(settings[f"compute_{name}"] == "V") for name in ("left", "right")}
    return matrix_call(ctx, target, operands, out_avals, rank, {**sides, "magma": '"auto"'})


def _singular_values(ctx, operands, out_avals, rank, settings):
    """gesdd, by Jacobi's method or by QR steps; the latter take matrices with fewer rows than columns transposed."""
    matrix, s, u, vh, info = out_avals
    m, n = matrix.shape[rank:]
    k, vectors, full = min(m, n), settings["mode"] != "N", settings["mode"] == "A"
    if max(m, n) <= _JACOBI:
        reduced = settings["mode"] == "S" and k > _BATCHED
        stack, kept = matrix.shape[:rank], [k if reduced else size for size in (m, n)]
        sides = [make_aval((*stack, size, width), matrix.dtype) for size, width in zip((m, n), kept, strict=True)]
        config = {"compute_uv": _flag(vectors), "full_matrices": _flag(not reduced)}
        found = matrix_call(
            ctx, "cusolver_gesvdj_ffi", operands, [matrix, s, *sides, info], rank, config, overwrites=[0]
        )
        left = _first_columns(ctx, found[2], u.shape)
        right = _first_columns(ctx, found[3], (*vh.shape[:-2], vh.shape[-1], vh.shape[-2]))
        return [*found[:2], left, _adjoint(ctx, right), found[4]]
    wide = m < n
    if vectors:
        both = [vh, u] if wide else [u, vh]
    else:
        both = [make_aval((), matrix.dtype)] * 2
    config = {
        "compute_uv": _flag(vectors),
        "full_matrices": _flag(full or not vectors),
        "transposed": _flag(wide),
    }
    a, values, first, second, done = matrix_call(
        ctx, "cusolver_gesvd_ffi", operands, [matrix, s, *both, info], rank, config, overwrites=[0], by_columns=not wide
    )
    if not vectors:
        first, second = ctx.constant(0, u), ctx.constant(0, vh)
    elif wide:
        first, second = second, first
    return [a, values, first, second, done]


def _first_columns(ctx, x, shape):
    if x.aval.shape == shape:
        return x
    limits = f"start_indices = {int_array((0,) * len(shape))}, limit_indices = {int_array(shape)}"
    return ctx.op(
        "stablehlo.slice", [x], make_aval(shape, x.aval.dtype), f"{limits}, strides = {int_array((1,) * len(shape))}"
    )


def _adjoint(ctx, x):
    n = x.aval.ndim
    order = (*range(n - 2), n - 1, n - 2)
    aval = make_aval(tuple([x.aval.shape[i] for i in order]), x.aval.dtype)
    x = ctx.op("stablehlo.transpose", [x], aval, f"permutation = {int_array(order)}")
    if x.aval.dtype.kind != "c":
        return x
    real = make_aval(aval.shape, np.finfo(aval.dtype).dtype)
    imaginary = ctx.op("stablehlo.negate", [ctx.op("stablehlo.imag", [x], real)])
    return ctx.op("stablehlo.complex", [ctx.op("stablehlo.real", [x], real), imaginary], aval)


def _tridiagonal_solve(ctx, operands, out_avals, rank, settings):
    """gtsv; a system that is too small for the routine gets rows of the identity beside it."""
    dl, d, du, b = operands
    missing = max(0, _TRIDIAGONAL - d.aval.shape[-1])
    given = [_longer(ctx, x, rank, missing, x is d) for x in operands] if missing else operands
    (x,) = matrix_call(ctx, "cusparse_gtsv2_ffi", given, [given[3].aval], rank, {}, overwrites=[3])
    return [dl, d, du, _first_columns(ctx, x, b.aval.shape), ctx.constant(0, out_avals[-1])]


def _longer(ctx, x, axis, by, value):
    """Entries put after the last along an axis."""
    shape = tuple([n + by if i == axis else n for i, n in enumerate(x.aval.shape)])
    none, after = int_array((0,) * len(shape)), int_array([by if i == axis else 0 for i in range(len(shape))])
    filling = ctx.constant(int(value), make_aval((), x.aval.dtype))
    attributes = f"edge_padding_low = {none}, edge_padding_high = {after}, interior_padding = {none}"
    return ctx.op("stablehlo.pad", [x, filling], make_aval(shape, x.aval.dtype), attributes)


def _triangular_solve(ctx, operands, out_avals, rank, settings):
    transpose = {"N": "NO_TRANSPOSE", "T": "TRANSPOSE", "C": "ADJOINT"}[settings["trans_x"]]
    attributes = {
        "left_side": _flag(settings["side"] == "L"),
        "lower": _flag(settings["uplo"] == "L"),
        "unit_diagonal": _flag(settings["diag"] == "U"),
        "transpose_a": f"#stablehlo<transpose {transpose}>",
    }
    text = ", ".join(f"{k} = {v}" for k, v in attributes.items())
    return [ctx.op("stablehlo.triangular_solve", operands, out_avals[0], text)]


_products = _plain("cusolver_orgqr_ffi")
_symmetric = _plain("cusolver_syevd_ffi", lambda settings: {"algorithm": "0 : ui8", **_triangle(settings)})
_reduced = _plain("cusolver_sytrd_ffi", _triangle)

CALLS: dict[str, Call] = {
    "potrf": _plain("cusolver_potrf_ffi", _triangle),
    "getrf": _plain("cusolver_getrf_ffi"),
    "geqrf": _plain("cusolver_geqrf_ffi"),
    "geqp3": _pivoted,
    "orgqr": _products,
    "ungqr": _products,
    "syevd": _symmetric,
    "heevd": _symmetric,
    "gesdd": _singular_values,
    "geev": _eigenvalues,
    "sytrd": _reduced,
    "hetrd": _reduced,
    "gtsv": _tridiagonal_solve,
    "trsm": _triangular_solve,
}
