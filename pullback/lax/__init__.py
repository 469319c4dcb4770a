"""Operations close to the compiler's, and control flow: strict about dtypes, with JAX's `lax` names."""

import typing as _typing

from pullback._api.meshes import with_sharding_constraint
from pullback._core.lazy import attributes as _attributes
from pullback._api.primitive_names import subset as _primitives
from pullback._core.publishing import publish
from pullback._higher_order.control.associative_scan import associative_scan
from pullback._higher_order.control.cond import cond, switch
from pullback._higher_order.solvers.linear_solve import custom_linear_solve
from pullback._higher_order.control.loops import fori_loop, map, scan
from pullback._higher_order.solvers.root import custom_root
from pullback._higher_order.control.while_loop import while_loop
from pullback._ops.arg_extremes import argmax, argmin
from pullback._ops.assemble import bitcast_convert_type, concatenate, split
from pullback._ops.bessel import bessel_i0e, bessel_i1e
from pullback._ops.beta import betainc
from pullback._ops.bases import exp2
from pullback._ops.broadcasting import broadcast, broadcast_shapes, collapse
from pullback._ops.accuracy import AccuracyMode, Tolerance
from pullback._ops.approximate import approx_max_k, approx_min_k
from pullback._ops.barrier import optimization_barrier
from pullback._ops.collectives import all_gather, axis_index, axis_size, pmax, pmean, pmin, psum
from pullback._ops.exchanges import all_to_all, pbroadcast, ppermute, pshuffle, psum_scatter, pswapaxes
from pullback._ops.compare import (
    bitwise_and, bitwise_not, bitwise_or, bitwise_xor, eq, ge, gt, le, lt, ne, population_count, select,
    select_n, shift_left, shift_right_arithmetic, shift_right_logical,
)
from pullback._higher_order.reductions import reduce, reduce_window
from pullback._higher_order.control.scatter_apply import scatter_apply
from pullback._api.composite import composite, platform_dependent
from pullback._ops.conv import conv_general_dilated
from pullback._ops.conv_functions import conv, conv_transpose, conv_with_general_padding
from pullback._ops.conv_axes import (
    ConvDimensionNumbers, ConvGeneralDilatedDimensionNumbers, conv_dimension_numbers, padtype_to_pads,
)
from pullback._ops.conv_patches import conv_general_dilated_local, conv_general_dilated_patches
from pullback._ops.conv_shapes import (
    conv_general_permutations, conv_general_shape_tuple, conv_shape_tuple, conv_transpose_shape_tuple,
    reduce_window_shape_tuple,
)
from pullback._ops.creation import broadcasted_iota, convert_element_type, full, full_like, iota
from pullback._ops.cumulative import cumlogsumexp, cummax, cummin, cumprod, cumsum
from pullback._ops.dot import DotDimensionNumbers, Precision, PrecisionLike, batch_matmul, dot, dot_general
from pullback._ops.dot_algorithms import DotAlgorithm, DotAlgorithmPreset
from pullback._ops.dynamic_slicing import (
    dynamic_index_in_dim, dynamic_slice, dynamic_slice_in_dim, dynamic_update_index_in_dim,
    dynamic_update_slice, dynamic_update_slice_in_dim,
)
from pullback._ops.elementwise import (
    add, cbrt, div, exp, expm1, integer_pow, log, log1p, max, min, mul, neg, pow, reciprocal, rsqrt, sqrt,
    square, sub,
)
from pullback._ops.rounding import RoundingMethod, ceil, floor, is_finite, round
from pullback._ops.fft import FftType, fft
from pullback._ops.gamma import digamma, lgamma
from pullback._ops.gather_numpy import GatherDimensionNumbers, GatherScatterMode, ScatterDimensionNumbers
from pullback._ops.gather_scatter import gather
from pullback._ops.scatter_functions import scatter, scatter_add, scatter_sub
from pullback._ops.identity import stop_gradient
from pullback._ops.incomplete_gamma import igamma, igamma_grad_a, igammac, random_gamma_grad
from pullback._ops.indexed import index_take
from pullback._ops.integer_bits import clz, mulhi
from pullback._ops.lengths import atan2
from pullback._ops.philox import RandomAlgorithm, rng_bit_generator, rng_bit_generator_p
from pullback._ops.ragged import RaggedDotDimensionNumbers, ragged_dot, ragged_dot_general, scaled_dot
from pullback._ops.reduce import (
    reduce_and, reduce_max, reduce_min, reduce_or, reduce_precision, reduce_prod, reduce_xor,
)
from pullback._ops.remainders import rem
from pullback._ops.scatter_extrema import scatter_max, scatter_min, scatter_mul
from pullback._ops.shape import broadcast_in_dim, expand_dims, reduce_sum, reshape, squeeze, transpose
from pullback._ops.sigmoids import logistic, tanh
from pullback._ops.slicing import index_in_dim, pad, rev, slice, slice_in_dim
from pullback._ops.sort import sort, sort_key_val
from pullback._ops.stacking import (
    broadcast_like, broadcast_to_rank, dtype, empty, shape_as_value, stack, tile, unstack,
)
from pullback._ops.tokens import after_all, create_token, dce_sink, stage
from pullback._ops.top_k import top_k
from pullback._ops.special import clamp, erf, erf_inv, erfc, nextafter
from pullback._ops.trig import (
    abs, acos, acosh, asin, asinh, atan, atanh, complex, conj, cos, cosh, imag, real, sign, sin, sinh, tan,
)
from pullback._ops.zeta import polygamma, zeta

