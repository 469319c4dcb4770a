"""`dot_general`: sums of products over some axes of two arrays, with other axes in common. All contractions
use it.

The result's axes: those in common (batch), then the rest of the left operand's, then the rest of the right
operand's.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.config import config
from pullback._core.lazy import LateModule
from pullback._core.primitive import Primitive
from pullback._core.trace import is_linear
from pullback._core.types import make_aval
from pullback._core.typing import DTypeLike, Placement
from pullback._ops.blas import product as blas_product
from pullback._ops.blas import takes_threads
from pullback._ops.dot_algorithms import DotAlgorithm, DotAlgorithmPreset, check_algorithm
from pullback._ops.elementwise import add, scaled
from pullback._ops.families import operands
from pullback._ops.rules import bilinear
from pullback._ops.shape import convert_element_type, transpose
from pullback._ops.sharding_constraint import laid_out

if TYPE_CHECKING:
    from pullback._ops import dot_lowering
else:
    dot_lowering = LateModule("pullback._ops.dot_lowering")

DotDimensionNumbers = tuple[tuple[tuple[int, ...], tuple[int, ...]], tuple[tuple[int, ...], tuple[int, ...]]]

# as users give them: ((contracted of lhs, of rhs), (batch of lhs, of rhs))
DotDimensionNumbersLike: TypeAlias = tuple[tuple[Sequence[int], Sequence[int]], tuple[Sequence[int], Sequence[int]]]


class Precision(enum.Enum):
    """The precision of float32 products on an accelerator; the CPU always computes in full precision.

    >>> canonical_precision("highest")
    (<Precision.HIGHEST: 2>, <Precision.HIGHEST: 2>)
    """

    DEFAULT = 0
    HIGH = 1
    HIGHEST = 2


# one precision for both operands, or a pair: names, or members of the class; or an algorithm
PrecisionLike: TypeAlias = str | Precision | DotAlgorithm | DotAlgorithmPreset | Sequence[str | Precision | None] | None

_PRECISIONS = {
    None: Precision.DEFAULT,
    "default": Precision.DEFAULT,
    "fastest": Precision.DEFAULT,
    "bfloat16": Precision.DEFAULT,
    "high": Precision.HIGH,
    "bfloat16_3x": Precision.HIGH,
    "tensorfloat32": Precision.HIGH,
    "highest": Precision.HIGHEST,
    "float32": Precision.HIGHEST,
}


def canonical_precision(precision: PrecisionLike) -> tuple[Precision, Precision] | None:
    """A user's precision (None, a name, a `Precision`, a pair of those, or an algorithm or its name) as a pair.

    None stands for the option `default_matmul_precision`, and stays None if that is.
    """
    if precision is None:
        precision = config.default_matmul_precision
        if precision is None:
            return None
    if isinstance(precision, str) and precision in DotAlgorithmPreset.__members__:
        precision = DotAlgorithmPreset[precision]
    if isinstance(precision, (DotAlgorithm, DotAlgorithmPreset)):
        check_algorithm(precision)
        precision = Precision.HIGHEST
    pair = precision if isinstance(precision, (tuple, list)) else (precision, precision)
    known = tuple(
        p if isinstance(p, Precision) else _PRECISIONS.get(p.lower() if isinstance(p, str) else p) for p in pair
    )
    if len(known) != 2 or None in known:
        names = sorted(filter(None, _PRECISIONS))
        raise ValueError(
            f"precision must be None, a Precision, one of {names}, a pair of these, or a DotAlgorithmPreset, "
            f"got {precision!r}"
        )
    return known  # type: ignore[return-value]


def precision_attr(precision: tuple[Precision, Precision] | None) -> str:
    """The StableHLO attribute."""
    names = [p.name for p in precision or (Precision.DEFAULT, Precision.DEFAULT)]
    return f"precision_config = [{', '.join(f'#stablehlo<precision {name}>' for name in names)}]"


# --- wrappers ---

dot_general_p: Primitive = Primitive("dot_general")


def dot_general(
    lhs: ArrayLike,
    rhs: ArrayLike,
    dimension_numbers: DotDimensionNumbersLike,
    precision: PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
    *,
    out_sharding: Placement = None,
) -> Array:
    """Sums of products of `lhs` and `rhs`, which must have one dtype.

    `dimension_numbers` is `((lhs_contracting, rhs_contracting), (lhs_batch, rhs_batch))`. The result has the
    batch axes first, then the remaining axes of `lhs`, then those of `rhs`, and the dtype
    `preferred_element_type`, by default that of the operands; half precision accumulates in float32.
    TypeError for lengths that differ.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> lax.dot_general(pnp.ones((2, 3)), pnp.ones((3, 4)), (((1,), (0,)), ((), ()))).shape
    (2, 4)
    """
    if out_sharding is not None:
        return laid_out(
            "dot_general", dot_general(lhs, rhs, dimension_numbers, precision, preferred_element_type), out_sharding
        )
    lhs, rhs = operands("dot_general", lhs, rhs)
    (lc, rc), (lb, rb) = dimension_numbers
    m, n = lhs.aval.ndim, rhs.aval.ndim
    numbers = ((_axes(lc, m), _axes(rc, n)), (_axes(lb, m), _axes(rb, n)))
    preferred = None if preferred_element_type is None else dtypes.requested_dtype(preferred_element_type)
    return dot_general_p.bind(
        lhs, rhs, dimension_numbers=numbers, precision=canonical_precision(precision), preferred_element_type=preferred
    )


def _axes(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    return tuple(int(a) + rank if a < 0 else int(a) for a in axes)


def dot(
    lhs: ArrayLike,
    rhs: ArrayLike,
    *,
    dimension_numbers: DotDimensionNumbersLike | None = None,
    precision: PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
    out_sharding: Placement = None,
) -> Array:
    """The product of two vectors or matrices: the last axis of `lhs` with the first of `rhs`.

    Both of one dtype, which the result has unless `preferred_element_type` says otherwise. TypeError for other shapes.
    With `dimension_numbers` it is `dot_general`.

    >>> import numpy as np
    >>> from pullback import lax
    >>> print(lax.dot(np.array([[1., 2.], [3., 4.]], "f4"), np.array([1., 1.], "f4")))
    [3. 7.]
    """
    if out_sharding is not None:
        result = dot(
            lhs,
            rhs,
            dimension_numbers=dimension_numbers,
            precision=precision,
            preferred_element_type=preferred_element_type,
        )
        return laid_out("dot", result, out_sharding)
    if dimension_numbers is not None:
        return dot_general(lhs, rhs, dimension_numbers, precision, preferred_element_type)
    lhs, rhs = operands("dot", lhs, rhs)
    if not (1 <= lhs.ndim <= 2 and 1 <= rhs.ndim <= 2 and lhs.shape[-1] == rhs.shape[0]):
        raise TypeError(
            f"dot: expected vectors or matrices with the last axis of lhs as long as the first of rhs, got "
            f"shapes {lhs.shape} and {rhs.shape}"
        )
    return dot_general(lhs, rhs, (((lhs.ndim - 1,), (0,)), ((), ())), precision, preferred_element_type)


def batch_matmul(lhs: ArrayLike, rhs: ArrayLike, precision: PrecisionLike = None) -> Array:
    """The products of stacked matrices: `(..., m, k)` and `(..., k, n)` with equal leading axes give `(...,
    m, n)`.

    ValueError for operands of different ranks or with fewer than two axes.

    >>> import numpy as np
    >>> from pullback import lax
    >>> lax.batch_matmul(np.ones((5, 2, 3), "f4"), np.ones((5, 3, 4), "f4")).shape
    (5, 2, 4)
    """
    lhs, rhs = operands("batch_matmul", lhs, rhs)
    rank = lhs.ndim
    if rank != rhs.ndim or rank < 2:
        raise ValueError(
            f"batch_matmul: both operands must have the same number of axes, at least 2, got shapes "
            f"{lhs.shape} and {rhs.shape}"
        )
    batch = tuple(range(rank - 2))
    return dot_general(lhs, rhs, (((rank - 1,), (rank - 2,)), (batch, batch)), precision)


# --- type ---


def remaining(rank: int, *taken: Sequence[int]) -> tuple[int, ...]:
    """The axes below `rank` that are in none of the given sequences, in order."""
    used = {a for axes in taken for a in axes}
    return tuple(a for a in range(rank) if a not in used)


def _dot_type(x, y, dimension_numbers, precision, preferred_element_type):
    (lc, rc), (lb, rb) = dimension_numbers
    for side, aval, contract, batch in (("lhs", x, lc, lb), ("rhs", y, rc, rb)):
        axes = (*contract, *batch)
        if len(set(axes)) != len(axes) or not all(0 <= a < aval.ndim for a in axes):
            raise ValueError(
                f"dot_general: the contracting axes {contract} and batch axes {batch} of {side} must be "
                f"distinct axes of its shape {aval.shape}"
            )
    for what, left, right in (("contracting", lc, rc), ("batch", lb, rb)):
        a, b = tuple(x.shape[i] for i in left), tuple(y.shape[i] for i in right)
        if a != b:
            raise TypeError(
                f"dot_general: {what} axes must have equal lengths, got {a} (axes {left} of lhs, of shape "
                f"{x.shape}) and {b} (axes {right} of rhs, of shape {y.shape})"
            )
    if x.dtype != y.dtype:
        raise TypeError(
            f"dot_general: operands must have one dtype, got {x.str_short()} and {y.str_short()}. "
            "Convert one with .astype(), or use the functions of pullback.numpy, which promote."
        )
    shape = (
        *(x.shape[i] for i in lb),
        *(x.shape[i] for i in remaining(x.ndim, lc, lb)),
        *(y.shape[i] for i in remaining(y.ndim, rc, rb)),
    )
    if preferred_element_type is not None:
        return make_aval(shape, preferred_element_type)
    return make_aval(shape, x.dtype, x.weak_type and y.weak_type)


# --- kernel: every contraction is one np.matmul between reshapes, planned once for each pair of shapes ---


@lru_cache(maxsize=4096)
def _plan(x_shape, y_shape, numbers):
    """The conversion of the operands to stacked matrices: permutation and shape for each (None: unchanged), the
    result's shape, and whether the product `takes_threads`."""
    (lc, rc), (lb, rb) = numbers
    left_rest, right_rest = remaining(len(x_shape), lc, lb), remaining(len(y_shape), rc, rb)
    batch = tuple(x_shape[i] for i in lb)
    m = math.prod(x_shape[i] for i in left_rest)
    n = math.prod(y_shape[i] for i in right_rest)
    k = math.prod(x_shape[i] for i in lc)
    pairs = sorted(zip(lc, rc, strict=True))
    left = (*lb, *left_rest, *(a for a, _ in pairs))
    right = (*rb, *(b for _, b in pairs), *right_rest)
    out = (*batch, *(x_shape[i] for i in left_rest), *(y_shape[i] for i in right_rest))
    product = (*batch, m, n)
    return (
        *_arranged(x_shape, left, (*batch, m, k)),
        *_arranged(y_shape, right, (*batch, k, n)),
        None if out == product else out,
        takes_threads(m, k, n),
    )


