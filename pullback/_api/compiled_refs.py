"""Calls of compiled functions that access references: contents go in as arguments, and come back as results.

The program has the contents as further inputs, those that it writes to as donated ones, so that it updates in place.
Under a transformation the function is traced with the references of the call, since rules of functions in it may access
them later, in its backward pass.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from pullback._core.array import ConcreteArray, array_of
from pullback._core.cells import Cell, aliased, read_cell, resolved, write_cell
from pullback._core.discharge import exposed
from pullback._core.jaxpr import Jaxpr, RefEffect, consts_to_args
from pullback._core.placed_array import PlacedArray
from pullback._core.ref_changes import watched
from pullback._core.refs import Ref, of_leaf
from pullback._core.types import ShapedArray
from pullback._higher_order.first_tier import Interpreted
from pullback._transforms.dce import dce
from pullback._xla.executable import Executable, ProgramOfValues
from pullback._xla.placed_programs import PlacedProgram

# between reading a content, which is donated, and writing the new one, no other thread may read it
_updating = threading.RLock()


class RefUse(NamedTuple):
    """The references of a traced call.

    `arguments` are the numbers of the leaves that are references, `outer` those that the function closes over, whose
    contents are its last constants. Of each that is `written`, the number of the leaf or the cell itself, the content
    is a further result, and the old one is `donated` to the program, by its number among constants and arguments.
    """

    arguments: dict[int, Cell]
    outer: Sequence[Cell]
    written: Sequence[int | Cell]
    effects: Sequence[RefEffect]
    donated: frozenset[int]

    @staticmethod
    def of(traced: Jaxpr, places: dict[int, Cell]) -> tuple[Jaxpr, RefUse]:
        """The jaxpr of the program, and its use of references; those at `places` are arguments."""
        jaxpr, outer, written, effects = exposed(traced, places)
        numbers = {cell: i for i, cell in places.items()}
        n = len(jaxpr.constvars)
        first = n - len(outer)
        arrays = [cell for cell in written if type(cell.aval) is ShapedArray]
        given = [first + outer.index(cell) if cell in outer else n + numbers[cell] for cell in arrays]
        read = dce(consts_to_args(jaxpr))[1]
        donated = frozenset(i for i in given if read[i])
        return jaxpr, RefUse(places, outer, [numbers.get(cell, cell) for cell in written], effects, donated)

    def replaced(self, num_consts: int) -> list[int]:
        """The number, among constants and arguments, of the content that each written one replaces."""
        n = num_consts + len(self.outer)
        return [num_consts + self.outer.index(w) if isinstance(w, Cell) else n + w for w in self.written]

    def contents(self, leaves: Sequence[Any]) -> list[Any]:
        """What the references outside hold now, and the arguments, of references what they hold."""
        now = [read_cell(resolved(cell), kept=False) for cell in self.outer]
        return now + [_held(x) if i in self.arguments else x for i, x in enumerate(leaves)]

    def check(self, leaves: Sequence[Any]) -> None:
        """Refuse a call to which a reference is passed twice, or that closes over it too."""
        names = {cell.root(): cell.described() for cell in self.outer}
        for i, cell in self.arguments.items():
            root = leaves[i].cell.root()
            if root in names:
                raise ValueError(aliased(names[root], cell.described()))
            names[root] = cell.described()

    def _operands(self, consts: Sequence[Any], leaves: Sequence[Any], may_fail: bool) -> list[Any]:
        """Constants and arguments of the program, with the contents of references.

        Those donated are held by nobody else and, if the program `may_fail`, not by the reference either.
        """
        n = len(consts)
        xs = [*consts, *(_content(cell, i in self.donated, may_fail) for i, cell in enumerate(self.outer, n)), *leaves]
        n += len(self.outer)
        for i in self.arguments:
            ref: Ref = leaves[i]
            xs[n + i] = of_leaf(ref)[...] if ref.path else _content(ref.cell, n + i in self.donated, may_fail)
        return xs

    def run(
        self,
        program: Executable | ProgramOfValues | Interpreted | PlacedProgram,
        consts: Sequence[Any],
        leaves: Sequence[Any],
    ) -> list[Any]:
        """The results of a program, which writes to the references; `leaves` are arrays and references."""
        self.check(leaves)
        # if a Python function that the program calls raises, or a backward pass, references are to be as they were
        executable = program.program if isinstance(program, ProgramOfValues) else program
        if executable.may_fail or watched():
            return self._run(program, consts, leaves, True)
        with _updating:
            return self._run(program, consts, leaves, False)

    def _run(
        self,
        program: Executable | ProgramOfValues | Interpreted | PlacedProgram,
        consts: Sequence[Any],
        leaves: Sequence[Any],
        may_fail: bool,
    ) -> list[Any]:
        outs = program.run(self._operands(consts, leaves, may_fail))
        n = len(outs) - len(self.written)
        self._write_back(leaves, outs[n:])
        return outs[:n]

    def _write_back(self, leaves: Sequence[Any], contents: Sequence[Any]) -> None:
        """Write the further results to the references."""
        for where, content in zip(self.written, contents, strict=True):
            if isinstance(where, Cell):
                write_cell(where, content, alone=True)
            elif leaves[where].path:
                of_leaf(leaves[where])[...] = content
            else:
                write_cell(leaves[where].cell, content, alone=True)


def _held(ref: Ref) -> Any:
    """What a reference holds, which nobody keeps: it may still be donated."""
    return of_leaf(ref)[...] if ref.path else read_cell(resolved(ref.cell), kept=False)


def _content(cell: Cell, donated: bool, may_fail: bool) -> Any:
    cell = resolved(cell)
    content = read_cell(cell, kept=False)
    if donated and (may_fail or not cell.alone) and isinstance(content, ConcreteArray):
        if isinstance(content, PlacedArray):
            return content.copied()
        return array_of(content.aval, np.array(content.value))
    return content


__all__ = ["RefUse"]
