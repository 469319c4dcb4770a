"""Linearization: primals are evaluated immediately, and operations on tangents are recorded on a tape.

The tape holds linear operations only, in order. Run forwards it is the derivative as a linear map (`linearize`);
traversed backwards, by transpose rules, it is reverse mode (`vjp`). Both are loops: a long chain needs no recursion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pullback._analysis.dependence import dependent_results
from pullback._core import collector
from pullback._core.array import ConcreteArray, lift
from pullback._core.collector import STEP
from pullback._core.config import config, nans_were_debugged
from pullback._core.origins import Origin, origin_here
from pullback._core.primitive import OTHER, HigherOrder, Primitive
from pullback._core.trace import LinearTracer, Trace, Tracer, call_with, context
from pullback._core.types import ShapedArray, is_trivial
from pullback._core.typing import AnyValue
from pullback._core.zeros import Zero, zero_of
from pullback._ops.elementwise import add_p, mul_p
from pullback._ops.shape import zeros_like_aval
from pullback._xla.evaluate import evaluator

_new = object.__new__
_NO_PARAMS: dict[str, Any] = {}


class Node(LinearTracer):
    """A tangent without a value: a linear function of the tape's inputs. `_index` counts the tape's nodes.

    `_primitive` is the operation that produced it, None for an input.
    """

    __slots__ = ("_index", "_primitive")
    _index: int
    _primitive: Primitive | None

    def __init__(self, tape: Tape, aval: ShapedArray, primitive: Primitive | None = None):
        self._trace = tape
        self.aval = aval
        self._primitive = primitive
        self._index = tape.size
        tape.size += 1

    def _origin(self) -> str:
        return f"its derivative was recorded by '{self._primitive.name}'" if self._primitive else "it is an argument"


class Record:
    """One linear operation: the primitive, its operands, of which some are nodes, and the nodes it produced."""

    __slots__ = ("primitive", "inputs", "params", "outputs")
    primitive: Primitive
    inputs: Sequence[Any]
    params: dict[str, Any]
    outputs: Sequence[Node]

    def __init__(self, primitive: Primitive, inputs: Sequence[Any], params: dict[str, Any], outputs: Sequence[Node]):
        self.primitive = primitive
        self.inputs = inputs
        self.params = params
        self.outputs = outputs


class Tape(Trace):
    """Records operations on nodes; all else passes to the parent.

    Nodes refer to their tape. Its records are handed over at the end, so that no cycle keeps the residuals alive.
    """

    __slots__ = ("records", "size", "subject", "untransposable")
    size: int
    subject: str

    def __init__(self, parent: Trace | None, subject: str = "linearize"):
        self.parent = parent  # inlines Trace.__init__
        self.alive = True
        self.transparent = parent is None or parent.transparent
        self.records: list[Record] = []
        self.size = 0
        self.subject = subject
        self.untransposable: dict[int, Origin] = {}

    def describe(self) -> str:
        return self.subject

    def finish(self) -> list[Record]:
        """End the recording; returns the records."""
        self.alive = False
        records, self.records = self.records, []
        return records

    def place(self, record: Record) -> Origin | None:
        """The origin of an operation, if the tape has recorded it."""
        return None

    def node(self, aval: ShapedArray) -> Node:
        return Node(self, aval)

    def process_primitive(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        for a in args:
            if type(a) is Node and a._trace is self:
                break
        else:
            parent = self.parent
            # neither a kernel nor what only records depends on the current trace
            if (
                primitive.kernel is not None
                if parent is evaluator
                else parent.only_records and type(primitive) is Primitive
            ):
                return parent.process_primitive(primitive, args, params)
            return call_with(parent, parent.process_primitive, primitive, args, params)
        if type(primitive) is HigherOrder:
            rule = primitive.record
            return self.record_part(primitive, args, params) if rule is None else rule(self, args, params)
        return self.record(primitive, args, params)

    def record(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Append an operation; returns its node, or the list of them."""
        for a in args:
            if type(a) is not ConcreteArray and type(a) is not Node and not isinstance(a, Tracer):
                args = [lift(a) for a in args]
                break
        avals = (args[0].aval, args[1].aval) if len(args) == 2 else tuple([a.aval for a in args])
        out = primitive.infer(avals, params)
        if primitive.multiple_results:
            return self.append(primitive, args, params, out)
        node = self.append_one(primitive, args, params, out)
        if primitive.transpose is None or (
            primitive.traits.bilinear and type(args[0]) is Node and type(args[1]) is Node
        ):
            self.check_linear(self.records[-1])
        return node

    def append_one(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any], aval: ShapedArray) -> Node:
        """Append an operation with one result, of a known type; without calls of constructors."""
        node = _new(Node)
        node._trace = self
        node.aval = aval
        node._primitive = primitive
        node._index = self.size
        self.size += 1
        record = _new(Record)
        record.primitive = primitive
        record.inputs = args
        record.params = params
        record.outputs = (node,)
        self.records.append(record)
        if not self.size % STEP:
            collector.longer(self, self.size)
        return node

    def scaled(self, node: Node, factor: Any) -> Node:
        """The product of a node and an array of its shape, or a number."""
        aval = node.aval
        if factor.aval is not aval:
            aval = mul_p.infer((aval, factor.aval), _NO_PARAMS)
        return self.append_one(mul_p, (node, factor), _NO_PARAMS, aval)

    def append(
        self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any], avals: Sequence[ShapedArray]
    ) -> list[Node]:
        """Append an operation with many results of known types."""
        nodes = [Node(self, aval, primitive) for aval in avals]
        records = self.records
        records.append(Record(primitive, args, params, nodes))
        if not len(records) % STEP:
            collector.longer(self, len(records))
        return nodes

    def check_linear(self, record: Record) -> None:
        """Refuse a product of nodes, and remember the origin of an operation that cannot be transposed."""
        primitive = record.primitive
        if primitive.transpose is None:
            self.untransposable[id(record)] = origin_here()
        elif sum([type(a) is Node and a._trace is self for a in record.inputs]) > 1:
            error = TypeError(
                f"'{primitive.name}' multiplies two tangents: the tangent output of a custom jvp rule "
                "(or the function given to linear_transpose) must be linear in its tangent inputs, so "
                "that it can be transposed"
            )
            error.origin = origin = origin_here()  # type: ignore[attr-defined]
            error.nonlinear_on = self  # type: ignore[attr-defined]
            for line in origin.lines():
                error.add_note(line)
            raise error

    def name_rule(self, records: Sequence[Record], label: Callable[[], str]) -> None:
        """Attach the label of a custom rule to the operations that cannot be transposed."""
        for record in records:
            origin = self.untransposable.get(id(record))
            if origin is not None and origin.rule is None:
                origin.rule = label()

    def record_part(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> list[Any]:
        """Append an operation, some of whose results depend on no node: these are computed immediately."""
        marked = tuple([type(a) is Node and a._trace is self for a in args])
        nodes = self.record(primitive, args, params)
        depends = dependent_results(primitive, marked, params, len(nodes))
        if all(depends):
            return nodes
        # these results are the same for any values of the nodes
        values = [zeros_like_aval(a.aval) if m else a for a, m in zip(args, marked, strict=True)]
        outs = call_with(self.parent, primitive.bind, *values, **params)
        return [node if d else out for node, out, d in zip(nodes, outs, depends, strict=True)]


class LocatedTape(Tape):
    """A tape that records the origins of its operations, for the backward pass."""

    __slots__ = ("places",)

    def __init__(self, parent: Trace | None, subject: str = "linearize"):
        super().__init__(parent, subject)
        self.places: dict[int, Origin] = {}

    def place(self, record):
        return self.places[id(record)]

    def append_one(self, primitive, args, params, aval):
        node = super().append_one(primitive, args, params, aval)
        self.places[id(self.records[-1])] = origin_here()
        return node

    def append(self, primitive, args, params, avals):
        nodes = super().append(primitive, args, params, avals)
        self.places[id(self.records[-1])] = origin_here()
        return nodes


def new_tape(parent: Trace | None, subject: str) -> Tape:
    """A tape for the transformation that begins now, with origins if they are tracked."""
    if nans_were_debugged[0] and config.debugging:
        return LocatedTape(parent, subject)
    return Tape(parent, subject)


class LinearizedTracer(Tracer):
    """A primal value with its tangent on the tape."""

    __slots__ = ("_primal", "_tangent")

    def __init__(self, trace: LinearizeTrace, primal: AnyValue, tangent: Node):
        self._trace = trace
        self.aval = primal.aval
        self._primal = primal
        self._tangent = tangent

    def _origin(self) -> str:
        return self._tangent._origin()

    def _known(self) -> ConcreteArray | None:
        return self._primal if type(self._primal) is ConcreteArray else self._primal._known()

    def _outer(self) -> Any:
        return self._primal

    def _constant(self) -> bool:
        return False


class LinearizeTrace(Trace):
    """Runs jvp rules with primals in the parent and tangents on the tape."""

    __slots__ = ("tape", "subject")

    def __init__(self, parent: Trace | None, subject: str = "linearize"):
        self.tape = new_tape(parent, subject)
        self.parent = parent  # inlines Trace.__init__
        self.alive = True
        self.transparent = self.tape.transparent
        self.subject = subject

    def describe(self) -> str:
        return self.subject

    def join(self, primal: AnyValue, tangent: AnyValue) -> Any:
        return primal if type(tangent) is Zero else self.joined(primal, tangent)

    def split(self, outs: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """The primals and the tangents of results."""
        primals: list[Any] = []
        tangents: list[Any] = []
        for out in outs:
            if type(out) is LinearizedTracer and out._trace is self:
                primals.append(out._primal)
                tangents.append(out._tangent)
            else:
                out = lift(out)
                primals.append(out)
                tangents.append(zero_of(out.aval))
        return primals, tangents

    def process_primitive(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        factor = primitive.factor
        if factor is not None and factor is not OTHER:
            (a,) = args
            if type(a) is LinearizedTracer and a._trace is self:
                return self.scale(primitive, a, params)
        primals: list[Any] = []
        tangents: list[Any] = []
        active = False
        for a in args:
            if type(a) is LinearizedTracer and a._trace is self:
                primals.append(a._primal)
                tangents.append(a._tangent)
                active = True
            else:
                if type(a) is not ConcreteArray and not isinstance(a, Tracer):
                    a = lift(a)
                primals.append(a)
                tangents.append(zero_of(a.aval))
        outer = context.trace
        if not active:
            parent = self.parent
            if (
                primitive.kernel is not None
                if parent is evaluator
                else parent.only_records and type(primitive) is Primitive
            ):
                return parent.process_primitive(primitive, args, params)
            return call_with(parent, parent.process_primitive, primitive, args, params)
        if factor is OTHER:
            return self.multiply(primitive, primals, tangents, params)
        context.trace = self.tape
        try:
            if type(primitive) is HigherOrder and primitive.linearize is not None:
                primal_out, tangent_out = primitive.linearize(self, primals, tangents, **params)
            else:
                primal_out, tangent_out = (primitive.jvp or primitive.rule("jvp"))(primals, tangents, **params)
        finally:
            context.trace = outer
        if primitive.multiple_results:
            return [self.join(p, t) for p, t in zip(primal_out, tangent_out, strict=True)]
        return self.join(primal_out, tangent_out)

    def scale(self, primitive: Primitive, a: LinearizedTracer, params: dict[str, Any]) -> LinearizedTracer:
        """Apply a function of one operand whose derivative is known as a factor, which the parent evaluates."""
        x, parent, outer = a._primal, self.parent, context.trace
        context.trace = parent
        try:
            y = parent.process_primitive(primitive, (x,), params)
            factor = primitive.factor(x, y, **params)
        finally:
            context.trace = outer
        return self.joined(y, self.tape.scaled(a._tangent, factor))

    def multiply(
        self, primitive: Primitive, primals: list[Any], tangents: list[Any], params: dict[str, Any]
    ) -> LinearizedTracer:
        """Apply an operation that is linear in each of two operands."""
        (x, y), (t, u), parent, outer = primals, tangents, self.parent, context.trace
        context.trace = parent
        try:
            z = parent.process_primitive(primitive, primals, params)
        finally:
            context.trace = outer
        record = self.tape.record
        if type(u) is Zero:
            return self.joined(z, record(primitive, (t, y), params))
        tangent = record(primitive, (x, u), params)
        if type(t) is not Zero:
            tangent = record(add_p, (record(primitive, (t, y), params), tangent), _NO_PARAMS)
        return self.joined(z, tangent)

    def joined(self, primal: Any, tangent: Node) -> LinearizedTracer:
        """The tracer of a result, without a call of its constructor."""
        out = _new(LinearizedTracer)
        out._trace = self
        out.aval = primal.aval
        out._primal = primal
        out._tangent = tangent
        return out


class Linearized:
    """The derivative of a function at a point: the records of a tape, its input nodes, and the output tangents.

    `outputs` holds a node, a symbolic zero, or a value for each result of the function.
    """

    __slots__ = ("tape", "records", "inputs", "outputs")
    tape: Tape
    records: list[Record]
    inputs: Sequence[Node | None]
    outputs: Sequence[Any]

    def __init__(self, tape: Tape, records: list[Record], inputs: Sequence[Node | None], outputs: Sequence[Any]):
        self.tape = tape
        self.records = records
        self.inputs = inputs
        self.outputs = outputs

    def push(self, tangents: Sequence[Any]) -> list[Any]:
        """Apply the linear map: the tape run forwards, under the current transformation."""
        values: list[Any] = [None] * self.tape.size
        for node, t in zip(self.inputs, tangents, strict=True):
            if node is not None:
                values[node._index] = t
        tape = self.tape
        for record in self.records:
            operands = [values[a._index] if type(a) is Node and a._trace is tape else a for a in record.inputs]
            out = record.primitive.bind(*operands, **record.params)
            if record.primitive.multiple_results:
                for node, value in zip(record.outputs, out, strict=True):
                    values[node._index] = value
            else:
                values[record.outputs[0]._index] = out
        return [values[t._index] if type(t) is Node and t._trace is tape else t for t in self.outputs]

    def needed(self, outputs: Sequence[Any] | None = None, narrow: bool = False) -> list[tuple[Record, Origin | None]]:
        """The operations that the outputs depend on, in order, each with its origin, if the tape has recorded it.

        `outputs` are by default those of the map. With `narrow`, operations drop operands that they do not need.
        """
        tape = self.tape
        live = {
            t._index for t in (self.outputs if outputs is None else outputs) if type(t) is Node and t._trace is tape
        }
        kept = []
        for record in reversed(self.records):
            for node in record.outputs:
                if node._index in live:
                    break
            else:
                continue
            place, primitive = tape.place(record), record.primitive
            if narrow and type(primitive) is HigherOrder and primitive.narrow is not None:
                record = primitive.narrow(record)
            kept.append((record, place))
            live.update([a._index for a in record.inputs if type(a) is Node and a._trace is tape])
        kept.reverse()
        return kept


def linearize_flat(
    fun: Callable[..., Sequence[Any]],
    primals: Sequence[Any],
    active: Sequence[bool] | None = None,
    subject: str = "linearize",
) -> tuple[list[Any], Linearized]:
    """Evaluate a flat function and record its derivative with respect to the active inputs.

    Inputs without a tangent space (integers) are always inactive.
    """
    trace = LinearizeTrace(context.trace, subject)
    tape = trace.tape
    inputs: list[Node | None] = []
    args: list[Any] = []
    for i, p in enumerate(primals):
        if type(p) is not ConcreteArray:
            p = lift(p)
        tangent_aval = p.aval.to_tangent_aval()
        # the tangent type of an array that has a derivative is its own
        if (active is None or active[i]) and (
            tangent_aval is p.aval or (type(p.aval) is not ShapedArray and not is_trivial(tangent_aval))
        ):
            node = Node(tape, tangent_aval)
            inputs.append(node)
            args.append(trace.joined(p, node))
        else:
            inputs.append(None)
            args.append(p)
    try:
        outs = call_with(trace, fun, *args)
    finally:
        trace.alive = False
        records = tape.finish()
    primals_out, tangents_out = trace.split(outs)
    return primals_out, Linearized(tape, records, inputs, tangents_out)
