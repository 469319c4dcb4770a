"""Compiled programs: from a jaxpr to something that runs on arrays."""
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from pullback._core import counters
from pullback._core.array import ConcreteArray, array_on_device
from pullback._core.jaxpr import ClosedJaxpr, Jaxpr
from pullback._xla import engine, host_calls
from pullback._xla.lowering import Module, lower_module

# one-op programs of eager code: a quarter of the compile time, and nothing to fuse
QUICK = (("xla_backend_optimization_level", 0), ("xla_llvm_disable_expensive_passes", True),
         ("xla_cpu_parallel_codegen_split_count", 1))


class Executable:
    """A loaded program with the types of its results."""

    __slots__ = ("loaded", "execute", "handlers", "out_avals", "donated", "module")

    def __init__(self, loaded: Any, out_avals: Sequence, donated: Sequence[int], module: Module):
        self.loaded = loaded
        self.execute = host_calls.waiting(loaded) if module.callbacks else loaded.execute_sharded
        self.out_avals = tuple(out_avals)
        self.donated = tuple(donated)
        self.module = module
        self.handlers = [_result_handler(engine.carrier(aval)) for aval in self.out_avals]

    def run(self, args: Sequence[ConcreteArray]) -> list[ConcreteArray]:
        """Run on arrays whose types are those the program was compiled for."""
        buffers = [engine.put(a) for a in args]
        outs = self.execute(buffers).consume_with_handlers(self.handlers)
        results = [array_on_device(aval, out) for aval, out in zip(self.out_avals, outs, strict=True)]
        for i in self.donated:
            args[i].delete()
        return results


def _result_handler(aval) -> Any:
    make = engine.xla_client()._xla.array_result_handler
    try:
        return make(aval, engine.sharding(), committed=True, _skip_checks=True)
    except TypeError:
        return make(aval, engine.sharding(), committed=True)


# programs by their text: a loop whose body is traced anew at each eager call compiles once. A program that calls Python
# functions is not among them: its text does not tell which
_loaded: OrderedDict[tuple, Any] = OrderedDict()
_LOADED_LIMIT = 512


def compile_module(module: Module, options: Sequence[tuple[str, Any]] = ()) -> Any:
    """Hand the module to XLA; returns the loaded executable."""
    text = module.text()
    key = (text, *options)
    # taken out and put back last: another thread may be at work on it
    loaded = None if module.callbacks else _loaded.pop(key, None)
    if loaded is not None:
        _loaded[key] = loaded
        return loaded
    xc = engine.xla_client()
    settings = xc.CompileOptions()
    if options:
        settings.env_option_overrides = list(options)
    client = engine.client()
    counters.count("compiles")
    try:
        if module.callbacks:
            return host_calls.compile_with_callbacks(text, module.callbacks, settings)
        loaded = client.compile_and_load(text.encode(), engine.device_list(), settings)
    except RuntimeError as error:
        if options and "option" in str(error):
            raise ValueError(f"jit: compiler_options: {str(error).partition(': ')[2]}") from None
        raise
    _loaded[key] = loaded
    if len(_loaded) > _LOADED_LIMIT:
        _loaded.popitem(last=False)
    return loaded


def compile_jaxpr(jaxpr: Jaxpr, donated: frozenset[int] = frozenset(),
                  options: Sequence[tuple[str, Any]] = ()) -> Executable:
    """Compile a jaxpr; its constants come first among the arguments of the result."""
    module = lower_module(jaxpr, donated)
    return Executable(compile_module(module, options), jaxpr.out_avals, sorted(donated), module)


def executable_of(jaxpr: Jaxpr, options: Sequence[tuple[str, Any]] = ()) -> Executable:
    """The executable of a jaxpr, compiled at the first need and kept with it."""
    return jaxpr.derive("executable", lambda: compile_jaxpr(jaxpr, options=options))


def run_closed(closed: ClosedJaxpr, args: Sequence[ConcreteArray]) -> list[ConcreteArray]:
    """Compile (once) and run a closed jaxpr."""
    return executable_of(closed.jaxpr).run([*closed.consts, *args])


