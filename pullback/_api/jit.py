"""`jit`: trace a function once per kind of arguments, compile it as a whole, run the program ever after."""
from __future__ import annotations

import functools
import types
from collections.abc import Callable, Sequence
from typing import Any

from pullback._api.inspect import trace_function
from pullback._api.short_call import ShortWay
from pullback._api.stages import TracedStage
from pullback._core.arguments import (
    aval_of,
    canonical_argnums,
    canonical_names,
    check_callable,
    check_leaves,
    kind_of,
    lift_leaves,
    parameter_name,
    signature,
)
from pullback._core.array import Array, ConcreteArray
from pullback._core.config import config
from pullback._core.errors import boundary, function_name
from pullback._core.jaxpr import ClosedJaxpr, consts_to_args, eval_jaxpr
from pullback._core.trace import Tracer, context
from pullback._core.tree import PyTreeDef, tree_flatten, tree_structure, tree_unflatten
from pullback._core.types import ShapeDtypeStruct
from pullback._higher_order.call import call
from pullback._xla.evaluate import evaluator
from pullback._xla.executable import Executable, compile_jaxpr


class Traced:
    """One traced call: the jaxpr, the result's structure, and the program."""

    def __init__(self, closed: ClosedJaxpr, out_tree: PyTreeDef, name: str, donated: Sequence[int]):
        self.closed = closed
        self.jaxpr = consts_to_args(closed.jaxpr)
        self.consts = closed.consts
        self.out_tree = out_tree
        self.name = name
        self.donated = frozenset(len(self.consts) + i for i in donated)

    @functools.cached_property
    def program(self) -> Executable:
        """The compiled program, made at the first need."""
        return compile_jaxpr(self.jaxpr, self.donated)

    def run(self, args: Sequence[ConcreteArray]) -> Any:
        """Run the program on the flat arguments."""
        if self.donated:
            self._refuse_shared_donation(args)
        return tree_unflatten(self.out_tree, self.program.run([*self.consts, *args]))

    def _refuse_shared_donation(self, args: Sequence[ConcreteArray]) -> None:
        used = [*self.consts, *args]
        for i in self.donated:
            if any(used[i] is x for j, x in enumerate(used) if j != i):
                raise ValueError(f"jit of {self.name}: an array of type {used[i].aval.str_short()} is donated and "
                                 "passed in another place too, or closed over, where it would be read after its memory "
                                 "was given away. Use a copy there, or do not donate it.")


# what a call's trace depends on besides its arguments
def _surroundings() -> tuple:
    return config.tracing, context.axis_sizes


