"""`jit`: trace a function once per type of its arguments, compile it as a whole, and run the program from then on."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from inspect import Signature
from typing import Any, overload

from pullback._api.compiled_refs import RefUse
from pullback._api.inspect import trace_function, with_words
from pullback._api.jit_cache import shared_cache
from pullback._api.jit_shardings import asked_placement, constrained, shardings_of
from pullback._api.retracing import noted
from pullback._api.short_call import FastPath
from pullback._api.stages import Jitted, Lowered, TracedStage, checked_options
from pullback._api.tiers import Tiers, check_tiered, wait_for, watch
from pullback._api.traced_call import Settings, Traced
from pullback._core import compilations
from pullback._core.arguments import (
    StaticValue,
    aval_of,
    canonical_static,
    check_callable,
    check_leaves,
    input_names,
    lift_leaves,
    marked_arguments,
    parameter_name,
    signature,
)
from pullback._core.array import Array
from pullback._core.cells import cells_of
from pullback._core.config import config
from pullback._core.errors import boundary, described, function_name, wrapping
from pullback._core.jaxpr import eval_jaxpr
from pullback._core.refs import Ref
from pullback._core.trace import Tracer, context
from pullback._core.tree import tree_flatten, tree_structure, tree_unflatten
from pullback._core.types import ShapeDtypeStruct
from pullback._core.typing import Device, P, PyTree, PyTreePrefix, R
from pullback._higher_order.call import call
from pullback._higher_order.custom.order import note_calls_in
from pullback._xla import platforms
from pullback._xla.evaluate import evaluator
from pullback._xla.executable import ProgramOfValues


# the state, besides the arguments, that a trace depends on
def _trace_environment() -> tuple:
    return config.tracing, context.axis_sizes


class Compiler:
    """The implementation of a compiled function: its settings, and a trace for each type of arguments so far."""

    def __init__(self, fun: Callable, settings: Settings):
        self._fun = fun
        self._settings = settings
        self._inline = settings.inline
        self._cache = shared_cache(fun, settings._replace(inline=False))
        split = self._parts if settings.static_argnums or settings.static_argnames else None
        self._fast_path: FastPath = self._cache.setdefault("short way", FastPath(split))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_cache"}  # traces are not pickled

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._cache = shared_cache(self._fun, self._settings._replace(inline=False))
        self._cache.setdefault("short way", self._fast_path)

    def function(self, sig: Signature | None) -> Callable:
        """The compiled function, with the methods of this object as attributes."""
        compiled = wrapping(self._fun)(self._fast_path.function(self.call))
        if sig is not None:
            compiled.__signature__ = sig  # type: ignore[attr-defined]  # for who does not follow `__wrapped__`
        # searched for captured values; the other attributes are caches
        compiled.__closed_over__ = (self._fun,)  # type: ignore[attr-defined]
        compiled.__own__ = ("trace", "lower", "eval_shape", "wait", "clear_cache")  # type: ignore[attr-defined]
        for name in compiled.__own__:  # type: ignore[attr-defined]
            setattr(compiled, name, getattr(self, name))
        return compiled

    def call(self, args: tuple, kwargs: dict) -> Any:
        """Call the function, tracing and compiling it if necessary."""
        if config.disable_jit:
            return self._fun(*args, **kwargs)
        traced, leaves = self._traced(args, kwargs)
        if traced.refs is not None:
            return self._call_with_refs(traced, traced.refs, leaves, args, kwargs)
        try:
            xs = lift_leaves("jit", self._fun, leaves, ())
        except TypeError:
            self._refuse_leaves(args, kwargs)
            raise
        if context.trace is evaluator:
            if any(isinstance(x, Tracer) for x in (*xs, *traced.consts)):
                return self._call_inside(traced, xs)
            if config.debugging:
                # operation by operation, so that the operation that produces a nan can be named
                return tree_unflatten(traced.out_tree, eval_jaxpr(traced.jaxpr, [], *traced.consts, *xs))
            if config.debug_key_reuse:
                return self._call_inside(traced, xs)  # the evaluator checks the call
            if traced.is_elsewhere(xs):  # type: ignore[arg-type]
                program = traced.placed_program(xs, functools.partial(self._names, args, kwargs))  # type: ignore[arg-type]
                result = traced.run(xs, program)  # type: ignore[arg-type]
                if not isinstance(program, ProgramOfValues):
                    self._fast_path.add_placed(args, kwargs, traced.consts, program, traced.out_tree)
                return result
            result = traced.run(xs, traced.current())  # type: ignore[arg-type]
            if traced.is_fast:
                self._fast_path.add(args, kwargs, traced.consts, traced.program, traced.out_tree)
            return result
        return self._call_inside(traced, xs)

    def _names(self, args: tuple, kwargs: dict) -> list[str]:
        """The names of the dynamic arguments' leaves."""
        static, _, dynamic_kwargs = self._split(args, kwargs)
        where = [i for i in range(len(args)) if i not in static]
        return input_names(self._fun, [args[i] for i in where], dynamic_kwargs, where)

    def _call_inside(self, traced: Traced, xs: Sequence[Any]) -> Any:
        """Call the function inside of a transformation."""
        self._refuse_options()
        note_calls_in(traced.jaxpr)
        xs = xs if traced.places is None else constrained(xs, traced.places)
        outs = call(traced.jaxpr, [*traced.consts, *xs], traced.name, self._inline)
        outs = outs if traced.result_places is None else constrained(outs, traced.result_places)
        return tree_unflatten(traced.out_tree, outs)

    def _call_with_refs(self, traced: Traced, refs: RefUse, leaves: list[Any], args: tuple, kwargs: dict) -> Any:
        refs.check(leaves)
        places = [leaf for i, leaf in enumerate(leaves) if i not in refs.arguments]
        arrays = lift_leaves("jit", self._fun, places, args, kwargs)
        outside = context.trace is evaluator and not any(isinstance(x, Tracer) for x in (*arrays, *traced.consts))
        if not outside or config.debug_nans or config.debug_key_reuse:
            self._refuse_options()
            traced = self._traced_with_refs(traced, refs, leaves, args, kwargs)
            note_calls_in(traced.jaxpr)
            outs = call(traced.jaxpr, [*traced.consts, *arrays], traced.name, self._inline)
            return tree_unflatten(traced.out_tree, outs)
        rest = iter(arrays)
        given = [leaf if i in refs.arguments else next(rest) for i, leaf in enumerate(leaves)]
        program: Any
        now = refs.contents(given)
        if traced.is_elsewhere(now):
            program = traced.placed_program(now, functools.partial(self._names, args, kwargs))
        else:
            program = traced.current()
        return tree_unflatten(traced.out_tree, refs.run(program, traced.consts, given))

    def _traced_with_refs(self, traced: Traced, refs: RefUse, leaves: list[Any], args: tuple, kwargs: dict) -> Traced:
        """The trace that accesses the references of this call, rather than any of their type."""
        key = [leaves[i] for i in refs.arguments]
        known, result = traced.with_refs
        if known is None or any(map(operator.is_not, known, key)):
            static, fixed, dynamic_kwargs = self._split(args, kwargs)
            closed, out_tree, *_ = trace_function("jit", self._bound(fixed), args, dynamic_kwargs, static)
            result = Traced(closed.jaxpr, closed.consts, out_tree, traced.name, (), self._settings)
            if not any(isinstance(c, Tracer) for c in closed.consts) and context.trace is evaluator:
                traced.with_refs = key, result
        return result

    def _bound(self, fixed: dict[str, Any]) -> Callable:
        """The function with its static arguments by keyword."""
        if not fixed:
            return self._fun
        fun = functools.partial(self._fun, **fixed)
        functools.update_wrapper(fun, self._fun)
        return fun

    def _refuse_options(self) -> None:
        if self._settings.options:
            raise ValueError(
                f"jit of {function_name(self._fun)}: compiler_options are those of a whole program, but "
                "the function was called inside of a transformation. Give them to the outermost jit: "
                "jit(grad(f), compiler_options=...) in place of grad(jit(f, compiler_options=...))."
            )

    def _split(self, args: tuple, kwargs: dict) -> tuple[tuple[int, ...], dict[str, Any], dict[str, Any]]:
        static = canonical_static(self._settings.static_argnums, len(args))
        names = self._settings.static_argnames
        fixed = {k: v for k, v in kwargs.items() if k in names}
        return static, fixed, {k: v for k, v in kwargs.items() if k not in names}

    def _parts(self, args: tuple, kwargs: dict) -> tuple[tuple, dict, tuple]:
        """The dynamic arguments of a call, positional and by keyword, and the cache key of the static ones."""
        static = canonical_static(self._settings.static_argnums, len(args))
        names = self._settings.static_argnames
        constants = tuple([(i, StaticValue(args[i])) for i in static])
        if static:
            args = tuple([a for i, a in enumerate(args) if i not in static])
        if names and kwargs:
            constants += tuple([(k, StaticValue(v)) for k, v in sorted(kwargs.items()) if k in names])
            kwargs = {k: v for k, v in kwargs.items() if k not in names}
        return args, kwargs, constants

    def _traced(self, args: tuple, kwargs: dict) -> tuple[Traced, list[Any]]:
        """The trace for a call's arguments, made at the first call, and the flat dynamic arguments."""
        dynamic, dynamic_kwargs, constants = self._parts(args, kwargs)
        leaves, tree = tree_flatten((dynamic, dynamic_kwargs))
        try:
            avals = tuple([a.aval if isinstance(a, (Array, ShapeDtypeStruct, Ref)) else aval_of(a) for a in leaves])
        except (TypeError, OverflowError):
            self._refuse_leaves(args, kwargs, structs=True)
            raise
        key = (tree, avals, constants, _trace_environment())
        try:
            return self._cache[key], leaves
        except KeyError:
            static, fixed, _ = self._split(args, kwargs)
        except TypeError:
            static, fixed, _ = self._split(args, kwargs)
            self._refuse_unhashable(args, static, fixed)
            raise
        report = noted(self._fun, key, self._cache, static)
        with compilations.stage(report, "trace"):
            closed, out_tree, _, places = trace_function("jit", self._bound(fixed), args, dynamic_kwargs, static, True)
        jaxpr, use = closed.jaxpr, None
        if places or cells_of(jaxpr):
            jaxpr, use = RefUse.of(jaxpr, places)
        donated = self._donated_leaves(args, static, dynamic_kwargs)
        name = function_name(self._fun)
        asked = self._settings.shardings
        at = None if asked is None else asked.of_arguments(name, tuple(dynamic), dynamic_kwargs)
        traced = Traced(jaxpr, closed.consts, out_tree, name, donated, self._settings, use, at)
        traced.report = report
        if self._settings.tiered or (self._settings.tiered is None and config.jit_tiered):
            traced.tiers = Tiers(self._settings.tiered)
            watch(self._fast_path)
        if not any(isinstance(c, Tracer) for c in closed.consts):
            traced = self._cache.setdefault(key, traced)  # the one of a thread that was faster
        return traced, leaves

    def _refuse_leaves(self, args: tuple, kwargs: dict, structs: bool = False) -> None:
        """Raise an error that names the dynamic argument that is not an array."""
        static, _, dynamic_kwargs = self._split(args, kwargs)
        positions = [i for i in range(len(args)) if i not in static]
        check_leaves("jit", self._fun, [args[i] for i in positions], dynamic_kwargs, positions, structs)

    def _refuse_unhashable(self, args: tuple, static: tuple[int, ...], fixed: dict[str, Any]) -> None:
        name = function_name(self._fun)
        places = [(f"static argument {parameter_name(self._fun, i)}", args[i]) for i in static]
        places += [(f"static argument '{k}'", v) for k, v in fixed.items()]
        for place, value in places:
            try:
                hash(value)
            except TypeError:
                raise TypeError(
                    f"jit of {name}: {place} must be hashable, because the program is remembered by its value, got "
                    f"{described(value)}. Pass a tuple in place of a list, a frozen dataclass in "
                    "place of a dict, or do not mark the argument static."
                ) from None

    def _donated_leaves(self, args: tuple, static: tuple[int, ...], kwargs: dict) -> list[int]:
        donated: list[int] = []
        n = 0
        positions = canonical_static(self._settings.donate_argnums, len(args))
        sources = [(i in positions, a) for i, a in enumerate(args) if i not in static]
        sources += [(k in self._settings.donate_argnames, kwargs[k]) for k in sorted(kwargs)]
        for donate, value in sources:
            count = len(tree_flatten(value)[0])
            donated += range(n, n + count) if donate else []
            n += count
        return donated

    # --- the stages of compilation ---

    @boundary
    def trace(self, *args: PyTree, **kwargs: PyTree) -> TracedStage:
        """Trace for these arguments (arrays or `ShapeDtypeStruct`s); the result has `.jaxpr` and `.lower()`."""
        static, _, dynamic_kwargs = self._split(args, kwargs)
        args = tuple(a if i in static else with_words(a) for i, a in enumerate(args))
        dynamic_kwargs = with_words(dynamic_kwargs)
        kwargs = {**kwargs, **dynamic_kwargs}
        dynamic = tuple(a for i, a in enumerate(args) if i not in static)
        traced, leaves = self._traced(args, kwargs)
        if traced.refs is not None:
            traced.refs.check(leaves)
        in_tree = tree_structure((dynamic, dynamic_kwargs))
        return TracedStage(
            traced.closed(),
            traced.jaxpr,
            in_tree,
            traced.out_tree,
            traced.name,
            traced.donated,
            traced.options,
            traced.refs,
            len(traced.consts),
            traced.spread([asked_placement(x) for x in leaves], functools.partial(self._names, args, kwargs)),
        )

    @boundary
    def lower(self, *args: PyTree, **kwargs: PyTree) -> Lowered:
        """Trace and lower to StableHLO; the result has `.as_text()` and `.compile()`."""
        return self.trace(*args, **kwargs).lower()

    @boundary
    def eval_shape(self, *args: PyTree, **kwargs: PyTree) -> PyTree:
        """The shapes and dtypes of the result, as `ShapeDtypeStruct`s."""
        return self.trace(*args, **kwargs).out_info

    @boundary
    def wait(self, timeout: float | None = None) -> None:
        """Wait until every program that calls have requested is compiled; TimeoutError after `timeout` seconds."""
        wait_for(self._fun, list(self._cache.values()), timeout)

    def clear_cache(self) -> None:
        """Discard all traces and programs."""
        self._fast_path.clear()
        self._cache.clear()
        self._cache["short way"] = self._fast_path


