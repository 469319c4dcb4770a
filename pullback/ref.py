"""Mutable arrays: the functions behind `ref[...]`, and the class `Ref`."""

import typing as _typing

from pullback._api.refs import empty_ref, free_ref, freeze, new_ref
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary as _boundary
from pullback._core.errors import described as _described
from pullback._core.lazy import attributes as _attributes
from pullback._core.refs import Ref, RefType
from pullback._core.typing import AnyValue, Index

AbstractRef = RefType

__all__ = [
    "AbstractRef", "Ref", "addupdate", "empty_ref", "free_ref", "freeze", "get", "new_ref", "set", "swap",
]  # fmt: skip


def _checked(function: str, ref: AnyValue) -> Ref:
    if not isinstance(ref, Ref):
        raise TypeError(f"{function}: expected a Ref, got {_described(ref)}")
    return ref


def _index(idx: Index) -> Index:
    return ... if idx is None else idx


@_boundary
def get(ref: Ref, idx: Index = None) -> Array:
    """`ref[idx]`; without an index, all of it. TypeError for anything but a Ref.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> pb.ref.get(pb.new_ref(pnp.arange(3.)), slice(1, 3))
    Array([1., 2.], dtype=float32)
    """
    return _checked("get", ref)[_index(idx)]


@_boundary
def set(ref: Ref, idx: Index, value: ArrayLike) -> None:
    """`ref[idx] = value`; the index None stands for all of it. TypeError for anything but a Ref.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> ref = pb.new_ref(pnp.zeros(3))
    >>> pb.ref.set(ref, 1, 5.)
    >>> ref
    Ref([0., 5., 0.], dtype=float32)
    """
    _checked("set", ref)[_index(idx)] = value


@_boundary
def swap(ref: Ref, idx: Index, value: ArrayLike) -> Array:
    """`ref[idx] = value`; returns what was there before. TypeError for anything but a Ref.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> ref = pb.new_ref(pnp.arange(3.))
    >>> print(pb.ref.swap(ref, 2, 9.), ref[...])
    2.0 [0. 1. 9.]
    """
    key = _index(idx)
    before = _checked("swap", ref)[key]
    ref[key] = value
    return before


@_boundary
def addupdate(ref: Ref, idx: Index, x: ArrayLike) -> None:
    """Add to `ref[idx]`; a position that occurs more than once in an index array gets every value.

    TypeError for anything but a Ref.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> ref = pb.new_ref(pnp.zeros(3))
    >>> pb.ref.addupdate(ref, pnp.array([1, 1]), pnp.ones(2))
    >>> ref
    Ref([0., 2., 0.], dtype=float32)
    """
    _checked("addupdate", ref).addupdate(x, _index(idx))


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
