"""Jaxprs as text: `{ lambda ; a:f32[]. let b:f32[] = sin a in (b,) }`."""

from __future__ import annotations

import functools
from string import ascii_lowercase
from typing import Any

import numpy as np

from pullback._core.errors import function_name
from pullback._core.jaxpr import Equation, Jaxpr, Literal, Var, install_printer
from pullback._core.typing import AnyValue

_WIDTH = 100


class _Names:
    """Names in order of appearance: a, ..., z, ba, bb, ...; unused variables are `_`."""

    def __init__(self, used: set[Var]):
        self.used = used
        self.names: dict[Var, str] = {}

    def __getitem__(self, v: Var) -> str:
        if v not in self.names:
            n, name = len(self.names), ""
            while True:
                n, digit = divmod(n, 26)
                name = ascii_lowercase[digit] + name
                if n == 0:
                    break
            self.names[v] = name
        return self.names[v]

    def binding(self, v: Var) -> str:
        return f"{self[v] if v in self.used else '_'}:{v.aval.str_short()}"

    def atom(self, v: Var | Literal) -> str:
        return format_literal(v) if isinstance(v, Literal) else self[v]


def format_literal(literal: Literal) -> str:
    value = literal.value
    if literal.aval.dtype.kind == "b":
        return str(bool(value))
    return str(np.asarray(value)[()])


def format_jaxpr(jaxpr: Jaxpr) -> str:
    """The text of a jaxpr, one equation per line."""
    used = {v for eqn in jaxpr.eqns for v in eqn.invars if isinstance(v, Var)}
    used.update(v for v in jaxpr.outvars if isinstance(v, Var))
    names = _Names(used)
    consts = " ".join(f"{names[v]}:{v.aval.str_short()}" for v in jaxpr.constvars)
    args = " ".join(f"{names[v]}:{v.aval.str_short()}" for v in jaxpr.invars)
    lines = [_indent(_format_equation(eqn, names), 4) for eqn in jaxpr.eqns]
    outs = ", ".join(map(names.atom, jaxpr.outvars)) + ("," if len(jaxpr.outvars) == 1 else "")
    head = f"{{ lambda {consts}{' ' if consts else ''}; {args}. let"
    if not lines:
        return f"{head}  in ({outs}) }}"
    return "\n".join([head, *lines, f"  in ({outs}) }}"])


def _format_equation(eqn: Equation, names: _Names) -> str:
    outs = " ".join(map(names.binding, eqn.outvars))
    operands = " ".join(map(names.atom, eqn.invars))
    name, params = eqn.primitive.shown(eqn.params)
    return f"{f'{outs} = ' if outs else ''}{name}{format_params(params)}{' ' if operands else ''}{operands}"


def format_params(params: dict[str, Any]) -> str:
    """The parameters in brackets, nothing if there are none."""
    parts = [f"{key}={text}" for key, text in ((k, format_param(v)) for k, v in params.items()) if text != ""]
    if not parts:
        return ""
    one_line = "[" + " ".join(parts) + "]"
    if "\n" not in one_line and len(one_line) <= _WIDTH:
        return one_line
    return "[\n" + "\n".join(_indent(part, 2) for part in parts) + "\n]"


def format_param(value: AnyValue) -> str:
    if isinstance(value, Jaxpr):
        return format_jaxpr(value)
    if isinstance(value, tuple) and any(isinstance(item, Jaxpr) for item in value):
        return "(\n" + "\n".join(_indent(format_param(item), 2) for item in value) + "\n)"
    if isinstance(value, np.dtype):
        return value.name
    if callable(value) and not isinstance(value, type) and not _shows_itself(value):
        return function_name(value)
    return str(value)


def _shows_itself(value: AnyValue) -> bool:
    """Return whether a callable object has a text of its own, like a policy of `checkpoint`, and no name."""
    own: Any = type(value).__repr__
    return own is not object.__repr__ and not hasattr(value, "__name__") and not isinstance(value, functools.partial)


def _indent(text: str, by: int) -> str:
    pad = " " * by
    return "\n".join(pad + line for line in text.split("\n"))


install_printer(format_jaxpr)
