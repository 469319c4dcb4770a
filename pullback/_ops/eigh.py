"""Eigenvalues and eigenvectors of symmetric (Hermitian) matrices."""

from __future__ import annotations

import operator

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.primitive import Primitive
from pullback._core.typing import AnyValue
from pullback._core.zeros import Zero, zero_of
from pullback._ops.elementwise import add, mul
from pullback._ops.families import operands, scalar_like
from pullback._ops.implementations import EighImplementation, check_implementation
from pullback._ops.matrices import (
    adjoint,
    check_matrices,
    conjugate,
    guarded_call,
    guarded_kernel,
    hermitian,
    in_stacks,
    kinked_vectors,
    over_gaps,
    product,
    real_part,
    routine,
    stack_aval,
    stacked_batch,
    workspace,
)
from pullback._ops.shape import reduce_sum
from pullback._ops.slicing import slice_in_dim
from pullback._ops.trig import real_dtype

eigh_p: Primitive = Primitive("eigh", multiple_results=True)


def eigh(
    x: ArrayLike,
    *,
    lower: bool = True,
    symmetrize_input: bool = True,
    sort_eigenvalues: bool = True,
    subset_by_index: tuple[int, int] | None = None,
    implementation: EighImplementation | None = None,
) -> tuple[Array, Array]:
    """The eigenvectors `v` and eigenvalues `w` of symmetric (Hermitian) matrices: `x @ v == v * w`, `v` unitary.

    `x`: `(..., n, n)`, float32, float64 or complex. With `symmetrize_input` it is replaced by `(x + x.conj().T) / 2`;
    otherwise only its lower (or upper) triangle is read, and has a derivative. Returns `v` `(..., n, n)`, whose
    columns are the vectors, and `w` `(..., n)`, real and ascending, whether or not `sort_eigenvalues` asks for it. With
    `subset_by_index` only those from its first number up to, not including, its second. A matrix with nan or inf gives
    nan. Raises: ValueError for other shapes and subsets, TypeError for other dtypes, NotImplementedError for an
    `implementation` that is not LAPACK's.

    The first derivative of eigenvalues always exists in this sense: for repeated ones it is that of their sum, shared
    evenly or in the basis found, so that every symmetric function of them is right. Second derivatives along directions
    that mix the vectors of repeated ones are nan. Eigenvectors of repeated eigenvalues have no derivative: results that
    depend on the choice among them get nan, and all others are unaffected. The sign (or phase) of the vectors is
    arbitrary; that of complex ones is assumed constant. Source: Giles, Collected matrix derivative results for forward
    and reverse mode algorithmic differentiation (2008).

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> v, w = lax.linalg.eigh(pnp.array([[2., 0.], [0., 1.]]))
    >>> print(w)
    [1. 2.]
    """
    check_implementation("eigh", EighImplementation, implementation)
    x = hermitian_operand("eigh", x, symmetrize_input)
    w, v = eigh_p.bind(x, lower=bool(lower), vectors=True)
    if subset_by_index is not None:
        start, stop = subset("eigh", subset_by_index, w.aval.shape[-1])
        w, v = (slice_in_dim(y, start, stop, axis=-1) for y in (w, v))
    return v, w


def eigenvalues(name: str, x: ArrayLike, lower: bool, symmetrize_input: bool) -> Array:
    """The eigenvalues alone, for the function `name`: faster, and with a derivative that needs no gaps between them."""
    return eigh_p.bind(hermitian_operand(name, x, symmetrize_input), lower=lower, vectors=False)[0]


def hermitian_operand(name: str, x: ArrayLike, symmetrize: bool) -> Array:
    """Square matrices, symmetrized on request; errors name the function."""
    (x,) = operands(name, x)
    check_matrices(name, x.aval, square=True)
    return mul(add(x, adjoint(x)), scalar_like(0.5, x.aval.dtype)) if symmetrize else x


def subset(name: str, bounds: AnyValue, count: int) -> tuple[int, int]:
    """The range of the values requested by `subset_by_index`."""
    try:
        start, stop = map(operator.index, bounds)
    except TypeError:
        raise TypeError(f"{name}: subset_by_index must be a pair of integers, got {bounds!r}") from None
    if not 0 <= start < stop <= count:
        raise ValueError(
            f"{name}: subset_by_index must be a pair (start, stop) with 0 <= start < stop <= {count}, got {bounds!r}"
        )
    return start, stop


def _type(x, lower, vectors):
    check_matrices("eigh", x, square=True)
    n = x.shape[-1]
    return [stack_aval(x, n, dtype=real_dtype(x.dtype)), *([stack_aval(x, n, n)] if vectors else [])]


def _kernel(x, lower, vectors):
    name = "heevd" if dtypes.is_complex(x.dtype) else "syevd"

    def decompose(a):
        n = len(a)
        if n == 0:
            return a.real.diagonal(), *([a] if vectors else []), 0
        options = {"compute_v": int(vectors), "lower": int(lower)}
        sizes = workspace(name, x.dtype, n, **options)
        options |= dict(zip(("lwork", "liwork", "lrwork"), sizes))
        w, v, info = routine(name, x.dtype)(a, **options)
        return w, *([v] if vectors else []), info

    return guarded_kernel(decompose, x)


def _lower(ctx, x, lower, vectors):
    outs = ctx.out_avals
    if 0 in x.aval.shape:
        return [ctx.constant(0, aval) for aval in outs]
    name = "heevd" if dtypes.is_complex(x.aval.dtype) else "syevd"
    settings = {"mode": "V" if vectors else "N", "uplo": "L" if lower else "U"}
    v, w = guarded_call(ctx, name, x, [x.aval, outs[0]], settings)
    return [w, v] if vectors else [w]


def _jvp(primals, tangents, lower, vectors):
    (x,), (t,) = primals, tangents
    if type(t) is Zero:
        outs = eigh_p.bind(x, lower=lower, vectors=vectors)
        return outs, [zero_of(y.aval) for y in outs]
    w, v = eigh_p.bind(x, lower=lower, vectors=True)
    t = hermitian(t, lower)
    # w' is the diagonal of v^H x' v; the tangent of each vector along the others is the rest, divided by the gaps
    known = kinked_vectors(v, w)
    moved = product(t, known)
    dw = real_part(reduce_sum(mul(conjugate(known), moved), (w.aval.ndim - 1,)))
    if not vectors:
        return [w], [dw]
    inner = product(adjoint(v), moved if known is v else product(t, v))
    return [w, v], [dw, product(v, over_gaps(inner, w))]


eigh_p.abstract_eval = _type
eigh_p.kernel = in_stacks(eigh_p, _kernel)
eigh_p.lower = _lower
eigh_p.jvp = _jvp
eigh_p.batch = stacked_batch(eigh_p)
