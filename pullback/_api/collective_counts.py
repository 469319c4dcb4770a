"""The collectives of a compiled program: what devices exchange, counted in the compiler's output."""

from __future__ import annotations

import re
from typing import NamedTuple

_KINDS = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute|collective-broadcast|ragged-all-to-all"
_CALL = re.compile(rf"= (\(?[^=]*?\)?) ({_KINDS})(-start)?\(")
_TYPE = re.compile(r"\b(pred|[a-z]+(\d+)\w*)\[([\d,]*)\]")


# in long tuples
_COMMENT = re.compile(r"/\*.*?\*/")


class CollectiveUse(NamedTuple):
    """The collectives of one kind in a program: how many there are, and the bytes of their results on one device.

    >>> CollectiveUse(2, 4096).calls
    2
    """

    calls: int
    bytes: int


def collectives_in(text: str) -> dict[str, CollectiveUse]:
    """The collectives in the text of a compiled module, by their kinds in the compiler's words.

    Each is counted once, also if a loop repeats it; one that exchanges several arrays counts once, with all bytes.

    >>> collectives_in("%r = (f32[4,8]{1,0}, bf16[2]) all-reduce(%a, %b), channel_id=1")
    {'all-reduce': CollectiveUse(calls=1, bytes=132)}
    """
    found: dict[str, CollectiveUse] = {}
    for types, kind, start in _CALL.findall(_COMMENT.sub("", text)):
        sizes = [_bytes(bits or "8", shape) for _, bits, shape in _TYPE.findall(types)]
        if start and kind != "all-reduce":
            sizes = sizes[len(sizes) // 2 :]  # the first half are the operands
        count, size = found.get(kind, (0, 0))
        found[kind] = CollectiveUse(count + 1, size + sum(sizes))
    return dict(sorted(found.items()))


def _bytes(bits: str, shape: str) -> int:
    count = 1
    for n in shape.split(","):
        count *= int(n or 1)
    return (count * int(bits) + 7) // 8
