"""Programs as data: statements and the functions they hold, and the Python text that they stand for.

A program is written of a library: `t` are its transformations, `np` and `lax` its arrays (libraries.py). The text of a
statement refers to its operands as `$0`, `$1`, ... and to the functions defined before it as `$f0`, ...
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

FLAT, TUPLE, DICT = "flat", "tuple", "dict"


@dataclass(frozen=True)
class Type:
    shape: tuple[int, ...]
    dtype: str

    @property
    def kind(self) -> str:
        return "f" if "float" in self.dtype else self.dtype[0]


@dataclass(frozen=True)
class Block:
    """A function: the names of its parameters and results, and how the caller packs them: flat, or as a pytree."""

    name: str
    params: tuple[str, ...]
    steps: tuple["Step", ...]
    results: tuple[str, ...]
    pack: str = FLAT

    def packed(self, names) -> str:
        """The arguments of a call, or what is returned."""
        return packed(self.pack, names)

    def lines(self) -> list[str]:
        if self.pack == FLAT:
            head = [f"def {self.name}({', '.join(self.params)}):"]
        else:
            head = [f"def {self.name}(tree):", f"    {listed(self.params)} = t.tree.leaves(tree)"]
        body = [line for step in self.steps for line in step.lines()]
        result = self.packed(self.results)
        return head + ["    " + line for line in [*body, f"return {result}"]]


@dataclass(frozen=True)
class Step:
    """A statement: `outs` are bound to the leaves of the value of `text`, after the functions and `setup` are defined.

    `traits` say what does not hold of it: "no jvp", "no vjp", "no jax", "no differences".
    """

    op: str
    outs: tuple[str, ...]
    types: tuple[Type, ...]
    text: str
    operands: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()
    setup: str = ""
    traits: frozenset[str] = frozenset()
    leaves: bool = False

    def filled(self, text: str) -> str:
        text = re.sub(r"\$f(\d+)", lambda m: self.blocks[int(m[1])].name, text)
        return re.sub(r"\$(\d+)", lambda m: self.operands[int(m[1])], text)

    def lines(self) -> list[str]:
        lines = [line for block in self.blocks for line in block.lines()]
        if self.setup:
            lines += self.filled(self.setup).splitlines()
        text = self.filled(self.text)
        value = f"{listed(self.outs)} = t.tree.leaves({text})" if self.leaves else f"{', '.join(self.outs)} = {text}"
        return [*lines, value]


def listed(names) -> str:
    """Names as the inside of a tuple, or as its target."""
    return ", ".join(names) + "," * (len(names) == 1)


def packed(pack: str, names) -> str:
    names = list(names)
    if pack == FLAT:
        return ", ".join(names)
    if pack == DICT:
        return "{" + ", ".join(f'"{chr(97 + i)}": {name}' for i, name in enumerate(names)) + "}"
    return f"({names[0]}, ({listed(names[1:])}))" if len(names) > 1 else f"[{names[0]}]"


@dataclass(frozen=True)
class Program:
    """A function with arguments for it.

    `source` defines `make`, which takes a library and returns the function; `pack` says how it takes its arguments;
    `x64` whether float64 exists; `edge` whether there may be infinities and NaN; `seed` what it was drawn from. `block`
    is what the source was written from, if it was.
    """

    source: str
    pack: str
    args: tuple
    x64: bool
    seed: int = 0
    edge: bool = False
    block: Block | None = None

    @property
    def active(self) -> tuple[int, ...]:
        """The positions of the arguments to differentiate."""
        return tuple(i for i, x in enumerate(self.args) if kind_of(x) in "fc")

    def has(self, trait: str) -> bool:
        return self.block is not None and has(self.block, trait)

    def but(self, block: Block, args: tuple | None = None) -> "Program":
        """Another function under the same settings."""
        return replace(
            self, source=source_of(block), pack=block.pack, block=block, args=self.args if args is None else args
        )


def source_of(block: Block) -> str:
    return "\n".join(
        [
            "def make(L):",
            "    t, np, lax = L.t, L.np, L.lax",
            *("    " + line for line in block.lines()),
            f"    return {block.name}",
            "",
        ]
    )


def has(block: Block, trait: str) -> bool:
    """Whether a statement, here or below, has a trait."""
    return any(trait in step.traits for step in every_step(block))


def kind_of(x) -> str:
    """The kind of an argument: f, c, i, u or b."""
    if isinstance(x, float):
        return "f"
    dtype = np.asarray(x).dtype
    return "f" if "float" in dtype.name else dtype.kind


def every_step(block: Block) -> Iterator[Step]:
    for step in block.steps:
        yield step
        for inner in step.blocks:
            yield from every_step(inner)
