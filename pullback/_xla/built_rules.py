"""Lowering rules that build operations from MLIR's Python objects, as rules written for JAX do.

A rule runs on the arguments of a function of its own; its text joins the module, and the equation calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pullback._core.types import ShapedArray
from pullback._core.typing import AnyValue
from pullback._xla import mlir
from pullback._xla.attributes import dense
from pullback._xla.lowering import Block, Value
from pullback._xla.portable import emit_call
from pullback._xla.tensor_types import tensor_type


class NotBuilt(Exception):
    """What a rule returned is no operation of the types that it should have: what is wrong, in words."""


def emit_built(
    ctx: Block,
    rule: Callable[..., Any],
    label: str,
    operands: Sequence[Value],
    out_avals: Sequence[ShapedArray],
) -> list[Value]:
    """Emit a call of a function that `rule(*arguments)` builds; NotBuilt for results of other types.

    MLIR's own errors for operations that cannot be.
    """
    from jaxlib.mlir import ir
    from jaxlib.mlir.dialects import func

    with mlir.context(), ir.Location.unknown():
        module = ir.Module.create()
        wanted = [tensor_type(aval) for aval in out_avals]
        with ir.InsertionPoint(module.body):
            types = [ir.Type.parse(tensor_type(x.aval)) for x in operands]
            main = func.FuncOp("main", (types, [ir.Type.parse(text) for text in wanted]), visibility="public")
            entry = main.add_entry_block()
        with ir.InsertionPoint(entry):
            results = _values(rule(*entry.arguments))
            found = [str(value.type) for value in results]
            if found != wanted:
                raise NotBuilt(f"values of the types {', '.join(wanted)}, got {', '.join(found) or 'none'}")
            func.ReturnOp(results)
        module.operation.verify()
        name = ctx.module.unique(label)
        text = mlir.renamed(module, name)
    return emit_call(ctx, text, f"{name}_main", operands, out_avals, None)


def _values(result: AnyValue) -> list[Any]:
    """The values in what a rule returns: values, operations with results, or sequences of them."""
    from jaxlib.mlir import ir

    if isinstance(result, (list, tuple)):
        return [value for part in result for value in _values(part)]
    if isinstance(result, ir.Value):
        return [result]
    if isinstance(result, (ir.OpView, ir.Operation)):
        return list(result.results)
    raise NotBuilt(f"MLIR's values, got {result!r}")


def constant(value: AnyValue, aval: ShapedArray) -> Any:
    """A constant of that type, a value of MLIR's, in the function of the rule that runs."""
    from jaxlib.mlir import ir
    from jaxlib.mlir.dialects import stablehlo

    return stablehlo.constant(ir.Attribute.parse(f"dense<{dense(value, aval.dtype)}> : {tensor_type(aval)}"))


def __getattr__(name: str) -> Any:
    """MLIR's Python objects that rules build with: `ir`, and the dialects `hlo`, `chlo`, `func`."""
    from jaxlib.mlir import ir
    from jaxlib.mlir.dialects import chlo, func, stablehlo

    try:
        return {"ir": ir, "hlo": stablehlo, "stablehlo": stablehlo, "chlo": chlo, "func": func}[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
