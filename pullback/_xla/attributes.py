"""Attributes of MLIR operations as text."""

from __future__ import annotations

from collections.abc import Sequence


def int_array(values: Sequence[int]) -> str:
    """An MLIR attribute holding 64-bit integers."""
    return f"array<i64: {', '.join(map(str, values))}>" if len(values) else "array<i64>"


def int_matrix(rows: Sequence[Sequence[int]]) -> str:
    """An MLIR attribute holding a 2-d table of 64-bit integers."""
    if not rows:
        return "dense<> : tensor<0x2xi64>"
    body = ", ".join("[" + ", ".join(map(str, row)) + "]" for row in rows)
    return f"dense<[{body}]> : tensor<{len(rows)}x{len(rows[0])}xi64>"
