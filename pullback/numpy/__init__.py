"""NumPy's functions on pullback's arrays, under NumPy's names.

The dtypes follow JAX's promotion rules: 32 bits by default, and Python scalars yield to arrays. The functions are
loaded at their first use.
"""
import typing as _typing

import ml_dtypes as _ml_dtypes

from pullback._core.lazy import attributes as _attributes

if _typing.TYPE_CHECKING:
    from pullback.numpy._types.array_api import __array_api_version__, __array_namespace_info__  # noqa: F401
    from pullback.numpy._functional.calculus import (
        corrcoef, cov, diff, ediff1d, gradient, interp, trapezoid, unwrap,
    )
    from pullback.numpy._types.constants import (
        ComplexWarning, ScalarType, bfloat16, bool, bool_, cdouble, character, complex128, complex64, complex_,
        complexfloating, csingle, double, dtype, e, euler_gamma, flexible, float16, float32, float64,
        float4_e2m1fn, float6_e2m3fn, float6_e3m2fn, float8_e3m4, float8_e4m3, int1, int2, uint1, uint2,
        float8_e4m3b11fnuz, float8_e4m3fn, float8_e4m3fnuz, float8_e5m2, float8_e5m2fnuz, float8_e8m0fnu, float_,
        floating, generic, inexact, inf, int16, int32, int4, int64, int8, int_, integer, nan, ndarray, newaxis,
        number, object_, pi, signedinteger, single, uint, uint16, uint32, uint4, uint64, uint8, unsignedinteger,
    )
    from pullback.numpy._products.contractions import (
        cross, dot, inner, kron, matmul, matvec, outer, tensordot, vdot, vecdot, vecmat,
    )
    from pullback.numpy._products.convolution import convolve, correlate
    from pullback.numpy._searching.counting import (
        bincount, unique, unique_all, unique_counts, unique_inverse, unique_values,
    )
    from pullback.numpy._searching.histograms import histogram, histogram2d, histogram_bin_edges, histogramdd
    from pullback.numpy._windows import bartlett, blackman, hamming, hanning, kaiser
    from pullback.numpy._creation.buffers import from_dlpack, frombuffer, fromiter
    from pullback.numpy._creation.creation import (
        array, asarray, copy, empty, empty_like, full, full_like, ones,
        ones_like, zeros, zeros_like,
    )
    from pullback.numpy._reductions.cumulative import cumprod, cumsum, cumulative_prod, cumulative_sum
    from pullback.numpy._products.einsum import einsum, einsum_path
    from pullback.numpy._creation.concatenators import c_, index_exp, r_, s_
    from pullback.numpy._files_and_text import (
        array_repr, array_str, fromfile, fromstring, get_printoptions, load, printoptions, save, savez,
        set_printoptions,
    )
    from pullback.numpy._elementwise.bit_packing import packbits, unpackbits
    from pullback.numpy._creation.grids import (
        diag, diag_indices, diag_indices_from, diagflat, diagonal, eye, fromfunction, identity, indices,
        mask_indices, meshgrid, mgrid, ogrid, trace, tri, tril, tril_indices, tril_indices_from, triu, triu_indices,
        triu_indices_from, vander,
    )
    from pullback.numpy._indexing.indexing import compress, extract, ix_, take, take_along_axis
    from pullback.numpy._shape.joining import (
        append, array_split, block, column_stack, concat, concatenate, dsplit, dstack, hsplit, hstack, repeat,
        split, stack, tile, unstack, vsplit, vstack,
    )
    from pullback.numpy._elementwise.logic import (
        bitwise_and, bitwise_count, bitwise_invert, bitwise_left_shift, bitwise_not, bitwise_or,
        bitwise_right_shift, bitwise_xor, equal, gcd, greater, greater_equal, invert, iscomplex, isfinite, isinf,
        isnan, isneginf, isposinf, isreal, lcm, left_shift, less, less_equal, logical_and, logical_not, logical_or,
        logical_xor, not_equal, right_shift,
    )
    from pullback.numpy._shape.manipulation import (
        atleast_1d, atleast_2d, atleast_3d, broadcast_arrays, broadcast_shapes, broadcast_to, expand_dims, flip,
        fliplr, flipud, matrix_transpose, moveaxis, permute_dims, ravel, reshape, roll, rollaxis, rot90, squeeze,
        swapaxes, transpose,
    )
    from pullback.numpy._reductions.ignoring_nan import (
        nanargmax, nanargmin, nancumprod, nancumsum, nanmax, nanmean, nanmin, nanprod, nanstd, nansum, nanvar,
    )
    from pullback.numpy._polynomials.arithmetic import polyadd, polyder, polydiv, polyint, polymul, polysub, polyval
    from pullback.numpy._polynomials.roots import poly, polyfit, roots
    from pullback.numpy._shape.padding import pad
    from pullback.numpy._elementwise.rounding import around, ceil, fix, floor, rint, round, trunc
    from pullback.numpy._elementwise.complex_parts import angle, conj, conjugate, imag, real
    from pullback.numpy._elementwise.float_parts import (
        copysign, frexp, heaviside, i0, ldexp, modf, nextafter, signbit, spacing,
    )
    from pullback.numpy._functional.along_axes import apply_along_axis, apply_over_axes
    from pullback.numpy._functional.piecewise import choose, piecewise, select
    from pullback.numpy._indexing.flat_index import ravel_multi_index, unravel_index
    from pullback.numpy._searching.nonzero import argwhere, flatnonzero, nonzero, where
    from pullback.numpy._reductions.quantiles import median, nanmedian, nanpercentile, nanquantile, percentile, quantile
    from pullback.numpy._creation.ranges import arange, geomspace, linspace, logspace
    from pullback.numpy._reductions.reductions import (
        all, amax, amin, any, argmax, argmin, count_nonzero, max, min, prod, ptp, sum,
    )
    from pullback.numpy._reductions.moments import average, mean, std, var
    from pullback.numpy._elementwise.selection import allclose, array_equal, array_equiv, clip, isclose, nan_to_num
    from pullback.numpy._searching.sets import intersect1d, isin, setdiff1d, setxor1d, union1d
    from pullback.numpy._searching.sorting import (
        argpartition, argsort, digitize, lexsort, partition, searchsorted, sort, sort_complex,
    )
    from pullback.numpy._types.queries import (
        astype, can_cast, finfo, iinfo, iscomplexobj, isdtype, isrealobj, isscalar, issubdtype, iterable, ndim,
        promote_types, result_type, shape, size,
    )
    from pullback.numpy._elementwise.arithmetic import (
        abs, absolute, add, divide, divmod, fabs, float_power, floor_divide, fmod, mod, multiply, negative, positive,
        pow, power, reciprocal, remainder, sign, square, subtract, true_divide,
    )
    from pullback.numpy._elementwise.functions import (
        acos, acosh, arccos, arccosh, arcsin, arcsinh, arctan, arctan2, arctanh, asin, asinh, atan, atan2, atanh, cbrt,
        cos, cosh, deg2rad, degrees, exp, exp2, expm1, fmax, fmin, hypot, log, log10, log1p, log2, logaddexp,
        logaddexp2, maximum, minimum, rad2deg, radians, sin, sinc, sinh, sqrt, tan, tanh,
    )
    from pullback.numpy._functional.ufuncs import frompyfunc, ufunc
    from pullback.numpy._functional.vectorize import vectorize
    from pullback.numpy._indexing.insertion import (
        delete, fill_diagonal, insert, place, put, put_along_axis, resize, trim_zeros,
    )
    from pullback.numpy import fft, linalg

