"""Comparisons, logic on bools and bits, and selection by a mask."""

from __future__ import annotations

import operator

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, lift
from pullback._core.primitive import Primitive
from pullback._core.trace import is_linear
from pullback._core.types import make_aval
from pullback._core.zeros import Zero, zero_of
from pullback._ops.choosing import LARGE, choose
from pullback._ops.families import (
    ANY,
    BITS,
    INTEGER,
    BinaryFunction,
    UnaryFunction,
    broadcast_shapes,
    elementwise,
    elementwise_batch,
    elementwise_lower,
    function_of_one,
    function_of_two,
    operands,
    to_bool,
    unary,
)
from pullback._ops.rules import zero_jvp
from pullback._ops.shape import broadcast_to, instantiate, unbroadcast, zeros_like_aval


def _comparison(name: str, kernel, direction: str) -> Primitive:
    p = elementwise(name, kernel, lambda ctx, x, y: compare_lower(ctx, direction, x, y), ANY, to_bool)
    zero_jvp(p)
    return p


def compare_lower(ctx, direction, x, y):
    """A comparison that orders complex operands as NumPy does: by real part, then imaginary part."""
    if not dtypes.is_complex(x.aval.dtype) or direction in ("EQ", "NE"):
        return ctx.compare(direction, x, y)
    part = make_aval(x.aval.shape, np.dtype(np.float32 if x.aval.dtype == np.complex64 else np.float64))
    (a, b), (u, v) = [[ctx.op(f"stablehlo.{which}", [z], part) for which in ("real", "imag")] for z in (x, y)]
    first = ctx.compare(direction[0] + "T", a, u)
    second = ctx.op("stablehlo.and", [ctx.compare("EQ", a, u), ctx.compare(direction, b, v)])
    return ctx.op("stablehlo.or", [first, second])


# Python's operators as kernels: on NumPy scalars they are ten times as fast as ufuncs
eq_p: Primitive = _comparison("eq", operator.eq, "EQ")
ne_p: Primitive = _comparison("ne", operator.ne, "NE")
lt_p: Primitive = _comparison("lt", operator.lt, "LT")
le_p: Primitive = _comparison("le", operator.le, "LE")
gt_p: Primitive = _comparison("gt", operator.gt, "GT")
ge_p: Primitive = _comparison("ge", operator.ge, "GE")

eq: BinaryFunction = function_of_two(
    __name__, eq_p, "`x == y`; false where either is nan.", "1, 2", "False", gives="is of bool"
)
ne: BinaryFunction = function_of_two(
    __name__, ne_p, "`x != y`; true where either is nan.", "1, 2", "True", gives="is of bool"
)
lt: BinaryFunction = function_of_two(
    __name__,
    lt_p,
    "`x < y`, complex numbers by real part, then imaginary part; false where either is nan.",
    "1, 2",
    "True",
    gives="is of bool",
)
le: BinaryFunction = function_of_two(
    __name__,
    le_p,
    "`x <= y`, complex numbers by real part, then imaginary part; false where either is nan.",
    "1, 2",
    "True",
    gives="is of bool",
)
gt: BinaryFunction = function_of_two(
    __name__,
    gt_p,
    "`x > y`, complex numbers by real part, then imaginary part; false where either is nan.",
    "1, 2",
    "False",
    gives="is of bool",
)
ge: BinaryFunction = function_of_two(
    __name__,
    ge_p,
    "`x >= y`, complex numbers by real part, then imaginary part; false where either is nan.",
    "1, 2",
    "False",
    gives="is of bool",
)

# --- logic ---


def _logic(name: str, kernel, op: str) -> Primitive:
    p = elementwise(name, kernel, op, BITS)
    zero_jvp(p)
    return p


and_p: Primitive = _logic("and", np.bitwise_and, "stablehlo.and")
or_p: Primitive = _logic("or", np.bitwise_or, "stablehlo.or")
xor_p: Primitive = _logic("xor", np.bitwise_xor, "stablehlo.xor")
not_p: Primitive = unary("not", np.invert, "stablehlo.not", None, BITS)