def _arranged(shape, permutation, to):
    """The permutation and the reshaping that take an array of `shape` to `to`; None if nothing changes."""
    return (
        None if permutation == tuple(range(len(shape))) else permutation,
        None if tuple(shape[i] for i in permutation) == to else to,
    )


def is_wider(preferred: np.dtype | None, dtype: np.dtype) -> bool:
    """Return whether operands are converted to the dtype of the result before they are multiplied."""
    return preferred is not None and (
        preferred.itemsize > dtype.itemsize or (dtypes.is_inexact(preferred) and not dtypes.is_inexact(dtype))
    )


def _dot_kernel(x, y, dimension_numbers, precision, preferred_element_type):
    dtype = x.dtype
    # half precision and narrow integers with a wider result accumulate in the wider type
    if (
        dtype.itemsize <= 2
        and dtype.kind != "b"
        and (preferred_element_type is not None or dtypes.is_inexact(dtype) or dtype.kind == "V")
    ):
        wide = np.float32 if dtypes.is_inexact(dtype) else np.int32
        x, y = x.astype(wide), y.astype(wide)
    if is_wider(preferred_element_type, x.dtype):
        x, y = x.astype(preferred_element_type), y.astype(preferred_element_type)
    left, left_shape, right, right_shape, out, threads = _plan(x.shape, y.shape, dimension_numbers)
    if left is not None:
        x = x.transpose(left)
    if left_shape is not None:
        x = x.reshape(left_shape)
    if right is not None:
        y = y.transpose(right)
    if right_shape is not None:
        y = y.reshape(right_shape)
    z = blas_product(x, y, np.matmul) if threads else np.matmul(x, y)
    return z if out is None else z.reshape(out)


