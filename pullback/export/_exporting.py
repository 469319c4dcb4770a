"""`export`: from a compiled function and the types of its arguments to an `Exported`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback._analysis.key_reuse import without_key_uses
from pullback._api.jit import jit
from pullback._api.reverse_mode import vjp
from pullback._api.stages import Jitted, TracedStage
from pullback._core.array import ConcreteArray
from pullback._core.errors import boundary, described
from pullback._core.jaxpr import Equation, Jaxpr, Var, consts_to_args, gathered
from pullback._core.sharding import NamedSharding, PartitionSpec, Sharding
from pullback._core.types import ShapeDtypeStruct
from pullback._core.typing import PyTree
from pullback._ops.identity import embed_constants
from pullback._ops.shape import convert_element_type_p
from pullback._xla import mlir
from pullback._xla import platforms as platforms_module
from pullback._xla.portable import lower_portable, unkept_targets
from pullback._xla.spread import Spread
from pullback._xla.symbolic import is_symbolic
from pullback.export._calling import call_flat
from pullback.export._dtypes import NUMBER_OF_DTYPE
from pullback.export._exported import Exported, later
from pullback.export._trees import leaf_avals
from pullback.export._types import DisabledSafetyCheck, NamedAxes

# the versions of the convention by which modules are called, which are JAX's
OLDEST_CONVENTION, NEWEST_CONVENTION = 9, 10
_PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


@boundary
def default_export_platform() -> str:
    """The platform that functions are exported for if nothing is said: that of this process. Raises nothing.

    >>> default_export_platform()
    'cpu'
    """
    return platforms_module.default()


@boundary
def export(
    fun_jit: Jitted[..., Any],
    *,
    platforms: Sequence[str] | None = None,
    disabled_checks: Sequence[DisabledSafetyCheck] = (),
) -> Callable[..., Exported]:
    """A function of arguments that returns the exported function for arguments of their types.

    Args:
      fun_jit: the result of `jit`, or a function of the library. Its static arguments become part of the exported
        function; donated ones are not donated, since a call of it is part of another program, which has a
        `donate_argnums` of its own.
      platforms: those that the module is to run on: "cpu", "cuda", "rocm", "tpu"; by default that of this process.
      disabled_checks: checks to leave out, made by `DisabledSafetyCheck`.

    Returns: a function of the arguments of `fun_jit`, arrays or `ShapeDtypeStruct`s.
    Raises: TypeError for a function that `jit` has not made, ValueError for an unknown platform and for calls of
      functions that may mean another thing elsewhere; NotImplementedError, naming it, for what cannot leave this
      process: callbacks, prints, references, values of types of one's own.

    The exported function holds the program itself, with the rules of decorated functions, beside the module: what
    `deserialize` returns can be differentiated in both modes, to any order, and mapped.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> from pullback import export
    >>> @pb.custom_jvp
    ... def log1pexp(x):
    ...     return pnp.log1p(pnp.exp(x))
    >>> @log1pexp.defjvp
    ... def rule(primals, tangents):
    ...     (x,), (t,) = primals, tangents
    ...     return log1pexp(x), t * pb.nn.sigmoid(x)
    >>> data = export.export(pb.jit(log1pexp))(0.).serialize()
    >>> print(pb.grad(export.deserialize(data).call)(100.))
    1.0
    """
    if not hasattr(fun_jit, "trace") and str(getattr(fun_jit, "__module__", "")).startswith("pullback."):
        fun_jit = jit(fun_jit)  # JAX's own functions are jitted ones
    if not callable(getattr(fun_jit, "trace", None)):
        raise TypeError(f"export: expected a function that jit has made, got {described(fun_jit)}: export(jit(fun))")
    names = (default_export_platform(),) if platforms is None else tuple(platforms)
    if isinstance(platforms, str) or not names or not set(names) <= set(_PLATFORMS) or len(set(names)) < len(names):
        raise ValueError(f"export: platforms must be a list of {', '.join(_PLATFORMS)}, each once, got {platforms!r}")
    checks = tuple(disabled_checks)
    for check in checks:
        if not isinstance(check, DisabledSafetyCheck):
            raise TypeError(f"export: disabled_checks: expected DisabledSafetyCheck, got {described(check)}")

    def do_export(*args: PyTree, **kwargs: PyTree) -> Exported:
        return _exported(fun_jit.trace(*args, **kwargs), names, checks)

    return boundary(do_export)


def _exported(traced: TracedStage, platforms: tuple[str, ...], checks: tuple[DisabledSafetyCheck, ...]) -> Exported:
    where = f"export of {traced.fun_name}"
    jaxpr = _closed(where, traced)
    spread = traced._spread if traced._spread is not None and len(traced._spread.devices) > 1 else None
    count = len(traced.jaxpr.consts)
    ins = (None,) * len(jaxpr.invars) if spread is None else spread.ins[count:]
    outs = (None,) * len(jaxpr.outvars) if spread is None else spread.outs
    if spread is not None:
        index = (None,) * (len(platforms) > 1)
        spread = Spread(spread.devices, spread.mesh, (*index, *ins), outs)
    try:
        text = lower_portable(jaxpr, platforms, spread)
    except NotImplementedError as error:
        raise NotImplementedError(f"{where}: {error}{_callers(jaxpr)}") from None
    _check_targets(where, text, checks)
    return Exported(
        traced.fun_name,
        traced.in_tree,
        leaf_avals(traced.in_tree, [aval.strip_weak_type() for aval in jaxpr.in_avals]),
        traced.out_tree,
        leaf_avals(traced.out_tree, [aval.strip_weak_type() for aval in jaxpr.out_avals]),
        [_named_axes(where, at, v.aval.ndim) for at, v in zip(ins, jaxpr.invars, strict=True)],
        [_named_axes(where, at, v.aval.ndim) for at, v in zip(outs, jaxpr.outvars, strict=True)],
        1 if spread is None else len(spread.devices),
        platforms,
        checks,
        mlir.to_artifact(text),
        NEWEST_CONVENTION,
        range(len(jaxpr.invars)),
        any(is_symbolic(aval.shape) for aval in jaxpr.in_avals),
        lambda: jaxpr,
        None,
    )


def _closed(where: str, traced: TracedStage) -> Jaxpr:
    """The jaxpr of the leaves of the arguments, with the constants inside; refuses what cannot leave this process."""
    closed = traced.jaxpr
    if traced._refs is not None:
        raise NotImplementedError(
            f"{where}: it uses a Ref, whose content is in this process: pass it as an array and return the new one"
        )
    if closed.jaxpr.has_own_types:
        raise NotImplementedError(
            f"{where}: it computes with values of types of one's own, which have no place in files: take their parts"
        )
    if closed.jaxpr.effectful:
        raise NotImplementedError(
            f"{where}: it has side effects{_callers(closed.jaxpr)}, which stay in this process: leave them out"
        )
    for aval in (*closed.jaxpr.in_avals, *closed.jaxpr.out_avals):
        if aval.dtype not in NUMBER_OF_DTYPE:
            raise NotImplementedError(f"{where}: values of type {aval.str_short()} have no place in files")
    if not all(isinstance(const, ConcreteArray) for const in closed.consts):
        raise ValueError(f"{where}: it closes over a traced value: call export outside of transformations")
    whole = without_key_uses(consts_to_args(closed.jaxpr))
    return _with_strong_results(embed_constants(whole, closed.consts, where))


def _with_strong_results(jaxpr: Jaxpr) -> Jaxpr:
    """The jaxpr with results of the types that a file says: those have no weak types."""
    eqns, outs = list(jaxpr.eqns), list(jaxpr.outvars)
    for i, out in enumerate(outs):
        if out.aval.weak_type:
            strong = outs[i] = Var(out.aval.strip_weak_type())
            params: dict[str, Any] = {"dtype": out.aval.dtype, "weak_type": False}
            eqns.append(Equation(convert_element_type_p, [out], [strong], params))
    return Jaxpr([], jaxpr.invars, eqns, outs)


def _callers(jaxpr: Jaxpr) -> str:
    """The operations that call Python, in parentheses, for messages."""
    calling = gathered(
        jaxpr,
        "callers of Python",
        lambda eqn: [eqn.primitive.name] if eqn.primitive.traits.effectful or "callback" in eqn.primitive.name else (),
    )
    return f" ({', '.join(dict.fromkeys(calling))})" if calling else ""


def _check_targets(where: str, text: str, checks: tuple[DisabledSafetyCheck, ...]) -> None:
    if "custom_call" not in text:
        return
    module = mlir.parsed(text)
    allowed = [target for check in checks if (target := check.is_custom_call()) is not None]
    unkept = unkept_targets(module, allowed)
    if unkept:
        raise ValueError(
            f"{where}: it calls {', '.join(unkept)}, which may mean another thing, or nothing, where the file is read. "
            "If it does not, pass disabled_checks=[DisabledSafetyCheck.custom_call(name)]"
        )


def _named_axes(where: str, at: Sharding | None, ndim: int) -> NamedAxes | None:
    if at is None:
        return None
    if not isinstance(at, NamedSharding):
        raise NotImplementedError(f"{where}: a placement without names of axes, {at}: use NamedSharding(mesh, spec)")
    if PartitionSpec.UNCONSTRAINED in tuple(at.spec):
        return None
    entries = [at.spec[i] if i < len(at.spec) else None for i in range(ndim)]
    return NamedAxes(
        at.mesh.abstract_mesh, PartitionSpec(*entries, unreduced=at.spec.unreduced, reduced=at.spec.reduced)
    )


def _export_vjp(exported: Exported) -> Exported:
    """The exported vjp: flat primals, then cotangents, to a tuple of cotangents of the primals."""
    count = len(exported.in_words)

    def pullback(*args: Any) -> Any:
        def function(*xs: Any) -> list[Any]:
            return call_flat(exported, list(xs))

        return vjp(function, *args[:count])[1](list(args[count:]))

    pullback.__name__ = f"{exported.fun_name}_vjp"
    avals = [*exported.in_words, *(aval.to_tangent_aval() for aval in exported.out_words)]
    structs = [ShapeDtypeStruct(aval.shape, np.dtype(aval.dtype)) for aval in avals]
    return export(jit(pullback), platforms=exported.platforms, disabled_checks=exported.disabled_safety_checks)(
        *structs
    )


later.export_vjp = _export_vjp
