"""Programs whose sizes are known when they are called: StableHLO's dynamic operations, and how they become static."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback._core.dimension_values import Step, variables
from pullback._core.dimensions import Dimension
from pullback._core.errors import InconclusiveDimensionOperation
from pullback._core.jaxpr import Jaxpr
from pullback._core.types import ShapedArray, make_aval
from pullback._core.typing import AnyValue
from pullback._xla import mlir
from pullback._xla.lowering import Block, Module, Value
from pullback._xla.tensor_types import tensor_type

_NUMBER = make_aval((), np.dtype(np.int32))
_FLAG = make_aval((), np.dtype(bool))
# operations that take the shape of the result as an operand in their dynamic form
_OF_SHAPE = {
    "stablehlo.broadcast_in_dim": "stablehlo.dynamic_broadcast_in_dim",
    "stablehlo.reshape": "stablehlo.dynamic_reshape",
    "stablehlo.iota": "stablehlo.dynamic_iota",
}
_ARITHMETIC = {"max": "stablehlo.maximum", "min": "stablehlo.minimum"}


def is_symbolic(shape: Sequence[Any]) -> bool:
    """Whether a shape has variables."""
    return any(isinstance(d, Dimension) for d in shape)


class SymbolicBlock(Block):
    """A block in whose types sizes may be symbolic: `module.variables` are the values of the variables."""

    __slots__ = ()
    module: SymbolicModule

    def op(
        self, name: str, operands: Sequence[Value], out: AnyValue = None, attrs: str = "", regions: Sequence[str] = ()
    ) -> Any:
        dynamic = _OF_SHAPE.get(name)
        if dynamic is not None and is_symbolic(out.shape):
            return super().op(dynamic, [*operands, self.shape(out.shape)], out, attrs, regions)
        if name == "stablehlo.custom_call" and any(is_symbolic(a.shape) for a in (out if type(out) is list else [out])):
            raise InconclusiveDimensionOperation(
                "a function outside of the program is called with sizes that are numbers"
            )
        return super().op(name, operands, out, attrs, regions)

    def constant(self, value: AnyValue, aval: ShapedArray) -> Value:
        if isinstance(value, Dimension):
            return self.broadcast(self.convert(self.dimension(value), aval.dtype), aval.shape, ())
        if not is_symbolic(aval.shape):
            return super().constant(value, aval)
        return self.broadcast(super().constant(value, make_aval((), aval.dtype)), aval.shape, ())

    def slice(self, x: Value, starts: Sequence[int], limits: Sequence[int], steps: Sequence[int]) -> Value:
        if not any(map(is_symbolic, (starts, limits, steps))):
            return super().slice(x, starts, limits, steps)
        sizes = [(limit - start + step - 1) // step for start, limit, step in zip(starts, limits, steps, strict=True)]
        where = [self.shape(part) for part in (starts, limits, steps)]
        return super().op("stablehlo.real_dynamic_slice", [x, *where], make_aval(tuple(sizes), x.aval.dtype))

    def dynamic_slice(self, x: Value, starts: Sequence[Value], sizes: tuple[int, ...]) -> Value:
        if not is_symbolic(sizes):
            return super().dynamic_slice(x, starts, sizes)
        last = [self.dimension(n - size) for n, size in zip(x.aval.shape, sizes, strict=True)]
        zero = super().constant(0, _NUMBER)
        first = self._vector(
            [
                self._number("stablehlo.clamp", zero, self.convert(start, _NUMBER.dtype), end)
                for start, end in zip(starts, last, strict=True)
            ]
        )
        limits = super().op("stablehlo.add", [first, self.shape(sizes)])
        steps = self.shape((1,) * len(sizes))
        return super().op("stablehlo.real_dynamic_slice", [x, first, limits, steps], make_aval(sizes, x.aval.dtype))

    def pad(
        self,
        x: Value,
        value: Value,
        low: Sequence[int],
        high: Sequence[int],
        interior: Sequence[int],
        out: ShapedArray,
    ) -> Value:
        if not any(map(is_symbolic, (low, high, interior))):
            return super().pad(x, value, low, high, interior, out)
        amounts = [self.shape(part) for part in (low, high, interior)]
        return super().op("stablehlo.dynamic_pad", [x, value, *amounts], out)

    def gather(self, x: Value, indices: Value, sizes: Sequence[int], out: ShapedArray, attributes: str) -> Value:
        if not is_symbolic(sizes):
            return super().gather(x, indices, sizes, out, attributes)
        return super().op("stablehlo.dynamic_gather", [x, indices, self.shape(sizes)], out, attributes)

    def call(self, jaxpr: Jaxpr, operands: Sequence[Value], name: str, apart: bool = False) -> list[Value]:
        # sizes are made static within one function
        return self.inline(jaxpr, operands)

    # --- sizes as values ---

    def vector(self, numbers: Sequence[int], dtype: np.dtype) -> Value:
        return self.convert(self.shape(numbers), dtype) if is_symbolic(numbers) else super().vector(numbers, dtype)

    def shape(self, shape: Sequence[Any]) -> Value:
        """A shape as a vector of numbers."""
        return self._vector([self.dimension(d) for d in shape])

    def _vector(self, numbers: Sequence[Value]) -> Value:
        parts = [self.reshape(x, (1,)) for x in numbers]
        return super().op(
            "stablehlo.concatenate", parts, make_aval((len(parts),), _NUMBER.dtype), "dimension = 0 : i64"
        )

    def dimension(self, d: AnyValue) -> Value:
        if not isinstance(d, Dimension):
            return super().constant(d, _NUMBER)
        total: Value | None = None
        for product, factor in d.terms.items():
            part = super().constant(factor, _NUMBER)
            for atom, power in product:
                for _ in range(power):
                    part = self._number("stablehlo.multiply", part, self._atom(atom))
            total = part if total is None else self._number("stablehlo.add", total, part)
        assert total is not None, "a dimension has terms"
        return total

    def _number(self, name: str, *operands: Value) -> Value:
        return super().op(name, operands, _NUMBER)

    def _atom(self, atom: AnyValue) -> Value:
        if atom.kind == "var":
            return self.module.variables[atom.args[0]]
        a, b = map(self.dimension, atom.args)
        if atom.kind in _ARITHMETIC:
            return self._number(_ARITHMETIC[atom.kind], a, b)
        quotient = self.floor_divided(a, b)
        if atom.kind == "floordiv":
            return quotient
        return self._number("stablehlo.subtract", a, self._number("stablehlo.multiply", quotient, b))

    def floor_divided(self, a: Value, b: Value) -> Value:
        """The quotient of numbers, rounded down: the engine's is rounded towards zero."""
        quotient, rest = self._number("stablehlo.divide", a, b), self._number("stablehlo.remainder", a, b)
        # by operations that the engine evaluates while it makes sizes static
        signs = self.compare("LT", self._number("stablehlo.multiply", rest, b), super().constant(0, _NUMBER))
        below = self._number("stablehlo.subtract", quotient, super().constant(1, _NUMBER))
        return self._number("stablehlo.select", signs, below, quotient)

    def check(self, direction: str, a: Value, b: Value, message: str) -> None:
        """Have the program refuse sizes, with a message."""
        flag = self.compare(direction, a, b)
        quoted = "".join(c if c.isalnum() or c in " _.,:=<>()*+-" else " " for c in message)
        self.lines.append(
            f'"stablehlo.custom_call"({flag.name}, {a.name}) {{call_target_name = "shape_assertion", '
            f'has_side_effect = true, api_version = 2 : i32, error_message = "{quoted}, got {{0}}"}} : '
            "(tensor<i1>, tensor<i32>) -> ()"
        )


