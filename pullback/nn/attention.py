"""Attention: averages of values, weighted by the softmax of products of queries and keys."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

import pullback.numpy as pnp
from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.typing import AnyValue
from pullback._ops.families import broadcast_shapes
from pullback.nn.normalization import logsumexp, softmax
from pullback.numpy._elementwise.promotion import as_operand

__all__ = ["dot_product_attention"]

_NAME = "dot_product_attention"


@boundary
def dot_product_attention(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    bias: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    *,
    scale: ArrayLike | None = None,
    is_causal: bool = False,
    query_seq_lengths: ArrayLike | None = None,
    key_value_seq_lengths: ArrayLike | None = None,
    local_window_size: int | tuple[int, int] | None = None,
    implementation: str | None = None,
    return_residual: bool = False,
) -> Any:
    """`softmax(scale * query @ key.T + bias) @ value` for each head, in a batch B of sequences.

    Products and the softmax are computed in float32 at least. If everything is masked out for a query, all keys get
    one weight.

    Args:
      query: floats of shape (B, T, N, H), or (T, N, H) without a batch: T queries for each of N heads.
      key: an array of shape (B, S, K, H) or (S, K, H). Groups of N // K heads in a row share keys and values.
      value: an array of the shape of `key`; all three have one dtype.
      bias: numbers added to the scaled products, of a shape that broadcasts to (B, N, T, S).
      mask: bools of such a shape; False takes a key out.
      scale: a number; `1 / sqrt(H)` by default.
      is_causal: query t sees the keys up to number t only.
      query_seq_lengths: integers of shape (B,): how many queries there are, the rest being padding that gets zeros.
      key_value_seq_lengths: integers of shape (B,): how many keys there are, the rest being padding that is not seen.
      local_window_size: (left, right): query t sees the keys from t - left to t + right; a number stands for both.
      implementation: None or "xla"; another is refused.
      return_residual: return the logarithms of the sums of the softmax too, of shape (B, T, N) or (T, N).

    Returns: an array of the shape and dtype of `query`, or a pair of it and those logarithms.
    Raises: ValueError for shapes that do not match and unknown implementations, TypeError for dtypes that do not.

    >>> import pullback.numpy as pnp
    >>> from pullback import nn
    >>> x = pnp.eye(3)[:, None]  # 3 positions, 1 head
    >>> print(nn.dot_product_attention(x, x, x, is_causal=True, scale=1000.)[:, 0])
    [[1. 0. 0.]
     [0. 1. 0.]
     [0. 0. 1.]]
    """
    if implementation not in (None, "xla"):
        raise ValueError(f"{_NAME}: implementation must be None or 'xla', got {implementation!r}")
    q, k, v = _operands(query, key, value)
    batched = q.ndim == 4
    if not batched:
        q, k, v = q[None], k[None], v[None]
    b, t, n, h = q.shape
    s, heads = k.shape[1:3]
    wide = dtypes.promote_types(q.dtype, np.dtype(np.float32))
    # stacks of one matrix for each head, whose axes no product moves: compiled, both products and the softmax between
    # them are then one loop, in half the time
    q = q.transpose(0, 2, 1, 3).reshape(b, heads, n // heads * t, h)
    logits = pnp.einsum("bkth,bskh->bkts", q, k, preferred_element_type=wide).reshape(b, n, t, s)
    logits = logits * pnp.asarray(h**-0.5 if scale is None else scale).astype(wide)
    if bias is not None:
        logits = logits + _fitting("bias", bias, (b, n, t, s)).astype(wide)
    lengths = _lengths("query_seq_lengths", query_seq_lengths, b)
    seen = _seen(
        (t, s), is_causal, local_window_size, lengths, _lengths("key_value_seq_lengths", key_value_seq_lengths, b)
    )
    if mask is not None:
        seen.append(_fitting("mask", mask, (b, n, t, s)))
    for part in seen:
        # finite, so that a row without any key is uniform and no nan
        logits = pnp.where(part, logits, -0.7 * float(dtypes.finfo(wide).max))
    weights = softmax(logits).astype(k.dtype).reshape(b, heads, n // heads * t, s)
    out = pnp.einsum("bkts,bskh->bkth", weights, v).reshape(b, n, t, h).transpose(0, 2, 1, 3)
    if lengths is not None:
        out = pnp.where(np.arange(t)[:, None, None] < lengths[:, None, None, None], out, 0)
    if not return_residual:
        return out if batched else out[0]
    sums = logsumexp(logits, axis=-1).transpose(0, 2, 1).astype(k.dtype)
    return (out, sums) if batched else (out[0], sums[0])


def _operands(query: ArrayLike, key: ArrayLike, value: ArrayLike) -> list[Array]:
    arrays = {name: as_operand(x, _NAME, name) for name, x in (("query", query), ("key", key), ("value", value))}
    q, k, v = arrays.values()
    got = ", ".join(f"{name} {x.aval.str_short()}" for name, x in arrays.items())
    if not dtypes.is_float(q.dtype) or not q.dtype == k.dtype == v.dtype:
        raise TypeError(f"{_NAME}: query, key and value must have one floating dtype, got {got}")
    if q.ndim not in (3, 4) or not q.ndim == k.ndim == v.ndim:
        raise ValueError(
            f"{_NAME}: query, key and value must all have shapes (batch, length, heads, size), or all "
            f"(length, heads, size), got {got}"
        )
    if k.shape != v.shape or q.shape[:-3] != k.shape[:-3] or q.shape[-1] != k.shape[-1]:
        raise ValueError(f"{_NAME}: key and value must have one shape, and the batch and size of query, got {got}")
    if not k.shape[-2] or q.shape[-2] % k.shape[-2]:
        raise ValueError(f"{_NAME}: the number of heads of query must be a multiple of that of key, got {got}")
    return [q, k, v]


def _fitting(name: str, x: ArrayLike, shape: tuple[int, ...]) -> Array:
    """A bias or mask that broadcasts to (B, N, T, S)."""
    x = as_operand(x, _NAME, name)
    if name == "mask" and x.dtype.kind != "b":
        raise TypeError(
            f"{_NAME}: mask must be bools, True where a key is seen, got {x.aval.str_short()}. Numbers to "
            "be added are passed as bias."
        )
    if name == "bias" and dtypes.is_complex(x.dtype):
        raise TypeError(f"{_NAME}: bias must be real, got {x.aval.str_short()}")
    try:
        fits = broadcast_shapes(_NAME, x.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{_NAME}: {name} must broadcast to (batch, heads, queries, keys) = {shape}, got {x.shape}")
    return x


def _lengths(name: str, x: ArrayLike | None, batch: int) -> Array | None:
    if x is None:
        return None
    x = as_operand(x, _NAME, name)
    if not dtypes.is_integer(x.dtype):
        raise TypeError(f"{_NAME}: {name} must be integers, got {x.aval.str_short()}")
    if x.shape != (batch,):
        raise ValueError(f"{_NAME}: {name} must have shape {(batch,)}, a length for each sequence, got {x.shape}")
    return x


def _positions(n: int) -> Any:
    return np.arange(n) if type(n) is int else pnp.arange(n)


def _seen(
    shape: tuple[int, int], is_causal: bool, window: AnyValue, queries: Array | None, keys: Array | None
) -> list[Any]:
    """Masks that broadcast to (B, N, T, S): the keys that each query sees by the positions of both."""
    rows, columns = _positions(shape[0])[:, None], _positions(shape[1])
    masks: list[Any] = []
    if is_causal:
        masks.append(columns <= rows)
    if window is not None:
        try:
            left, right = (
                map(operator.index, window) if isinstance(window, (tuple, list)) else [operator.index(window)] * 2
            )
        except (TypeError, ValueError):
            raise TypeError(
                f"{_NAME}: local_window_size must be an integer or a pair (left, right) of integers, got {window!r}"
            ) from None
        masks.append((rows - columns <= left) & (columns - rows <= right))
    if queries is not None:
        masks.append(rows < queries[:, None, None, None])
    if keys is not None:
        masks.append(columns < keys[:, None, None, None])
    return masks