def _dot_lower(ctx, x, y, dimension_numbers, precision, preferred_element_type):
    return dot_lowering.product(ctx, x, y, dimension_numbers, ctx.out_avals[0], precision_attr(precision))


# --- derivatives: linear in each operand ---


def _dot_transpose(ct, x, y, dimension_numbers, precision, preferred_element_type):
    (lc, rc), (lb, rb) = dimension_numbers
    if is_linear(x):
        return [_dot_pullback(ct, x.aval, y, ((lc, rc), (lb, rb)), precision, 0), None]
    return [None, _dot_pullback(ct, y.aval, x, ((rc, lc), (rb, lb)), precision, 1)]


def _dot_pullback(ct, aval, other, numbers, precision, side):
    """The cotangent of the operand of type `aval`; `numbers` list its axes first, `side` is its position."""
    (contract, other_contract), (batch, other_batch) = numbers
    kept = remaining(aval.ndim, contract, batch)
    other_kept = remaining(other.aval.ndim, other_contract, other_batch)
    nb = len(batch)
    start = nb + (len(kept) if side == 0 else 0)
    ct_other = tuple(range(start, start + len(other_kept)))
    wide = ct.aval.dtype
    if other.aval.dtype != wide:
        other = convert_element_type(other, wide)
    batch_axes = tuple(range(nb))
    if side == 0:
        out = dot_general_p.bind(
            ct,
            other,
            dimension_numbers=((ct_other, other_kept), (batch_axes, other_batch)),
            precision=precision,
            preferred_element_type=None,
        )
        found = (*batch, *kept, *_by_other(contract, other_contract))
    else:
        out = dot_general_p.bind(
            other,
            ct,
            dimension_numbers=((other_kept, ct_other), (other_batch, batch_axes)),
            precision=precision,
            preferred_element_type=None,
        )
        found = (*batch, *_by_other(contract, other_contract), *kept)
    permutation = [0] * len(found)
    for position, axis in enumerate(found):
        permutation[axis] = position
    return convert_element_type(transpose(out, permutation), aval.dtype, out.aval.weak_type)


