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

Of several arrays that are sorted together only the order is found on the host: by one sort of 64-bit numbers, an
element's key and its position, which XLA makes, and by which it gathers. Processor time in ms:

| sorted together | arrays gathered by NumPy | order alone |
|---|---|---|
| argsort of 1,000,000 / of 4096 x 1024 | 23 / 80 | 8 / 34 |
| 1,000,000 keys and values | 31 | 12 |
| random permutation of 1,000,000 | 62 | 27 |

The position of the largest element (`arg_extremes.py`) as one reduction of pairs is a chain of comparisons, unless the
axis is so short that it is unrolled. As two reductions of integers it is vectorized across the axes behind.

| argmax | of pairs | of integers | by NumPy |
|---|---|---|---|
| 400,000 rows of 10 | 1.2 ms | 26 ms | 26 ms |
| 4096 x 16, the last axis | 0.10 ms | 0.17 ms | 0.16 ms |
| 4096 x 64, the last axis | 0.92 ms | 0.49 ms | 0.23 ms |
| 4096 x 1024, the last axis | 43 ms | 32 ms | 0.9 ms |
| 4096 x 1024, the first axis | 246 ms | 8 ms | 110 ms |
| 100 x 100, the first axis | 105 µs | 43 µs | 22 µs |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pullback._core.lazy import LateModule
from pullback._core.types import ShapedArray, at_least

if TYPE_CHECKING:
    from pullback._xla import kernel_calls
    from pullback._xla.lowering import Block, Value
else:
    kernel_calls = LateModule("pullback._xla.kernel_calls")

# elements from which on a routine of NumPy's does the work: in a program, and in a loop of one
HOST, HOST_IN_LOOP = 1_000, 30_000
# the longest axis that XLA unrolls in a reduction of pairs, and the shortest row whose extreme NumPy finds
UNROLLED, ARG_ROW = 16, 48


def runs_on_host(ctx: Block, xs: Sequence[Value], out_avals: Sequence[ShapedArray]) -> bool:
    """Whether a routine of NumPy's does the work of an operation on arrays of one size."""
    return keys_run_on_host(ctx, xs[0]) and kernel_calls.can_call(ctx, [*(x.aval for x in xs), *out_avals])


def keys_run_on_host(ctx: Block, x: Value) -> bool:
    """Whether a routine of NumPy's does the work on integers that are made of an array, whatever its dtype."""
    least = HOST_IN_LOOP if ctx.module.loops else HOST
    return at_least(x.aval.size, least) and kernel_calls.can_call(ctx, [])


def on_host(
    ctx: Block,
    name: str,
    xs: Sequence[Value],
    out_avals: Sequence[ShapedArray],
    *numbers: int,
    in_place: bool = False,
) -> list[Value]:
    """Emit a call of a routine, see `kernel_calls.kernel_call`."""
    return kernel_calls.kernel_call(ctx, name, xs, out_avals, *numbers, in_place=in_place)
