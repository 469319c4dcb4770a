"""Eigenvalues and eigenvectors of general square matrices."""

from __future__ import annotations

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.primitive import Primitive
from pullback._core.zeros import Zero, zero_of
from pullback._ops.arg_extremes import argmax
from pullback._ops.assemble import broadcasted_iota
from pullback._ops.compare import eq, select
from pullback._ops.elementwise import add, div, mul, neg
from pullback._ops.expressions import emitted
from pullback._ops.families import operands, scalar_like
from pullback._ops.implementations import EigImplementation, check_implementation, check_magma
from pullback._ops.lu import solve
from pullback._ops.matrices import (
    adjoint,
    as_row,
    check_matrices,
    diagonals,
    guarded_call,
    guarded_kernel,
    in_stacks,
    kinked_vectors,
    over_gaps,
    product,
    routine,
    stack_aval,
    stacked_batch,
    workspace,
)
from pullback._ops.shape import convert_element_type, reduce_sum
from pullback._ops.trig import abs as magnitude
from pullback._ops.trig import complex as complex_of
from pullback._ops.trig import complex_dtype, conj, imag, real, real_dtype

_INDEX = np.dtype(np.int32)

eig_p: Primitive = Primitive("eig", multiple_results=True)


def eig(
    x: ArrayLike,
    *,
    compute_left_eigenvectors: bool = True,
    compute_right_eigenvectors: bool = True,
    enable_eigvec_derivs: bool = True,
    implementation: EigImplementation | None = None,
    use_magma: bool | None = None,
) -> list[Array]:
    """The eigenvalues of square matrices, and on request their left and right eigenvectors; all complex.

    `x`: `(..., n, n)`, float32, float64 or complex. Returns a list: `w` `(..., n)`, in no order; then `vl` and `vr`
    `(..., n, n)`, as far as requested, with `x @ vr == vr * w` and `vl^H @ x == w[:, None] * vl^H`. The
    vectors are the columns, of length 1, their largest element real. A matrix with nan or inf gives nan. Raises:
    ValueError for other shapes, TypeError for other dtypes.

    The derivative of vectors keeps their length and phase; it always exists, whatever `enable_eigvec_derivs` is. For
    repeated eigenvalues only symmetric functions have one, if the matrix is diagonalizable; results that depend on the
    choice among their vectors get nan. If the matrix is not diagonalizable there is none: inf or nan, or very large
    numbers. Sources: Giles, Collected matrix derivative results (2008); Boeddeker et al., On the computation of
    complex-valued gradients (2017).

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> w, vl, vr = lax.linalg.eig(pnp.array([[0., 1.], [-1., 0.]]))
    >>> print(w)
    [0.+1.j 0.-1.j]
    """
    check_implementation("eig", EigImplementation, implementation)
    check_magma("eig", use_magma)
    (x,) = operands("eig", x)
    check_matrices("eig", x.aval, square=True)
    return eig_p.bind(x, left=bool(compute_left_eigenvectors), right=bool(compute_right_eigenvectors))


def _type(x, left, right):
    check_matrices("eig", x, square=True)
    n, dtype = x.shape[-1], _complex(x.dtype)
    return [stack_aval(x, n, dtype=dtype), *([stack_aval(x, n, n, dtype=dtype)] * (left + right))]


def _complex(dtype):
    return dtype if dtypes.is_complex(dtype) else complex_dtype(dtype)


def _kernel(x, left, right):
    dtype = _complex(x.dtype)
    options = {"compute_vl": int(left), "compute_vr": int(right)}

    def decompose(a):
        n = len(a)
        if n == 0:
            return np.zeros(0, dtype), *([a.astype(dtype)] * (left + right)), 0
        (lwork,) = workspace("geev", x.dtype, n, **options)
        *w, vl, vr, info = routine("geev", x.dtype)(a, lwork=lwork, **options)
        vectors = [v for v, wanted in ((vl, left), (vr, right)) if wanted]
        if len(w) == 1:
            return w[0], *vectors, info
        return w[0] + 1j * w[1], *[_in_pairs(v, w[1], dtype) for v in vectors], info

    return guarded_kernel(decompose, x)


def _in_pairs(v, imaginary, dtype):
    """The vectors of a real matrix: for a conjugate pair, LAPACK returns the real and the imaginary part."""
    out = v.astype(dtype)
    first = np.flatnonzero(imaginary > 0)
    out[:, first] = v[:, first] + 1j * v[:, first + 1]
    out[:, first + 1] = out[:, first].conj()
    return out


def _lower(ctx, x, left, right):
    w = ctx.out_avals[0]
    if 0 in x.aval.shape:
        return [ctx.constant(0, aval) for aval in ctx.out_avals]
    vectors = stack_aval(x.aval, *x.aval.shape[-2:], dtype=w.dtype)
    settings = {"compute_left": "V" if left else "N", "compute_right": "V" if right else "N"}
    is_complex = dtypes.is_complex(x.aval.dtype)
    part = stack_aval(x.aval, w.shape[-1], dtype=real_dtype(w.dtype))
    *values, vl, vr = guarded_call(
        ctx, "geev", x, [*([w] if is_complex else [part, part]), vectors, vectors], settings, overwrites=None
    )
    if not is_complex:
        values = emitted(ctx, lambda re, im: [complex_of(re, im)], *values)
    return [*values, *([vl] if left else []), *([vr] if right else [])]


def _jvp(primals, tangents, left, right):
    (x,), (t,) = primals, tangents
    if type(t) is Zero:
        outs = eig_p.bind(x, left=left, right=right)
        return outs, [zero_of(y.aval) for y in outs]
    w, *others = eig_p.bind(x, left=left, right=True)
    vr = kinked_vectors(others[-1], w)
    t = convert_element_type(t, w.aval.dtype)
    inner = solve("eig", vr, product(t, vr))
    outs, tangents = [w], [diagonals(inner)]
    if left:
        # the left vectors are the right ones of the adjoint matrix, for the conjugate eigenvalues
        vl = others[0]
        outs.append(vl)
        tangents.append(_vector_tangent(vl, conj(w), solve("eig", vl, product(adjoint(t), vl))))
    if right:
        outs.append(others[-1])
        tangents.append(_vector_tangent(vr, w, inner))
    return outs, tangents


def _vector_tangent(v: Array, w: Array, inner: Array) -> Array:
    """The tangents of the columns of `v`, turning towards each other; along themselves such that the length stays 1,
    and the largest element, which LAPACK made real, stays real."""
    turn = product(v, over_gaps(inner, w))
    if not v.aval.shape[-1]:
        return turn
    rows = v.aval.ndim - 2
    is_real = eq(imag(v), scalar_like(0, real_dtype(v.aval.dtype)))
    largest = argmax(select(is_real, magnitude(real(v)), scalar_like(-1, real_dtype(v.aval.dtype))), rows, _INDEX)
    there = convert_element_type(eq(broadcasted_iota(_INDEX, v.aval.shape, rows), as_row(largest)), v.aval.dtype)
    stretch = real(reduce_sum(mul(conj(v), turn), (rows,)))
    phase = div(imag(reduce_sum(mul(there, turn), (rows,))), real(reduce_sum(mul(there, v), (rows,))))
    return add(turn, mul(v, as_row(neg(complex_of(stretch, phase)))))


eig_p.abstract_eval = _type
eig_p.kernel = in_stacks(eig_p, _kernel)
eig_p.lower = _lower
eig_p.jvp = _jvp
eig_p.batch = stacked_batch(eig_p)
