"""Programs of several devices, or of another than new arrays are on: compiled for a spread, run on placed arrays."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from pullback._core import compilations, counters
from pullback._core.array import ConcreteArray
from pullback._core.compilations import Compilation
from pullback._core.config import config
from pullback._core.errors import fold
from pullback._core.hitypes import all_parts, all_values
from pullback._core.jaxpr import Equation, Jaxpr, gathered
from pullback._core.meshes import Mesh
from pullback._core.placed_array import PlacedArray, placed
from pullback._core.sharding import NamedSharding, Sharding
from pullback._core.types import ShapedArray
from pullback._core.typing import AnyValue
from pullback._xla import disk_cache, distributed, engine, host_calls, placement, platforms
from pullback._xla.executable import lasting, of_parts
from pullback._xla.lowering import Module, lower_module
from pullback._xla.programs import size_of
from pullback._xla.spread import Spread

_launching = threading.Lock()
# the last program on several devices, and a result of it
_last: list[Any] = [None]


class PlacedProgram:
    """A loaded program, with the placements of its arguments and results.

    On a processor that stands for several devices, a program waits until the one before has ended: each takes as many
    threads as it has devices, all at once, and two that had some each would wait for ever. A program that spans
    processes is compared with theirs before its first run, and what waits for them can fail (`distributed`).
    """

    __slots__ = (
        "loaded",
        "execute",
        "handlers",
        "out_avals",
        "ins",
        "outs",
        "donated",
        "module",
        "alone",
        "key",
        "name",
        "processes",
        "checked",
    )

    def __init__(self, loaded: AnyValue, module: Module, jaxpr: Jaxpr, spread: Spread, donated: Sequence[int]):
        self.loaded: Any = loaded
        self.execute: Any = host_calls.waiting(loaded, module.callbacks) if module.callbacks else loaded.execute_sharded
        self.module: Module = module
        self.key: None = None
        self.donated: tuple[int, ...] = tuple(donated)
        self.out_avals: tuple[ShapedArray, ...] = tuple(jaxpr.out_avals)
        avals = [v.aval for v in (*jaxpr.constvars, *jaxpr.invars)]
        self.ins: tuple[Sharding, ...] = _settled(spread, spread.ins, avals, loaded.get_parameter_shardings)
        outs = _settled(spread, spread.outs, self.out_avals, loaded.get_output_shardings)
        # results in the places of arguments get their very objects: the next step of a loop finds its program by them
        known = {_parts(at, aval): at for at, aval in zip(self.ins, avals, strict=True)}
        self.outs: tuple[Sharding, ...] = tuple(
            [
                placement.kept(at) if asked else known.get(_parts(at, aval), at)
                for at, aval, asked in zip(outs, self.out_avals, spread.outs, strict=True)
            ]
        )
        self.name: str = f"{spread.name} of {', '.join(aval.str_short() for aval in avals)}"
        self.processes: tuple[int, ...] = distributed.processes_of(spread.devices)
        self.checked: bool = False
        self.alone: bool = len(spread.devices) > 1 and spread.devices[0].platform == "cpu"
        make = engine.xla_client()._xla.array_result_handler
        self.handlers: list[Any] = []
        for aval, out in zip(self.out_avals, self.outs, strict=True):
            inside, at = engine.carrier(aval), placement.label(out, aval.ndim)
            try:
                self.handlers.append(make(inside, at, committed=True, _skip_checks=True))
            except TypeError:
                self.handlers.append(make(inside, at, committed=True))

    def text(self) -> str:
        """The StableHLO text."""
        return self.module.text()

    @property
    def may_fail(self) -> bool:
        """Whether a run may raise an exception: of a Python function that the program calls."""
        return bool(self.module.callbacks)

    def run(self, args: Sequence[ConcreteArray]) -> list[ConcreteArray]:
        """Run on arrays whose types are those the program was compiled for, moving those that are elsewhere."""
        buffers = []
        for x, place in zip(args, self.ins, strict=True):
            if type(x) is not PlacedArray or x.placement is not place:
                x = placement.put(x, place)
            buffers.append(x._checked_buffer() if type(x) is PlacedArray else engine.put(x))
        outs = self.launch(buffers)
        for i in self.donated:
            args[i].delete()
        return [placed(aval, out, at) for aval, out, at in zip(self.out_avals, outs, self.outs, strict=True)]

    def launch(self, buffers: list[Any]) -> list[Any]:
        """The buffers of the results."""
        engine.check_process()
        if not self.alone:
            return self._launch(buffers)
        if host_calls.within_several():
            raise RuntimeError(
                f"{self.name}: a program of several devices cannot run within a Python function that another one calls "
                "and waits for: they share the threads of the processor. Compute it before and pass it as an argument, "
                "or compute on one device in the function"
            )
        limit = config.collective_timeout_secs
        if not _launching.acquire(timeout=limit):
            raise TimeoutError(
                f"{self.name}: another program of several devices has not ended within {limit:g} s (config "
                "collective_timeout_secs). If it calls a Python function, that must not wait for this one"
            )
        try:
            self._wait_for_last()
            outs = self._launch_with_others(buffers) if len(self.processes) > 1 else self._launch(buffers)
            _last[0] = (self, outs[0]) if outs else None
        finally:
            _launching.release()
        return outs

    def _wait_for_last(self) -> None:
        if _last[0] is not None:
            (program, out), _last[0] = _last[0], None
            try:
                distributed.wait(program.name, out, program.processes)
            except RuntimeError:
                if len(self.processes) > 1:
                    raise  # else it is told to those that read the result

    def _launch(self, buffers: list[Any]) -> list[Any]:
        return self.execute(buffers).consume_with_handlers(self.handlers)

    def _launch_with_others(self, buffers: list[Any]) -> list[Any]:
        session = distributed.session_of(self.processes)
        if not self.checked or config.distributed_debug:
            session.check_program(self.name, self.module.text(), self.processes)
            self.checked = True
        return session.launch(self.name, partial(self._begin, buffers), self.processes)

    def _begin(self, buffers: list[Any]) -> tuple[list[Any], Callable[[], Any] | None]:
        """The buffers of the results, and a function that waits for the end of the run unless that has come."""
        if self.module.callbacks:
            return self._launch(buffers), None
        results = self.loaded.execute_sharded(buffers, with_tokens=True)
        # unlike a buffer, a token is waited for without a look at Python, which may have ended meanwhile
        wait = results.consume_token().block_until_ready
        return results.consume_with_handlers(self.handlers), wait


def spread_of(
    where: str,
    ins: Sequence[Sharding | None],
    outs: Sequence[Sharding | None],
    named: Sequence[Sharding] = (),
    names: Callable[[], Sequence[str]] | None = None,
    mesh: Mesh | None = None,
) -> Spread:
    """The devices of a call: those of all placements, of arguments, results, and `named` in the function.

    Those of `mesh` if there are none of these.
    ValueError, in the name of `where` and the arguments' `names`, if they are not the same.
    """
    given: list[tuple[int | str, Sharding]] = [(i, at) for i, at in enumerate(ins) if at is not None]
    given += [("a sharding in the function", at) for at in named]
    given += [("out_shardings", at) for at in outs if at is not None]
    if not given and mesh is not None:
        spread = Spread(mesh.flat_devices, mesh, ins, outs)
        spread.name = where
        return spread
    if not given:
        return Spread((platforms.first(),), None, ins, outs)
    first_place, first = next((p for p in given if len(p[1].flat_devices) > 1), given[0])
    for place, at in given:
        # constraints inside may name the devices in another order, buffers may not
        inside = place == "a sharding in the function" or first_place == "a sharding in the function"
        if at.device_set != first.device_set or not (inside or at.flat_devices == first.flat_devices):
            a, b = [
                (names()[p] if names else f"operand {p}") if isinstance(p, int) else p for p in (first_place, place)
            ]
            raise ValueError(
                f"{where}: one program runs on one list of devices, but {a} is on {_ids(first)}, and {b} on {_ids(at)}."
                " Move one of them, by device_put(x, sharding)"
            )
    mesh = next((at.mesh for _, at in given if isinstance(at, NamedSharding) and isinstance(at.mesh, Mesh)), None)
    spread = Spread(first.flat_devices if mesh is None else mesh.flat_devices, mesh, ins, outs)
    spread.name = where
    return spread


def _ids(sharding: Sharding) -> str:
    ids = [device.id for device in sharding.flat_devices]
    platform = platforms.name_of(sharding.flat_devices[0])
    return f"devices {ids}" if len(platforms.started()) == 1 else f"devices {ids} of {platform!r}"


def placements_in(jaxpr: Jaxpr) -> tuple[Sharding, ...]:
    """The shardings over several devices that equations name, here and in the functions that they hold."""
    return gathered(jaxpr, "placements", _named)


def _named(eqn: Equation) -> Iterator[Sharding]:
    rule = eqn.primitive.traits.placements
    if rule is not None:
        yield from [place for place in rule(**eqn.params) if len(place.flat_devices) > 1]


def placement_of(x: AnyValue) -> Sharding | None:
    """Where an array was placed; None if it was not."""
    return x.placement if type(x) is PlacedArray else None


def runs_elsewhere(jaxpr: Jaxpr, args: Sequence[ConcreteArray]) -> bool:
    """Return whether a program of a jaxpr, on these arguments, is for other devices than the first one."""
    xs = all_parts(args) if jaxpr.has_own_types else args
    return any(type(x) is PlacedArray for x in xs) or bool(placements_in(jaxpr))


def run_where_they_are(
    what: str, jaxpr: Jaxpr, args: Sequence[ConcreteArray], options: Sequence[tuple[str, Any]] = ()
) -> list[ConcreteArray]:
    """The results of a jaxpr without constants, by a program on the devices of the arguments and of its constraints."""
    if jaxpr.has_own_types:
        return all_values(jaxpr.out_avals, run_where_they_are(what, of_parts(jaxpr), all_parts(args), options))
    places = tuple(map(placement_of, args))

    def make():
        spread = spread_of(what, places, (None,) * len(jaxpr.outvars), placements_in(jaxpr))
        return compile_placed(jaxpr, spread, options=options)

    program: PlacedProgram = jaxpr.derive(("placed", places), make)
    return program.run(args)


def _parts(placement_: Sharding, aval: ShapedArray) -> tuple[int, Sharding]:
    return aval.ndim, placement.representative(placement_, aval.ndim)


def _settled(spread, asked, avals, read) -> tuple[Sharding, ...]:
    """The placements: those asked for, and where none was, those that the compiler chose."""
    if None not in asked:
        return tuple(asked)
    found = read()
    if len(spread.devices) == 1 or found is None:
        return tuple([at if at is not None else spread.whole() for at in asked])
    return tuple(
        [
            at if at is not None else spread.chosen(described, aval.ndim)
            for at, described, aval in zip(asked, found, avals, strict=True)
        ]
    )


def compile_placed(
    jaxpr: Jaxpr,
    spread: Spread,
    donated: frozenset[int] = frozenset(),
    options: Sequence[tuple[str, Any]] = (),
    report: Compilation | None = None,
) -> PlacedProgram:
    """The program of a jaxpr for a spread; its constants come first among the arguments."""
    with compilations.stage(report, "lower"):
        module = lower_module(jaxpr, donated, spread)
    return load_placed(jaxpr, module, spread, sorted(donated), options, report)


def _compile_divided(module: Module, text: str, settings: AnyValue, devices: tuple[Any, ...]) -> Any:
    """Compile a module whose text does not say all; raise the exception of a function that the compiler calls."""
    counters.count("compiles")
    try:
        return devices[0].client.compile_and_load(text.encode(), engine.device_list(devices), settings)
    except RuntimeError:
        failure = next((call.failure for call in module.divided if call.failure is not None), None)
        if failure is None:
            raise
    fold(failure)
    raise failure


def load_placed(
    jaxpr: Jaxpr,
    module: Module,
    spread: Spread,
    donated: Sequence[int],
    options: Sequence[tuple[str, Any]] = (),
    report: Compilation | None = None,
) -> PlacedProgram:
    """The program of the module of a jaxpr, compiled now or read from disk."""
    engine.check_process()
    text, settings = module.text(), spread.settings()
    if options:
        settings.env_option_overrides = list(options)
    chosen = tuple([at is None for at in spread.ins]), tuple([at is None for at in spread.outs])
    own = module.callbacks or module.inspectors or module.divided
    key = None if own else ("placed", text, *options, spread.devices, chosen)
    with compilations.stage(report, "compile"):
        loaded, origin = None if key is None else lasting.get(key), "process"
        if module.callbacks:
            loaded = host_calls.compile_with_callbacks(text, module.callbacks, settings, spread.devices)
            origin = "compiled"
        elif module.divided:
            loaded, origin = _compile_divided(module, text, settings, spread.devices), "compiled"
        elif loaded is None:
            loaded, origin = disk_cache.compiled(text, options, settings, spread.devices)
            if key is not None:
                lasting.keep(key, loaded, size_of(text))
        if report is not None:
            report.origin = origin
    return PlacedProgram(loaded, module, jaxpr, spread, donated)