class SymbolicModule(Module):
    """A module whose sizes follow from those of its arguments."""

    def __init__(self):
        super().__init__()
        self.variables: dict[str, Value] = {}

    def read_variables(self, block: SymbolicBlock, inputs: Sequence[Value], steps: Sequence[Step]) -> None:
        """Emit the values of the variables, and the checks of them."""
        one = block.constant(1, _NUMBER)
        for name, i, axis, rest, factor in steps:
            found = block.op("stablehlo.get_dimension_size", [inputs[i]], _NUMBER, f"dimension = {axis} : i64")
            if rest != 0:
                found = block.op("stablehlo.subtract", [found, block.dimension(rest)], _NUMBER)
            if factor != 1:
                whole, by = found, block.constant(factor, _NUMBER)
                found = block.floor_divided(whole, by)
                back = block.op("stablehlo.multiply", [found, by], _NUMBER)
                block.check("EQ", whole, back, f"a size must be a multiple of {factor} for the variable {name}")
            self.variables[name] = found
            block.check("GE", found, one, f"the variable {name} of the shapes must be at least 1")
        for x in inputs:
            for axis, d in enumerate(x.aval.shape):
                if isinstance(d, Dimension):
                    size = block.op("stablehlo.get_dimension_size", [x], _NUMBER, f"dimension = {axis} : i64")
                    block.check("EQ", size, block.dimension(d), f"the size of an axis must be {d}")
        dims: list[Any] = [d for x in inputs for d in x.aval.shape if isinstance(d, Dimension)]
        for fact in dims[0].scope.positive:
            if not set(variables(fact)) <= set(self.variables):
                continue
            block.check("GE", block.dimension(fact), block.constant(0, _NUMBER), f"the sizes must have {fact} >= 0")