# the primitives, as programs compare the operations of equations with them; their parameters are our own
from pullback._higher_order.control.cond import cond_p
from pullback._higher_order.control.scan import scan_p
from pullback._higher_order.control.while_loop import while_p
from pullback._higher_order.reductions import reduce_p, reduce_window_p
from pullback._higher_order.solvers.linear_solve import linear_solve_p
from pullback._ops.arg_extremes import argmax_p, argmin_p
from pullback._ops.assemble import bitcast_convert_type_p, concatenate_p, iota_p, split_p
from pullback._ops.barrier import optimization_barrier_p
from pullback._ops.bases import exp2_p
from pullback._ops.bessel import bessel_i0e_p, bessel_i1e_p
from pullback._ops.beta import regularized_incomplete_beta_p
from pullback._ops.collectives import all_gather_p, axis_index_p, pmax_p, pmin_p, psum_p
from pullback._ops.compare import (
    and_p, eq_p, ge_p, gt_p, le_p, lt_p, ne_p, not_p, or_p, population_count_p, shift_left_p,
    shift_right_arithmetic_p, shift_right_logical_p, xor_p,
)
from pullback._ops.compositions import (
    after_all_p, approx_top_k_p, copy_p, create_token_p, igamma_grad_a_p, scatter_sub_p, select_n_p,
    squeeze_p, stack_p, stage_p, tile_p, unstack_p,
)
from pullback._ops.conv import conv_general_dilated_p
from pullback._ops.cumulative import cumlogsumexp_p, cummax_p, cummin_p, cumprod_p, cumsum_p
from pullback._ops.dot import dot_general_p
from pullback._ops.dynamic_slicing import dynamic_slice_p, dynamic_update_slice_p
from pullback._ops.elementwise import (
    add_p, cbrt_p, div_p, exp_p, expm1_p, integer_pow_p, log1p_p, log_p, max_p, min_p, mul_p, neg_p, pow_p,
    rsqrt_p, sqrt_p, square_p, sub_p,
)
from pullback._ops.exchanges import all_to_all_p, ppermute_p
from pullback._ops.fft import fft_p
from pullback._ops.gamma import digamma_p, lgamma_p
from pullback._ops.gather_scatter import gather_p, scatter_add_p, scatter_p
from pullback._ops.identity import stop_gradient_p
from pullback._ops.incomplete_gamma import igamma_p, igammac_p
from pullback._ops.integer_bits import clz_p, mulhi_p
from pullback._ops.lengths import atan2_p
from pullback._ops.reduce import (
    reduce_and_p, reduce_max_p, reduce_min_p, reduce_or_p, reduce_precision_p, reduce_prod_p, reduce_xor_p,
)
from pullback._ops.remainders import rem_p
from pullback._ops.rounding import ceil_p, floor_p, is_finite_p, round_p
from pullback._ops.scatter_extrema import scatter_max_p, scatter_min_p, scatter_mul_p
from pullback._ops.sharding_constraint import laid_out as _laid_out
from pullback._ops.shape import broadcast_in_dim_p, convert_element_type_p, reduce_sum_p, reshape_p, transpose_p
from pullback._ops.sigmoids import logistic_p, tanh_p
from pullback._ops.slicing import pad_p, rev_p, slice_p
from pullback._ops.sort import sort_p
from pullback._ops.special import clamp_p, erf_inv_p, erf_p, erfc_p, nextafter_p
from pullback._ops.top_k import top_k_p
from pullback._ops.trig import (
    abs_p, acos_p, acosh_p, asin_p, asinh_p, atan_p, atanh_p, complex_p, conj_p, cos_p, cosh_p, imag_p, real_p,
    sign_p, sin_p, sinh_p, tan_p,
)
from pullback._ops.variance import pcast, pvary
from pullback._ops.window import reduce_window_max_p, reduce_window_min_p, reduce_window_sum_p
from pullback._ops.zeta import polygamma_p, zeta_p
from pullback._api.extended_arrays import as_they_are as _as_they_are
from pullback._api.extended_arrays import equal_entries as _equal_entries
from pullback._api.extended_arrays import instead as _instead
from pullback._api.extended_arrays import through_words as _through_words

