"""Calls of LAPACK from compiled programs: its routines come with jaxlib, as custom calls.

A routine takes stacks of matrices, each stored column by column; the engine transposes if a layout requires it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from pullback._core.types import ShapedArray
from pullback._xla.engine import xla_client
from pullback._xla.lowering import Block, Value

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
    the first result reuses.
    """
    _register()
    attributes = [
        f'call_target_name = "lapack_{_PREFIXES[operands[0].aval.dtype.name]}{routine}_ffi"',
        "api_version = 4 : i32",
        f"backend_config = {{{', '.join(f'{k} = {_setting(v)}' for k, v in (settings or {}).items())}}}",
        f"operand_layouts = [{', '.join(_layout(x.aval, rank) for x in operands)}]",
        f"result_layouts = [{', '.join(_layout(aval, rank) for aval in out_avals)}]",
    ]
    if overwrites is not None:
        index = "output_tuple_indices = [0]" if len(out_avals) > 1 else "output_tuple_indices = []"
        attributes.append(
            f"output_operand_aliases = [#stablehlo.output_operand_alias<{index}, "
            f"operand_index = {overwrites}, operand_tuple_indices = []>]"
        )
    outs = ctx.op("stablehlo.custom_call", operands, list(out_avals), ", ".join(attributes))
    return outs


def _setting(value: str | int) -> str:
    return f"{value} : i32" if isinstance(value, int) else f"{ord(value)} : ui8"


def _layout(aval: ShapedArray, rank: int) -> str:
    """The layout of an array: its axes from the fastest varying to the slowest."""
    order = list(reversed(range(aval.ndim)))
    if aval.ndim == rank + 2:
        order[:2] = reversed(order[:2])
    return f"dense<{order if order else ''}> : tensor<{len(order)}xindex>"


@cache
def _register() -> None:
    """Register the routines with the engine, once. Their code is scipy's, which jaxlib finds by itself."""
    from jaxlib import lapack

    for name, value, version in lapack.registrations()["cpu"]:
        xla_client().register_custom_call_target(name, value, "cpu", api_version=version)
    lapack._lapack.initialize()


def takes(dtype: np.dtype) -> bool:
    """Return whether there are routines for the dtype."""
    return dtype.name in _PREFIXES
