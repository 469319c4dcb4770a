"""Jaxpr to StableHLO text.

A `Module` holds functions, a `Block` a list of operations; lowering rules of primitives get the block as `ctx` and emit
with `ctx.op`. The generic MLIR syntax is used throughout: it is fastest to write and uniform for all operations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import numpy as np

from pullback._core.errors import InconclusiveDimensionOperation, RuleNotDefinedError
from pullback._core.jaxpr import Jaxpr, Var
from pullback._core.primitive import missing_rule_message
from pullback._core.sharding import Sharding
from pullback._core.types import ShapedArray, make_aval
from pullback._core.typing import AnyValue
from pullback._xla.attributes import dense, int_array
from pullback._xla.engine import carrier, is_stand_in, is_widened
from pullback._xla.manual import Manual
from pullback._xla.outlining import Part, parts, repeated_calls
from pullback._xla.recomputation import recomputing
from pullback._xla.spread import Spread
from pullback._xla.tensor_types import tensor_type

_ORDER = make_aval((), np.dtype(np.int32))

# XLA inlines calls, unless it is told not to
_APART = ', mhlo.frontend_attributes = {inlineable = "false"}'


class Value:
    """An SSA value: its name and its type."""

    __slots__ = ("name", "aval")

    def __init__(self, name: str, aval: ShapedArray):
        self.name: str = name
        self.aval: ShapedArray = aval


class Module:
    """A StableHLO module under construction."""

    def __init__(self):
        self.functions: list[str] = []
        self.names: dict[str, int] = {}
        self.lowered: dict[int, tuple[str, Jaxpr]] = {}
        # the Python functions it calls, and whether a call has side effects, so that calls must keep their order
        self.callbacks: list[Callable[..., Any]] = []
        self.ordered: bool = False
        # functions that the compiler calls with the shardings that it chose
        self.inspectors: list[Callable[..., Any]] = []
        # calls that say themselves how they are divided: the compiler asks them
        self.divided: list[Any] = []
        # the identities of jaxprs that are functions of their own in the compiled program
        self.repeated: set[int] = set()
        # the devices, if it is a program of several
        self.spread: Spread | None = None
        # the platform that it is for, by which rules choose custom calls
        self.platform: str = "cpu"
        # the `shard_map` that is being emitted, and the number of operations that exchange data
        self.manual: Manual | None = None
        self.channels: int = 0
        # whether its runs are waited for, as it needs the interpreter
        self.waits: bool = False
        # whether it leaves this process, and how many loops the part that is being emitted stands in
        self.leaves: bool = False
        self.loops: int = 0
        # the names of the part of the program that is being emitted
        self.scopes: tuple[str, ...] = ()

    @property
    def is_spread(self) -> bool:
        """Whether it runs on several devices: then all is one function, so that collectives can be combined."""
        return self.spread is not None and len(self.spread.devices) > 1

    @property
    def is_local(self) -> bool:
        """Whether it runs in this process, on the processor, on values that nobody has placed on several devices."""
        return self.platform == "cpu" and not self.leaves and self.spread is None and self.manual is None

    def text(self) -> str:
        if self.spread is None:
            return "module @pullback {\n" + "\n".join(self.functions) + "\n}\n"
        head = f"attributes {{mhlo.num_partitions = {len(self.spread.devices)} : i32, mhlo.num_replicas = 1 : i32}}"
        return f"module @pullback {head} {{\n{self.spread.header()}" + "\n".join(self.functions) + "\n}\n"

    def unique(self, name: str) -> str:
        name = "".join(c if c.isalnum() or c == "_" else "_" for c in name)
        n = self.names.get(name, 0)
        self.names[name] = n + 1
        return name if n == 0 and name != "main" else f"{name}_{n}"

    def function(self, jaxpr: Jaxpr, name: str) -> str:
        """The name of a private function that computes the jaxpr; each jaxpr is emitted once."""
        known = self.lowered.get(id(jaxpr))
        if known is None:
            known = (self.unique(name), jaxpr)
            self.lowered[id(jaxpr)] = known
            self._emit(jaxpr, known[0])
        return known[0]

    def _emit(self, jaxpr: Jaxpr, name: str) -> None:
        block = Block(self)
        args = [Value(f"%arg{i}", v.aval) for i, v in enumerate(jaxpr.invars)]
        if self.ordered:
            block.order = Value(f"%arg{len(args)}", _ORDER)
        outs = lower_jaxpr(block, jaxpr, args)
        if self.ordered:
            args, outs = [*args, Value(f"%arg{len(args)}", _ORDER)], [*outs, block.order]
        self.add(name, block, args, outs)

    def add(self, name: str, block: Block, args: Sequence[Value], outs: Sequence[Value]) -> None:
        """Add a private function: the operations of the block, between its arguments and results."""
        given, results = ([f"{x.name}: {tensor_type(x.aval)}" for x in args], [tensor_type(x.aval) for x in outs])
        self.write(f"private @{name}({', '.join(given)}) -> ({', '.join(results)})", block, outs)

    def write(self, head: str, block: Block, outs: Sequence[Value]) -> None:
        """Add a function with that head."""
        lines = "\n".join([*block.lines, f"return {_operands(outs)}"])
        self.functions.append(f"func.func {head} {{\n{lines}\n}}")


class Block:
    """A list of operations: the body of a function or of a region. Lowering rules get it as `ctx`.

    `order` is the result of the last call with side effects, which the next one takes, so that they run in order. It is
    None if the module has no such call.
    """

    __slots__ = ("module", "lines", "constants", "counter", "out_avals", "order")

    def __init__(self, module: Module, counter: list[int] | None = None):
        self.module: Module = module
        self.lines: list[str] = []
        self.constants: dict[Any, Value] = {}
        self.counter: list[int] = [0] if counter is None else counter
        self.out_avals: list[ShapedArray] = []
        self.order: Any = None

    def fresh(self) -> str:
        self.counter[0] = n = self.counter[0] + 1
        return f"%{n}"

    def op(
        self, name: str, operands: Sequence[Value], out: AnyValue = None, attrs: str = "", regions: Sequence[str] = ()
    ) -> Any:
        """Emit an operation. `out` is its result type, or a list of them; by default the first operand's.

        Returns the result, or the list of results. `attrs` is the inside an MLIR attribute dictionary.
        """
        many = type(out) is list
        outs = out if many else [operands[0].aval if out is None else out]
        self.counter[0] = n = self.counter[0] + 1
        types = ", ".join([tensor_type(v.aval) for v in operands])
        results = ", ".join([tensor_type(aval) for aval in outs])
        names = ", ".join([v.name for v in operands])
        head = f"%{n}:{len(outs)}" if many else f"%{n}"
        body = f" ({', '.join(regions)})" if regions else ""
        tail = f" {{{attrs}}}" if attrs else ""
        lead = f"{head} = " if outs else ""
        self.lines.append(f'{lead}"{name}"({names}){body}{tail} : ({types}) -> ({results})')
        if many:
            return [Value(f"%{n}#{i}", aval) for i, aval in enumerate(outs)]
        return Value(f"%{n}", outs[0])

    def once(self, name: str, operands: Sequence[Value], out: ShapedArray, attrs: str) -> Value:
        """As `op` with one result; an operation that was emitted in this block before is not emitted again."""
        key = name, attrs, tensor_type(out), *[v.name for v in operands]
        known = self.constants.get(key)
        if known is None:
            self.constants[key] = known = self.op(name, operands, out, attrs)
        return Value(known.name, out)

    def constant(self, value: AnyValue, aval: ShapedArray) -> Value:
        """A constant; a scalar value fills the shape. Equal scalars are emitted once per block."""
        dtype = aval.dtype
        if is_stand_in(dtype):
            value, dtype = False, carrier(aval).dtype
        array = np.asarray(value, dtype)
        key = (array.tobytes(), aval) if array.ndim == 0 else None
        known = self.constants.get(key) if key else None
        if known is None:
            text = dense(array, dtype)
            known = self.op("stablehlo.constant", [], aval, f"value = dense<{text}> : {tensor_type(aval)}")
            if key:
                self.constants[key] = known
        return known

    def full_like(self, x: Value, value: AnyValue) -> Value:
        """A constant of the type of `x`."""
        return self.constant(value, x.aval)

    def convert(self, x: Value, dtype: np.dtype) -> Value:
        """`x` in another dtype."""
        if x.aval.dtype == dtype:
            return x
        return self.op("stablehlo.convert", [x], make_aval(x.aval.shape, dtype))

    def broadcast(self, x: Value, shape: tuple[int, ...], dims: Sequence[int] | None = None) -> Value:
        """`x` repeated to `shape`; `dims` are the positions of its axes, by default the last ones."""
        if x.aval.shape == shape:
            return x
        if dims is None:
            dims = range(len(shape) - x.aval.ndim, len(shape))
        return self.op(
            "stablehlo.broadcast_in_dim",
            [x],
            make_aval(shape, x.aval.dtype),
            f"broadcast_dimensions = {int_array(tuple(dims))}",
        )

    def reshape(self, x: Value, shape: tuple[int, ...]) -> Value:
        """`x` with the same elements in another shape."""
        if x.aval.shape == shape:
            return x
        return self.op("stablehlo.reshape", [x], make_aval(shape, x.aval.dtype))

    def slice(self, x: Value, starts: Sequence[int], limits: Sequence[int], steps: Sequence[int]) -> Value:
        """The part of `x` between positions, every so many-th entry."""
        sizes = [(limit - start + step - 1) // step for start, limit, step in zip(starts, limits, steps, strict=True)]
        attributes = (
            f"limit_indices = {int_array(limits)}, start_indices = {int_array(starts)}, strides = {int_array(steps)}"
        )
        return self.op("stablehlo.slice", [x], make_aval(tuple(sizes), x.aval.dtype), attributes)

    def dynamic_slice(self, x: Value, starts: Sequence[Value], sizes: tuple[int, ...]) -> Value:
        """The part of `x` of these sizes from a place on, or from the last place where there is as much."""
        out = make_aval(sizes, x.aval.dtype)
        return self.op("stablehlo.dynamic_slice", [x, *starts], out, f"slice_sizes = {int_array(sizes)}")

    def pad(
        self,
        x: Value,
        value: Value,
        low: Sequence[int],
        high: Sequence[int],
        interior: Sequence[int],
        out: ShapedArray,
    ) -> Value:
        """`x` with so many entries `value` before, behind and between its own."""
        attributes = (
            f"edge_padding_low = {int_array(low)}, edge_padding_high = {int_array(high)}, "
            f"interior_padding = {int_array(interior)}"
        )
        return self.op("stablehlo.pad", [x, value], out, attributes)

    def gather(self, x: Value, indices: Value, sizes: Sequence[int], out: ShapedArray, attributes: str) -> Value:
        """The windows of `x` of these sizes at indices."""
        return self.op("stablehlo.gather", [x, indices], out, f"{attributes}, slice_sizes = {int_array(sizes)}")

    def vector(self, numbers: Sequence[int], dtype: np.dtype) -> Value:
        """A constant of one axis."""
        return self.constant(numbers, make_aval((len(numbers),), dtype))

    def dimension(self, d: AnyValue) -> Value:
        """A dimension as a number."""
        return self.constant(d, _ORDER)

    def compare(self, direction: str, x: Value, y: Value) -> Value:
        """An elementwise comparison: EQ, NE, LT, LE, GT, GE."""
        return self.op(
            "stablehlo.compare",
            [x, y],
            make_aval(x.aval.shape, np.dtype(bool)),
            f"comparison_direction = #stablehlo<comparison_direction {direction}>",
        )

    def region(
        self,
        avals: Sequence[ShapedArray],
        body: Callable[[Block, list[Value]], Sequence[Value]],
        end: str = "stablehlo.return",
    ) -> str:
        """The text of a region: `body` gets a block and its arguments and returns what the region yields."""
        block = type(self)(self.module, self.counter)
        args = [Value(block.fresh(), aval) for aval in avals]
        outs = body(block, args)
        head = ", ".join(f"{a.name}: {tensor_type(a.aval)}" for a in args)
        types = ", ".join(tensor_type(o.aval) for o in outs)
        names = ", ".join(o.name for o in outs)
        label = f"^bb0({head}):\n" if args else ""
        return "{\n" + label + "\n".join(block.lines) + f'\n"{end}"({names}) : ({types}) -> ()\n}}'

    def call(self, jaxpr: Jaxpr, operands: Sequence[Value], name: str, apart: bool = False) -> list[Value]:
        """A call of the function computing the jaxpr. XLA keeps it a call if it is `apart`, or repeated and large."""
        attributes = f"callee = @{self.module.function(jaxpr, name)}"
        if (apart or id(jaxpr) in self.module.repeated) and not self.module.is_spread:
            attributes += _APART
        if self.order is None:
            return self.op("func.call", operands, list(jaxpr.out_avals), attributes)
        *outs, self.order = self.op("func.call", [*operands, self.order], [*jaxpr.out_avals, _ORDER], attributes)
        return outs

    def apart(self, name: str, x: Value, body: Callable[[Block, Value], Value]) -> Value:
        """What `body` emits for a value, as a function that XLA keeps a call, whose ends are fused with nothing."""
        block, arg = Block(self.module), Value("%arg0", x.aval)
        name, out = self.module.unique(name), body(block, arg)
        self.module.add(name, block, [arg], [out])
        return self.op("func.call", [x], out.aval, f"callee = @{name}{_APART}")

    def loop(
        self,
        state: Sequence[Value],
        test: Callable[[Block, list[Value]], Sequence[Value]],
        step: Callable[[Block, list[Value]], Sequence[Value]],
    ) -> list[Value]:
        """A while loop; `test` and `step` emit the condition and the next state."""
        avals = [x.aval for x in state]
        if self.order is None:
            return self._while(state, avals, test, step)

        def ordered_test(block, args):
            block.order = args[-1]
            return test(block, args[:-1])

        def ordered_step(block, args):
            block.order = args[-1]
            outs = step(block, args[:-1])
            return [*outs, block.order]

        avals = [*avals, _ORDER]
        *outs, self.order = self._while([*state, self.order], avals, ordered_test, ordered_step)
        return outs

    def _while(self, state: Sequence[Value], avals: list[ShapedArray], *parts: Callable[..., Any]) -> list[Value]:
        self.module.loops += 1
        regions = [self.region(avals, part) for part in parts]
        self.module.loops -= 1
        return self.op("stablehlo.while", state, avals, "", regions)

    def choose(
        self, index: Value, out_avals: Sequence[ShapedArray], branches: Sequence[Callable[[Block], Sequence[Value]]]
    ) -> list[Value]:
        """One of several branches by an index; each is a function that emits its results."""
        if self.order is None:
            plain = [self._branch(branch, None) for branch in branches]
            return self.op("stablehlo.case", [index], list(out_avals), "", plain) if out_avals else []
        ordered = [self._branch(branch, self.order) for branch in branches]
        *outs, self.order = self.op("stablehlo.case", [index], [*out_avals, _ORDER], "", ordered)
        return outs

    def _branch(self, branch: Callable[[Block], Sequence[Value]], order: Value | None) -> str:
        def body(block, _):
            block.order = order
            outs = branch(block)
            return outs if order is None else [*outs, block.order]

        return self.region([], body)

    def inline(self, jaxpr: Jaxpr, operands: Sequence[Value]) -> list[Value]:
        """The equations of the jaxpr, emitted in place."""
        around = self.out_avals
        outs = lower_jaxpr(self, jaxpr, operands)
        self.out_avals = around
        return outs


def _operands(values: Sequence[Value]) -> str:
    if not values:
        return ""
    return ", ".join(v.name for v in values) + " : " + ", ".join(tensor_type(v.aval) for v in values)


def _literal(ctx: Block, literal: Any) -> Value:
    return ctx.constant(literal.value, literal.aval.strip_weak_type())


def _name_lines(lines: list[str], start: int, name: str) -> None:
    """Give the operations from a line on a name, which the engine keeps; one with a body ends in its last line."""
    # the engine ends a name at "@"
    text = name.encode("unicode_escape").decode().replace("@", "\\x40").replace("\\", "\\\\").replace('"', '\\"')
    for i in range(start, len(lines)):
        if lines[i].startswith("%") and " loc(" not in lines[i].rpartition("\n")[2]:
            lines[i] += f' loc("{text}")'


def lower_jaxpr(ctx: Block, jaxpr: Jaxpr, args: Sequence[Value]) -> list[Value]:
    """Emit the equations of a jaxpr whose inputs (constants first) are `args`; returns its outputs."""
    env: dict[Var, Value] = dict(zip((*jaxpr.constvars, *jaxpr.invars), args, strict=True))
    for eqn in parts(recomputing(jaxpr) if ctx.module.is_local else jaxpr):
        if isinstance(eqn, Part):
            outs = ctx.call(eqn.jaxpr, [env[v] for v in eqn.invars], "part", apart=True)
            env.update(zip(eqn.outvars, outs, strict=True))
            continue
        operands = [env[v] if type(v) is Var else _literal(ctx, v) for v in eqn.invars]
        primitive = eqn.primitive
        if primitive.lower is None:
            raise RuleNotDefinedError(missing_rule_message(primitive, "lower") + f" It is applied at {eqn.location}.")
        outvars = eqn.outvars
        ctx.out_avals = [v.aval for v in outvars]
        start, outer = len(ctx.lines), ctx.module.scopes
        ctx.module.scopes = names = outer + eqn.scopes
        try:
            out = primitive.lower(ctx, *operands, **eqn.params)
        except InconclusiveDimensionOperation as error:
            raise NotImplementedError(
                f"'{primitive.name}', applied at {eqn.location}, has no form for symbolic dimensions here: {error}"
            ) from None
        ctx.module.scopes = outer
        if names:
            _name_lines(ctx.lines, start, "/".join([*names, primitive.name]))
        if primitive.multiple_results:
            env.update(zip(outvars, out, strict=True))
        else:
            env[outvars[0]] = out
    return [env[v] if type(v) is Var else _literal(ctx, v) for v in jaxpr.outvars]


def lower_module(
    jaxpr: Jaxpr, donated: frozenset[int] = frozenset(), spread: Spread | None = None, platform: str = "cpu"
) -> Module:
    """The module whose `main` computes the jaxpr, its constants first among the inputs; on several devices if `spread`,
    which then knows the platform.

    At the boundary of `main`, values have types that every reader of buffers knows, see `engine.carrier`.
    """
    module = Module()
    module.spread = spread
    module.platform = platform if spread is None else spread.platform
    module.names["main"] = 1
    module.ordered = jaxpr.effectful
    module.repeated = repeated_calls(jaxpr)
    block = Block(module)
    if module.ordered:
        block.order = block.constant(0, _ORDER)
    avals = [v.aval for v in (*jaxpr.constvars, *jaxpr.invars)]
    inputs = [Value(f"%arg{i}", carrier(aval)) for i, aval in enumerate(avals)]
    outs = lower_jaxpr(block, jaxpr, [from_carrier(block, x, aval) for x, aval in zip(inputs, avals, strict=True)])
    emit_main(block, inputs, [to_carrier(block, x) for x in outs], donated)
    return module


def emit_main(block: Block, inputs: Sequence[Value], outs: Sequence[Value], donated: frozenset[int]) -> None:
    """Add the function `main` to the module: the operations of the block, between its inputs and results."""
    module, spread = block.module, block.module.spread
    ins, outs_at = ((None,) * len(inputs), (None,) * len(outs)) if spread is None else (spread.ins, spread.outs)
    signature = ", ".join(
        f"{x.name}: {tensor_type(x.aval)}{_attributes(module, place, x.aval, i in donated)}"
        for i, (x, place) in enumerate(zip(inputs, ins, strict=True))
    )
    results = ", ".join(
        tensor_type(o.aval) + _attributes(module, place, o.aval, False) for o, place in zip(outs, outs_at, strict=True)
    )
    module.write(f"public @main({signature}) -> ({results})", block, outs)


# above the numbers of the exchanges in the programs that modules of parts become parts of
_channels = count(2**20, 2**10)


def module_of_parts(jaxpr: Jaxpr, consts: Sequence[Any], platform: str, manual: Manual) -> str:
    """The text of a module whose `main` computes on parts of arrays, as the function of a `shard_map` does."""
    module = Module()
    module.platform, module.manual, module.channels = platform, manual, next(_channels)
    block = Block(module)
    constants = [block.constant(x.value, x.aval) for x in consts]
    inputs = [Value(f"%arg{i}", v.aval) for i, v in enumerate(jaxpr.invars[len(consts) :])]
    outs = lower_jaxpr(block, jaxpr, [*constants, *inputs])
    if module.callbacks:
        raise NotImplementedError("a function of parts, for custom_partitioning, cannot call the host")
    signature = ", ".join(f"{x.name}: {tensor_type(x.aval)}" for x in inputs)
    results = ", ".join(tensor_type(x.aval) for x in outs)
    module.write(f"public @main({signature}) -> ({results})", block, outs)
    return module.text()


def _attributes(module: Module, place: Sharding | None, aval: ShapedArray, donated: bool) -> str:
    """The attributes of an argument or a result of `main`."""
    found = ["jax.buffer_donor = true"] if donated else []
    if place is not None and module.spread is not None:
        found.append(f"sdy.sharding = {module.spread.attribute(place, aval.ndim)}")
    return f" {{{', '.join(found)}}}" if found else ""


def from_carrier(block: Block, x: Value, aval: ShapedArray) -> Value:
    """A value converted from the type of its carrier to its own."""
    if x.aval is aval or x.aval.dtype == aval.dtype:
        return x
    if is_stand_in(aval.dtype):
        return Value(x.name, aval)
    if is_widened(aval.dtype):
        return block.convert(x, aval.dtype)
    return block.op("stablehlo.bitcast_convert", [x], aval)


def to_carrier(block: Block, x: Value) -> Value:
    """A value converted to the type of its carrier, at the boundary of the program."""
    outside = carrier(x.aval)
    if outside.dtype == x.aval.dtype:
        return x
    if is_stand_in(x.aval.dtype):
        return Value(x.name, outside)
    if is_widened(x.aval.dtype):
        return block.convert(x, outside.dtype)
    return block.op("stablehlo.bitcast_convert", [x], outside)
