"""Operations close to the compiler's, and control flow: strict about dtypes, with JAX's `lax` names."""
import typing as _typing

from pullback._api.meshes import with_sharding_constraint
from pullback._core.lazy import attributes as _attributes
from pullback._core.errors import publish
from pullback._higher_order.control.associative_scan import associative_scan
from pullback._higher_order.control.cond import cond, switch
from pullback._higher_order.solvers.linear_solve import custom_linear_solve
from pullback._higher_order.control.loops import fori_loop, map, scan
from pullback._higher_order.solvers.root import custom_root
from pullback._higher_order.control.while_loop import while_loop
from pullback._ops.assemble import bitcast_convert_type, concatenate, split
from pullback._ops.bessel import bessel_i0e, bessel_i1e
from pullback._ops.beta import betainc
from pullback._ops.bases import exp2
from pullback._ops.broadcasting import broadcast, broadcast_shapes, collapse
from pullback._ops.collectives import all_gather, axis_index, axis_size, pmax, pmean, pmin, ppermute, psum
from pullback._ops.compare import (
    bitwise_and, bitwise_not, bitwise_or, bitwise_xor, eq, ge, gt, le, lt, ne, population_count, select, select_n,
    shift_left, shift_right_arithmetic, shift_right_logical,
)
from pullback._ops.computations import reduce, reduce_window
from pullback._ops.conv import conv_general_dilated
from pullback._ops.conv_functions import conv, conv_transpose, conv_with_general_padding
from pullback._ops.conv_axes import ConvDimensionNumbers, conv_dimension_numbers, padtype_to_pads
from pullback._ops.creation import broadcasted_iota, convert_element_type, full, full_like, iota
from pullback._ops.cumulative import cumlogsumexp, cummax, cummin, cumprod, cumsum
from pullback._ops.dot import Precision, batch_matmul, dot, dot_general
from pullback._ops.dynamic_slicing import (
    dynamic_index_in_dim, dynamic_slice, dynamic_slice_in_dim, dynamic_update_index_in_dim,
    dynamic_update_slice, dynamic_update_slice_in_dim,
)
from pullback._ops.elementwise import (
    add, cbrt, div, exp, expm1, integer_pow, log, log1p, max, min, mul, neg, pow, reciprocal, rem, rsqrt, sqrt,
    square, sub,
)
from pullback._ops.rounding import RoundingMethod, ceil, floor, is_finite, round
from pullback._ops.fft import FftType, fft
from pullback._ops.gamma import digamma, lgamma
from pullback._ops.gather_numpy import GatherDimensionNumbers, GatherScatterMode, ScatterDimensionNumbers
from pullback._ops.gather_scatter import gather
from pullback._ops.scatter_functions import scatter, scatter_add, scatter_sub
from pullback._ops.identity import stop_gradient
from pullback._ops.incomplete_gamma import igamma, igammac
from pullback._ops.lengths import atan2
from pullback._ops.reduce import (
    argmax, argmin, reduce_and, reduce_max, reduce_min, reduce_or, reduce_precision, reduce_prod, reduce_xor,
)
from pullback._ops.scatter_extrema import scatter_max, scatter_min, scatter_mul
from pullback._ops.shape import broadcast_in_dim, expand_dims, reduce_sum, reshape, squeeze, transpose
from pullback._ops.sigmoids import logistic, tanh
from pullback._ops.slicing import index_in_dim, pad, rev, slice, slice_in_dim
from pullback._ops.sort import sort, sort_key_val, top_k
from pullback._ops.special import clamp, erf, erf_inv, erfc, nextafter
from pullback._ops.trig import (
    abs, acos, acosh, asin, asinh, atan, atanh, complex, conj, cos, cosh, imag, real, sign, sin, sinh, tan,
)
from pullback._ops.zeta import polygamma, zeta

if _typing.TYPE_CHECKING:
    from pullback.lax import linalg

__all__ = [
    "ConvDimensionNumbers", "FftType", "GatherDimensionNumbers", "GatherScatterMode", "Precision", "RoundingMethod",
    "ScatterDimensionNumbers", "abs", "acos", "acosh", "add", "all_gather", "argmax", "argmin", "asin", "asinh",
    "associative_scan", "atan", "atan2", "atanh", "axis_index", "axis_size", "batch_matmul", "bessel_i0e", "bessel_i1e",
    "betainc", "bitcast_convert_type", "bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor", "broadcast",
    "broadcast_in_dim", "broadcast_shapes", "broadcasted_iota", "cbrt", "ceil", "clamp", "collapse", "complex",
    "concatenate", "cond", "conj", "conv", "conv_dimension_numbers", "conv_general_dilated", "conv_transpose",
    "conv_with_general_padding", "convert_element_type", "cos", "cosh", "cumlogsumexp", "cummax", "cummin", "cumprod",
    "cumsum", "custom_linear_solve", "custom_root", "digamma", "div", "dot", "dot_general", "dynamic_index_in_dim",
    "dynamic_slice", "dynamic_slice_in_dim", "dynamic_update_index_in_dim", "dynamic_update_slice",
    "dynamic_update_slice_in_dim", "eq", "erf", "erf_inv", "erfc", "exp", "exp2", "expand_dims", "expm1", "fft",
    "floor", "fori_loop", "full", "full_like", "gather", "ge", "gt", "igamma", "igammac", "imag", "index_in_dim",
    "integer_pow", "iota", "is_finite", "le", "lgamma", "linalg", "log", "log1p", "logistic", "lt", "map", "max", "min",
    "mul", "ne", "neg", "nextafter", "pad", "padtype_to_pads", "pmax", "pmean", "pmin", "polygamma", "population_count",
    "pow", "ppermute", "psum", "real", "reciprocal", "reduce", "reduce_and", "reduce_max", "reduce_min", "reduce_or",
    "reduce_precision", "reduce_prod", "reduce_sum", "reduce_window", "reduce_xor", "rem", "reshape", "rev", "round",
    "rsqrt", "scan", "scatter", "scatter_add", "scatter_max", "scatter_min", "scatter_mul", "scatter_sub", "select",
    "select_n", "shift_left", "shift_right_arithmetic", "shift_right_logical", "sign", "sin", "sinh", "slice",
    "slice_in_dim", "sort", "sort_key_val", "split", "sqrt", "square", "squeeze", "stop_gradient", "sub", "switch",
    "tan", "tanh", "top_k", "transpose", "while_loop", "with_sharding_constraint", "zeta",
]

publish(globals())

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__, {"linalg": "pullback.lax.linalg"})