if _typing.TYPE_CHECKING:
    from pullback.lax import linalg

__all__ = [
    "AccuracyMode", "ConvDimensionNumbers", "ConvGeneralDilatedDimensionNumbers", "DotAlgorithm",
    "DotAlgorithmPreset", "DotDimensionNumbers", "FftType", "GatherDimensionNumbers", "GatherScatterMode",
    "Precision", "PrecisionLike", "RaggedDotDimensionNumbers", "RandomAlgorithm", "RoundingMethod",
    "ScatterDimensionNumbers", "Tolerance", "abs", "abs_p", "acos", "acos_p", "acosh", "acosh_p", "add", "add_p",
    "after_all", "after_all_p", "all_gather", "all_gather_p", "all_to_all", "all_to_all_p", "and_p", "approx_max_k",
    "approx_min_k", "approx_top_k_p", "argmax", "argmax_p", "argmin", "argmin_p", "asin", "asin_p", "asinh",
    "asinh_p", "associative_scan", "atan", "atan2", "atan2_p", "atan_p", "atanh", "atanh_p", "axis_index",
    "axis_index_p", "axis_size", "batch_matmul", "bessel_i0e", "bessel_i0e_p", "bessel_i1e", "bessel_i1e_p",
    "betainc", "bitcast_convert_type", "bitcast_convert_type_p", "bitwise_and", "bitwise_not", "bitwise_or",
    "bitwise_xor", "broadcast", "broadcast_in_dim", "broadcast_in_dim_p", "broadcast_like", "broadcast_shapes",
    "broadcast_to_rank", "broadcasted_iota", "cbrt", "cbrt_p", "ceil", "ceil_p", "clamp", "clamp_p", "clz", "clz_p",
    "collapse", "complex", "complex_p", "composite", "concatenate", "concatenate_p", "cond", "cond_p", "conj",
    "conj_p", "conv", "conv_dimension_numbers", "conv_general_dilated", "conv_general_dilated_local",
    "conv_general_dilated_p", "conv_general_dilated_patches", "conv_general_permutations", "conv_general_shape_tuple",
    "conv_shape_tuple", "conv_transpose", "conv_transpose_shape_tuple", "conv_with_general_padding",
    "convert_element_type", "convert_element_type_p", "copy_p", "cos", "cos_p", "cosh", "cosh_p", "create_token",
    "create_token_p", "cumlogsumexp", "cumlogsumexp_p", "cummax", "cummax_p", "cummin", "cummin_p", "cumprod",
    "cumprod_p", "cumsum", "cumsum_p", "custom_linear_solve", "custom_root", "dce_sink", "digamma", "digamma_p",
    "div", "div_p", "dot", "dot_general", "dot_general_p", "dtype", "dynamic_index_in_dim", "dynamic_slice",
    "dynamic_slice_in_dim", "dynamic_slice_p", "dynamic_update_index_in_dim", "dynamic_update_slice",
    "dynamic_update_slice_in_dim", "dynamic_update_slice_p", "empty", "eq", "eq_p", "erf", "erf_inv", "erf_inv_p",
    "erf_p", "erfc", "erfc_p", "exp", "exp2", "exp2_p", "exp_p", "expand_dims", "expm1", "expm1_p", "fft", "fft_p",
    "floor", "floor_p", "fori_loop", "full", "full_like", "gather", "gather_p", "ge", "ge_p", "gt", "gt_p", "igamma",
    "igamma_grad_a", "igamma_grad_a_p", "igamma_p", "igammac", "igammac_p", "imag", "imag_p", "index_in_dim",
    "index_take", "integer_pow", "integer_pow_p", "iota", "iota_p", "is_finite", "is_finite_p", "le", "le_p",
    "lgamma", "lgamma_p", "linalg", "linear_solve_p", "log", "log1p", "log1p_p", "log_p", "logistic", "logistic_p",
    "lt", "lt_p", "map", "max", "max_p", "min", "min_p", "mul", "mul_p", "mulhi", "mulhi_p", "ne", "ne_p", "neg",
    "neg_p", "nextafter", "nextafter_p", "not_p", "optimization_barrier", "optimization_barrier_p", "or_p", "pad",
    "pad_p", "padtype_to_pads", "pbroadcast", "pcast", "platform_dependent", "pmax", "pmax_p", "pmean", "pmin",
    "pmin_p", "polygamma", "polygamma_p", "population_count", "population_count_p", "pow", "pow_p", "ppermute",
    "ppermute_p", "pshuffle", "psum", "psum_p", "psum_scatter", "pswapaxes", "pvary", "ragged_dot",
    "ragged_dot_general",
    "random_gamma_grad", "real", "real_p", "reciprocal", "reduce", "reduce_and", "reduce_and_p", "reduce_max",
    "reduce_max_p", "reduce_min", "reduce_min_p", "reduce_or", "reduce_or_p", "reduce_p", "reduce_precision",
    "reduce_precision_p", "reduce_prod", "reduce_prod_p", "reduce_sum", "reduce_sum_p", "reduce_window",
    "reduce_window_max_p", "reduce_window_min_p", "reduce_window_p", "reduce_window_shape_tuple",
    "reduce_window_sum_p", "reduce_xor", "reduce_xor_p", "regularized_incomplete_beta_p", "rem", "rem_p", "reshape",
    "reshape_p", "rev", "rev_p", "rng_bit_generator", "rng_bit_generator_p", "round", "round_p", "rsqrt", "rsqrt_p",
    "scaled_dot", "scan", "scan_p", "scatter", "scatter_add", "scatter_add_p", "scatter_apply", "scatter_max",
    "scatter_max_p", "scatter_min", "scatter_min_p", "scatter_mul", "scatter_mul_p", "scatter_p", "scatter_sub",
    "scatter_sub_p", "select", "select_n", "select_n_p", "shape_as_value", "shift_left", "shift_left_p",
    "shift_right_arithmetic", "shift_right_arithmetic_p", "shift_right_logical", "shift_right_logical_p", "sign",
    "sign_p", "sin", "sin_p", "sinh", "sinh_p", "slice", "slice_in_dim", "slice_p", "sort", "sort_key_val", "sort_p",
    "split", "split_p", "sqrt", "sqrt_p", "square", "square_p", "squeeze", "squeeze_p", "stack", "stack_p", "stage",
    "stage_p", "stop_gradient", "stop_gradient_p", "sub", "sub_p", "switch", "tan", "tan_p", "tanh", "tanh_p", "tile",
    "tile_p", "top_k", "top_k_p", "transpose", "transpose_p", "unstack", "unstack_p", "while_loop", "while_p",
    "with_sharding_constraint", "xor_p", "zeta", "zeta_p",
]

