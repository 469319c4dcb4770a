"""Which way an operation is compiled, by its size and its place: what XLA's own way costs, and what another one buys.

Measured on one processor with AVX-512, jaxlib 0.10.2 and NumPy 2.4, float32.

A routine of NumPy's on the program's memory (`_xla/kernel_calls.py`) costs 10 µs a call. It needs the interpreter's
lock, for which it may wait 5 ms while another thread runs Python. In a loop, whose calls add up, it is therefore chosen
where XLA's way takes as long.

| elements of a sort | by XLA | by NumPy |
|---|---|---|
| 100 | 4 µs | 12 µs |
| 1,000 | 140 µs | 14 µs |
| 10,000 | 1.5 ms | 0.06 ms |
| 100,000 | 50 ms | 0.3 ms |
| 1,000,000 | 300 to 900 ms | 5 to 9 ms |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pullback._xla import kernel_calls

if TYPE_CHECKING:
    from pullback._xla.lowering import Block, Value

# elements from which on a sort is NumPy's: in a program, and in a loop of one
SORT, SORT_IN_LOOP = 1_000, 30_000


def sorts_on_host(ctx: Block, xs: Sequence[Value]) -> bool:
    """Whether arrays of one shape are sorted by a routine of NumPy's."""
    least = SORT_IN_LOOP if ctx.module.loops else SORT
    return xs[0].aval.size >= least and kernel_calls.can_call(ctx, [x.aval for x in xs])
