"""A reader of FPCore (https://fpbench.org/spec/fpcore-2.0.html): expressions become functions, one operation a line.

What FPBench says of precisions is left out: all of a function runs in one dtype. `let`, `let*`, `if`, `while`, `while*`
and the operations of the expressions are read; others raise a KeyError.
"""

from __future__ import annotations

import itertools
import linecache
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mpmath
import numpy as np

import pullback.numpy as pnp

_TOKEN = re.compile(r'"[^"]*"|[()\[\]]|[^\s()\[\]"]+')
_BINARY = {
    "+": "pnp.add",
    "-": "pnp.subtract",
    "*": "pnp.multiply",
    "/": "pnp.divide",
    "pow": "pnp.power",
    "fmin": "pnp.minimum",
    "fmax": "pnp.maximum",
    "atan2": "pnp.arctan2",
    "hypot": "pnp.hypot",
}
_UNARY = {
    "-": "pnp.negative",
    "fabs": "pnp.abs",
    "asin": "pnp.arcsin",
    "acos": "pnp.arccos",
    "atan": "pnp.arctan",
    **{
        name: f"pnp.{name}"
        for name in ("sqrt", "exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "expm1", "log1p")
    },
}
_CONSTANTS = {"PI": math.pi, "E": math.e, "LN2": math.log(2)}
_COMPARISONS = {"<": "<", ">": ">", "<=": "<=", ">=": ">=", "==": "==", "!=": "!="}
_numbers = itertools.count()


class Core:
    """An FPCore: its name, the names of its arguments, its precondition and its body, nested lists of strings."""

    def __init__(self, form: list[Any]):
        _, arguments, *rest = form
        self.arguments = [a if isinstance(a, str) else a[-1] for a in arguments]
        self.properties: dict[str, Any] = {}
        while isinstance(rest[0], str) and rest[0].startswith(":"):
            self.properties[rest[0]] = rest[1]
            rest = rest[2:]
        (self.body,) = rest
        # what a loop counts to is drawn from the integers that it can count to
        self.counts = "while" in str(self.body)
        self.name: str = self.properties[":name"].strip('"')

    def function(self, dtype: Any) -> Callable[..., Any]:
        """The function of its arguments, whose source is generated: an operation is a line of its own."""
        writer = _Writer(dtype)
        result = writer.write(self.body, dict(zip(self.arguments, map(_safe, self.arguments), strict=True)))
        parameters = ", ".join(map(_safe, self.arguments))
        source = "\n".join([f"def f({parameters}):", *writer.lines, f"    return {result}", ""])
        filename = f"<fpcore {next(_numbers)} {self.name}>"
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        names: dict[str, Any] = {"pnp": pnp, "number": dtype}
        exec(compile(source, filename, "exec"), names)
        return names["f"]

    def allows(self, values: list[float]) -> bool:
        """Whether values fulfil the precondition."""
        condition = self.properties.get(":pre")
        return condition is None or _holds(condition, dict(zip(self.arguments, values, strict=True)))


def read(folder: Path) -> list[Core]:
    """The FPCores of all files in a folder."""
    cores = []
    for path in sorted(folder.glob("*.fpcore")):
        text = "\n".join(line.split(";")[0] for line in path.read_text().splitlines())
        tokens = iter(_TOKEN.findall(text))
        cores += [Core(_form(token, tokens)) for token in tokens]
    return cores


def _form(token: str, tokens: Iterator[str]) -> Any:
    if token not in "([":
        return token
    parts = []
    for token in tokens:
        if token in ")]":
            return parts
        parts.append(_form(token, tokens))
    raise ValueError("a bracket is not closed")


def _safe(name: str) -> str:
    return "v_" + re.sub(r"\W", "_", name)


class _Writer:
    """Writes the lines of a function."""

    def __init__(self, dtype: Any):
        self.dtype = dtype
        self.lines: list[str] = []
        self.indent = "    "

    def assign(self, expression: str) -> str:
        name = f"t{len(self.lines)}"
        self.lines.append(f"{self.indent}{name} = {expression}")
        return name

    def write(self, form: Any, names: dict[str, str]) -> str:
        """Write the lines that compute a form; returns the name of its value."""
        if isinstance(form, str):
            if form in names:
                return names[form]
            return f"number({_CONSTANTS.get(form, form)})"
        head, *rest = form
        if head == "!":
            return self.write(rest[-1], names)
        if head in ("let", "let*"):
            inner = dict(names)
            for name, value in rest[0]:
                inner[name] = self.write(value, inner if head == "let*" else names)
            return self.write(rest[1], inner)
        if head in ("while", "while*"):
            return self.loop(head, *rest, names)
        if head in _COMPARISONS:
            a, b = (self.write(part, names) for part in rest)
            return f"({a} {_COMPARISONS[head]} {b})"
        parts = [self.write(part, names) for part in rest]
        return self.assign(f"{(_UNARY if len(parts) == 1 else _BINARY)[head]}({', '.join(parts)})")

    def loop(self, head: str, condition: Any, bindings: list[Any], body: Any, names: dict[str, str]) -> str:
        inner = dict(names)
        for name, start, _ in bindings:
            value = self.write(start, inner if head == "while*" else names)
            inner[name] = self.assign(value)
        # the names that a loop binds are those of its condition and its steps
        self.lines.append(f"{self.indent}while True:")
        outer, self.indent = self.indent, self.indent + "    "
        self.lines.append(f"{self.indent}if not {self.write(condition, inner)}: break")
        if head == "while*":
            for name, _, step in bindings:
                self.lines.append(f"{self.indent}{inner[name]} = {self.write(step, inner)}")
        else:
            values = [self.write(step, inner) for _, _, step in bindings]
            targets = ", ".join(inner[name] for name, _, _ in bindings)
            self.lines.append(f"{self.indent}{targets} = {', '.join(values)}")
        self.indent = outer
        return self.write(body, inner)


def _holds(form: Any, values: dict[str, float]) -> bool:
    head, *rest = form
    if head == "and":
        return all(_holds(part, values) for part in rest)
    if head == "or":
        return any(_holds(part, values) for part in rest)
    numbers = [_value(part, values) for part in rest]
    compare = {
        "<": lambda a, b: a < b,
        ">": lambda a, b: a > b,
        "<=": lambda a, b: a <= b,
        ">=": lambda a, b: a >= b,
        "==": lambda a, b: a == b,
        "!=": lambda a, b: a != b,
    }[head]
    pairs = itertools.combinations(numbers, 2) if head == "!=" else itertools.pairwise(numbers)
    return all(compare(a, b) for a, b in pairs)


def _value(form: Any, values: dict[str, float]) -> Any:
    if isinstance(form, str):
        return mpmath.mpf(float(values[form]) if form in values else form)
    head, *rest = form
    a, b = (_value(part, values) for part in rest)
    return a * b if head == "*" else a + b if head == "+" else a - b if head == "-" else a / b


def sample(core: Core, dtype: Any, count: int, rng: np.random.Generator) -> Iterator[list[Any]]:
    """Arguments that the precondition allows, uniform over the bit patterns of finite numbers, as Herbie draws them."""
    bits = np.uint32 if dtype == np.float32 else np.uint64
    found = 0
    for _ in range(200 * count):
        if core.counts:
            values = [dtype(n) for n in rng.integers(2, 25, len(core.arguments))]
        else:
            drawn = rng.integers(0, np.iinfo(bits).max, len(core.arguments), dtype=bits, endpoint=True)
            values = list(drawn.view(dtype))
        if np.isfinite(values).all() and core.allows(values):
            yield values
            found += 1
            if found == count:
                return