_moving = (
    "broadcast broadcast_in_dim broadcast_to_rank collapse concatenate copy dynamic_index_in_dim dynamic_slice "
    "dynamic_slice_in_dim dynamic_update_index_in_dim dynamic_update_slice dynamic_update_slice_in_dim empty "
    "expand_dims full full_like gather index_in_dim index_take pad reshape rev scatter select select_n "
    "slice slice_in_dim split squeeze stage tile transpose"
)
publish(
    globals(),
    {
        **dict.fromkeys(_moving.split(), _instead(_through_words)),
        **dict.fromkeys(("eq", "ne"), _instead(_equal_entries)),
        "convert_element_type": _instead(_as_they_are),
    },
    "broadcast broadcast_in_dim broadcasted_iota reduce_sum reshape".split(),
    _laid_out,
)

if not _typing.TYPE_CHECKING:
    # keys of tables of rules, which no operation has
    _absent = (
        "dce_sink_p device_put_p eq_to_p le_to_p lt_to_p ragged_all_to_all_p rng_uniform_p select_and_gather_add_p "
        "select_and_scatter_add_p select_and_scatter_p sharding_constraint_p"
    )
    __getattr__, __dir__ = _attributes(
        __name__,
        {
            "linalg": "pullback.lax.linalg",
            "rng_uniform": "pullback._api.stateful_uniform:rng_uniform",
            **_primitives(_absent.split()),
        },
    )
