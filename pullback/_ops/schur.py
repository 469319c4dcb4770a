"""The Schur decomposition: a matrix as a triangular one between unitary ones."""

from __future__ import annotations

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.primitive import Primitive
from pullback._core.types import make_aval
from pullback._core.typing import AnyValue
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

_INDEX = np.dtype(np.int32)
schur_p: Primitive = Primitive("schur", multiple_results=True)


def schur(
    x: ArrayLike,
    *,
    compute_schur_vectors: bool = True,
    sort_eig_vals: bool = False,
    select_callable: AnyValue = None,
) -> tuple[Array, ...]:
    """Square matrices `x = q @ t @ q^H` with unitary `q` and triangular `t`.

    `x`: `(..., n, n)`, float32, float64 or complex. Returns `t` and, with `compute_schur_vectors`, `q`, both of the
    shape of `x`. The `t` of a real matrix is real and triangular up to blocks of two rows on the diagonal, of pairs
    of conjugate eigenvalues. A matrix with nan or inf gives nan. It has no derivative here. Raises: ValueError for
    other shapes, TypeError for other dtypes, NotImplementedError for an order of the eigenvalues.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> t, q = lax.linalg.schur(pnp.array([[2., 1.], [0., 3.]]))
    >>> print(t)
    [[2. 1.]
     [0. 3.]]
    """
    if sort_eig_vals or select_callable is not None:
        raise NotImplementedError(
            "schur: the order of the eigenvalues cannot be chosen (sort_eig_vals, select_callable)"
        )
    (x,) = operands("schur", x)
    return tuple(schur_p.bind(x, vectors=bool(compute_schur_vectors)))


def _type(x, vectors):
    check_matrices("schur", x, square=True)
    return [make_aval(x.shape, x.dtype)] * (1 + vectors)


def _kernel(x, vectors):
    def decompose(a):
        n = len(a)
        if n == 0:
            return a, *([a] * vectors), 0
        # the callable would choose an order, which is not asked for
        t, _, *_, q, _, info = routine("gees", x.dtype)(
            lambda *_: False, a, compute_v=int(vectors), sort_t=0, lwork=64 * n
        )
        return t, *([q] if vectors else []), info

    return guarded_kernel(decompose, x)


def _lower(ctx, x, vectors):
    if 0 in x.aval.shape:
        return [x] * (1 + vectors)
    n = x.aval.shape[-1]
    values = [stack_aval(x.aval, n)] * (1 if dtypes.is_complex(x.aval.dtype) else 2)
    selected = make_aval(x.aval.shape[:-2], _INDEX)
    settings: dict[str, str | int] = {"mode": "V" if vectors else "N", "sort": "N"}
    avals = [x.aval, x.aval, *values, selected]
    t, q, *_ = guarded_call(ctx, "gees", x, avals, settings)
    return [t, q] if vectors else [t]


schur_p.abstract_eval = _type
schur_p.kernel = in_stacks(schur_p, _kernel)
schur_p.lower = _lower
schur_p.batch = stacked_batch(schur_p)
refuse_derivative(schur_p, "eigenvalues have one in eig")
