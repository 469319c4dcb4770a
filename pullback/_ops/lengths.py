"""Lengths: `hypot` and the norm of vectors. Each is a cone, whose tip is at 0.

Away from the tip the derivative is the direction, x / |x|. At the tip it is taken for 0, the element of least length of
the subdifferential, so that the gradient of every smooth function of a length is right there. The second derivative is
infinite at the tip, and given as nan: no number would do for both |x| and |x|**2.
"""
from __future__ import annotations

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array
from pullback._core.primitive import Primitive
from pullback._core.types import make_aval
from pullback._core.zeros import Zero, zero_of
from pullback._ops.elementwise import add, mul, sqrt, square
from pullback._ops.expressions import emitted, written
from pullback._ops.families import FLOAT, function_of_two, nary
from pullback._ops.quotients import quotient_or_nan, quotient_or_nan_p
from pullback._ops.reduce import kept_shape
from pullback._ops.shape import convert_element_type, reduce_sum_p, reduced_batch, reduced_type, reshape
from pullback._ops.trig import conj, imag, real, real_dtype

_SINGLE = np.dtype(np.float32)


@written
def _hypot_lower(x, y):
    x, y = x.op("stablehlo.abs"), y.op("stablehlo.abs")
    large, small = x.op("stablehlo.maximum", y), x.op("stablehlo.minimum", y)
    inside = large.is_("NE", 0) & large.is_("LT", np.inf)
    ratio = small / inside.choose(large, large * 0 + 1)
    length = large * (ratio * ratio + 1).op("stablehlo.sqrt")
    # an infinite side makes the other one's nan no matter
    infinite = x.is_("EQ", np.inf) | y.is_("EQ", np.inf)
    return infinite.choose(np.inf, large.is_("EQ", 0).choose(large, length))


hypot_p = nary("hypot", np.hypot, _hypot_lower, lambda t, z, x, y: mul(t, quotient_or_nan_p.bind(x, z)),
               lambda t, z, x, y: mul(t, quotient_or_nan_p.bind(y, z)), add=add, accepts=FLOAT)
hypot_p.homogeneous = (0, 1)

hypot = function_of_two(__name__, hypot_p,
    "`sqrt(x**2 + y**2)` without overflow; infinite if either is. Its derivative at the origin is 0.", "3., 4.", "5.0")


# --- the norm of all elements along axes ---

norm_p = Primitive("norm")


def norm(x: Array, axes: tuple[int, ...]) -> Array:
    """The root of the sum of |x|**2 over sorted axes, real; half precision is accumulated in float32."""
    return norm_p.bind(x, axes=axes)


def squared_size(x: Array) -> Array:
    """|x|**2, real."""
    return add(square(real(x)), square(imag(x))) if dtypes.is_complex(x.aval.dtype) else square(x)


def _norm_kernel(x, axes):
    dtype = x.dtype
    if dtypes.is_complex(dtype):
        squares = np.square(x.real) + np.square(x.imag)
    else:
        squares = np.square(x.astype(_SINGLE) if dtype.itemsize < 4 else x)
    return np.asarray(np.sqrt(reduce_sum_p.rule("kernel")(squares, axes))).astype(real_dtype(dtype), copy=False)[()]


def _norm_lower(ctx, x, axes):
    narrow = x.aval.dtype.itemsize < 4

    def root(x):
        wide = convert_element_type(x, _SINGLE) if narrow else x
        y = sqrt(reduce_sum_p.bind(squared_size(wide), axes=axes))
        return [convert_element_type(y, x.aval.dtype) if narrow else y]

    return emitted(ctx, root, x)[0]


def _norm_type(x, axes):
    aval = reduced_type("norm", x, axes)
    return make_aval(aval.shape, real_dtype(aval.dtype), aval.weak_type)


def _norm_jvp(primals, tangents, axes):
    (x,), (t,) = primals, tangents
    y = norm_p.bind(x, axes=axes)
    if type(t) is Zero:
        return y, zero_of(y.aval)
    direction = quotient_or_nan(x, reshape(y, kept_shape(x.aval.shape, axes)))
    if dtypes.is_complex(x.aval.dtype):
        return y, reduce_sum_p.bind(real(mul(t, conj(direction))), axes=axes)
    return y, reduce_sum_p.bind(mul(t, direction), axes=axes)


norm_p.abstract_eval = _norm_type
norm_p.kernel = _norm_kernel
norm_p.lower = _norm_lower
norm_p.jvp = _norm_jvp
norm_p.batch = reduced_batch(norm_p)
norm_p.homogeneous = (0,)
