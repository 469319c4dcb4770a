"""The stages of compilation as objects: traced, lowered, compiled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, Protocol, Self, overload

from pullback._api.collective_counts import CollectiveUse, collectives_in
from pullback._api.compiled_refs import RefUse
from pullback._api.inspect import structs
from pullback._core.array import lift
from pullback._core.errors import boundary
from pullback._core.jaxpr import ClosedJaxpr, Jaxpr
from pullback._core.placed_array import PlacedArray
from pullback._core.refs import Ref, RefType
from pullback._core.sharding import SingleDeviceSharding
from pullback._core.trace import Tracer
from pullback._core.tree import PyTreeDef, tree_flatten, tree_unflatten
from pullback._core.tree_paths import keystr, tree_flatten_with_path, tree_text
from pullback._core.types import ShapedArray, matches
from pullback._core.typing import P, PyTree, Q, R, R_co
from pullback._higher_order.bodies import lift_tree
from pullback._xla import engine, platforms
from pullback._xla.executable import Executable, ProgramOfValues, module_of, program_of
from pullback._xla.lowering import Module, lower_module
from pullback._xla.placed_programs import PlacedProgram, load_placed
from pullback._xla.spread import Spread


def checked_options(function: str, options: Mapping[str, Any] | None) -> tuple[tuple[str, Any], ...]:
    """XLA's options as part of a key; XLA itself checks them when it compiles."""
    if options is None:
        return ()
    if not isinstance(options, Mapping) or not all(
        isinstance(k, str) and isinstance(v, (bool, int, float, str)) for k, v in options.items()
    ):
        raise TypeError(
            f"{function}: compiler_options must map names of XLA's options to bools, numbers or strings, "
            f"such as {{'xla_cpu_enable_fast_math': True}}, got {options!r}"
        )
    return tuple(sorted(options.items()))


class Jitted(Protocol[P, R_co]):
    """The result of `jit`: a function with the signature of the original, with the stages of compilation as methods.

    >>> import pullback as pb
    >>> isinstance(pb.jit(lambda x: x).lower(1.), Lowered)
    True
    """

    @property
    def __wrapped__(self) -> Callable[P, R_co]:
        """The function that is compiled."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Run the program for arguments of this kind."""

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Self: ...
    @overload
    def __get__(
        self: Jitted[Concatenate[Any, Q], R], instance: object, owner: type | None = None
    ) -> Callable[Q, R]: ...

    def trace(self, *args: PyTree, **kwargs: PyTree) -> TracedStage:
        """Trace for these arguments (arrays or `ShapeDtypeStruct`s)."""

    def lower(self, *args: PyTree, **kwargs: PyTree) -> Lowered:
        """Trace and lower to StableHLO."""

    def eval_shape(self, *args: PyTree, **kwargs: PyTree) -> PyTree:
        """The shapes and dtypes of the result, as `ShapeDtypeStruct`s."""

    def wait(self, timeout: float | None = None) -> None:
        """Wait until every program that calls have requested is compiled."""

    def clear_cache(self) -> None:
        """Forget all traces and programs."""


@dataclass(frozen=True, slots=True)
class ArgInfo:
    """The type of an argument of a traced function, and whether its memory may be used for results.

    >>> import pullback as pb
    >>> pb.jit(lambda x: x).trace(1.).args_info
    ((ArgInfo(_aval=ShapedArray(float32[], weak_type=True), donated=False),), {})
    """

    _aval: ShapedArray
    donated: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the argument."""
        return self._aval.shape

    @property
    def dtype(self) -> Any:
        """The dtype of the argument."""
        return self._aval.dtype


class _Stage:
    """What the stages have in common: they know the traced function."""

    traced: TracedStage

    @property
    def in_tree(self) -> PyTreeDef:
        """The structure of `(args, kwargs)`."""
        return self.traced.in_tree

    @property
    def out_tree(self) -> PyTreeDef:
        """The structure of the result."""
        return self.traced.out_tree

    @property
    def in_avals(self) -> Any:
        """`(args, kwargs)` with the types of arrays as leaves."""
        return tree_unflatten(self.traced.in_tree, self.traced.jaxpr.in_avals)

    @property
    def out_info(self) -> Any:
        """The result's structure, with `ShapeDtypeStruct` leaves."""
        return self.traced.out_info

    @property
    def args_info(self) -> Any:
        """`(args, kwargs)` with an `ArgInfo` in place of each array."""
        return self.traced.args_info

    @property
    def donate_argnums(self) -> tuple[int, ...]:
        """The numbers of the leaves whose memory may be used for results."""
        return self.traced.donate_argnums


