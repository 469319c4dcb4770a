"""From the sizes of arrays to the values of the variables in their shapes."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pullback._core.dimensions import Atom, Dimension, max_dim, min_dim, of_terms
from pullback._core.typing import AnyValue


def evaluated(d: AnyValue, values: Mapping[str, Any]) -> Any:
    """A dimension with values, numbers or other dimensions, for its variables. KeyError for one that has none."""
    if not isinstance(d, Dimension):
        return d
    total: Any = 0
    for product, factor in d.terms.items():
        part: Any = factor
        for atom, power in product:
            part = part * _atom_value(atom, values) ** power
        total = total + part
    return total


def _atom_value(atom: Atom, values: Mapping[str, Any]) -> Any:
    if atom.kind == "var":
        return values[atom.args[0]]
    a, b = [evaluated(arg, values) for arg in atom.args]
    return {"max": max_dim, "min": min_dim, "floordiv": operator.floordiv, "mod": operator.mod}[atom.kind](a, b)


def variables(d: AnyValue) -> list[str]:
    """The names of the variables of a dimension, each once."""
    names: list[str] = []
    for product in d.terms if isinstance(d, Dimension) else ():
        for atom, _ in product:
            names += [atom.args[0]] if atom.kind == "var" else [n for arg in atom.args for n in variables(arg)]
    return list(dict.fromkeys(names))


class Unsolved(ValueError):
    """The values of variables do not follow from sizes.

    >>> issubclass(Unsolved, ValueError)
    True
    """


class Step(NamedTuple):
    """How a variable follows from the size of an axis of a shape: subtract `rest`, and divide by `factor`."""

    name: str
    shape: int
    axis: int
    rest: Any
    factor: int


def steps_to_solve(shapes: Sequence[tuple[Any, ...]]) -> list[Step]:
    """How the variables follow from sizes, in order. Unsolved, naming them, for variables that do not."""
    given = [(i, axis, d) for i, shape in enumerate(shapes) for axis, d in enumerate(shape) if isinstance(d, Dimension)]
    wanted = list(dict.fromkeys([name for _, _, d in given for name in variables(d)]))
    steps: list[Step] = []
    known: set[str] = set()
    while found := next((step for i, axis, d in given if (step := _step(i, axis, d, known)) is not None), None):
        steps.append(found)
        known.add(found.name)
    if missing := [name for name in wanted if name not in known]:
        listed = ", ".join(str(d) for _, _, d in given)
        raise Unsolved(
            f"the values of {', '.join(missing)} do not follow from sizes {listed}: have each variable, or a multiple "
            "of it plus what is known, be the size of an axis of an argument"
        )
    return steps


def _step(i: int, axis: int, d: Dimension, known: set[str]) -> Step | None:
    """The step that gives the one unknown variable of a dimension which is linear in it."""
    unknown = [name for name in variables(d) if name not in known]
    if len(unknown) != 1:
        return None
    product = ((Atom("var", (unknown[0],)), 1),)
    factor = d.terms.get(product)
    rest = of_terms({p: c for p, c in d.terms.items() if p != product}, d.scope)
    if factor is None or unknown[0] in variables(rest):
        return None
    return Step(unknown[0], i, axis, rest, factor)


def solved(
    shapes: Sequence[tuple[Any, ...]], sizes: Sequence[tuple[Any, ...]], where: Callable[[int], str]
) -> dict[str, Any]:
    """The values of the variables of shapes at sizes. ValueError, naming the place `where(i)`, for sizes that do not
    fit.
    """
    values: dict[str, Any] = {}
    for name, i, axis, rest, factor in steps_to_solve(shapes):
        size = sizes[i][axis]
        found, left = divmod(size - evaluated(rest, values), factor)
        if left != 0 or not found >= 1:
            raise ValueError(
                f"{where(i)} must have the size {shapes[i][axis]} along axis {axis}, got {size}, for which there is no "
                f"{name} from 1 on{_said(values)}"
            )
        values[name] = found
    for i, (shape, got) in enumerate(zip(shapes, sizes, strict=True)):
        for axis, (d, size) in enumerate(zip(shape, got, strict=True)):
            if (expected := evaluated(d, values)) != size:
                raise ValueError(
                    f"{where(i)} must have the size {d} along axis {axis}, which is {expected}{_said(values)}, got "
                    f"{size}"
                )
    _check_constraints(shapes, values)
    return values


def _said(values: Mapping[str, Any]) -> str:
    return " where " + ", ".join(f"{name} = {value}" for name, value in values.items()) if values else ""


def _check_constraints(shapes: Sequence[tuple[Any, ...]], values: Mapping[str, Any]) -> None:
    scope = next((d.scope for shape in shapes for d in shape if isinstance(d, Dimension)), None)
    for d in () if scope is None else scope.positive:
        if set(variables(d)) <= set(values) and not evaluated(d, values) >= 0:
            raise ValueError(f"the sizes break a constraint of the shapes, {d} >= 0{_said(values)}; {scope}")
