"""Tokens and sinks: what programs say about the order and the use of values, which changes none."""

from __future__ import annotations

import numpy as np

from pullback._core.array import Array, ArrayLike, array_of, lift
from pullback._core.tree_paths import tree_map
from pullback._core.types import make_aval
from pullback._core.typing import AnyValue, PyTree


def create_token(_: AnyValue = None) -> Array:
    """A token, by which programs say what happens before what: an array without elements. It raises no error.

    What acts on the world is kept in order here without tokens.

    >>> from pullback import lax
    >>> lax.create_token().shape
    (0,)
    """
    return array_of(make_aval((0,), np.dtype(bool)), np.zeros(0, bool))


def after_all(*operands: Array) -> Array:
    """The token of what comes after all that the given tokens stand for. TypeError for what is no token.

    >>> from pullback import lax
    >>> lax.after_all(lax.create_token(), lax.create_token()).shape
    (0,)
    """
    for token in operands:
        aval = lift(token).aval
        if (aval.shape, aval.dtype) != ((0,), np.dtype(bool)):
            raise TypeError(f"after_all: expected tokens, from create_token or after_all, got {aval.str_short()}")
    return create_token()


def stage(x: ArrayLike, /) -> Array:
    """An array or number as an array. TypeError for other values.

    >>> from pullback import lax
    >>> lax.stage(1.0).shape
    ()
    """
    return lift(x)


def dce_sink(val: PyTree, *, prevent_mlir_dce: bool = False) -> None:
    """A use of values that gives nothing. TypeError for leaves that are no arrays.

    >>> from pullback import lax
    >>> lax.dce_sink(1.0)
    """
    tree_map(lift, val)
