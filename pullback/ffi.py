"""Functions of other libraries, written in C++ with XLA's headers, in compiled programs (the names of `jax.ffi`).

A function is compiled against the headers in `include_dir()`, loaded with `ctypes`, registered by
`register_ffi_target`, and called by what `ffi_call` returns. For Python functions there are `external` and
`pure_callback`.
"""

from __future__ import annotations

import typing as _typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pullback._api.callbacks import check_vmap_method
from pullback._core.arguments import aval_of
from pullback._core.array import lift
from pullback._core.errors import boundary, described
from pullback._core.lazy import attributes as _attributes
from pullback._core.typing import PyTree
from pullback._higher_order.host.foreign import ForeignCall, effectful_foreign_call_p, foreign_call_p
from pullback._xla import foreign

__all__ = ["ffi_call", "ffi_lowering", "include_dir", "pycapsule", "register_ffi_target", "register_ffi_type"]


def include_dir() -> str:
    """The folder of XLA's headers, for the compiler. Raises nothing.

    >>> import os
    >>> os.path.exists(os.path.join(include_dir(), "xla", "ffi", "api", "ffi.h"))
    True
    """
    return foreign.headers()


@boundary
def pycapsule(funcptr: Any) -> Any:
    """A function of a library loaded by `ctypes`, as `register_ffi_target` takes it. TypeError for anything else.

    >>> import ctypes
    >>> type(pycapsule(ctypes.pythonapi.Py_IsInitialized)).__name__
    'PyCapsule'
    """
    try:
        return foreign.capsule(funcptr)
    except Exception:
        raise TypeError(f"pycapsule: expected a function of a ctypes library, got {described(funcptr)}") from None


@boundary
def register_ffi_target(name: str, fn: Any, platform: str = "cpu", api_version: int = 1, **kwargs: Any) -> None:
    """Make a function known under a name.

    Args:
      name: the name for `ffi_call`.
      fn: what `pycapsule` returns; or a dict of these by stage: "instantiate", "prepare", "initialize", "execute".
      platform: "cpu"; or "cuda", also called "gpu", for the plugin of NVIDIA's devices, when it is loaded.
      api_version: 1 for functions written with XLA's headers, 0 for those without types.
      kwargs: `traits`, the flags of the function.

    Raises: TypeError for a name that is no text; ValueError for another platform; the engine's error for what it does
      not take.

    >>> import ctypes
    >>> register_ffi_target("is_initialized", pycapsule(ctypes.pythonapi.Py_IsInitialized), api_version=0)
    """
    if not isinstance(name, str):
        raise TypeError(f"register_ffi_target: the name must be a string, got {described(name)}")
    foreign.register(name, fn, _platform("register_ffi_target", platform), api_version, **kwargs)


def _platform(function: str, platform: str) -> str:
    """The engine's name of a platform that functions can be registered for."""
    name = {"cpu": "cpu", "host": "cpu", "cuda": "CUDA", "gpu": "CUDA"}.get(platform.lower())
    if name is None:
        raise ValueError(f"{function}: the platform must be 'cpu' or 'cuda', got {platform!r}")
    return name


@boundary
def register_ffi_type(name: str, type_registration: Any, platform: str = "cpu") -> None:
    """Make the type of states that functions keep known. ValueError for another platform than "cpu" and "cuda".

    >>> try:
    ...     register_ffi_type("state", None, platform="tpu")
    ... except ValueError as error:
    ...     print(error)
    register_ffi_type: the platform must be 'cpu' or 'cuda', got 'tpu'
    """
    foreign.register_type(name, type_registration, _platform("register_ffi_type", platform))


