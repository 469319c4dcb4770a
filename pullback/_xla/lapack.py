"""Calls of LAPACK from compiled programs: its routines come with jaxlib, as custom calls; on other platforms, its like.

A routine takes stacks of matrices, each stored column by column; the engine transposes if a layout requires it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from pullback._core.types import ShapedArray
from pullback._xla import cusolver
from pullback._xla.engine import xla_client
from pullback._xla.lowering import Block, Value
from pullback._xla.matrix_calls import matrix_call

_PREFIXES = {"float32": "s", "float64": "d", "complex64": "c", "complex128": "z"}


def lapack_call(
    ctx: Block,
    routine: str,
    operands: Sequence[Value],
    out_avals: Sequence[ShapedArray],
    rank: int = 0,
    settings: Mapping[str, str | int] | None = None,
    overwrites: int | None = 0,
) -> list[Value]:
    """Emit a call of a routine such as "getrf", for the dtype of the first operand; returns its results.

    `rank` is the number of leading axes that index the matrices of a stack; values with two more axes are matrices.
    `settings` are the routine's options by name, each a letter or a number. `overwrites` is the operand whose memory
    the first result reuses. NotImplementedError for a platform that has no such routine.
    """
    platform = ctx.module.platform
    if platform == "cuda" and routine in cusolver.CALLS:
        return cusolver.CALLS[routine](ctx, operands, out_avals, rank, settings or {})
    if platform != "cpu":
        name = cusolver.MISSING.get(routine)
        raise NotImplementedError(
            f"{f'{name}: ' if name else ''}the routine {routine!r} of LAPACK is not available on {platform!r}, whose "
            "plugin has no such custom call. Compute it on the processor: call it outside of jit, or use "
            "jit(f, backend='cpu')"
        )
    register()
    target = f"lapack_{_PREFIXES[operands[0].aval.dtype.name]}{routine}_ffi"
    config = {name: _setting(value) for name, value in (settings or {}).items()}
    first = [] if overwrites is None else [overwrites]
    return matrix_call(ctx, target, operands, out_avals, rank, config, first)


def _setting(value: str | int) -> str:
    return f"{value} : i32" if isinstance(value, int) else f"{ord(value)} : ui8"


@cache
def register() -> None:
    """Register the routines with the engine, once. Their code is scipy's, which jaxlib finds by itself."""
    from jaxlib import lapack

    for name, value, version in lapack.registrations()["cpu"]:
        xla_client().register_custom_call_target(name, value, "cpu", api_version=version)
    lapack._lapack.initialize()


def takes(dtype: np.dtype) -> bool:
    """Return whether there are routines for the dtype."""
    return dtype.name in _PREFIXES
