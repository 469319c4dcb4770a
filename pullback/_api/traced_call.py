"""A traced call of a compiled function: its jaxpr, and its programs."""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pullback._api.compiled_refs import RefUse
from pullback._api.jit_shardings import PlacedCalls, Shardings, asked_placement, is_elsewhere
from pullback._api.tiers import Tiers
from pullback._core import compilations, counters
from pullback._core.array import ConcreteArray
from pullback._core.cells import read_cell
from pullback._core.compilations import Compilation
from pullback._core.errors import warn_user
from pullback._core.jaxpr import ClosedJaxpr, Jaxpr, consts_to_args
from pullback._core.tree import PyTreeDef, tree_unflatten
from pullback._core.types import ShapedArray
from pullback._higher_order.first_tier import Interpreted
from pullback._transforms.dce import dce
from pullback._xla.executable import Executable, ProgramOfValues, compile_jaxpr
from pullback._xla.placed_programs import PlacedProgram
from pullback._xla.placement import is_default
from pullback._xla.spread import Spread


class Settings(NamedTuple):
    """The compilation settings that affect the program."""

    static_argnums: tuple[int, ...]
    static_argnames: tuple[str, ...]
    donate_argnums: tuple[int, ...]
    donate_argnames: tuple[str, ...]
    keep_unused: bool
    inline: bool
    options: tuple[tuple[str, Any], ...]
    tiered: bool | None
    shardings: Shardings | None


