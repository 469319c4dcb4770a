"""Compiled programs: jaxprs compiled to executables that run on arrays."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from importlib import import_module
from typing import Any
from weakref import WeakValueDictionary

from pullback._core import compilations, counters
from pullback._core.array import ConcreteArray, array_of, array_on_device
from pullback._core.compilations import Compilation
from pullback._core.hitypes import all_parts, all_values, types_of_parts
from pullback._core.jaxpr import Jaxpr
from pullback._core.types import ShapedArray
from pullback._core.typing import AnyValue
from pullback._xla import disk_cache, engine, host_calls
from pullback._xla.lowering import Module, lower_module
from pullback._xla.programs import Programs, size_of

# one-op programs of eager code: a quarter of the compile time, and nothing to fuse
QUICK = (
    ("xla_backend_optimization_level", 0),
    ("xla_llvm_disable_expensive_passes", True),
    ("xla_cpu_parallel_codegen_split_count", 1),
)


class Executable:
    """A loaded program with the types of its results."""

    __slots__ = ("loaded", "execute", "handlers", "out_avals", "donated", "module", "key", "__weakref__")
    loaded: AnyValue
    execute: Callable[..., Any]
    handlers: list[Any]
    out_avals: tuple[ShapedArray, ...]
    donated: tuple[int, ...]
    module: Module
    key: Hashable

    def __init__(
        self,
        loaded: AnyValue,
        out_avals: Sequence[ShapedArray],
        donated: Sequence[int],
        module: Module,
        key: Hashable = None,
    ):
        self.loaded = loaded
        waits = module.callbacks or module.waits
        self.execute = host_calls.waiting(loaded, module.callbacks) if waits else loaded.execute_sharded
        self.out_avals = tuple(out_avals)
        self.donated = tuple(donated)
        self.module = module
        self.key = key
        self.handlers = [engine.result_handler(aval) for aval in self.out_avals]

    def text(self) -> str:
        """The StableHLO text."""
        return self.module.text()

    @property
    def may_fail(self) -> bool:
        """Whether a run can raise an error: Python functions that it calls can."""
        return bool(self.module.callbacks)

    def run(self, args: Sequence[ConcreteArray]) -> list[ConcreteArray]:
        """Run on arrays whose types are those the program was compiled for."""
        engine.check_process()
        buffers = [engine.put(a if type(a) is ConcreteArray else array_of(a.aval, a.value)) for a in args]
        for i in self.donated:
            args[i]._memory = None  # a program copies what is donated while NumPy has a view of it
        outs = self.execute(buffers).consume_with_handlers(self.handlers)
        results = [array_on_device(aval, out) for aval, out in zip(self.out_avals, outs, strict=True)]
        for i in self.donated:
            args[i].delete()
        return results


# Programs that may be requested again when nothing holds them any more: those of eager operations, and of eager loops,
# bodies are traced anew at each call
lasting = Programs()
# Programs of `jit` are held by their function, and kept for a while longer: a new function may have the same text
recent = Programs(most=32)
_alive: WeakValueDictionary[Hashable, Executable] = WeakValueDictionary()


def compile_module(
    module: Module,
    out_avals: Sequence[ShapedArray],
    donated: Sequence[int] = (),
    options: Sequence[tuple[str, Any]] = (),
    lasts: bool = False,
    report: Compilation | None = None,
) -> Executable:
    """The program of a module: a kept one of the same text, or else compiled by XLA now.

    `lasts` requests that it be kept even though its holder may be freed soon. A program that calls Python functions is
    never kept: its text does not identify them.
    """
    text = module.text()
    key = None if module.callbacks else (text, *options)
    known = lasting.get(key) or recent.get(key) or _alive.get(key)
    with compilations.stage(report, "compile"):
        if known is None:
            loaded, origin = _compiled(module, text, options)
        else:
            loaded, origin = known.loaded, "process"
        if report is not None:
            report.origin = origin
    program = Executable(loaded, out_avals, donated, module, key)
    if known is not None and (known.out_avals, known.donated) == (program.out_avals, program.donated):
        program = known
    if key is not None:
        _alive[key] = program
        (lasting if lasts else recent).keep(key, program, size_of(text))
    return program


def _compiled(module: Module, text: str, options: Sequence[tuple[str, Any]]) -> tuple[Any, str]:
    """The loaded program, and whether it was compiled now or read from disk."""
    xc = engine.xla_client()
    settings = xc.CompileOptions()
    if options:
        settings.env_option_overrides = list(options)
    try:
        if module.callbacks:
            counters.count("compiles")
            return host_calls.compile_with_callbacks(text, module.callbacks, settings), "compiled"
        return disk_cache.compiled(text, options, settings)
    except RuntimeError as error:
        if options and "option" in str(error):
            raise ValueError(f"jit: compiler_options: {str(error).partition(': ')[2]}") from None
        raise


def compile_jaxpr(
    jaxpr: Jaxpr,
    donated: frozenset[int] = frozenset(),
    options: Sequence[tuple[str, Any]] = (),
    lasts: bool = False,
    report: Compilation | None = None,
) -> Executable | ProgramOfValues:
    """The program of a jaxpr, see `compile_module`; its constants come first among the arguments."""
    if report is None and compilations.is_watched():
        report = Compilation("eager " + ", ".join(dict.fromkeys(eqn.primitive.name for eqn in jaxpr.eqns)))
        compilations.note(report)
    with compilations.stage(report, "lower"):
        module, places = module_of(jaxpr, donated)
    return program_of(jaxpr, module, places, options, lasts, report)


def module_of(
    jaxpr: Jaxpr, donated: frozenset[int] = frozenset(), platform: str = "cpu"
) -> tuple[Module, Sequence[int]]:
    """The module of a jaxpr, in which the parts of values of own types are arguments, and its donated arguments."""
    if jaxpr.has_own_types:
        places, n = set(), 0
        for i, v in enumerate((*jaxpr.constvars, *jaxpr.invars)):
            count = len(types_of_parts([v.aval]))
            places |= set(range(n, n + count)) if i in donated else set()
            n += count
        jaxpr, donated = _lower_types(jaxpr), frozenset(places)
    return lower_module(jaxpr, donated, platform=platform), sorted(donated)


def program_of(
    jaxpr: Jaxpr,
    module: Module,
    donated: Sequence[int] = (),
    options: Sequence[tuple[str, Any]] = (),
    lasts: bool = False,
    report: Compilation | None = None,
) -> Executable | ProgramOfValues:
    """The program of the module of a jaxpr, see `compile_module`."""
    program = compile_module(module, types_of_parts(jaxpr.out_avals), donated, options, lasts, report)
    return ProgramOfValues(program, jaxpr.out_avals) if jaxpr.has_own_types else program


class ProgramOfValues:
    """A program with types of one's own: `program`, which takes and returns parts in place of values."""

    __slots__ = ("program", "out_avals")
    program: Any  # an Executable, or the like on several devices
    out_avals: tuple[Any, ...]
    key = None

    def __init__(self, program: Any, out_avals: Sequence[Any]):
        self.program = program
        self.out_avals = tuple(out_avals)

    @property
    def loaded(self) -> AnyValue:
        """The loaded program."""
        return self.program.loaded

    def text(self) -> str:
        """The StableHLO text."""
        return self.program.text()

    def run(self, args: Sequence[Any]) -> list[Any]:
        """Run on arrays and values."""
        return all_values(self.out_avals, self.program.run(all_parts(args)))


def _load_pass(jaxpr: Jaxpr) -> Jaxpr:
    import_module("pullback._higher_order.call")  # installs it
    return _lower_types(jaxpr)


_lower_types: Callable[[Jaxpr], Jaxpr] = _load_pass


def install_type_lowering(lower_types: Callable[[Jaxpr], Jaxpr]) -> None:
    """Install the pass that puts parts in the place of values (called once by the layer that has it)."""
    global _lower_types
    _lower_types = lower_types


def of_parts(jaxpr: Jaxpr) -> Jaxpr:
    """The function of parts in place of values of own types."""
    return _lower_types(jaxpr)


def executable_of(jaxpr: Jaxpr, options: Sequence[tuple[str, Any]] = ()) -> Executable | ProgramOfValues:
    """The executable of a jaxpr, compiled at the first use and cached on it."""
    return jaxpr.derive("executable", lambda: compile_jaxpr(jaxpr, options=options))