def static_artifact(
    artifact: bytes, in_avals: Sequence[ShapedArray], out_avals: Sequence[ShapedArray], one_of_several: bool
) -> bytes:
    """The artifact of a module with symbolic sizes at static ones. ValueError for sizes that it refuses."""
    from jaxlib import _jax
    from jaxlib.mlir import ir

    module = mlir.of_artifact(artifact)
    types = mlir.types_of_main(module)
    static = [[tensor_type(aval) for aval in avals] for avals in ([_NUMBER] * one_of_several + [*in_avals], out_avals)]
    if types is None or list(map(len, types)) != list(map(len, static)):
        raise ValueError(f"its function 'main' has the types {types}, but the file says {static}")
    lines: list[str] = []
    args = _converted(lines, [f"%arg{i}" for i in range(len(static[0]))], static[0], types[0], "in")
    results = [f"%call#{i}" for i in range(len(types[1]))]
    head = f"%call:{len(results)} = " if results else ""
    lines.append(
        f'{head}"func.call"({", ".join(args)}) {{callee = @symbolic_main}} : ({", ".join(types[0])}) -> '
        f"({', '.join(types[1])})"
    )
    outs = _converted(lines, results, types[1], static[1], "out")
    signature = ", ".join(f"%arg{i}: {t}" for i, t in enumerate(static[0]))
    tail = f" {', '.join(outs)} : {', '.join(static[1])}" if outs else ""
    text = (
        f"module @exported {{\n{mlir.renamed(module, 'symbolic')}\nfunc.func public @main({signature}) -> "
        f"({', '.join(static[1])}) {{\n" + "\n".join(lines) + f"\nreturn{tail}\n}}\n}}"
    )
    try:
        found = _jax.mlir.refine_polymorphic_shapes(text.encode(), True, True)
    except Exception as error:  # the engine's own classes, which differ among versions
        raise ValueError(f"the sizes do not fit the program: {error}") from None
    return mlir.to_artifact(str(ir.Module.parse(found, mlir.context())))


def _converted(
    lines: list[str], names: Sequence[str], types: Sequence[str], wanted: Sequence[str], prefix: str
) -> list[str]:
    """Values between static and dynamic types."""
    out = []
    for i, (name, kind, want) in enumerate(zip(names, types, wanted, strict=True)):
        if kind != want:
            lines.append(f'%{prefix}{i} = "stablehlo.convert"({name}) : ({kind}) -> {want}')
            name = f"%{prefix}{i}"
        out.append(name)
    return out
