"""Calls of exported functions as a primitive: the module runs, its program is differentiated and batched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from pullback._core.array import array_of, lift
from pullback._core.errors import RuleNotDefinedError
from pullback._core.jaxpr import Equation
from pullback._core.meshes import AbstractMesh
from pullback._core.primitive import HigherOrder
from pullback._core.sharding import NamedSharding, PartitionSpec
from pullback._core.tree_paths import keystr, skeleton, tree_flatten_with_path
from pullback._core.types import is_trivial, matches
from pullback._core.zeros import Zero
from pullback._higher_order.call import jit_p
from pullback._higher_order.custom.call import DerivedCall
from pullback._higher_order.custom.primitive import custom_call_p
from pullback._ops.shape import instantiate
from pullback._transforms.accumulators import set_accumulate
from pullback._xla.executable import executable_of
from pullback._xla.lowering import Block, Value
from pullback._xla.placed_programs import run_where_they_are, runs_elsewhere
from pullback._xla.portable import emit_call
from pullback._xla.spread import Spread
from pullback._xla.symbolic import is_symbolic
from pullback.export._exported import Exported, later
from pullback.export._types import DisabledSafetyCheck, NamedAxes

call_exported_p = HigherOrder("call_exported")
later.primitive = call_exported_p


def call_flat(exported: Exported, leaves: Sequence[Any]) -> list[Any]:
    """The results of an exported function, as flat lists of arrays."""
    if exported.is_symbolic:
        exported = later.at_sizes(exported, [x.aval for x in leaves])
    _check_types(exported, leaves)
    if exported.has_program or not exported.has_vjp():
        return call_exported_p.bind(*leaves, exported=exported)
    return custom_call_p.bind(*leaves, call=_with_vjp(exported))


def _check_types(exported: Exported, leaves: Sequence[Any]) -> None:
    for i, (x, aval) in enumerate(zip(leaves, exported.in_words, strict=True)):
        if not matches(aval, x.aval):
            raise ValueError(f"{place(exported, i)} must have the type {aval.str_short()}, got {x.aval.str_short()}")


def place(exported: Exported, i: int) -> str:
    """The name of a leaf of the arguments, for messages."""
    path = keystr(tree_flatten_with_path(skeleton(exported.in_tree))[0][i][0])
    return f"the exported function {exported.fun_name}: (args, kwargs){path}"


def _with_vjp(exported: Exported) -> DerivedCall:
    """The call with the derivative that the file holds as its rule for reverse mode."""

    def fun(*xs):
        return call_exported_p.bind(*xs, exported=exported)

    def fwd(primals, active):
        # the next order meets the rule again
        return custom_call_p.bind(*primals, call=_with_vjp(exported)), list(primals), None

    def bwd(static, residuals, cts):
        full = [_instance(ct) if type(ct) is Zero else lift(ct) for ct in cts]
        cts_in = call_flat(exported.vjp(), [*residuals, *full])
        return [None if is_trivial(ct.aval) else ct for ct in cts_in]

    def jvp(primals, tangents):
        _refuse(exported, "forward mode")

    label = f"the exported function {exported.fun_name}"
    return DerivedCall(fun, exported.fun_name, label, jvp=jvp, fwd=fwd, bwd=bwd)


def _instance(zero: Zero) -> Any:
    """A cotangent that vanishes as the vjp in a file takes it: of an integer result an array of float0."""
    aval = zero.aval
    return array_of(aval, np.zeros(aval.shape, aval.dtype)) if is_trivial(aval) else instantiate(zero)


def _refuse(exported: Exported, what: str) -> NoReturn:
    raise RuleNotDefinedError(
        f"the exported function {exported.fun_name} has no {what}: its file holds no program, as JAX writes it, but "
        f"the function{' and its vjp' if exported.has_vjp() else ''} in compiled form. A file that pullback.export "
        "wrote has all transformations"
        + ("; lax.map calls it for one example after the other" if what == "batching rule" else "")
    )


def _evaluate(*args, exported: Exported):
    jaxpr = exported.call_jaxpr
    if runs_elsewhere(jaxpr, args):
        return run_where_they_are(f"the exported function {exported.fun_name}", jaxpr, args)
    return executable_of(jaxpr).run(args)


def _type(*avals, exported: Exported):
    return exported.out_words


def _lower(ctx: Block, *operands: Value, exported: Exported) -> list[Value]:
    if exported.has_program and any(is_symbolic(aval.shape) for aval in exported.in_words):
        return ctx.inline(exported.program, operands)
    index = _platform(exported, ctx.module.platform)
    spread = ctx.module.spread
    devices = 1 if spread is None else len(spread.devices)
    if exported.nr_devices not in (1, devices):
        raise ValueError(
            f"the exported function {exported.fun_name} is for {exported.nr_devices} devices, but is called on "
            f"{devices}: place its arguments by device_put(x, exported.in_shardings_jax(mesh)[i])"
        )
    kept = [_placed(ctx, operands[i], exported._in_named_shardings[i], spread) for i in exported.module_kept_var_idx]
    name = f"{exported.symbol}_main"
    outs = emit_call(ctx, exported.functions, name, kept, exported.out_words, index)
    return [_placed(ctx, x, at, spread) for x, at in zip(outs, exported._out_named_shardings, strict=True)]


def _platform(exported: Exported, platform: str) -> int | None:
    """The number of the platform among those of the module; None if it is for one."""
    found = exported.platforms.index(platform) if platform in exported.platforms else None
    if found is None:
        if DisabledSafetyCheck.platform() not in exported.disabled_safety_checks:
            raise ValueError(
                f"the exported function {exported.fun_name} is for the platforms {', '.join(exported.platforms)}, "
                f"but is called on {platform}: export it with platforms=[...] that include it"
            )
        found = 0
    return found if len(exported.platforms) > 1 else None


def _placed(ctx: Block, x: Value, at: NamedAxes | None, spread: Spread | None) -> Value:
    if at is None or spread is None or len(spread.devices) == 1:
        return x
    sharding = NamedSharding(AbstractMesh(at.mesh.axis_sizes, at.mesh.axis_names), PartitionSpec(*at.spec))
    return ctx.op("sdy.sharding_constraint", [x], x.aval, f"sharding = {spread.attribute(sharding, x.aval.ndim)}")


def as_call_of_program(eqn: Equation) -> Equation:
    """An equation that calls an exported function as one that calls its program; another one as it is."""
    if eqn.primitive is not call_exported_p:
        return eqn
    return eqn.replace(primitive=jit_p, params=_program(eqn.params["exported"], "program for another file"))


def _program(exported: Exported, what: str) -> dict[str, Any]:
    if not exported.has_program:
        _refuse(exported, what)
    return {"jaxpr": exported.program, "name": exported.fun_name, "inline": False}


# the rules are those of a call of the program
call_exported_p.evaluate = _evaluate
call_exported_p.abstract_eval = _type
call_exported_p.lower = _lower
call_exported_p.jvp = lambda primals, tangents, exported: jit_p.rule("jvp")(
    primals, tangents, **_program(exported, "forward mode")
)
call_exported_p.taylor = lambda primals, series, exported: jit_p.rule("taylor")(
    primals, series, **_program(exported, "Taylor mode")
)
call_exported_p.linearize = lambda trace, primals, tangents, exported: jit_p.rule("linearize")(
    trace, primals, tangents, **_program(exported, "derivative")
)
set_accumulate(
    call_exported_p,
    lambda cts, *operands, accums, exported: jit_p.rule("accumulate")(
        cts, *operands, accums=accums, **_program(exported, "transpose rule")
    ),
)
call_exported_p.batch = lambda trace, operands, dims, exported: jit_p.rule("batch")(
    trace, operands, dims, **_program(exported, "batching rule")
)
later.call_flat = call_flat