@boundary
def ffi_call(
    target_name: str,
    result_shape_dtypes: PyTree,
    *,
    has_side_effect: bool = False,
    vmap_method: str | None = None,
    input_layouts: Sequence[Sequence[int] | None] | None = None,
    output_layouts: Sequence[Any] | None = None,
    input_output_aliases: Mapping[int, int] | None = None,
    custom_call_api_version: int = 4,
    legacy_backend_config: str | None = None,
) -> Callable[..., Any]:
    """A registered function as a function of arrays.

    Args:
      target_name: the name that it was registered under.
      result_shape_dtypes: the types of its results: an object with a shape and a dtype, such as a `ShapeDtypeStruct`,
        or a sequence of them.
      has_side_effect: whether calls must not be left out.
      vmap_method: the behaviour under `vmap`, as in `pure_callback`; the function must be written for the batch but for
        "sequential".
      input_layouts, output_layouts: for each array its axes from the slowest varying to the fastest: by default in
        order, as C has them. `(1, 0)` is column by column.
      input_output_aliases: which inputs may share their memory with which results.
      custom_call_api_version: 4 for functions written with XLA's headers, less for those without types.
      legacy_backend_config: the text that functions without types get in place of settings.

    Returns: a function of arrays, with the settings of the call as keywords: texts, bools, numbers (Python's are of 64
      bits, NumPy's as they are), arrays, and dicts of these.
    Raises: TypeError for a name that is no text and for what has no shape and dtype; ValueError for layouts that do not
      fit and an unknown `vmap_method`. At a call errors of the function, and RuleNotDefinedError under differentiation:
      give it a rule by `custom_jvp` or `custom_vjp`.

    >>> import numpy as np, pullback as pb, pullback.numpy as pnp
    >>> _ = pb.jit(pnp.linalg.cholesky)(pnp.eye(2))  # the library has LAPACK registered
    >>> kind = pb.ShapeDtypeStruct((2, 2), np.float32)
    >>> call = ffi_call("lapack_spotrf_ffi", (kind, pb.ShapeDtypeStruct((), np.int32)), input_output_aliases={0: 0})
    >>> factor, info = call(4 * pnp.eye(2), uplo=np.uint8(ord("L")))
    >>> print(factor[0], info)
    [2. 0.] 0
    """
    if not isinstance(target_name, str):
        raise TypeError(f"ffi_call: target_name must be a string, got {described(target_name)}")
    check_vmap_method("ffi_call", vmap_method)
    several = isinstance(result_shape_dtypes, (list, tuple))
    given = list(result_shape_dtypes) if several else [result_shape_dtypes]
    for x in given:
        if not (hasattr(x, "shape") and hasattr(x, "dtype")):
            raise TypeError(
                f"ffi_call: a result needs a shape and a dtype, such as a ShapeDtypeStruct, got {described(x)}"
            )
    avals = tuple(aval_of(x) for x in given)
    primitive = effectful_foreign_call_p if has_side_effect else foreign_call_p

    @boundary
    def ffi_function(*args: Any, **settings: Any) -> Any:
        if custom_call_api_version >= 4 and legacy_backend_config is not None:
            raise ValueError(
                "ffi_call: legacy_backend_config is for custom_call_api_version < 4; pass settings instead"
            )
        if custom_call_api_version < 4 and settings:
            raise ValueError("ffi_call: a function without types takes no settings, but legacy_backend_config")
        xs = [lift(x) for x in args]
        layouts = (
            _layouts("ffi_call", "input_layouts", input_layouts, [x.ndim for x in xs]),
            _layouts(
                "ffi_call",
                "output_layouts",
                output_layouts if several or output_layouts is None else [output_layouts],
                ranks,
            ),
        )
        config = foreign.setting(settings if custom_call_api_version >= 4 else legacy_backend_config or "")
        aliases = tuple((input_output_aliases or {}).items())
        call = ForeignCall(target_name, avals, layouts, config, aliases, vmap_method, custom_call_api_version)
        outs = primitive.bind(*xs, call=call)
        return tuple(outs) if several else outs[0]

    ranks = [aval.ndim for aval in avals]
    return ffi_function