bitwise_and: BinaryFunction = function_of_two(__name__, and_p, "`x & y`, bit by bit.", "6, 3", "2", name="bitwise_and")
bitwise_or: BinaryFunction = function_of_two(__name__, or_p, "`x | y`, bit by bit.", "6, 3", "7", name="bitwise_or")
bitwise_xor: BinaryFunction = function_of_two(__name__, xor_p, "`x ^ y`, bit by bit.", "6, 3", "5", name="bitwise_xor")
bitwise_not: UnaryFunction = function_of_one(__name__, not_p, "`~x`, bit by bit.", "6", "-7", name="bitwise_not")

# shifts by the width of the dtype or more give 0 (or the sign, shifting right arithmetically), as in XLA


def _shift_left(x, y):
    width = x.dtype.itemsize * 8
    too_far = (y < 0) | (y >= width)
    return np.where(too_far, x.dtype.type(0), np.left_shift(x, np.where(too_far, x.dtype.type(0), y)))


def _shift_right_logical(x, y):
    unsigned = np.dtype(f"u{x.dtype.itemsize}")
    width = x.dtype.itemsize * 8
    too_far = (y < 0) | (y >= width)
    bits = np.right_shift(np.asarray(x).view(unsigned), np.where(too_far, 0, y).astype(unsigned))
    return np.where(too_far, unsigned.type(0), bits).astype(unsigned).view(x.dtype)


def _shift_right_arithmetic(x, y):
    # the highest bit counts as a sign for unsigned integers too
    signed = np.asarray(x).view(f"i{x.dtype.itemsize}")
    width = x.dtype.itemsize * 8
    far = np.where((y < 0) | (y >= width), x.dtype.type(width - 1), y).astype(signed.dtype)
    return np.right_shift(signed, far).view(x.dtype)


def _population_count(x):
    return np.bitwise_count(np.asarray(x).view(f"u{x.dtype.itemsize}"))


shift_left_p: Primitive = elementwise("shift_left", _shift_left, "stablehlo.shift_left", INTEGER)
shift_right_logical_p: Primitive = elementwise(
    "shift_right_logical", _shift_right_logical, "stablehlo.shift_right_logical", INTEGER
)
shift_right_arithmetic_p: Primitive = elementwise(
    "shift_right_arithmetic", _shift_right_arithmetic, "stablehlo.shift_right_arithmetic", INTEGER
)
population_count_p: Primitive = elementwise("population_count", _population_count, "stablehlo.popcnt", INTEGER, arity=1)
for _p in (shift_left_p, shift_right_logical_p, shift_right_arithmetic_p, population_count_p):
    zero_jvp(_p)

shift_left: BinaryFunction = function_of_two(
    __name__, shift_left_p, "`x << y`; 0 where `y` is negative or not below the number of bits.", "3, 2", "12"
)
shift_right_logical: BinaryFunction = function_of_two(
    __name__,
    shift_right_logical_p,
    "`x >> y`, zeros coming in from the left; 0 where `y` is negative or not below the number of bits.",
    "12, 2",
    "3",
)
shift_right_arithmetic: BinaryFunction = function_of_two(
    __name__,
    shift_right_arithmetic_p,
    "`x >> y`, copies of the highest bit coming in from the left, and these alone where `y` is negative or not "
    "below the number of bits.",
    "-12, 2",
    "-3",
)
population_count: UnaryFunction = function_of_one(
    __name__, population_count_p, "The number of bits that are set, negative integers in two's complement.", "6", "2"
)

# --- select: `where(mask, x, y)`, linear in x and y ---

select_p = Primitive("select")


def select(pred: ArrayLike, on_true: ArrayLike, on_false: ArrayLike) -> Array:
    """`on_true` where `pred` is true, else `on_false`, elementwise; the derivative by the value not chosen is 0.

    `pred`: bools. `on_true`, `on_false`: of one dtype, which the result has (a Python scalar takes that of an array
    operand). The three shapes broadcast. TypeError for another `pred` and for two dtypes, ValueError for shapes that
    do not broadcast.

    >>> import numpy as np
    >>> from pullback import lax
    >>> print(lax.select(np.array([True, False]), 1., 2.))
    [1. 2.]
    """
    return select_p.bind(lift(pred), *operands("select", on_true, on_false))