class Compiler:
    """What stands behind a compiled function: its settings, and a trace for each kind of arguments it has met."""

    def __init__(self, fun: Callable, static_argnums: tuple[int, ...], static_argnames: tuple[str, ...],
                 donate_argnums: tuple[int, ...], donate_argnames: tuple[str, ...], inline: bool):
        self._fun = fun
        self._static_argnums = static_argnums
        self._static_argnames = static_argnames
        self._donate_argnums = donate_argnums
        self._donate_argnames = donate_argnames
        self._inline = inline
        self._cache = _shared_cache(fun, (static_argnums, static_argnames, donate_argnums, donate_argnames))
        split = self._parts if static_argnums or static_argnames else None
        self._short_way: ShortWay = self._cache.setdefault("short way", ShortWay(split))

    def function(self) -> Callable:
        """The compiled function, with the methods of this object as attributes."""
        compiled = functools.update_wrapper(self._short_way.function(self.call), self._fun, updated=())
        # where captures are looked for; beside it are caches
        compiled.__closed_over__ = (self._fun,)  # type: ignore[attr-defined]
        for name in ("trace", "lower", "eval_shape", "clear_cache"):
            setattr(compiled, name, getattr(self, name))
        return compiled

    def call(self, args: tuple, kwargs: dict) -> Any:
        """Call the function, tracing and compiling where that is needed."""
        if config.disable_jit:
            return self._fun(*args, **kwargs)
        traced, leaves = self._traced(args, kwargs)
        try:
            xs = lift_leaves("jit", self._fun, leaves, ())
        except TypeError:
            self._refuse_leaves(args, kwargs)
            raise
        if context.trace is evaluator:
            if any(isinstance(x, Tracer) for x in (*xs, *traced.consts)):
                outs = call(traced.jaxpr, [*traced.consts, *xs], traced.name, self._inline)
                return tree_unflatten(traced.out_tree, outs)
            if config.debug_nans:
                # operation by operation, so that the one that makes a nan can be named
                return tree_unflatten(traced.out_tree, eval_jaxpr(traced.jaxpr, [], *traced.consts, *xs))
            result = traced.run(xs)  # type: ignore[arg-type]
            if not traced.donated:
                self._short_way.add(args, kwargs, traced.consts, traced.program, traced.out_tree)
            return result
        return tree_unflatten(traced.out_tree, call(traced.jaxpr, [*traced.consts, *xs], traced.name, self._inline))

    def _split(self, args: tuple, kwargs: dict) -> tuple[tuple[int, ...], dict[str, Any], dict[str, Any]]:
        static = canonical_static(self._static_argnums, len(args))
        names = self._static_argnames
        fixed = {k: v for k, v in kwargs.items() if k in names}
        return static, fixed, {k: v for k, v in kwargs.items() if k not in names}

    def _parts(self, args: tuple, kwargs: dict) -> tuple[tuple, dict, tuple]:
        """The dynamic arguments of a call, positional and by keyword, and what stands for the static ones in a key."""
        static, names = canonical_static(self._static_argnums, len(args)), self._static_argnames
        constants = tuple([(i, _Static(args[i])) for i in static])
        if static:
            args = tuple([a for i, a in enumerate(args) if i not in static])
        if names and kwargs:
            constants += tuple([(k, _Static(v)) for k, v in sorted(kwargs.items()) if k in names])
            kwargs = {k: v for k, v in kwargs.items() if k not in names}
        return args, kwargs, constants

    def _traced(self, args: tuple, kwargs: dict) -> tuple[Traced, list[Any]]:
        """The trace for a call's arguments, made at the first need, and the flat dynamic arguments."""
        dynamic, dynamic_kwargs, constants = self._parts(args, kwargs)
        leaves, tree = tree_flatten((dynamic, dynamic_kwargs))
        try:
            avals = tuple([a.aval if isinstance(a, (Array, ShapeDtypeStruct)) else aval_of(a) for a in leaves])
        except (TypeError, OverflowError):
            self._refuse_leaves(args, kwargs, structs=True)
            raise
        key = (tree, avals, constants, _surroundings())
        try:
            return self._cache[key], leaves
        except KeyError:
            static, fixed, _ = self._split(args, kwargs)
        except TypeError:
            static, fixed, _ = self._split(args, kwargs)
            self._refuse_unhashable(args, static, fixed)
            raise
        fun = functools.partial(self._fun, **fixed) if fixed else self._fun
        if fixed:
            functools.update_wrapper(fun, self._fun)
        closed, out_tree, _ = trace_function("jit", fun, args, dynamic_kwargs, static)
        donated = self._donated_leaves(args, static, dynamic_kwargs)
        traced = Traced(closed, out_tree, function_name(self._fun), donated)
        if not any(isinstance(c, Tracer) for c in traced.consts):
            self._cache[key] = traced
        return traced, leaves

    def _refuse_leaves(self, args: tuple, kwargs: dict, structs: bool = False) -> None:
        """Name the dynamic argument that is no array."""
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
                    f"{value!r} of type {type(value).__name__}. Pass a tuple in place of a list, a frozen dataclass in "
                    "place of a dict, or do not mark the argument static.") from None

    def _donated_leaves(self, args: tuple, static: tuple[int, ...], kwargs: dict) -> list[int]:
        donated: list[int] = []
        n = 0
        positions = canonical_static(self._donate_argnums, len(args))
        sources = [(i in positions, a) for i, a in enumerate(args) if i not in static]
        sources += [(k in self._donate_argnames, kwargs[k]) for k in sorted(kwargs)]
        for donate, value in sources:
            count = len(tree_flatten(value)[0])
            donated += range(n, n + count) if donate else []
            n += count
        return donated

    # --- the stages, one by one ---

    @boundary
    def trace(self, *args: Any, **kwargs: Any) -> Any:
        """Trace for these arguments (arrays or `ShapeDtypeStruct`s); the result has `.jaxpr` and `.lower()`."""
        static, _, dynamic_kwargs = self._split(args, kwargs)
        dynamic = tuple(a for i, a in enumerate(args) if i not in static)
        traced, _ = self._traced(args, kwargs)
        in_tree = tree_structure((dynamic, dynamic_kwargs))
        return TracedStage(traced.closed, traced.jaxpr, in_tree, traced.out_tree, traced.name, traced.donated)

    @boundary
    def lower(self, *args: Any, **kwargs: Any) -> Any:
        """Trace and lower to StableHLO; the result has `.as_text()` and `.compile()`."""
        return self.trace(*args, **kwargs).lower()

    @boundary
    def eval_shape(self, *args: Any, **kwargs: Any) -> Any:
        """The shapes and dtypes of the result, as `ShapeDtypeStruct`s."""
        return self.trace(*args, **kwargs).out_info

    def clear_cache(self) -> None:
        """Forget all traces and programs."""
        self._short_way.clear()
        self._cache.clear()
        self._cache["short way"] = self._short_way


class _Static:
    """A static argument as part of a cache key: equal only to an equal value of the same type."""

    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value

    def __hash__(self):
        return hash(self.value)

    def __eq__(self, other):
        return self.value is other.value or (kind_of(self.value) == kind_of(other.value) and self.value == other.value)


@functools.lru_cache(256)
def canonical_static(positions: tuple[int, ...], count: int) -> tuple[int, ...]:
    """Positions that the call has, negative ones counted from its end."""
    return tuple(p % count if p < 0 else p for p in positions if -count <= p < count)