__all__ = [
    "ComplexWarning", "ScalarType", "abs", "absolute", "acos", "acosh", "add", "all", "allclose", "amax",
    "amin", "angle", "any", "append", "apply_along_axis", "apply_over_axes", "arange", "arccos", "arccosh",
    "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "argmax", "argmin", "argpartition", "argsort",
    "argwhere", "around", "array", "array_equal", "array_equiv", "array_repr", "array_split", "array_str",
    "asarray", "asin", "asinh", "astype", "atan", "atan2", "atanh", "atleast_1d", "atleast_2d", "atleast_3d",
    "average", "bartlett", "bfloat16", "bincount", "bitwise_and", "bitwise_count", "bitwise_invert",
    "bitwise_left_shift", "bitwise_not", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "blackman",
    "block", "bool", "bool_", "broadcast_arrays", "broadcast_shapes", "broadcast_to", "c_", "can_cast", "cbrt",
    "cdouble", "ceil", "character", "choose", "clip", "column_stack", "complex128", "complex64", "complex_",
    "complexfloating", "compress", "concat", "concatenate", "conj", "conjugate", "convolve", "copy", "copysign",
    "corrcoef", "correlate", "cos", "cosh", "count_nonzero", "cov", "cross", "csingle", "cumprod", "cumsum",
    "cumulative_prod", "cumulative_sum", "deg2rad", "degrees", "delete", "diag", "diag_indices",
    "diag_indices_from", "diagflat", "diagonal", "diff", "digitize", "divide", "divmod", "dot", "double",
    "dsplit", "dstack", "dtype", "e", "ediff1d", "einsum", "einsum_path", "empty", "empty_like", "equal",
    "euler_gamma", "exp", "exp2", "expand_dims", "expm1", "extract", "eye", "fabs", "fft", "fill_diagonal",
    "finfo", "fix", "flatnonzero", "flexible", "flip", "fliplr", "flipud", "float16", "float4_e2m1fn", "float6_e2m3fn",
    "float6_e3m2fn", "int1", "int2", "uint1", "uint2", "float32", "float64",
    "float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2",
    "float8_e5m2fnuz", "float8_e8m0fnu", "float_", "float_power", "floating", "floor", "floor_divide", "fmax",
    "fmin", "fmod", "frexp", "from_dlpack", "frombuffer", "fromfile", "fromfunction", "fromiter", "frompyfunc",
    "fromstring", "full", "full_like", "gcd", "generic", "geomspace", "get_printoptions", "gradient", "greater",
    "greater_equal", "hamming", "hanning", "heaviside", "histogram", "histogram2d", "histogram_bin_edges",
    "histogramdd", "hsplit", "hstack", "hypot", "i0", "identity", "iinfo", "imag", "index_exp", "indices",
    "inexact", "inf", "inner", "insert", "int16", "int32", "int4", "int64", "int8", "int_", "integer", "interp",
    "intersect1d", "invert", "isclose", "iscomplex", "iscomplexobj", "isdtype", "isfinite", "isin", "isinf",
    "isnan", "isneginf", "isposinf", "isreal", "isrealobj", "isscalar", "issubdtype", "iterable", "ix_",
    "kaiser", "kron", "lcm", "ldexp", "left_shift", "less", "less_equal", "lexsort", "linalg", "linspace",
    "load", "log", "log10", "log1p", "log2", "logaddexp", "logaddexp2", "logical_and", "logical_not",
    "logical_or", "logical_xor", "logspace", "mask_indices", "matmul", "matrix_transpose", "matvec", "max",
    "maximum", "mean", "median", "meshgrid", "mgrid", "min", "minimum", "mod", "modf", "moveaxis", "multiply",
    "nan", "nan_to_num", "nanargmax", "nanargmin", "nancumprod", "nancumsum", "nanmax", "nanmean", "nanmedian",
    "nanmin", "nanpercentile", "nanprod", "nanquantile", "nanstd", "nansum", "nanvar", "ndarray", "ndim",
    "negative", "newaxis", "nextafter", "nonzero", "not_equal", "number", "object_", "ogrid", "ones",
    "ones_like", "outer", "packbits", "pad", "partition", "percentile", "permute_dims", "pi", "piecewise",
    "place", "poly", "polyadd", "polyder", "polydiv", "polyfit", "polyint", "polymul", "polysub", "polyval",
    "positive", "pow", "power", "printoptions", "prod", "promote_types", "ptp", "put", "put_along_axis",
    "quantile", "r_", "rad2deg", "radians", "ravel", "ravel_multi_index", "real", "reciprocal", "remainder",
    "repeat", "reshape", "resize", "result_type", "right_shift", "rint", "roll", "rollaxis", "roots", "rot90",
    "round", "s_", "save", "savez", "searchsorted", "select", "set_printoptions", "setdiff1d", "setxor1d",
    "shape", "sign", "signbit", "signedinteger", "sin", "sinc", "single", "sinh", "size", "sort",
    "sort_complex", "spacing", "split", "sqrt", "square", "squeeze", "stack", "std", "subtract", "sum",
    "swapaxes", "take", "take_along_axis", "tan", "tanh", "tensordot", "tile", "trace", "transpose",
    "trapezoid", "tri", "tril", "tril_indices", "tril_indices_from", "trim_zeros", "triu", "triu_indices",
    "triu_indices_from", "true_divide", "trunc", "ufunc", "uint", "uint16", "uint32", "uint4", "uint64",
    "uint8", "union1d", "unique", "unique_all", "unique_counts", "unique_inverse", "unique_values",
    "unpackbits", "unravel_index", "unsignedinteger", "unstack", "unwrap", "vander", "var", "vdot", "vecdot",
    "vecmat", "vectorize", "vsplit", "vstack", "where", "zeros", "zeros_like",
]
if not hasattr(_ml_dtypes, "int1"):  # before 0.6
    __all__ = [name for name in __all__ if name not in ("int1", "uint1")]

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(
        __name__,
        public={
            "pullback.numpy._creation.concatenators": "c_ index_exp r_ s_",
            "pullback.numpy._creation.buffers": "from_dlpack frombuffer fromiter",
            "pullback.numpy._creation.creation": (
                "array asarray copy empty empty_like full full_like ones ones_like "
                "zeros zeros_like"
            ),
            "pullback.numpy._creation.grids": (
                "diag diag_indices diag_indices_from diagflat diagonal eye fromfunction identity indices "
                "mask_indices meshgrid mgrid ogrid trace tri tril tril_indices tril_indices_from triu triu_indices "
                "triu_indices_from vander"
            ),
            "pullback.numpy._creation.ranges": "arange geomspace linspace logspace",
            "pullback.numpy._elementwise.arithmetic": (
                "abs absolute divide divmod fabs float_power floor_divide fmod mod positive pow power reciprocal "
                "remainder sign square true_divide"
            ),
            "pullback.numpy._elementwise.bit_packing": "packbits unpackbits",
            "pullback.numpy._elementwise.complex_parts": "angle conj conjugate imag real",
            "pullback.numpy._elementwise.float_parts": (
                "copysign frexp heaviside i0 ldexp modf nextafter signbit spacing"
            ),
            "pullback.numpy._elementwise.functions": (
                "acos acosh arccos arccosh arcsin arcsinh arctan arctan2 arctanh asin asinh atan atan2 atanh cbrt "
                "cos cosh deg2rad degrees exp exp2 expm1 fmax fmin hypot log log10 log1p log2 rad2deg radians sin "
                "sinc sinh sqrt tan tanh"
            ),
            "pullback.numpy._elementwise.logic": (
                "bitwise_count bitwise_invert bitwise_left_shift bitwise_not bitwise_right_shift equal gcd greater "
                "greater_equal invert iscomplex isfinite isinf isnan isneginf isposinf isreal lcm left_shift less "
                "less_equal logical_not not_equal right_shift"
            ),
            "pullback.numpy._elementwise.rounding": "around ceil fix floor rint round trunc",
            "pullback.numpy._elementwise.selection": "allclose array_equal array_equiv clip isclose nan_to_num",
            "pullback.numpy._files_and_text": (
                "array_repr array_str fromfile fromstring get_printoptions load printoptions save savez "
                "set_printoptions"
            ),
            "pullback.numpy._functional.along_axes": "apply_along_axis apply_over_axes",
            "pullback.numpy._functional.calculus": "corrcoef cov diff ediff1d gradient interp trapezoid unwrap",
            "pullback.numpy._functional.known_ufuncs": (
                "add bitwise_and bitwise_or bitwise_xor logaddexp logaddexp2 logical_and logical_or logical_xor "
                "maximum minimum multiply negative subtract"
            ),
            "pullback.numpy._functional.piecewise": "choose piecewise select",
            "pullback.numpy._functional.ufuncs": "frompyfunc ufunc",
            "pullback.numpy._functional.vectorize": "vectorize",
            "pullback.numpy._indexing.flat_index": "ravel_multi_index unravel_index",
            "pullback.numpy._indexing.indexing": "compress extract ix_ take take_along_axis",
            "pullback.numpy._indexing.insertion": (
                "delete fill_diagonal insert place put put_along_axis resize trim_zeros"
            ),
            "pullback.numpy._polynomials.arithmetic": "polyadd polyder polydiv polyint polymul polysub polyval",
            "pullback.numpy._polynomials.roots": "poly polyfit roots",
            "pullback.numpy._products.contractions": (
                "cross dot inner kron matmul matvec outer tensordot vdot vecdot vecmat"
            ),
            "pullback.numpy._products.convolution": "convolve correlate",
            "pullback.numpy._products.einsum": "einsum einsum_path",
            "pullback.numpy._reductions.cumulative": "cumprod cumsum cumulative_prod cumulative_sum",
            "pullback.numpy._reductions.ignoring_nan": (
                "nanargmax nanargmin nancumprod nancumsum nanmax nanmean nanmin nanprod nanstd nansum nanvar"
            ),
            "pullback.numpy._reductions.moments": "average mean std var",
            "pullback.numpy._reductions.quantiles": "median nanmedian nanpercentile nanquantile percentile quantile",
            "pullback.numpy._reductions.reductions": (
                "all amax amin any argmax argmin count_nonzero max min prod ptp sum"
            ),
            "pullback.numpy._searching.counting": (
                "bincount unique unique_all unique_counts unique_inverse unique_values"
            ),
            "pullback.numpy._searching.histograms": "histogram histogram2d histogram_bin_edges histogramdd",
            "pullback.numpy._searching.nonzero": "argwhere flatnonzero nonzero where",
            "pullback.numpy._searching.sets": "intersect1d isin setdiff1d setxor1d union1d",
            "pullback.numpy._searching.sorting": (
                "argpartition argsort digitize lexsort partition searchsorted sort sort_complex"
            ),
            "pullback.numpy._shape.joining": (
                "append array_split block column_stack concat concatenate dsplit dstack hsplit hstack repeat split "
                "stack tile unstack vsplit vstack"
            ),
            "pullback.numpy._shape.manipulation": (
                "atleast_1d atleast_2d atleast_3d broadcast_arrays broadcast_shapes broadcast_to expand_dims flip "
                "fliplr flipud matrix_transpose moveaxis permute_dims ravel reshape roll rollaxis rot90 squeeze "
                "swapaxes transpose"
            ),
            "pullback.numpy._shape.padding": "pad",
            "pullback.numpy._types.array_api": "__array_api_version__ __array_namespace_info__",
            "pullback.numpy._types.constants": (
                "ComplexWarning ScalarType bfloat16 bool bool_ cdouble character complex128 complex64 complex_ "
                "complexfloating csingle double dtype e euler_gamma flexible float16 float32 float4_e2m1fn float64 "
                "float6_e2m3fn float6_e3m2fn float8_e3m4 float8_e4m3 float8_e4m3b11fnuz float8_e4m3fn "
                "float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu float_ floating generic inexact inf "
                "int1 int16 int2 int32 int4 int64 int8 int_ integer nan ndarray newaxis number object_ pi "
                "signedinteger single uint uint1 uint16 uint2 uint32 uint4 uint64 uint8 unsignedinteger"
            ),
            "pullback.numpy._types.queries": (
                "astype can_cast finfo iinfo iscomplexobj isdtype isrealobj isscalar issubdtype iterable ndim "
                "promote_types result_type shape size"
            ),
            "pullback.numpy._windows": "bartlett blackman hamming hanning kaiser",
        },
        modules="fft linalg",
    )
