"""Functions of other libraries in compiled programs: XLA's foreign function interface."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping, Sequence
from typing import Any

import jaxlib
import numpy as np

from pullback._core.types import ShapedArray
from pullback._xla.engine import xla_client
from pullback._xla.lowering import Block, Value
from pullback._xla.tensor_types import tensor_type

_CAPSULE = b"xla._CUSTOM_CALL_TARGET"
# the names under which functions were made known
registered: set[str] = set()


def headers() -> str:
    """The folder of the headers that functions are written with."""
    return os.path.join(os.path.dirname(jaxlib.__file__), "include")


def capsule(function: Any) -> Any:
    """A function of a library loaded by ctypes as the object that is registered."""
    make = ctypes.pythonapi.PyCapsule_New
    make.restype = ctypes.py_object
    make.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    return make(ctypes.cast(function, ctypes.c_void_p), _CAPSULE, None)


def register(name: str, function: Any, platform: str, version: int, **traits: Any) -> None:
    """Make a function known to the engine under a name."""
    xla_client().register_custom_call_target(name, function, platform, api_version=version, **traits)
    registered.add(name)


def register_type(name: str, value: Any, platform: str) -> None:
    """Make the type of states that functions keep known to the engine."""
    xla_client().register_custom_type(name, value, platform)


def emit_foreign_call(
    ctx: Block,
    target: str,
    operands: Sequence[Value],
    out_avals: Sequence[ShapedArray],
    layouts: tuple[Sequence[Sequence[int]], Sequence[Sequence[int]]],
    config: str,
    aliases: Sequence[tuple[int, int]],
    effectful: bool,
    version: int,
) -> list[Value]:
    """Emit a call of a registered function. `layouts` are axes from the slowest varying to the fastest; `config` is
    made by `setting`.
    """
    attributes = attributes_of_call(target, len(out_avals), layouts, config, aliases, effectful, version)
    return ctx.op("stablehlo.custom_call", operands, list(out_avals), attributes)


def emit_or_build(ctx: Any, operands: Sequence[Any], out_avals: Sequence[ShapedArray], attributes: str) -> list[Any]:
    """A call with these attributes, in a rule that emits or in one that builds with values of MLIR's."""
    if all(isinstance(x, Value) for x in operands):
        return ctx.op("stablehlo.custom_call", operands, list(out_avals), attributes)
    from jaxlib.mlir import ir

    named = {a.name: a.attr for a in ir.DictAttr(ir.Attribute.parse(f"{{{attributes}}}"))}
    types = [ir.Type.parse(tensor_type(aval)) for aval in out_avals]
    return list(
        ir.Operation.create("stablehlo.custom_call", results=types, operands=operands, attributes=named).results
    )


def attributes_of_call(
    target: str,
    results: int,
    layouts: tuple[Sequence[Sequence[int]], Sequence[Sequence[int]]],
    config: str,
    aliases: Sequence[tuple[int, int]],
    effectful: bool,
    version: int,
) -> str:
    """The attributes of the operation `custom_call`, as text."""
    attributes = [
        f"call_target_name = {_text(target)}",
        f"api_version = {version} : i32",
        f"has_side_effect = {'true' if effectful else 'false'}",
        f"backend_config = {config}",
        *(
            f"{which}_layouts = [{', '.join(map(_layout, some))}]"
            for which, some in zip(("operand", "result"), layouts, strict=True)
        ),
    ]
    if aliases:
        attributes.append(f"output_operand_aliases = [{', '.join(_alias(a, b, results) for a, b in aliases)}]")
    return ", ".join(attributes)


def _alias(operand: int, result: int, results: int) -> str:
    at = f"[{result}]" if results > 1 else "[]"
    return (
        f"#stablehlo.output_operand_alias<output_tuple_indices = {at}, operand_index = {operand}, "
        "operand_tuple_indices = []>"
    )


def _layout(axes: Sequence[int]) -> str:
    order = list(reversed(axes))
    return f"dense<{order or ''}> : tensor<{len(order)}xindex>"


def _text(value: str) -> str:
    plain = all(" " <= c <= "~" and c not in '"\\' for c in value)
    return f'"{value}"' if plain else '"' + "".join(f"\\{b:02X}" for b in value.encode()) + '"'


def setting(value: Any) -> str:
    """A setting as an MLIR attribute: numbers of NumPy's with their own types, Python's with 64 bits."""
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f'"{k}" = {setting(v)}' for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(setting, value)) + "]"
    array = np.asarray(value)
    kind = tensor_type(ShapedArray((), array.dtype)).removeprefix("tensor<").removesuffix(">")
    if array.ndim == 0:
        return f"{_number(array[()])} : {kind}"
    return f"array<{kind}: {', '.join(map(_number, array.ravel()))}>" if array.size else f"array<{kind}>"


def _number(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    return repr(int(value)) if np.issubdtype(np.asarray(value).dtype, np.integer) else f"{float(value):.17e}"
