"""Modules that leave this process: a jaxpr as one, and calls of those that came from elsewhere.

Unlike the programs that run here, `main` takes and returns values of their own types, and a module for several
platforms takes as its first argument the number of the one that it runs on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pullback._core.dimension_values import steps_to_solve
from pullback._core.jaxpr import Jaxpr
from pullback._core.types import ShapedArray, make_aval
from pullback._core.typing import AnyValue
from pullback._xla import foreign, lapack, mlir
from pullback._xla.lowering import Block, Module, Value, emit_main, lower_jaxpr
from pullback._xla.outlining import repeated_calls
from pullback._xla.spread import Spread
from pullback._xla.symbolic import SymbolicBlock, SymbolicModule
from pullback._xla.tensor_types import tensor_type

_INDEX = make_aval((), np.dtype(np.int32))
# functions of the engine and of jaxlib whose names and meanings are kept, by how they begin: of linear algebra on each
# platform, of the partitioner, and of XLA itself
_KEPT = ("lapack_", "cusolver_", "cusparse_", "cu_", "hipsolver_", "hip_")
_KEPT_NAMES = frozenset(
    "Sharding SPMDFullToShardShape SPMDShardToFullShape LayoutConstraint annotate_device_placement Eigh Qr "
    "ProductOfElementaryHouseholderReflectors LuDecomposition ApproxTopK shape_assertion".split()
)


def lower_portable(jaxpr: Jaxpr, platforms: Sequence[str], spread: Spread | None = None) -> str:
    """The text of the module of a jaxpr without constants; `spread` has a place for the number of the platform too.

    NotImplementedError for calls of Python functions, and for operations that one of the platforms has no way for.
    """
    modules = [_module(jaxpr, platform, len(platforms) > 1, spread) for platform in platforms]
    texts = [module.text() for module in modules]
    if len(set(texts)) == 1:
        return texts[0]
    # what differs among platforms is a function for each, and `main` chooses
    names = [f"on_{platform}" for platform in platforms]
    whole = Module()
    whole.spread = spread
    whole.functions = [mlir.renamed(mlir.parsed(text), name) for text, name in zip(texts, names, strict=True)]
    block = Block(whole)
    inputs = [Value("%arg0", _INDEX), *(Value(f"%arg{i + 1}", v.aval) for i, v in enumerate(jaxpr.invars))]
    out_avals = [aval.strip_weak_type() for aval in jaxpr.out_avals]

    def branch(name: str) -> Callable[[Block], list[Value]]:
        return lambda ctx: ctx.op("func.call", inputs, out_avals, f"callee = @{name}_main")

    outs = block.choose(inputs[0], out_avals, [branch(name) for name in names])
    emit_main(block, inputs, outs, frozenset())
    return whole.text()


def _module(jaxpr: Jaxpr, platform: str, one_of_several: bool, spread: Spread | None) -> Module:
    steps = steps_to_solve([aval.shape for aval in jaxpr.in_avals])
    module = SymbolicModule() if steps else Module()
    module.spread, module.platform, module.leaves = spread, platform, True
    module.names["main"] = 1
    block = SymbolicBlock(module) if steps else Block(module)
    first = int(one_of_several)
    inputs = [Value(f"%arg{i + first}", v.aval) for i, v in enumerate(jaxpr.invars)]
    if isinstance(module, SymbolicModule) and isinstance(block, SymbolicBlock):
        module.read_variables(block, inputs, steps)
    else:
        module.repeated = repeated_calls(jaxpr)
    outs = lower_jaxpr(block, jaxpr, inputs)
    if module.callbacks:
        raise NotImplementedError("it calls Python functions, which stay in this process")
    emit_main(block, [Value("%arg0", _INDEX)] * first + inputs, outs, frozenset())
    return module


def unkept_targets(module: AnyValue, also: Sequence[str] = ()) -> list[str]:
    """The functions outside of the module that it calls and that nobody promises to keep; `also` are allowed."""
    return sorted(
        target
        for target in mlir.custom_call_targets(module)
        if not target.startswith(_KEPT) and target not in _KEPT_NAMES and target not in also
    )


def loaded(
    artifact: bytes,
    prefix: str,
    in_avals: Sequence[ShapedArray],
    out_avals: Sequence[ShapedArray],
    one_of_several: bool,
) -> str:
    """The functions of an artifact as text that can stand in other modules, `main` as `{prefix}_main`.

    ValueError for what is no artifact, has no `main` of these types, or calls functions that are neither promised to be
    kept nor registered here.
    """
    module = mlir.of_artifact(artifact)
    types = [[tensor_type(aval) for aval in avals] for avals in ([_INDEX] * one_of_several + [*in_avals], out_avals)]
    found = mlir.types_of_main(module)
    if found != types:
        raise ValueError(f"its function 'main' has the types {found}, but the file says {types}")
    targets = mlir.custom_call_targets(module)
    unknown = unkept_targets(module, tuple(foreign.registered))
    if unknown:
        raise ValueError(
            f"it calls {', '.join(unknown)}, outside of the module: register such a function by "
            "ffi.register_ffi_target before, if it is yours"
        )
    if any(target.startswith("lapack_") for target in targets):
        lapack.register()
    return mlir.renamed(module, prefix)


def emit_call(
    ctx: Block,
    functions: str,
    name: str,
    operands: Sequence[Value],
    out_avals: Sequence[ShapedArray],
    platform: int | None,
) -> list[Value]:
    """Emit a call of the function `name`, one of `functions`, which are added to the module, on its platform."""
    if functions not in ctx.module.functions:
        ctx.module.functions.append(functions)
    given = [*operands] if platform is None else [ctx.constant(platform, _INDEX), *operands]
    return ctx.op("func.call", given, [aval.strip_weak_type() for aval in out_avals], f"callee = @{name}")