@boundary
def ffi_lowering(
    call_target_name: str,
    *,
    operand_layouts: Sequence[Any] | None = None,
    result_layouts: Sequence[Any] | None = None,
    backend_config: Mapping[str, Any] | str | None = None,
    skip_ffi_layout_processing: bool = False,
    has_side_effect: bool = False,
    api_version: int = 4,
    operand_output_aliases: Mapping[int, int] | None = None,
) -> Callable[..., list[Any]]:
    """A lowering rule of a primitive that calls a registered function.

    Args:
      call_target_name: the name that it was registered under.
      operand_layouts, result_layouts: for each array its axes from the fastest varying to the slowest, the reverse of
        what `ffi_call` takes, as XLA writes them; None: as C has them.
      backend_config: settings of every call, or the text that functions without types get.
      skip_ffi_layout_processing: without meaning here: layouts are taken as they are.
      has_side_effect, api_version, operand_output_aliases: as `has_side_effect`, `custom_call_api_version` and
        `input_output_aliases` of `ffi_call`.

    Returns: a rule for `interpreters.mlir.register_lowering`; parameters of the primitive are settings of the call. It
      can be called in a rule of one's own: `ffi_lowering(name)(ctx, *operands, **settings)`.
    Raises: TypeError for a name that is no text; ValueError, when a program is compiled, for layouts that do not fit.

    >>> import numpy as np, pullback as pb, pullback.numpy as pnp
    >>> from pullback.interpreters import mlir
    >>> _ = pb.jit(pnp.linalg.cholesky)(pnp.eye(2))  # the library has LAPACK registered
    >>> p = pb.extend.core.Primitive("factor")
    >>> p.multiple_results = True
    >>> _ = p.def_abstract_eval(lambda a, **settings: (a, pb.core.ShapedArray((), np.int32)))
    >>> mlir.register_lowering(p, ffi_lowering("lapack_spotrf_ffi", operand_output_aliases={0: 0}))
    >>> print(p.bind(4 * pnp.eye(2), uplo=np.uint8(ord("L")))[0][0])
    [2. 0.]
    """
    if not isinstance(call_target_name, str):
        raise TypeError(f"ffi_lowering: call_target_name must be a string, got {described(call_target_name)}")
    aliases = tuple((operand_output_aliases or {}).items())

    def rule(ctx: Any, /, *operands: Any, **params: Any) -> list[Any]:
        config: Any = backend_config or {}
        if isinstance(config, str) and params:
            raise ValueError(
                f"ffi_lowering of {call_target_name!r}: backend_config is a text, so that the parameters "
                f"{', '.join(params)} have no place: leave them out by a rule of one's own"
            )
        layouts = [
            [range(aval.ndim) if axes is None else axes for axes, aval in zip(found, avals, strict=True)]
            for found, avals in (
                (_slowest_first("operand_layouts", operand_layouts, ctx.avals_in), ctx.avals_in),
                (_slowest_first("result_layouts", result_layouts, ctx.avals_out), ctx.avals_out),
            )
        ]
        return foreign.emit_or_build(
            ctx,
            operands,
            ctx.avals_out,
            foreign.attributes_of_call(
                call_target_name,
                len(ctx.avals_out),
                (layouts[0], layouts[1]),
                foreign.setting(config if isinstance(config, str) else {**config, **params}),
                aliases,
                has_side_effect,
                api_version,
            ),
        )

    return rule


def _slowest_first(name: str, given: Sequence[Any] | None, avals: Sequence[Any]) -> Any:
    orders = [
        x if x is None or hasattr(x, "major_to_minor") else tuple(x)[::-1] for x in (() if given is None else given)
    ]
    return _layouts("ffi_lowering", name, None if given is None else orders, [aval.ndim for aval in avals])


def _layouts(
    function: str, name: str, given: Sequence[Any] | None, ranks: Sequence[int]
) -> tuple[tuple[int, ...] | None, ...]:
    if given is None:
        return (None,) * len(ranks)
    if len(given) != len(ranks):
        raise ValueError(f"{function}: {name} must have an entry for each of the {len(ranks)} arrays, got {given!r}")
    out = []
    for axes, ndim in zip(given, ranks, strict=True):
        order = None if axes is None else tuple(getattr(axes, "major_to_minor", axes))
        if order is not None and sorted(order) != list(range(ndim)):
            raise ValueError(f"{function}: {name} must be orders of the axes of arrays of {ndim} axes, got {axes!r}")
        out.append(order)
    return tuple(out)


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