class TracedStage:
    """A traced function: its jaxpr and the structure of its result.

    >>> import pullback as pb
    >>> traced = pb.jit(lambda x: 2 * x).trace(1.)
    >>> len(traced.jaxpr.eqns), traced.out_info
    (1, ShapeDtypeStruct(shape=(), dtype=float32, weak_type=True))
    """

    def __init__(
        self,
        closed: ClosedJaxpr,
        jaxpr: Jaxpr,
        in_tree: PyTreeDef,
        out_tree: PyTreeDef,
        name: str,
        donated: frozenset[int],
        options: tuple[tuple[str, Any], ...] = (),
        refs: RefUse | None = None,
        num_consts: int = 0,
        spread: Spread | None = None,
    ):
        self.jaxpr = closed
        self._jaxpr = jaxpr
        self.in_tree = in_tree
        self.out_tree = out_tree
        self.fun_name = name
        self._donated = donated
        self._options = options
        self._refs = refs
        self._num_consts = num_consts  # without the contents of references
        self._spread = spread

    @property
    def out_info(self) -> Any:
        """The result's structure, with `ShapeDtypeStruct` leaves."""
        return structs(self.jaxpr, self.out_tree)

    @property
    def in_avals(self) -> Any:
        """`(args, kwargs)` with the types of arrays as leaves."""
        return tree_unflatten(self.in_tree, self.jaxpr.in_avals)

    @property
    def out_avals(self) -> list[ShapedArray]:
        """The types of the result's leaves."""
        return list(self.jaxpr.out_avals)

    @property
    def donate_argnums(self) -> tuple[int, ...]:
        """The numbers of the leaves whose memory may be used for results."""
        return tuple(sorted(i - len(self.jaxpr.consts) for i in self._donated))

    @property
    def args_info(self) -> Any:
        """`(args, kwargs)` with an `ArgInfo` in place of each array."""
        donated = set(self.donate_argnums)
        return tree_unflatten(self.in_tree, [ArgInfo(aval, i in donated) for i, aval in enumerate(self.jaxpr.in_avals)])

    @boundary
    def lower(self, *, lowering_platforms: Sequence[str] | None = None) -> Lowered:
        """Lower to StableHLO, for the platform that it would run on, or another one that need not be there, as "cuda".

        ValueError for several, and for one that is not known.
        """
        here = platforms.HOST if self._spread is None else self._spread.platform
        platform = here if lowering_platforms is None else lowering_platform(lowering_platforms)
        if platform == here and self._spread is not None:
            return Lowered(lower_module(self._jaxpr, self._donated, self._spread), sorted(self._donated), self)
        return Lowered(*module_of(self._jaxpr, self._donated, platform), self, None if platform == here else platform)


def lowering_platform(asked: Sequence[str]) -> str:
    """The platform that a function is lowered for; ValueError for several, and for one that is not known."""
    known = [*platforms.names(), "cuda"]
    if len(asked) != 1 or asked[0].lower() not in (*known, "gpu"):
        raise ValueError(f"lower: lowering_platforms: expected one of {', '.join(map(repr, known))}, got {asked!r}")
    return "cuda" if asked[0].lower() == "gpu" else asked[0].lower()


