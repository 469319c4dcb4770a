"""Products of operands in 8 bits with a scale for each block of elements, as the OCP Microscaling formats have them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.typing import DTypeLike
from pullback._ops.dot import DotDimensionNumbersLike, dot_general
from pullback._ops.families import operands
from pullback._ops.ragged import scaled_dot
from pullback._ops.shape import convert_element_type, reshape, transpose
from pullback.custom_derivatives import custom_vjp
from pullback.numpy._elementwise import functions
from pullback.numpy._elementwise.arithmetic import abs as magnitude
from pullback.numpy._elementwise.float_parts import frexp
from pullback.numpy._elementwise.promotion import as_operand
from pullback.numpy._elementwise.selection import clip, where
from pullback.numpy._reductions.reductions import max as largest
from pullback.numpy._shape.padding import pad


@boundary
def scaled_matmul(
    lhs: ArrayLike,
    rhs: ArrayLike,
    lhs_scales: ArrayLike,
    rhs_scales: ArrayLike,
    preferred_element_type: DTypeLike = np.float32,
) -> Array:
    """The products `lhs @ rhs^T` of stacks of matrices that are given as blocks of elements with a scale each.

    `lhs`: `(b, m, k)`, `rhs`: `(b, n, k)`, of any dtype, float8 as a rule; `lhs_scales`: `(b, m, i)`, `rhs_scales`:
    `(b, n, j)`, where i and j divide k: each scale counts for so many elements of a row. The result is `(b, m, n)`,
    computed in float32, of `preferred_element_type`. ValueError for other shapes.

    >>> from pullback import nn
    >>> import pullback.numpy as pnp
    >>> half = pnp.full((1, 1, 1), 0.5)
    >>> print(nn.scaled_matmul(pnp.array([[[1, 2, 3]]]), pnp.array([[[4, 5, 6]]]), half, half))
    [[[8.]]]
    """
    x, y = as_operand(lhs, "scaled_matmul", 0), as_operand(rhs, "scaled_matmul", 1)
    if x.aval.ndim != 3 or y.aval.ndim != 3 or x.aval.shape[::2] != y.aval.shape[::2]:
        raise ValueError(f"scaled_matmul: expected lhs (b, m, k) and rhs (b, n, k), got shapes {x.shape} and {y.shape}")
    return scaled_dot(
        x,
        y,
        lhs_scale=lhs_scales,
        rhs_scale=rhs_scales,
        dimension_numbers=(((2,), (2,)), ((0,), (0,))),
        preferred_element_type=preferred_element_type,
    )


@dataclasses.dataclass(frozen=True)
class BlockScaleConfig:
    """How an operand is rounded: the format's name, the number of elements that share a scale, and both dtypes.

    >>> from pullback import nn
    >>> nn.get_scaled_dot_general_config("mxfp8").block_size
    32
    """

    mode: str
    block_size: int
    data_type: Any
    scale_type: Any
    global_scale: Any = None
    infer_only: bool = False


def get_scaled_dot_general_config(mode: str, global_scale: ArrayLike | None = None) -> BlockScaleConfig:
    """The configuration of `scaled_dot_general` for the format "mxfp8": float8_e4m3fn, a power of two for 32 elements.

    ValueError for another name; NotImplementedError for "nvfp4", whose elements of four bits the engine does not have.

    >>> from pullback import nn
    >>> nn.get_scaled_dot_general_config("mxfp8").mode
    'mxfp8'
    """
    if mode == "nvfp4":
        raise NotImplementedError("get_scaled_dot_general_config: the engine has no elements of four bits; use 'mxfp8'")
    if mode != "mxfp8":
        raise ValueError(f"get_scaled_dot_general_config: mode must be 'mxfp8' or 'nvfp4', got {mode!r}")
    return BlockScaleConfig(mode, 32, dtypes.resolve("float8_e4m3fn").type, dtypes.resolve("float8_e8m0fnu").type)


def _rounded(x: Array, config: BlockScaleConfig) -> Array:
    """The elements of `(b, m, k)` in the format, times their scales: what a product computes with, in float32."""
    x = convert_element_type(x, np.dtype(np.float32))
    size, k = config.block_size, x.shape[-1]
    blocks = -(-k // size)
    x = reshape(pad(x, [(0, 0), (0, 0), (0, blocks * size - k)]), (*x.shape[:2], blocks, size))
    data = np.dtype(config.data_type)
    top = float(dtypes.finfo(data).max)
    # the least power of two that brings the largest element into the range
    fraction, exponent = frexp(largest(magnitude(x), axis=-1, keepdims=True) / top)
    scale = functions.exp2(convert_element_type(where(fraction == 0.5, exponent - 1, exponent), np.dtype(np.float32)))
    scale = clip(scale, 2.0**-127, 2.0**127)
    small = convert_element_type(clip(x / scale, -top, top), data)
    y = convert_element_type(small, np.dtype(np.float32)) * scale
    return reshape(y, (*y.shape[:2], blocks * size))[..., :k]


def _product(a: Array, b: Array, of_a: BlockScaleConfig, of_b: BlockScaleConfig) -> Array:
    return dot_general(_rounded(a, of_a), _rounded(b, of_b), (((2,), (2,)), ((0,), (0,))))


def _of_matrices(configs: tuple[BlockScaleConfig, ...], a: Array, b: Array) -> Array:
    return _product(a, b, configs[0], configs[1])


_rounded_product = custom_vjp(_of_matrices, nondiff_argnums=(0,))


def _forward(configs, a, b):
    return _rounded_product(configs, a, b), (a, b)


def _backward(configs, saved, ct):
    a, b = saved
    of_a, of_b, of_ct = configs
    order = (0, 2, 1)
    return (
        _product(ct, transpose(b, order), of_ct, of_b),
        _product(transpose(ct, order), transpose(a, order), of_ct, of_a),
    )


_rounded_product.defvjp(_forward, _backward)


@boundary
def scaled_dot_general(
    lhs: ArrayLike,
    rhs: ArrayLike,
    dimension_numbers: DotDimensionNumbersLike,
    preferred_element_type: DTypeLike = np.float32,
    configs: Sequence[BlockScaleConfig] | None = None,
    implementation: None = None,
) -> Array:
    """`lax.dot_general` of operands that are rounded to blocks of elements in 8 bits with a scale each.

    `configs`: three configurations, from `get_scaled_dot_general_config`, for `lhs`, `rhs` and the cotangent; without
    them nothing is rounded. The derivative, in reverse mode, is that of the product, computed with operands and
    cotangent rounded in the same way. The result has `preferred_element_type`. ValueError unless there are three,
    TypeError for lengths that differ.

    >>> from pullback import nn
    >>> import pullback.numpy as pnp
    >>> config = nn.get_scaled_dot_general_config("mxfp8")
    >>> x = pnp.ones((2, 32))
    >>> print(nn.scaled_dot_general(x, x, (((1,), (1,)), ((), ())), configs=[config] * 3))
    [[32. 32.]
     [32. 32.]]
    """
    x, y = operands("scaled_dot_general", lhs, rhs)
    kind = dtypes.requested_dtype(preferred_element_type)
    if configs is None:
        return dot_general(x, y, dimension_numbers, preferred_element_type=kind)
    if len(configs) != 3:
        raise ValueError(
            f"scaled_dot_general: expected three configurations, of lhs, rhs and cotangent, got {len(configs)}"
        )
    (lc, rc), (lb, rb) = dimension_numbers
    stacks, frees = [], []
    for v, contracted, batch in ((x, lc, lb), (y, rc, rb)):
        free = [i for i in range(v.ndim) if i not in contracted and i not in batch]
        lengths = [[v.shape[i] for i in axes] for axes in (batch, free, contracted)]
        stacks.append(reshape(transpose(v, (*batch, *free, *contracted)), tuple(map(math.prod, lengths))))
        frees.append(lengths[1])
    out = _rounded_product(tuple(configs), *stacks)
    return convert_element_type(reshape(out, (*(x.shape[i] for i in lb), *frees[0], *frees[1])), kind)