def select_n(which: ArrayLike, *cases: ArrayLike) -> Array:
    """`cases[which]`, elementwise: `which` is a mask of bools for two cases (True for the second), int32s for several.

    `which` is a scalar or has the shape of the cases, which share one shape and dtype; an index out of bounds takes
    the nearest case. The derivative by the cases not chosen is 0. Raises: TypeError for another `which`, for cases of
    two dtypes, and for a mask with more than two; ValueError for no case and for other shapes.

    >>> import numpy as np
    >>> from pullback import lax
    >>> print(lax.select_n(np.array([0, 2, 1], "int32"), np.zeros(3), np.ones(3), np.full(3, 5.)))
    [0. 5. 1.]
    """
    which = lift(which)
    if not cases:
        raise ValueError("select_n: expected at least one case")
    arrays = operands("select_n", *cases)
    for x in arrays:
        if x.aval.dtype != arrays[0].aval.dtype:
            raise TypeError(
                f"select_n: the cases must have one dtype, got {arrays[0].aval.str_short()} and {x.aval.str_short()}"
            )
        if x.aval.shape != arrays[0].aval.shape or which.aval.shape not in ((), x.aval.shape):
            raise ValueError(
                "select_n: the cases must have one shape, and which that shape or (), got "
                f"{', '.join(a.aval.str_short() for a in (which, *arrays))}"
            )
    if which.aval.dtype.kind == "b" and len(arrays) <= 2:
        return arrays[0] if len(arrays) == 1 else select_p.bind(which, arrays[1], arrays[0])
    if which.aval.dtype != np.int32:
        raise TypeError(
            "select_n: which must be of int32s, or of bools for two cases, got "
            f"{which.aval.str_short()} for {len(arrays)} cases"
        )
    result = arrays[0]
    for i, x in enumerate(arrays[1:], 1):
        result = select_p.bind(ge(which, np.int32(i)), x, result)
    return result


def _select_type(mask, x, y):
    if mask.dtype.kind != "b":
        raise TypeError(f"select: pred must be of bools, got {mask.str_short()}")
    if x.dtype != y.dtype:
        raise TypeError(f"select: both choices must have one dtype, got {x.str_short()} and {y.str_short()}")
    return make_aval(broadcast_shapes("select", mask.shape, x.shape, y.shape), x.dtype, x.weak_type and y.weak_type)


def _select_kernel(mask, x, y):
    if mask.ndim == x.ndim == y.ndim == 0:
        return x if mask else y
    return np.where(mask, x, y) if mask.size < LARGE else choose(mask, x, y)


def _select_jvp(primals, tangents):
    mask, x, y = primals
    z = select_p.bind(mask, x, y)
    _, t, u = tangents
    if type(t) is Zero and type(u) is Zero:
        return z, zero_of(z.aval)
    return z, broadcast_to(select_p.bind(mask, instantiate(t), instantiate(u)), z.aval.shape)


def _select_transpose(ct, mask, x, y):
    zeros = zeros_like_aval(ct.aval)
    return [
        None,
        unbroadcast(select_p.bind(mask, ct, zeros), x.aval) if is_linear(x) else None,
        unbroadcast(select_p.bind(mask, zeros, ct), y.aval) if is_linear(y) else None,
    ]


select_p.abstract_eval = _select_type
select_p.kernel = _select_kernel
select_p.lower = elementwise_lower(lambda ctx, mask, x, y: ctx.op("stablehlo.select", [mask, x, y], x.aval))
select_p.jvp = _select_jvp
select_p.transpose = _select_transpose
select_p.has(additive=(1, 2), cheap=True)
select_p.batch = elementwise_batch(select_p)


# --- for the lowerings of maxima and minima ---


def _preferred(op, direction):
    """Emits the larger or smaller of two values, or the one that is nan."""

    def lower(ctx, x, y):
        if not dtypes.is_complex(x.aval.dtype):
            return ctx.op(op, [x, y])
        ahead = ctx.op("stablehlo.and", [compare_lower(ctx, direction, x, y), ctx.compare("EQ", y, y)])
        wins = ctx.op("stablehlo.or", [ahead, ctx.compare("NE", x, x)])
        return ctx.op("stablehlo.select", [wins, x, y], x.aval)

    return lower


emit_larger, emit_smaller = _preferred("stablehlo.maximum", "GT"), _preferred("stablehlo.minimum", "LT")