class Lowered(_Stage):
    """A StableHLO module, not compiled yet.

    >>> import pullback as pb
    >>> "stablehlo.multiply" in pb.jit(lambda x: 2 * x).lower(1.).as_text()
    True
    """

    def __init__(self, module: Module, donated: Sequence[int], traced: TracedStage, elsewhere: str | None = None):
        self.module = module
        # the platform, if it is not the one that the arguments are on
        self._elsewhere = elsewhere
        self._donated = donated
        self.traced = traced

    @boundary
    def as_text(self, dialect: str | None = None, *, debug_info: bool = False) -> str:
        """The StableHLO text, or XLA's with dialect="hlo"; `debug_info` adds nothing. ValueError for other dialects."""
        if dialect == "hlo":
            return self.compiler_ir("hlo").as_hlo_text()
        return str(self.compiler_ir(dialect)) if dialect is not None else self.module.text()

    @boundary
    def compiler_ir(self, dialect: str | None = None) -> Any:
        """The module: an object whose `str` is StableHLO text, or with dialect="hlo" one with `as_hlo_text()`.

        ValueError for other dialects.
        """
        if dialect not in (None, "stablehlo", "hlo"):
            raise ValueError(f"compiler_ir: dialect must be 'stablehlo' or 'hlo', got {dialect!r}")
        return engine.parsed(self.module.text(), dialect == "hlo")

    @boundary
    def cost_analysis(self) -> dict[str, float]:
        """XLA's estimate of the numbers of operations and bytes of the program, which is compiled for it."""
        return self.compile().cost_analysis()

    @boundary
    def compile(
        self, compiler_options: Mapping[str, Any] | None = None, *, device_assignment: tuple[Any, ...] | None = None
    ) -> Compiled:
        """Compile with XLA, with further options of XLA by name in addition to those of `jit`.

        `device_assignment` may name the devices that the program is for. ValueError for others, and for a module that
        was lowered for another platform.
        """
        if self._elsewhere is not None:
            raise ValueError(
                f"compile: {self.traced.fun_name} was lowered for {self._elsewhere!r}, its arguments are elsewhere. "
                f"To run it there, use jit(f, backend={self._elsewhere!r})"
            )
        options = tuple(
            sorted((dict(self.traced._options) | dict(checked_options("compile", compiler_options))).items())
        )
        spread = self.traced._spread
        devices = (engine.device(),) if spread is None else spread.devices
        if device_assignment is not None and tuple(device_assignment) != devices:
            raise ValueError(f"compile: device_assignment: the program is for {devices}, got {device_assignment!r}")
        if spread is not None:
            placed = load_placed(self.traced._jaxpr, self.module, spread, self._donated, options)
            return Compiled(placed, self.traced)
        return Compiled(program_of(self.traced._jaxpr, self.module, self._donated, options), self.traced)


