"""The names of `jax._src`, JAX's inside, that libraries use nevertheless and that mean something here.

A module of `jax._src` exists if it has a name in the table. Any other name raises, and says so.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from pullback._core import missing

# module below jax._src -> its names, each with the place it is taken from: a module, or module:attribute
_TABLE: dict[str, dict[str, str]] = {
    "core": {
        "Tracer": "pullback.core:Tracer",
        "ShapedArray": "pullback.core:ShapedArray",
        "Jaxpr": "pullback.core:Jaxpr",
        "ClosedJaxpr": "pullback.core:ClosedJaxpr",
        "Literal": "pullback.core:Literal",
        "Var": "pullback.core:Var",
        "Primitive": "pullback.extend.core:Primitive",
        "AbstractValue": "pullback.core:AbstractValue",
        "Trace": "pullback.core:Trace",
        "eval_jaxpr": "pullback.core:eval_jaxpr",
        "get_aval": "pullback.core:get_aval",
        "get_opaque_trace_state": "pullback.extend.core:get_opaque_trace_state",
        "jaxpr_as_fun": "pullback.extend.core:jaxpr_as_fun",
        "trace_state_clean": "pullback.extend.core:trace_state_clean",
    },
    "api": {name: f"pullback:{name}" for name in "grad jit jvp linearize value_and_grad vjp vmap".split()},
    "ad_util": {
        "Zero": "pullback.interpreters.ad:Zero",
        "stop_gradient_p": "pullback.lax:stop_gradient_p",
    },
    "api_util": {
        "debug_info": "pullback.api_util:debug_info",
        "flatten_fun": "pullback.api_util:flatten_fun",
        "shaped_abstractify": "pullback.api_util:shaped_abstractify",
    },
    "callback": {},
    "checkify": {
        name: f"pullback.experimental.checkify:{name}" for name in "Error JaxRuntimeError checkify user_checks".split()
    },
    "compiler": {},
    "dtypes": {
        "TypePromotionError": "pullback.dtypes:TypePromotionError",
        "bfloat16": "pullback.dtypes:bfloat16",
        "canonicalize_dtype": "pullback.dtypes:canonicalize_dtype",
        "DType": "numpy:dtype",
        "ExtendedDType": "pullback._core.dtypes:ExtendedDType",
        "extended": "pullback.dtypes:extended",
        "finfo": "pullback.dtypes:finfo",
        "float0": "pullback.dtypes:float0",
        "issubdtype": "pullback.dtypes:issubdtype",
        "promote_types": "pullback.dtypes:promote_types",
        "to_complex_dtype": "pullback.as_jax._inside:to_complex_dtype",
        "prng_key": "pullback.dtypes:prng_key",
    },
    "distributed": {"global_state": "pullback.as_jax._registry:processes"},
    "dispatch": {"wait_for_tokens": "pullback:effects_barrier"},
    "flatten_util": {"ravel_pytree": "pullback.flatten_util:ravel_pytree"},
    "lax": {"lax": "pullback.lax"},
    "lib.mlir": {"ir": "pullback._xla.built_rules:ir"},
    "lib.mlir.dialects": {name: f"pullback._xla.built_rules:{name}" for name in "chlo func hlo".split()},
    "literals": {},
    "public_test_util": {
        "check_close": "pullback.as_jax._inside:check_close",
        "check_grads": "pullback.test_util:check_grads",
        "check_jvp": "pullback.test_util:check_jvp",
        "check_vjp": "pullback.test_util:check_vjp",
    },
    "state.types": {"AbstractRef": "pullback.ref:AbstractRef"},
    "traceback_util": {
        "_exclude_paths": "pullback._core.errors:excluded_paths",
        "UnfilteredStackTrace": "pullback._core.errors:UnfilteredStackTrace",
        "api_boundary": "pullback.as_jax._inside:api_boundary",
        "include_frame": "pullback._core.errors:include_frame",
        "register_exclusion": "pullback._core.errors:register_exclusion",
    },
    "util": {"safe_map": "pullback.api_util:safe_map", "safe_zip": "pullback.as_jax._inside:safe_zip"},
    "xla_bridge": {
        "_backends": "pullback.as_jax._registry:backends",
        "get_backend": "pullback.extend.backend:get_backend",
    },
    "typing": {"ArrayLike": "pullback.typing:ArrayLike", "DTypeLike": "pullback.typing:DTypeLike"},
    "tree_util": {
        "_registry": "pullback.as_jax._registry:nodes",
        "flatten_one_level": "pullback.as_jax._inside:flatten_one_level",
        "prefix_errors": "pullback.as_jax._inside:prefix_errors",
        **{
            name: f"pullback.tree_util:{name}"
            for name in "tree_flatten tree_leaves tree_map tree_structure tree_unflatten PyTreeDef Partial".split()
        },
    },
}


class _Inside(ModuleType):
    """A module below `jax._src`, with those names that the table gives."""

    def __getattr__(self, name: str) -> Any:
        below = self.__name__.removeprefix("jax._src").removeprefix(".")
        place = _TABLE.get(below, {}).get(name)
        if place is None and _has_module(f"{below}.{name}".lstrip(".")):
            return import_module(f"{self.__name__}.{name}")
        if place is None:
            if name.startswith("__"):
                raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
            raise missing.error(self.__name__, name, sys._getframe(1), _refusal(f"{self.__name__}.{name}", below))
        source, _, attribute = place.partition(":")
        value = import_module(source)
        if attribute:
            value = getattr(value, attribute)
        vars(self)[name] = value
        return value

    def __dir__(self) -> list[str]:
        return sorted({*vars(self), *_TABLE.get(self.__name__.removeprefix("jax._src."), ())})


def _refusal(name: str, below: str) -> str:
    known = ", ".join(_TABLE.get(below, _TABLE))
    return (
        f"{name} is a name of JAX's inside, which changes without notice and which pullback has not"
        f"{f'; there are {known}' if known else ''}"
    )


def _has_module(below: str) -> bool:
    return any(known == below or known.startswith(below + ".") for known in _TABLE)


def module(name: str) -> ModuleType:
    """The module of that name; ModuleNotFoundError if the table has no name in it."""
    below = name.removeprefix("jax._src").removeprefix(".")
    if below and not _has_module(below):
        if below.split(".")[0] not in _TABLE:
            missing.note("jax._src", below)
        raise ModuleNotFoundError(_refusal(name, ""), name=name)
    result = _Inside(name, "Names of JAX's inside that libraries use, taken from pullback.")
    result.__path__ = []
    return result
