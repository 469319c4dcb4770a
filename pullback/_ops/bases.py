"""Powers of 2, and logarithms to the bases 2 and 10."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.primitive import Primitive
from pullback._core.types import make_aval
from pullback._ops.accuracy import AccurateFunction, function_with_accuracy
from pullback._ops.complex_parts import parts, times, together
from pullback._ops.elementwise import div, mul, scalar
from pullback._ops.expressions import polynomial, written
from pullback._ops.families import unary


def _exp2_kernel(x, order=0):
    if order == 0:
        return np.exp2(x)
    if dtypes.is_complex(x.dtype):
        return np.exp2(x) * x.dtype.type(np.log(2) ** order)
    wide = x.astype(np.float32) if x.dtype.itemsize <= 2 else x
    back = np.where(wide > np.finfo(wide.dtype).maxexp - 1, wide.dtype.type(4), wide.dtype.type(0))
    return np.exp2(wide - back) * (np.exp2(back) * wide.dtype.type(np.log(2) ** order))


# (2**f - 1) / f by powers of f where |f| <= 1/2: the minimax polynomial of the relative error of 2**f, which is 2e-9
# (the exchange algorithm of Remez, in mpmath); three quarters of the time of an exponential
_EXP2 = (0.6931472028, 0.24022647923, 0.055503325462, 0.009618436385, 0.0013398851967, 0.00015353598821)


@written
def _exp2_lower(x, order=0):
    rate = float(np.log(2))
    aval = x.value.aval
    if dtypes.is_complex(aval.dtype):
        return times(times(x, rate).exp(), rate**order)
    # 2**n by its bits, for the nearest integer n, times that of the rest: the product x log(2) would lose as many
    # digits as x has before the point. Derivatives may be finite where 2**n is not, so 4 goes to the other factor
    width, bias = (52, 1023) if x.double else (23, 127)
    x = x.maximum(-bias).minimum(bias + 3)
    whole = x.round()
    rest = x - whole
    bits = whole.of("stablehlo.convert", make_aval(aval.shape, np.dtype(f"i{aval.dtype.itemsize}"))) + bias
    large = whole.is_("GT", 0)
    value = (rest * rate).exp() if x.double else rest * polynomial(rest, _EXP2) + 1
    value = value * large.choose(x.lifted(4), 1)
    bits = bits - large.choose(bits * 0 + 2, 0)
    power = bits.op("stablehlo.shift_left", width).of("stablehlo.bitcast_convert", aval)
    return (value * rate**order if order else value) * power


# `order` factors of log(2): the derivatives of 2**x, each finite wherever its value is
exp2_p: Primitive = unary(
    "exp2", _exp2_kernel, _exp2_lower, lambda t, x, y, order=0: mul(t, exp2_p.bind(x, order=order + 1))
)

exp2: AccurateFunction = function_with_accuracy(__name__, exp2_p, "2 to the power `x`.", "3.", "8.0")


def _logarithm(name: str, kernel: Callable, base: int) -> Primitive:
    rate = float(np.log(base))

    def lower(x):
        log = x.log()
        if not dtypes.is_complex(x.value.aval.dtype):
            return log / rate
        re, im = parts(log)
        return together(re / rate, im / rate, x)

    # the slope by one division: 1 / x of a large x would be subnormal
    p = unary(name, kernel, written(lower), lambda t, x, y: mul(t, div(scalar(x, 1 / rate), x)))
    infer: Any = p.abstract_eval
    p.abstract_eval = lambda x: infer(x).strip_weak_type()  # as in JAX: log2(8.) is a strong float32
    return p


log2_p = _logarithm("log2", np.log2, 2)
log10_p = _logarithm("log10", np.log10, 10)
