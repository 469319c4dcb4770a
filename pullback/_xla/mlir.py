"""Modules as MLIR's objects: contexts that know the dialects of programs, and StableHLO's portable artifacts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pullback._core.typing import AnyValue


def context() -> Any:
    """A context with the dialects of programs. It keeps all constants that it has read: none is used twice."""
    from jaxlib.mlir import ir
    from jaxlib.mlir._mlir_libs import _jax_mlir_ext
    from jaxlib.mlir.dialects import chlo, sdy, stablehlo

    registry = ir.DialectRegistry()
    _jax_mlir_ext.register_dialects(registry)
    made = ir.Context()
    made.append_dialect_registry(registry)
    made.load_all_available_dialects()
    for dialect in (stablehlo, chlo, sdy):
        dialect.register_dialect(made)
    return made


def parsed(text: str) -> Any:
    """A module's text as an object."""
    from jaxlib.mlir import ir

    return ir.Module.parse(text, context())


def to_artifact(text: str) -> bytes:
    """A module's text as a portable artifact, which engines of the last weeks and of the next years read.

    StableHLO's document "compatibility" promises 5 years backward and 2 forward; the version of four weeks ago is
    written, as JAX does, for readers that are not updated at once.
    """
    from jaxlib import _jax
    from jaxlib.mlir.dialects import stablehlo

    version = stablehlo.get_version_from_compatibility_requirement(stablehlo.StablehloCompatibilityRequirement.WEEK_4)
    # with the partitioner's dialect as it is, which StableHLO's own format has no place for
    return _jax.mlir.serialize_portable_artifact(parsed(text), version, True)


def of_artifact(artifact: bytes) -> Any:
    """The module of a portable artifact, as an object. ValueError for what is none, or is too new."""
    from jaxlib import _jax

    try:
        return _jax.mlir.deserialize_portable_artifact(artifact, context())
    except Exception as error:  # the engine's own classes, which differ among versions
        raise ValueError(f"no portable artifact of StableHLO that this jaxlib reads: {error}") from None


def operations(module: AnyValue) -> Iterator[Any]:
    """All operations of a module, inner ones after those that hold them."""
    waiting = [module.operation]
    while waiting:
        op = waiting.pop()
        yield op
        for region in op.regions:
            for block in region:
                waiting += [inner.operation for inner in block]


def custom_call_targets(module: AnyValue) -> set[str]:
    """The functions outside of the module that it calls."""
    from jaxlib.mlir import ir

    return {
        ir.StringAttr(op.attributes["call_target_name"]).value
        for op in operations(module)
        if op.name == "stablehlo.custom_call"
    }


def types_of_main(module: AnyValue) -> list[list[str]] | None:
    """The types of the arguments and the results of `main`; None if there is no such function."""
    from jaxlib.mlir import ir

    with module.context:
        for op in module.body.operations:
            if op.operation.name == "func.func" and ir.StringAttr(op.attributes["sym_name"]).value == "main":
                kind = ir.FunctionType(ir.TypeAttr(op.attributes["function_type"]).value)
                return [[str(t) for t in kind.inputs], [str(t) for t in kind.results]]
    return None


def renamed(module: AnyValue, prefix: str) -> str:
    """The declarations of a module as text, private and under names that begin with `prefix`."""
    from jaxlib.mlir import ir

    with module.context:
        body = list(module.body.operations)
        for op in body:
            name = ir.StringAttr(op.attributes["sym_name"]).value
            new = f"{prefix}_{name}"
            ir.SymbolTable.replace_all_symbol_uses(name, new, module.operation)
            ir.SymbolTable.set_symbol_name(op, new)
            if op.operation.name == "func.func":
                ir.SymbolTable.set_visibility(op, "private")
        return "\n".join(op.operation.get_asm(print_generic_op_form=True) for op in body)
