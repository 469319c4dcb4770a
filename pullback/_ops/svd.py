"""The singular value decomposition."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.primitive import Primitive
from pullback._core.zeros import Zero, zero_of
from pullback._ops.assemble import concatenate
from pullback._ops.eigh import subset
from pullback._ops.elementwise import add, mul, neg, sub
from pullback._ops.expressions import emitted
from pullback._ops.families import operands, scalar_like
from pullback._ops.implementations import SvdAlgorithm, check_implementation
from pullback._ops.matrices import (
    adjoint,
    as_row,
    check_matrices,
    conjugate,
    eyes,
    guarded_call,
    guarded_kernel,
    in_stacks,
    kinked_vectors,
    over_gaps,
    over_sums,
    product,
    real_part,
    routine,
    stack_aval,
    stacked_batch,
    workspace,
)
from pullback._ops.quotients import quotient_or_nan
from pullback._ops.shape import reduce_sum
from pullback._ops.slicing import slice_in_dim
from pullback._ops.trig import real_dtype

svd_p: Primitive = Primitive("svd", multiple_results=True)


def svd(
    x: ArrayLike,
    *,
    full_matrices: bool = True,
    compute_uv: bool = True,
    subset_by_index: tuple[int, int] | None = None,
    algorithm: SvdAlgorithm | None = None,
) -> Any:
    """The decomposition `x = u @ diag(s) @ vh` with `u` and `vh` unitary and `s` real, not negative, descending.

    `x`: `(..., m, n)`, float32, float64 or complex. Returns `u` `(..., m, k)`, `s` `(..., min(m, n))`, `vh` `(..., k,
    n)` where k is min(m, n), or m and n with `full_matrices`; without `compute_uv` only `s`. With `subset_by_index`,
    which excludes `full_matrices`, only those from its first number up to, not including, its second. A matrix with
    nan or inf gives nan. Raises: ValueError for other shapes and subsets, TypeError for other dtypes,
    NotImplementedError for an `algorithm` that is not LAPACK's.

    Singular values have a first derivative everywhere, for repeated ones and for 0 in the basis found: right for
    symmetric functions of them, and a subgradient at 0. Second derivatives along directions that mix the vectors of
    repeated ones are nan. Vectors of repeated singular values have none, nor have those of 0 beyond the first, and all
    of 0 if the matrix is not square or is complex: results that depend on the choice among them get nan, all others are
    unaffected. Columns that `full_matrices` adds change as little as possible. Sources: Giles, Collected matrix
    derivative results (2008); Townsend, Differentiating the singular value decomposition (2016); for complex matrices
    Wan and Zhang, Automatic differentiation for complex valued SVD (2019).

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> print(lax.linalg.svd(pnp.array([[3., 0.], [0., -4.]]), compute_uv=False))
    [4. 3.]
    """
    check_implementation("svd", SvdAlgorithm, algorithm)
    (x,) = operands("svd", x)
    check_matrices("svd", x.aval)
    results = svd_p.bind(x, full_matrices=bool(full_matrices and compute_uv), vectors=bool(compute_uv))
    if subset_by_index is not None:
        if full_matrices and compute_uv:
            raise ValueError("svd: subset_by_index chooses among the vectors of full_matrices=False; give that too")
        start, stop = subset("svd", subset_by_index, min(x.aval.shape[-2:]))
        results = [
            slice_in_dim(y, start, stop, axis=axis)
            for y, axis in zip(results, (-1, -1, -2) if compute_uv else (-1,), strict=True)
        ]
    return tuple(results) if compute_uv else results[0]


def singular_values(name: str, x: Array) -> Array:
    """The singular values of matrices, for the function `name`."""
    check_matrices(name, x.aval)
    return svd_p.bind(x, full_matrices=False, vectors=False)[0]


def _type(x, full_matrices, vectors):
    check_matrices("svd", x)
    m, n = x.shape[-2:]
    k = min(m, n)
    s = stack_aval(x, k, dtype=real_dtype(x.dtype))
    if not vectors:
        return [s]
    return [stack_aval(x, m, m if full_matrices else k), s, stack_aval(x, n if full_matrices else k, n)]


def _kernel(x, full_matrices, vectors):

    def decompose(a):
        m, n = a.shape
        k = min(m, n)
        if k == 0:
            s = np.zeros(0, a.real.dtype)
            sides = (
                np.eye(m, m if full_matrices else k, dtype=a.dtype),
                np.eye(n if full_matrices else k, n, dtype=a.dtype),
            )
            return (sides[0], s, sides[1], 0) if vectors else (s, 0)
        options = {"compute_uv": int(vectors), "full_matrices": int(full_matrices)}
        (lwork,) = workspace("gesdd", x.dtype, m, n, **options)
        u, s, vh, info = routine("gesdd", x.dtype)(a, lwork=lwork, **options)
        return (u, s, vh, info) if vectors else (s, info)

    return guarded_kernel(decompose, x)


def _lower(ctx, x, full_matrices, vectors):
    outs = list(ctx.out_avals)
    if 0 in x.aval.shape:
        return [
            emitted(ctx, lambda _, aval=aval: [eyes(aval)], x)[0] if vectors and i != 1 else ctx.constant(0, aval)
            for i, aval in enumerate(outs)
        ]
    u, s, vh = outs if vectors else _type(x.aval, False, True)
    mode = ("A" if full_matrices else "S") if vectors else "N"
    _, s, u, vh = guarded_call(ctx, "gesdd", x, [x.aval, s, u, vh], {"mode": mode})
    return [u, s, vh] if vectors else [s]


def _jvp(primals, tangents, full_matrices, vectors):
    (x,), (t,) = primals, tangents
    if type(t) is Zero:
        outs = svd_p.bind(x, full_matrices=full_matrices, vectors=vectors)
        return outs, [zero_of(y.aval) for y in outs]
    u, s, vh = svd_p.bind(x, full_matrices=full_matrices, vectors=True)
    k, v = s.aval.shape[-1], adjoint(vh)
    left, right = (slice_in_dim(y, 0, k, axis=-1) for y in (u, v))
    # at 0 the values of a square real matrix are a kink that their vectors turn through, as those of |x|
    at_zero = x.aval.shape[-1] != x.aval.shape[-2] or dtypes.is_complex(x.aval.dtype)
    known_left, known_right = (kinked_vectors(y, s, at_zero) for y in (left, right))
    moved = product(t, known_right)
    ds = real_part(reduce_sum(mul(conjugate(known_left), moved), (s.aval.ndim - 1,)))
    if not vectors:
        return [s], [ds]
    moved = moved if known_right is right else product(t, right)
    # With a = u^H u' and b = v^H v', both skew, p = u^H x' v is a s + s' - s b. So p + p^H holds a + b times the gaps
    # of s, and p - p^H holds a - b times the sums of two of s.
    inner = product(adjoint(left), moved)
    both = over_gaps(add(inner, adjoint(inner)), s)
    difference = over_sums(sub(inner, adjoint(inner)), s)
    half = scalar_like(0.5, x.aval.dtype)
    du = _turned(u, mul(add(both, difference), half), moved, s)
    dv = _turned(v, mul(sub(both, difference), half), product(adjoint(t), left), s)
    return [u, s, vh], [du, ds, adjoint(dv)]


def _turned(basis: Array, inside: Array, moved: Array, s: Array) -> Array:
    """The tangent of vectors, the columns of `basis`, that rotate among each other by `inside`, and out of their space.

    `moved` holds x' v (or x'^H u), whose component outside of the space, divided by `s`, is the tangent out of it.
    """
    k = s.aval.shape[-1]
    n, columns = basis.aval.shape[-2:]
    if columns == k:
        tangent = product(basis, inside)
        if n == k:
            return tangent
        outside = sub(moved, product(basis, product(adjoint(basis), moved)))
        return add(tangent, quotient_or_nan(outside, as_row(s)))
    first, rest = slice_in_dim(basis, 0, k, axis=-1), slice_in_dim(basis, k, None, axis=-1)
    outside = quotient_or_nan(product(adjoint(rest), moved), as_row(s))
    return concatenate(
        [add(product(first, inside), product(rest, outside)), neg(product(first, adjoint(outside)))],
        basis.aval.ndim - 1,
    )


svd_p.abstract_eval = _type
svd_p.kernel = in_stacks(svd_p, _kernel)
svd_p.lower = _lower
svd_p.jvp = _jvp
svd_p.batch = stacked_batch(svd_p)