class _Memory:
    """What jit remembers of a function. It hangs on the function, so that both are freed together.

    A table on the side would keep alive every function whose trace refers to it, as custom rules do.
    """

    __slots__ = ("caches", "owner")

    def __init__(self, owner: Any = None):
        self.owner = owner
        self.caches: dict[tuple, dict] = {}

    def __reduce__(self):
        return _Memory, ()  # a copied or pickled function begins anew


def _shared_cache(fun: Callable, settings: tuple) -> dict:
    """The cache of all jits of one function with the same settings, so that `jit(f)` in a loop compiles once."""
    if not isinstance(fun, types.FunctionType) and "__wrapped__" not in getattr(fun, "__dict__", ()):
        return {}
    namespace = fun.__dict__
    memory = namespace.get("__pullback_jit__")
    if memory is None or memory.owner is not fun:  # functools.wraps copies attributes
        memory = namespace["__pullback_jit__"] = _Memory(fun)
    return memory.caches.setdefault(settings, {})


@boundary
def jit(fun: Callable | None = None, *, static_argnums: int | Sequence[int] | None = None,
        static_argnames: str | Sequence[str] | None = None, donate_argnums: int | Sequence[int] | None = None,
        donate_argnames: str | Sequence[str] | None = None, inline: bool = False, keep_unused: bool = False) -> Any:
    """Compile a function with XLA.

    The function is traced once for each combination of argument structure, shapes, dtypes and static values, and the
    program is run from then on. Inside other transformations, and inside another `jit`, the call stays one equation.

    Args:
      fun: a function of arrays or pytrees of arrays, without side effects that matter. Left out, a decorator results.
      static_argnums, static_argnames: arguments that are passed as Python values; they must be hashable, and a new
        value traces anew. A name covers the argument however it is passed, where the signature tells its position.
      donate_argnums, donate_argnames: arguments whose memory the program may use for its results; they are deleted.
      inline: whether calls inside other traced functions are expanded in place when lowered.

    Raises: TypeError for arguments that are no arrays, named by path, and for unhashable static arguments.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> pb.jit(lambda x: pnp.sin(x) ** 2 + pnp.cos(x) ** 2)(3.)
    Array(1., dtype=float32, weak_type=True)
    """
    if fun is not None:
        check_callable("jit", fun)
    settings: dict[str, Any] = {"static_argnums": static_argnums, "static_argnames": static_argnames,
                                "donate_argnums": donate_argnums, "donate_argnames": donate_argnames, "inline": inline}
    if fun is None:
        return functools.partial(jit, **settings)
    sig = signature(fun)
    for what, positions, labels in (("static", static_argnums, static_argnames),
                                    ("donate", donate_argnums, donate_argnames)):
        _check_marks(fun, sig, what, positions, labels)
    nums, names = _complete(sig, canonical_argnums("jit", () if static_argnums is None else static_argnums,
                                                   what="static_argnums"),
                            canonical_names("jit", static_argnames, "static_argnames"))
    d_nums, d_names = _complete(sig, canonical_argnums("jit", () if donate_argnums is None else donate_argnums,
                                                       what="donate_argnums"),
                                canonical_names("jit", donate_argnames, "donate_argnames"))
    both = set(nums) & set(d_nums)
    if both:
        raise ValueError(f"jit of {function_name(fun)}: arguments {sorted(both)} are both static and donated")
    return Compiler(fun, nums, names, d_nums, d_names, inline).function()


def _check_marks(fun: Callable, sig: Any, what: str, nums: Any, names: Any) -> None:
    """Refuse static or donated arguments that the signature does not have: a misspelled name would mark nothing."""
    if sig is None:
        return
    parameters = sig.parameters.values()
    positional = sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)
    if not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        for i in canonical_argnums("jit", () if nums is None else nums, what=f"{what}_argnums"):
            if not -positional <= i < positional:
                raise ValueError(f"jit of {function_name(fun)}: {what}_argnums={nums!r}, but the function has "
                                 f"{positional} positional parameter{'s' if positional != 1 else ''}: "
                                 f"{function_name(fun)}{sig}")
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        for name in canonical_names("jit", names, f"{what}_argnames"):
            if name not in sig.parameters:
                raise ValueError(f"jit of {function_name(fun)}: {what}_argnames={names!r}, but the function has no "
                                 f"parameter {name!r}: {function_name(fun)}{sig}")


def _complete(sig: Any, nums: tuple[int, ...], names: tuple[str, ...]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Positions for the names and names for the positions, as far as the signature tells."""
    if sig is None or not (nums or names):
        return nums, names
    positional = [p.name for p in sig.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    more_nums = [positional.index(n) for n in names if n in positional]
    more_names = [positional[i] for i in nums if -len(positional) <= i < len(positional)]
    return tuple(dict.fromkeys((*nums, *more_nums))), tuple(dict.fromkeys((*names, *more_names)))