@overload
def jit(
    fun: Callable[P, R],
    *,
    in_shardings: PyTreePrefix = ...,
    out_shardings: PyTreePrefix = ...,
    static_argnums: int | Sequence[int] | None = ...,
    static_argnames: str | Sequence[str] | None = ...,
    donate_argnums: int | Sequence[int] | None = ...,
    donate_argnames: str | Sequence[str] | None = ...,
    keep_unused: bool = ...,
    device: Device = ...,
    backend: str | None = ...,
    inline: bool = ...,
    compiler_options: Mapping[str, Any] | None = ...,
    tiered: bool | None = ...,
) -> Jitted[P, R]: ...
@overload
def jit(
    fun: None = None,
    *,
    in_shardings: PyTreePrefix = ...,
    out_shardings: PyTreePrefix = ...,
    static_argnums: int | Sequence[int] | None = ...,
    static_argnames: str | Sequence[str] | None = ...,
    donate_argnums: int | Sequence[int] | None = ...,
    donate_argnames: str | Sequence[str] | None = ...,
    keep_unused: bool = ...,
    device: Device = ...,
    backend: str | None = ...,
    inline: bool = ...,
    compiler_options: Mapping[str, Any] | None = ...,
    tiered: bool | None = ...,
) -> Callable[[Callable[P, R]], Jitted[P, R]]: ...
@boundary
def jit(
    fun: Callable[..., Any] | None = None,
    *,
    in_shardings: PyTreePrefix = None,
    out_shardings: PyTreePrefix = None,
    static_argnums: int | Sequence[int] | None = None,
    static_argnames: str | Sequence[str] | None = None,
    donate_argnums: int | Sequence[int] | None = None,
    donate_argnames: str | Sequence[str] | None = None,
    keep_unused: bool = False,
    device: Device = None,
    backend: str | None = None,
    inline: bool = False,
    compiler_options: Mapping[str, Any] | None = None,
    tiered: bool | None = None,
) -> Any:
    """Compile a function with XLA.

    The function is traced once for each combination of argument structure, shapes, dtypes and static values; later
    calls run the compiled program. Inside other transformations, and inside another `jit`, the call stays one equation.

    Args:
      fun: a function of arrays or pytrees of arrays, without relevant side effects. Without it, returns a decorator.
      static_argnums, static_argnames: arguments that are passed as Python values; they must be hashable, and a new
        value causes a new trace. A name covers the argument however it is passed, if the signature has its position.
      donate_argnums, donate_argnames: arguments whose memory the program may use for its results; they are deleted.
      keep_unused: whether arguments that the results do not depend on are donated too.
      in_shardings, out_shardings: how arguments and results are spread over devices, as pytree prefixes of shardings,
        specs over the current mesh, devices and None. Where nothing is said, arguments stay where they are, and the
        compiler chooses.
      device, backend: the device, or the platform, such as "cpu" or "gpu", that the function is to run on.
      inline: whether calls inside other traced functions are inlined when lowered.
      compiler_options: options of XLA by name, for the whole program: such a function cannot be called under another
        transformation.
      tiered: True: calls do not wait for the compiler. They are answered by the NumPy kernels while XLA compiles in the
        background, and then by the program; `f.wait(timeout)` waits for it. None stands for the option `jit_tiered`.

    Raises: TypeError for arguments that are not arrays, named by path, and for unhashable static arguments; ValueError
      for shardings that do not fit and, at the call, for options that XLA does not know; RuntimeError for a platform
      that there is not.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> pb.jit(lambda x: pnp.sin(x) ** 2 + pnp.cos(x) ** 2)(3.)
    Array(1., dtype=float32, weak_type=True)
    """
    if fun is not None:
        check_callable("jit", fun)
    if backend is not None and device is None:
        device = platforms.device_if_other("jit", backend)
    shardings = shardings_of(device, in_shardings, out_shardings)
    options = checked_options("jit", compiler_options)
    check_tiered(tiered)
    if fun is None:
        return functools.partial(
            jit,
            in_shardings=in_shardings,
            out_shardings=out_shardings,
            device=device,
            static_argnums=static_argnums,
            static_argnames=static_argnames,
            donate_argnums=donate_argnums,
            donate_argnames=donate_argnames,
            keep_unused=keep_unused,
            inline=inline,
            compiler_options=compiler_options,
            tiered=tiered,
        )
    sig = signature(fun)
    nums, names = marked_arguments("jit", fun, sig, "static", static_argnums, static_argnames)
    d_nums, d_names = marked_arguments("jit", fun, sig, "donate", donate_argnums, donate_argnames)
    both = set(nums) & set(d_nums)
    if both:
        raise ValueError(f"jit of {function_name(fun)}: arguments {sorted(both)} are both static and donated")
    return Compiler(
        fun, Settings(nums, names, d_nums, d_names, bool(keep_unused), inline, options, tiered, shardings)
    ).function(sig)
