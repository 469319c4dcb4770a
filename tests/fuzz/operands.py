"""What statements that hold functions share: the choice of operands and the text of arguments."""

from fuzz.grammar import Draw
from fuzz.program import FLAT, packed


def operands(d: Draw, most: int = 3, test=lambda v: True) -> list:
    """Some values, of which at least one is differentiable."""
    first = d.inexact(test)
    rest = [d.value(test) for _ in range(d.integer(0, most - 1))]
    return [first, *rest]


def args(values, pack: str = FLAT, first: int = 0) -> str:
    return packed(pack, [f"${first + i}" for i in range(len(values))])


def arrays(values) -> list:
    return [v.array for v in values]