class Traced:
    """One traced call: the jaxpr, the result's structure, and the program.

    `refs` says which references it accesses, None if there are none; `with_refs` is the last trace of the function with
    the references of a call, and these. `tiers` is None unless calls are answered before it is compiled.
    """

    report: Compilation | None = None
    tiers: Tiers | None = None
    donated_before = False

    def __init__(
        self,
        jaxpr: Jaxpr,
        consts: Sequence[Any],
        out_tree: PyTreeDef,
        name: str,
        donated: Sequence[int],
        settings: Settings,
        refs: RefUse | None = None,
        places: Sequence[Any] | None = None,
    ):
        self.refs = refs
        self.with_refs: tuple[Any, Any] = (None, None)
        self.traced = jaxpr
        self.jaxpr = consts_to_args(jaxpr)
        self.consts = consts
        self.out_tree = out_tree
        self.name = name
        self.options = settings.options
        # where arguments and results are to be, None if `jit` was not told
        self.places = places
        self.result_places = None if settings.shardings is None else settings.shardings.of_results(name, out_tree)
        if refs is not None:
            donated = [i for i in donated if i not in refs.arguments]  # what is written is donated in any case
        self.donated = frozenset(len(jaxpr.constvars) + i for i in donated)
        if donated and not settings.keep_unused:
            # unread arguments are not passed to the program: their arrays stay valid
            read = dce(self.jaxpr)[1]
            self.donated = frozenset(i for i in self.donated if read[i])
        if refs is not None:
            self.donated |= refs.donated

    def closed(self) -> ClosedJaxpr:
        """The jaxpr with its constants, of references their contents now."""
        if self.refs is None:
            return ClosedJaxpr(self.traced, self.consts)
        return ClosedJaxpr(self.traced, [*self.consts, *map(read_cell, self.refs.outer)], self.refs.effects)

    @functools.cached_property
    def program(self) -> Executable | ProgramOfValues:
        """The compiled program, compiled at the first use."""
        return self.compile()

    def compile(self) -> Executable | ProgramOfValues:
        """Compile the program now."""
        return compile_jaxpr(self.jaxpr, self.donated, self.options, report=self.report)

    def current(self) -> Executable | ProgramOfValues | Interpreted:
        """What answers a call now."""
        return self.program if self.tiers is None else self.tiers.current(self)

    @property
    def is_fast(self) -> bool:
        """Whether calls may take the fast path: the program answers, and nobody counts which tier does."""
        return "program" in vars(self) and not (self.tiers and counters.is_counting())

    @property
    def num_written(self) -> int:
        """The number of results that are written to references."""
        return 0 if self.refs is None else len(self.refs.written)

    @functools.cached_property
    def _placed(self) -> PlacedCalls:
        """The programs for other devices than the first one."""
        n = len(self.consts) + (0 if self.refs is None else len(self.refs.outer))
        ins = self.places or (None,) * (len(self.jaxpr.invars) - n)
        written = (None,) * self.num_written
        outs = self.result_places or (None,) * (len(self.jaxpr.outvars) - len(written))
        replaced = [] if self.refs is None else self.refs.replaced(len(self.consts))
        return PlacedCalls(self.jaxpr, self.name, (*(None,) * n, *ins), (*outs, *written), replaced)

    def is_elsewhere(self, args: Sequence[ConcreteArray]) -> bool:
        """Return whether a call runs on other devices than the first one."""
        return is_elsewhere(args) or self._placed.always or is_elsewhere(self.consts)

    def placed_program(
        self, args: Sequence[ConcreteArray], names: Callable[[], Sequence[str]]
    ) -> PlacedProgram | ProgramOfValues:
        """The program for these arguments, whose names errors give, where they are."""

        def all_names():
            return [*("a value closed over" for _ in self.consts), *names()]

        return self._placed.program([*self.consts, *args], self.donated, self.options, all_names, self.report)

    def spread(self, places: Sequence[Any], names: Callable[[], Sequence[str]]) -> Spread | None:
        """The devices of a program for arguments at these places; None if it runs on the first one."""
        if not self._placed.always and all(place is None or is_default(place) for place in places):
            return None
        if self.jaxpr.has_own_types:
            raise NotImplementedError(
                f"lower of jit of {self.name}: values of types of one's own are not lowered ahead of time for several "
                "devices, or another than the first. Call the function, which compiles at its first call."
            )
        consts = [asked_placement(x) for x in self.consts]
        return self._placed.spread([*consts, *places], lambda: [*("a value closed over" for _ in consts), *names()])

    def run(
        self, args: Sequence[ConcreteArray], program: Executable | ProgramOfValues | Interpreted | PlacedProgram
    ) -> Any:
        """Run a program of this call on the flat arguments."""
        if self.donated:
            self._refuse_shared_donation(args)
            if not self.donated_before:
                self.donated_before = True
                _warn_of_donation(self.jaxpr, self.donated, self.name)
        given = [*self.consts, *args]
        report = None
        if program is vars(self).get("program") or isinstance(program, PlacedProgram):
            report, self.report = self.report, None
        with compilations.stage(report, "first_run"):
            outs = program.run(given)
        return tree_unflatten(self.out_tree, outs)

    def _refuse_shared_donation(self, args: Sequence[ConcreteArray]) -> None:
        used = [*self.consts, *args]
        for i in self.donated:
            if any(used[i] is x for j, x in enumerate(used) if j != i):
                raise ValueError(
                    f"jit of {self.name}: an array of type {used[i].aval.str_short()} is donated and "
                    "passed in another place too, or closed over, where it would be read after its memory "
                    "was given away. Use a copy there, or do not donate it."
                )


def _warn_of_donation(jaxpr: Jaxpr, donated: frozenset[int], name: str) -> None:
    """Warn of donated arguments whose memory can hold no result, since none has their type."""
    free = collections.Counter((aval.shape, aval.dtype) for aval in jaxpr.out_avals if type(aval) is ShapedArray)
    useless = []
    for i in sorted(donated):
        aval = jaxpr.in_avals[i]
        if type(aval) is ShapedArray and not free[aval.shape, aval.dtype]:
            useless.append(aval.str_short())
        elif type(aval) is ShapedArray:
            free[aval.shape, aval.dtype] -= 1
    if useless:
        warn_user(
            f"Some donated buffers were not usable: {', '.join(useless)}: jit of {name} returns nothing else of that "
            "type, for which their memory could be used. They are freed all the same."
        )
