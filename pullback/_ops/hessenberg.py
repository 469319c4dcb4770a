"""Matrices reduced to nearly triangular and to tridiagonal form by reflections, as LAPACK stores them."""

from __future__ import annotations

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.primitive import Primitive
from pullback._core.types import make_aval
from pullback._ops.families import operands
from pullback._ops.matrices import (
    check_matrices,
    guarded_call,
    guarded_kernel,
    in_stacks,
    refuse_derivative,
    routine,
    stack_aval,
    stacked_batch,
)
from pullback._ops.trig import real_dtype

# --- upper Hessenberg form: zeros below the first subdiagonal ---

hessenberg_p: Primitive = Primitive("hessenberg", multiple_results=True)


def hessenberg(a: ArrayLike) -> tuple[Array, Array]:
    """Square matrices `a = q @ h @ q^H`, `h` being zero below its first subdiagonal: `h`, and the reflections of q.

    `a`: `(..., n, n)`, float32, float64 or complex. Returns a matrix that holds `h` in its upper triangle and first
    subdiagonal, and the vectors of the reflections below; and their factors `(..., n - 1)`. `householder_product` of
    the part from row 1 on, without the last column, is the part of q without its first row and column, which are
    those of the identity. A matrix with nan or inf gives nan. It has no derivative here. Raises: ValueError for other
    shapes, TypeError for other dtypes.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> h, taus = lax.linalg.hessenberg(pnp.array([[1., 2.], [3., 4.]]))
    >>> print(h)
    [[1. 2.]
     [3. 4.]]
    """
    (x,) = operands("hessenberg", a)
    return tuple(hessenberg_p.bind(x))


def _hessenberg_type(x):
    check_matrices("hessenberg", x, square=True)
    return [make_aval(x.shape, x.dtype), stack_aval(x, max(x.shape[-1] - 1, 0))]


def _hessenberg_kernel(x):
    def reduce(a):
        n = len(a)
        if n < 2:
            return a, np.zeros(max(n - 1, 0), a.dtype), 0
        return routine("gehrd", x.dtype)(a, lwork=64 * n)

    return guarded_kernel(reduce, x)


def _hessenberg_lower(ctx, x):
    n = x.aval.shape[-1]
    if 0 in x.aval.shape or n < 2:
        return [x, ctx.constant(0, ctx.out_avals[1])]
    return guarded_call(ctx, "gehrd", x, list(ctx.out_avals), {"low": 1, "high": n})


hessenberg_p.abstract_eval = _hessenberg_type
hessenberg_p.kernel = in_stacks(hessenberg_p, _hessenberg_kernel)
hessenberg_p.lower = _hessenberg_lower
hessenberg_p.batch = stacked_batch(hessenberg_p)
refuse_derivative(hessenberg_p, "the reflections are stored beside the result")

# --- tridiagonal form of symmetric (Hermitian) matrices ---

tridiagonal_p: Primitive = Primitive("tridiagonal", multiple_results=True)


def tridiagonal(a: ArrayLike, *, lower: bool = True) -> tuple[Array, Array, Array, Array]:
    """Symmetric (Hermitian) matrices `a = q @ t @ q^H` with a real tridiagonal `t`: its diagonals, and the reflections.

    `a`: `(..., n, n)`, float32, float64 or complex, of which one triangle is read. Returns a matrix that holds `t` and
    the vectors of the reflections in that triangle; the diagonal `(..., n)` and the one beside it `(..., n - 1)`, real;
    and the factors of the reflections `(..., n - 1)`. A matrix with nan or inf gives nan. It has no derivative here.
    Raises: ValueError for other shapes, TypeError for other dtypes.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> _, d, e, _ = lax.linalg.tridiagonal(pnp.array([[2., 1.], [1., 3.]]))
    >>> print(d, e)
    [2. 3.] [1.]
    """
    (x,) = operands("tridiagonal", a)
    return tuple(tridiagonal_p.bind(x, lower=bool(lower)))


def _tridiagonal_type(x, lower):
    check_matrices("tridiagonal", x, square=True)
    n, real = x.shape[-1], real_dtype(x.dtype)
    beside = max(n - 1, 0)
    return [
        make_aval(x.shape, x.dtype),
        stack_aval(x, n, dtype=real),
        stack_aval(x, beside, dtype=real),
        stack_aval(x, beside),
    ]


def _tridiagonal_kernel(x, lower):
    name = "hetrd" if dtypes.is_complex(x.dtype) else "sytrd"

    def reduce(a):
        n = len(a)
        if n < 2:
            empty = np.zeros(max(n - 1, 0), a.dtype)
            return a, a.diagonal().real, empty.real, empty, 0
        return routine(name, x.dtype)(a, lower=int(lower), lwork=64 * n)

    return guarded_kernel(reduce, x)


def _tridiagonal_lower(ctx, x, lower):
    outs = list(ctx.out_avals)
    if 0 in x.aval.shape or x.aval.shape[-1] < 2:
        real = (
            ctx.op("stablehlo.real", [x], make_aval(x.aval.shape, outs[1].dtype))
            if (dtypes.is_complex(x.aval.dtype))
            else x
        )
        return [x, ctx.reshape(real, outs[1].shape), ctx.constant(0, outs[2]), ctx.constant(0, outs[3])]
    name = "hetrd" if dtypes.is_complex(x.aval.dtype) else "sytrd"
    return guarded_call(ctx, name, x, outs, {"uplo": "L" if lower else "U"})


tridiagonal_p.abstract_eval = _tridiagonal_type
tridiagonal_p.kernel = in_stacks(tridiagonal_p, _tridiagonal_kernel)
tridiagonal_p.lower = _tridiagonal_lower
tridiagonal_p.batch = stacked_batch(tridiagonal_p)
refuse_derivative(tridiagonal_p, "the reflections are stored beside the result; eigh has one")