class Compiled(_Stage):
    """A program for one type of arguments. Calling it checks their structure and types, and never traces.

    >>> import pullback as pb
    >>> print(pb.jit(lambda x: 2 * x).lower(1.).compile()(3.))
    6.0
    """

    def __init__(self, program: Executable | ProgramOfValues | PlacedProgram, traced: TracedStage):
        self.program = program
        self.traced = traced

    @boundary
    def __call__(self, *args: PyTree, **kwargs: PyTree) -> Any:
        leaves, tree = tree_flatten((args, kwargs))
        name = self.traced.fun_name
        if tree != self.traced.in_tree:
            raise TypeError(
                f"compiled {name}: expected arguments of structure {tree_text(self.traced.in_tree)}, got "
                f"{tree_text(tree)} "
                "(static arguments are part of the program: leave them out)"
            )
        refs = self.traced._refs
        places = () if refs is None else refs.arguments
        try:
            xs = [x if i in places and isinstance(x, Ref) else lift(x) for i, x in enumerate(leaves)]
        except (TypeError, OverflowError):
            lift_tree(f"compiled {name}", "(args, kwargs)", (args, kwargs))
            raise
        if any(isinstance(x, Tracer) for x in (*xs, *self.traced.jaxpr.consts)):
            raise TypeError(
                f"compiled {name}: a compiled program takes arrays with data, but was called inside a "
                f"transformation (grad, vmap, jit, ...). Transform the function before compiling it."
            )
        for i, (x, aval) in enumerate(zip(xs, self.traced.jaxpr.in_avals, strict=True)):
            given: Any = x.aval
            expected = RefType(aval) if i in places else aval
            if not (expected == given if i in places else matches(aval, given)):
                raise TypeError(
                    f"compiled {name}: leaf {i} of the arguments must have type {expected.str_short()}, got "
                    f"{given.str_short()}. Compile again for other types."
                )
        consts = self.traced.jaxpr.consts
        self._check_places(xs)
        if refs is None:
            return tree_unflatten(self.traced.out_tree, self.program.run([*consts, *xs]))  # type: ignore[list-item]
        outs = refs.run(self.program, consts[: self.traced._num_consts], xs)
        return tree_unflatten(self.traced.out_tree, outs)

    def _check_places(self, xs: Sequence[Any]) -> None:
        """Refuse arrays that were placed elsewhere than the program expects them."""
        if not any(type(x) is PlacedArray for x in xs):
            return
        here = (SingleDeviceSharding(engine.device()),) * len(xs)
        places = self.program.ins[-len(xs) :] if isinstance(self.program, PlacedProgram) else here
        for i, (x, place) in enumerate(zip(xs, places, strict=True)):
            if type(x) is PlacedArray and not x.placement.is_equivalent_to(place, x.aval.ndim):
                tree = tree_unflatten(self.traced.in_tree, range(len(xs)))
                path = keystr(tree_flatten_with_path(tree)[0][i][0])
                raise ValueError(
                    f"compiled {self.traced.fun_name}: (args, kwargs){path}, of type {x.aval.str_short()}, is "
                    f"placed as {x.placement}, but the program was compiled for {place}. Move it by "
                    "device_put(x, sharding), or compile again for ShapeDtypeStruct(shape, dtype, sharding=x.sharding)"
                )

    def as_text(self) -> str:
        """The optimized HLO text."""
        return "\n".join(module.to_string() for module in self.program.loaded.hlo_modules())

    def collectives(self) -> dict[str, CollectiveUse]:
        """What devices exchange in a run: the number of collectives of each kind, and the bytes of their results.

        Bytes are those on one device; what a loop repeats is counted once.
        """
        return collectives_in(self.as_text())

    def cost_analysis(self) -> dict[str, float]:
        """XLA's estimate of the numbers of operations and bytes."""
        return self.program.loaded.cost_analysis()

    def memory_analysis(self) -> Any:
        """XLA's memory statistics, in bytes."""
        return self.program.loaded.get_compiled_memory_stats()

    def runtime_executable(self) -> Any:
        """The engine's own object."""
        return self.program.loaded

    @property
    def input_shardings(self) -> Any:
        """`(args, kwargs)` with the placements of the arguments."""
        count = self.traced.in_tree.num_leaves
        if isinstance(self.program, PlacedProgram):
            return tree_unflatten(self.traced.in_tree, self.program.ins[len(self.program.ins) - count :])
        return tree_unflatten(self.traced.in_tree, [SingleDeviceSharding(engine.device())] * count)

    @property
    def output_shardings(self) -> Any:
        """The result's structure with the placements of its leaves."""
        if isinstance(self.program, PlacedProgram):
            return tree_unflatten(self.traced.out_tree, self.program.outs)
        place = SingleDeviceSharding(engine.device())
        return tree_unflatten(self.traced.out_tree, [place] * self.traced.out_tree.num_leaves)
