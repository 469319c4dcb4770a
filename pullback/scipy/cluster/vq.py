"""The nearest codes of a code book, as in `scipy.cluster.vq`."""

from __future__ import annotations

import typing as _typing

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.lazy import attributes as _attributes
from pullback.numpy._elementwise.promotion import INEXACT, as_operand, cast, common_dtype

__all__ = ["vq"]


@boundary
def vq(obs: ArrayLike, code_book: ArrayLike, check_finite: bool = True) -> tuple[Array, Array]:
    """The index of the nearest row of `code_book` for each row of `obs`, and the distance to it.

    Args:
      obs: m vectors of length n, of shape (m, n); or m numbers, of shape (m,).
      code_book: k vectors of length n, of shape (k, n); or k numbers, of shape (k,). The first of equally near ones
        is taken.
      check_finite: accepted, and changes nothing.

    Returns: an int32 array of shape (m,), and the Euclidean distances of shape (m,), which are differentiable.
    Raises: ValueError for other shapes and for an empty code book.

    >>> import pullback.numpy as pnp
    >>> from pullback.scipy.cluster.vq import vq
    >>> codes, distances = vq(pnp.array([[0., 1.], [4., 4.]]), pnp.array([[0., 0.], [4., 1.]]))
    >>> print(codes, distances)
    [0 1] [1. 3.]
    """
    operands = [as_operand(obs, "vq", "obs"), as_operand(code_book, "vq", "code_book")]
    dtype, weak = common_dtype("vq", INEXACT, [x.aval for x in operands])
    points, codes = (cast(x, dtype, weak) for x in operands)
    if points.ndim != codes.ndim or points.ndim not in (1, 2):
        raise ValueError(
            f"vq: obs and code_book must both be vectors or both be matrices, got shapes {points.shape} and "
            f"{codes.shape}"
        )
    if points.ndim == 1:
        points, codes = points[:, None], codes[:, None]
    if points.shape[1] != codes.shape[1]:
        raise ValueError(
            f"vq: the rows of obs and code_book must have one length, got shapes {points.shape} and {codes.shape}"
        )
    if not codes.shape[0]:
        raise ValueError("vq: code_book has no codes")
    nearest = pnp.linalg.norm(points[:, None] - codes, axis=-1).argmin(-1)
    return nearest, pnp.linalg.norm(points - codes[nearest], axis=-1)


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
