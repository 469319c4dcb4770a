"""JAX's public names that are missing here: planned, refused with a reason, or replaced by another name.

`tests/test_missing_names.py` checks that every public name of JAX exists or is listed here.
"""

from __future__ import annotations

import difflib
import dis
import sys
from collections.abc import Callable
from functools import cache
from types import FrameType

PLANNED = "planned, but not written yet"
DEVICES = "planned: a part of what is for several devices, not written yet"
INTERNAL = "refused: it is about the inside of JAX"
OTHER_TOOLS = "refused: it belongs to JAX's other devices, tools or trials"

# module -> pairs of names and the explanation for each of them
_TABLE: dict[str, tuple[tuple[str, str], ...]] = {
    "pullback": (
        (
            "memory",
            DEVICES,
        ),
        (
            "make_user_context",
            INTERNAL,
        ),
        ("cloud_tpu_init collect_profile tools", OTHER_TOOLS),
        ("version", "use __version__; under pullback.as_jax, jax.version is there"),
    ),
    "pullback.lax": (("precv psend ragged_all_to_all", DEVICES),),
    "pullback.extend": (("lowering mlir pallas sharding xla", INTERNAL),),
    "pullback.extend.core": (
        (
            "AbstractToken CallPrimitive Token TraceTag",
            INTERNAL,
        ),
    ),
    "pullback.interpreters": (("os traceback_util", INTERNAL),),
    "pullback.interpreters.pxla": (("create_compile_options", INTERNAL),),
    "pullback.interpreters.batching": (("register_vmappable unregister_vmappable", INTERNAL),),
    "pullback.interpreters.mlir": (
        (
            "AxisContext ConstantHandler DEVICE_TO_DEVICE_TYPE LoweringParameters LoweringResult LoweringRule Mesh "
            "MeshAxisName ModuleContext RECV_FROM_HOST_TYPE SEND_TO_HOST_TYPE SPMDAxisContext ShapePolyLoweringState "
            "ShardingContext Token TokenSet aval_to_ir_type aval_to_ir_types core_call_lowering dense_int_array "
            "dense_int_elements dtype_to_ir_type emit_python_callback flatten_ir_types flatten_ir_values i32_attr "
            "i64_attr ir ir_attribute ir_constants ir_tree_registry ir_type_handlers jaxpr_subcomp "
            "lower_jaxpr_to_fun lower_jaxpr_to_module lowerable_effects make_ir_context merge_mlir_modules "
            "module_to_bytecode module_to_string register_constant_handler shape_tensor token_type "
            "unflatten_ir_values_like_types",
            "refused: lowering rules emit StableHLO with ctx.op, are made by lower_fun, or build with jaxlib.mlir",
        ),
    ),
    "pullback.interpreters.partial_eval": (
        (
            "custom_partial_eval_rules dce_jaxpr_call_rule dce_jaxpr_closed_call_rule dce_rules "
            "partial_eval_jaxpr_custom_rules",
            INTERNAL,
        ),
    ),
    "pullback.sharding": (("AbstractDevice ManualAxisType auto_axes explicit_axes", DEVICES),),
    "pullback.experimental.checkify": (("CheckEffect ErrorEffect FunctionalizationError", INTERNAL),),
    "pullback.errors": (),
    "pullback.experimental": (
        ("cur_qdd EArray primal_tangent_dtype", INTERNAL),
        # submodules, which are attributes only after they are imported
        (
            "profiler serialize_executable",
            PLANNED,
        ),
        (
            "buffer_callback compute_on control_deps fused jax2tf key_reuse "
            "mosaic pallas rnn roofline scheduling_groups shard_alike source_mapper topologies transfer "
            "xla_metadata",
            OTHER_TOOLS,
        ),
    ),
    "pullback.experimental.hijax": (
        ("AvalMutableQDD AvalQDD HiPspec", INTERNAL),
        ("AbstractValue", "use ShapedArray and HiType, the two kinds of types"),
        ("AbstractRef", "use typeof(ref)"),
        ("TransformedRef", "use ref.at[...], which is a Ref"),
        ("is_undefined_primal", "use isinstance(x, GradAccum): a transpose rule gets accumulators"),
    ),
}


@cache
def _entries(module: str) -> dict[str, str]:
    return {name: says for names, says in _TABLE.get(module, ()) for name in names.split()}


def modules() -> tuple[str, ...]:
    """The modules in the table."""
    return tuple(_TABLE)


def entry(module: str, name: str) -> str | None:
    """The explanation of a name in the table, or None."""
    return _entries(module).get(name)


@cache
def explanation(module: str, name: str) -> str:
    """The message for a name that a module lacks."""
    says = entry(module, name)
    if says is not None:
        return f"{module} has no {name!r}: {says}"
    public = [known for known in dir(sys.modules[module]) if not known.startswith("_")]
    close = difflib.get_close_matches(name, [*public, *_entries(module)], 3, 0.75)
    there = [known for known in close if known in public]
    elsewhere = [other for other in _PLACES if other != module and name in vars(sys.modules.get(other, object))]
    if there:
        return f"{module} has no {name!r}: did you mean {' or '.join(there)}?"
    if elsewhere:
        return f"{module} has no {name!r}: use {elsewhere[0]}.{name}"
    return f"{module} has no {name!r}"


# called with the module and the name of every miss, if somebody listens: the report of pullback.as_jax
listener: Callable[[str, str], None] | None = None


def note(module: str, name: str) -> None:
    """Tell the listener that a missing name was asked for."""
    if listener is not None:
        listener(module, name)


_IMPORT_FROM = dis.opmap["IMPORT_FROM"]


def error(module: str, name: str, asking: FrameType, says: str | None = None) -> Exception:
    """The error for a name that a module lacks: AttributeError, or ImportError in `from module import name`.

    Of an AttributeError there Python would make an ImportError without the explanation.
    """
    note(module, name)
    says = says or explanation(module, name)
    if asking.f_lasti >= 0 and asking.f_code.co_code[asking.f_lasti] == _IMPORT_FROM:
        return ImportError(f"cannot import name {name!r}: {says}", name=module)
    return AttributeError(says, name=name)


# the modules in which a name that is missing elsewhere may exist
_PLACES = (
    "pullback.numpy",
    "pullback.lax",
    "pullback",
    "pullback.nn",
    "pullback.random",
    "pullback.tree_util",
    "pullback.extend.core",
    "pullback.numpy.linalg",
    "pullback.scipy.special",
    "pullback.scipy.linalg",
)
