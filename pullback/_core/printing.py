"""Jaxprs as text: `{ lambda ; a:f32[]. let b:f32[] = sin a in (b,) }`."""

from __future__ import annotations

import functools
from string import ascii_lowercase
from typing import Any

import numpy as np

from pullback._core.errors import function_name
from pullback._core.jaxpr import Equation, Jaxpr, Literal, Var, install_printer
from pullback._core.typing import AnyValue

# the width that a jaxpr may have on one line, and that parameters may have
_WIDTH = 80
_PARAMS_WIDTH = 100


class _Names:
    """Names in order of appearance: a, ..., z, ba, bb, ...; unused variables are `_`."""

    def __init__(self) -> None:
        self.used: set[Var] = set()
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


def format_jaxpr(jaxpr: Jaxpr, names: _Names | None = None, column: int = 0) -> str:
    """The text of a jaxpr: one equation per line, unless all fit on one line from `column` on.

    Jaxprs that it holds go on with its names, so that no name means two things.
    """
    names = _Names() if names is None else names
    names.used.update(v for eqn in jaxpr.eqns for v in eqn.invars if isinstance(v, Var))
    names.used.update(v for v in jaxpr.outvars if isinstance(v, Var))
    consts = " ".join(f"{names[v]}:{v.aval.str_short()}" for v in jaxpr.constvars)
    args = " ".join(f"{names[v]}:{v.aval.str_short()}" for v in jaxpr.invars)
    eqns = [_format_equation(eqn, names, column + 4) for eqn in jaxpr.eqns]
    outs = ", ".join(map(names.atom, jaxpr.outvars)) + ("," if len(jaxpr.outvars) == 1 else "")
    head = f"{{ lambda {consts}; {args}. let"
    one_line = f"{head} {'; '.join(eqns)} in ({outs})"
    if "\n" not in one_line and (not eqns or column + len(one_line) <= _WIDTH):
        return f"{one_line} }}"
    return "\n".join([head, *[_indent(eqn, 4) for eqn in eqns], f"  in ({outs}) }}"])


def _format_equation(eqn: Equation, names: _Names, column: int) -> str:
    outs = " ".join(map(names.binding, eqn.outvars))
    operands = " ".join(map(names.atom, eqn.invars))
    name, params = eqn.primitive.shown(eqn.params)
    text = f"{f'{outs} = ' if outs else ''}{name}"
    return f"{text}{format_params(params, names, column)}{' ' if operands else ''}{operands}"


def format_params(params: dict[str, Any], names: _Names | None = None, column: int = 0) -> str:
    """The parameters in brackets, nothing if there are none."""
    shown = [(key, format_param(v, names, column + 3 + len(key))) for key, v in params.items()]
    parts = [f"{key}={text}" for key, text in shown if text != ""]
    if not parts:
        return ""
    one_line = "[" + " ".join(parts) + "]"
    if "\n" not in one_line and "{ lambda" not in one_line and len(one_line) <= _PARAMS_WIDTH:
        return one_line
    return "[\n" + "\n".join(_indent(part, 2) for part in parts) + "\n]"


def format_param(value: AnyValue, names: _Names | None = None, column: int = 0) -> str:
    if isinstance(value, Jaxpr):
        return format_jaxpr(value, names, column)
    if isinstance(value, tuple) and any(isinstance(item, Jaxpr) for item in value):
        # the items stand two columns right of the brackets, which the name of the parameter and "=" precede
        return "(\n" + "\n".join(_indent(format_param(item, names, column), 2) for item in value) + "\n)"
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
