"""Custom calls of routines on matrices: their layouts, column by column, and the memory that they reuse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pullback._core.types import ShapedArray
from pullback._xla.lowering import Block, Value


def matrix_call(
    ctx: Block,
    target: str,
    operands: Sequence[Value],
    out_avals: Sequence[ShapedArray],
    rank: int,
    config: Mapping[str, str],
    overwrites: Sequence[int] = (),
    by_columns: bool = True,
) -> list[Value]:
    """Emit a custom call; returns its results.

    `rank` is the number of leading axes that index the matrices of a stack; values with two more axes are matrices,
    which the routine has column by column, or else row by row. `config` are its options, as MLIR attributes.
    `overwrites[i]` is the operand whose memory result i reuses.
    """
    axes = rank + 2 if by_columns else -1
    attributes = [
        f'call_target_name = "{target}"',
        "api_version = 4 : i32",
        f"backend_config = {{{', '.join(f'{k} = {v}' for k, v in config.items())}}}",
        f"operand_layouts = [{', '.join(_layout(x.aval, axes) for x in operands)}]",
        f"result_layouts = [{', '.join(_layout(aval, axes) for aval in out_avals)}]",
    ]
    aliases = [
        f"#stablehlo.output_operand_alias<output_tuple_indices = [{result if len(out_avals) > 1 else ''}], "
        f"operand_index = {operand}, operand_tuple_indices = []>"
        for result, operand in enumerate(overwrites)
    ]
    if aliases:
        attributes.append(f"output_operand_aliases = [{', '.join(aliases)}]")
    return ctx.op("stablehlo.custom_call", operands, list(out_avals), ", ".join(attributes))


def _layout(aval: ShapedArray, axes: int) -> str:
    """The layout of an array: its axes from the fastest varying to the slowest."""
    order = list(reversed(range(aval.ndim)))
    if aval.ndim == axes:
        order[:2] = reversed(order[:2])
    return f"dense<{order if order else ''}> : tensor<{len(order)}xindex>"