def _by_other(contract, other_contract):
    """The contracted axes in the order in which the product with the other operand gives them."""
    return tuple(a for _, a in sorted(zip(other_contract, contract, strict=True)))


def _dot_batch(trace, args, dims, dimension_numbers, precision, preferred_element_type):
    (x, y), (bx, by) = args, dims
    (lc, rc), (lb, rb) = dimension_numbers
    params = {"precision": precision, "preferred_element_type": preferred_element_type}
    if bx is not None:
        lc, lb = _shift(lc, bx), _shift(lb, bx)
    if by is not None:
        rc, rb = _shift(rc, by), _shift(rb, by)
    if bx is not None and by is not None:
        out = dot_general_p.bind(x, y, dimension_numbers=((lc, rc), ((bx, *lb), (by, *rb))), **params)
        return out, 0
    out = dot_general_p.bind(x, y, dimension_numbers=((lc, rc), (lb, rb)), **params)
    if bx is not None:
        return out, len(lb) + remaining(x.aval.ndim, lc, lb).index(bx)
    return out, x.aval.ndim - len(lc) + remaining(y.aval.ndim, rc, rb).index(by)


def _shift(axes, batch):
    return tuple(a + (a >= batch) for a in axes)


dot_general_p.abstract_eval = _dot_type
dot_general_p.kernel = _dot_kernel
dot_general_p.lower = _dot_lower
bilinear(dot_general_p, add, scaled)
dot_general_p.transpose = _dot_transpose
dot_general_p.batch = _dot_batch
