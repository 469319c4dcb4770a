"""Shapes with variables: how they are written, and the scopes of their variables."""

from __future__ import annotations

import ast
import operator
from collections.abc import Sequence
from typing import Any

import pullback._ops.dimensions  # noqa: F401, which makes arrays of dimensions
from pullback._core.dimensions import Atom, Dimension, Scope, max_dim, min_dim, terms_of, variable
from pullback._core.errors import boundary, described
from pullback._core.tree import tree_flatten
from pullback._core.tree_paths import broadcast_prefix
from pullback._core.types import ShapeDtypeStruct
from pullback._core.typing import AnyValue, PyTree

# bounds of what a file may ask for
_LONGEST_TEXT, _HIGHEST, _MOST_TERMS, _LARGEST = 1000, 64, 50, 2**63
_OPERATORS: dict[type, Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_FUNCTIONS: dict[str, Any] = {
    "floordiv": operator.floordiv,
    "mod": operator.mod,
    "max": max_dim,
    "min": min_dim,
}


class SymbolicScope(Scope):
    """The scope of variables of shapes: dimensions that meet in a function belong to one.

    Args:
      constraints_str: what is known of the variables, beyond that each is at least 1: texts `"e1 >= e2"`, `"e1 <= e2"`
        or `"e1 == e2"`, where `e1` of an equality is one variable or one operation.

    ValueError for other texts.

    >>> from pullback import export
    >>> scope = export.SymbolicScope(["a >= b", "mod(a, 2) == 0"])
    >>> a, b = export.symbolic_shape("a, b", scope=scope)
    >>> a >= b, a % 2
    (True, 0)
    """

    def __init__(self, constraints_str: Sequence[str] = ()):
        super().__init__()
        if isinstance(constraints_str, str):
            raise ValueError(f"SymbolicScope: constraints must be a sequence of texts, got {constraints_str!r}")
        for text in constraints_str:
            self._add(text)

    def _add(self, text: str) -> None:
        node = _expression(text, "a constraint")
        if not isinstance(node, ast.Compare) or len(node.ops) != 1:
            raise ValueError(f'SymbolicScope: expected a constraint "e1 >= e2", "e1 <= e2" or "e1 == e2", got {text!r}')
        left, right = [_value(part, self, text) for part in (node.left, node.comparators[0])]
        kind = type(node.ops[0])
        self.constraints.append(text)
        if kind is ast.GtE:
            self._add_positive(left - right, text)
        elif kind is ast.LtE:
            self._add_positive(right - left, text)
        elif kind is ast.Eq:
            self._add_positive(left - right, text)
            self._add_positive(right - left, text)
            terms = terms_of(left)
            if len(terms) != 1 or set(terms.values()) != {1} or () in terms:
                raise ValueError(
                    f"SymbolicScope: the left of the equality {text!r} must be one variable or one operation"
                )
            (product,) = terms
            self._add_whole_multiple(product[0][0], right)
            self.equal[product] = right
        else:
            raise ValueError(f'SymbolicScope: expected a constraint "e1 >= e2", "e1 <= e2" or "e1 == e2", got {text!r}')

    def _add_positive(self, d: AnyValue, text: str) -> None:
        if isinstance(d, Dimension):
            self.positive.append(d)
        elif d < 0:
            raise ValueError(f"SymbolicScope: the constraint {text!r} holds for no values of the variables")

    def _add_whole_multiple(self, atom: Atom, rest: AnyValue) -> None:
        """Of `mod(a, k) == rest` also that `k * floordiv(a, k) + rest` is `a`."""
        if atom.kind == "mod":
            a, k = atom.args
            difference = a - k * (a // k) - rest
            self.positive += [d for d in (difference, -difference) if isinstance(d, Dimension)]


def _expression(text: str, what: str) -> ast.expr:
    if not isinstance(text, str) or len(text) > _LONGEST_TEXT:
        raise ValueError(f"{what} must be a text of at most {_LONGEST_TEXT} characters, got {described(text)}")
    try:
        return ast.parse(text.strip().replace("^", "**"), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"{what} {text!r} is no expression: write such as 'b, 2*n + 1, floordiv(m, 2)'") from None


def _value(node: ast.expr, scope: Scope, text: str) -> Any:
    """The dimension of an expression, an int where it is constant."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return _bounded(node.value, text)
    if isinstance(node, ast.Name):
        return variable(node.id, scope)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, scope, text)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        power = node.right
        if isinstance(power, ast.Constant) and type(power.value) is int and 0 <= power.value <= _HIGHEST:
            base, value = _value(node.left, scope, text), 1
            for _ in range(power.value):
                value = _bounded(value * base, text)
            return value
    elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _value(node.left, scope, text), _value(node.right, scope, text)
        return _bounded(_OPERATORS[type(node.op)](left, right), text)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) == 2 and not node.keywords:
        if node.func.id in _FUNCTIONS:
            return _bounded(_FUNCTIONS[node.func.id](*[_value(arg, scope, text) for arg in node.args]), text)
    raise ValueError(
        f"the shape {text!r} has a part that is no dimension, {ast.unparse(node)!r}: a dimension is made of integers, "
        "variables, +, -, *, floordiv(a, b), mod(a, b), max(a, b) and min(a, b)"
    )


def _bounded(d: Any, text: str) -> Any:
    terms = terms_of(d)
    degree = max((sum(power for _, power in product) for product in terms), default=0)
    if len(terms) > _MOST_TERMS or degree > _HIGHEST or any(abs(c) >= _LARGEST for c in terms.values()):
        raise ValueError(f"the shape {text!r:.80} has more than {_MOST_TERMS} terms, a high power or a large number")
    return d


def dimension_of_text(text: str, scope: Scope) -> Dimension | int:
    """The dimension that a text says. ValueError for others."""
    try:
        return _value(_expression(text, "the dimension"), scope, text)
    except (RecursionError, ZeroDivisionError) as error:
        raise ValueError(f"the dimension {text!r}: {error}") from None


def is_symbolic_dim(p: object) -> bool:
    """Whether an entry of a shape has variables. Raises nothing.

    >>> from pullback import export
    >>> [export.is_symbolic_dim(d) for d in export.symbolic_shape("b, 4")]
    [True, False]
    """
    return isinstance(p, Dimension)


@boundary
def symbolic_shape(
    shape_spec: str | None,
    *,
    constraints: Sequence[str] = (),
    scope: SymbolicScope | None = None,
    like: Sequence[int | None] | None = None,
) -> tuple[Any, ...]:
    """A shape with variables, for `ShapeDtypeStruct` and `export`.

    Args:
      shape_spec: dimensions separated by commas: integers, names of variables, `e1 + e2`, `e1 - e2`, `e1 * e2`,
        `floordiv(e1, e2)`, `mod(e1, e2)`, `max(e1, e2)` and `min(e1, e2)`. A variable is at least 1. "_" is the
        dimension of `like` there, and a "..." at the end the rest of them; None stands for "...".
      constraints: what is known of the variables, see `SymbolicScope`.
      scope: the scope of the variables, in place of a new one with `constraints`.
      like: a shape.

    Returns: a tuple of ints and dimensions. ValueError for a text that says none, and for `scope` with `constraints`.

    >>> from pullback import export
    >>> b, size = export.symbolic_shape("b, 2*n")
    >>> b * size, (b * size) // b, b + 1 > 0
    (2*b*n, 2*n, True)
    >>> export.symbolic_shape("b, ...", like=(2, 3, 4))
    (b, 3, 4)
    """
    if scope is not None and constraints:
        raise ValueError("symbolic_shape: constraints belong to a scope: pass them to SymbolicScope(constraints)")
    where = SymbolicScope(constraints) if scope is None else scope
    text = "..." if shape_spec is None else shape_spec
    if isinstance(text, str) and not text.strip(" (),"):
        return ()
    node = _expression(text, "symbolic_shape: the shape")
    parts = list(node.elts) if isinstance(node, ast.Tuple) else [node]
    if parts and isinstance(parts[-1], ast.Constant) and parts[-1].value is Ellipsis:
        given = parts[:-1]
        if like is None or len(like) < len(given):
            raise ValueError(
                f"symbolic_shape: {text!r} has '...', which stands for the rest of a shape: got like={like}"
            )
        rest = list(like[len(given) :])
    else:
        given, rest = parts, []
        if like is not None and len(like) != len(given):
            raise ValueError(
                f"symbolic_shape: {text!r} has {len(given)} dimensions, but like={tuple(like)} has {len(like)}"
            )
    dims = [*(_entry(part, where, text, like, i) for i, part in enumerate(given)), *rest]
    if None in dims:
        raise ValueError(f"symbolic_shape: {text!r} takes a dimension of like={like} that is None")
    return tuple(dims)


def _entry(node: ast.expr, scope: Scope, text: str, like: Sequence[int | None] | None, i: int) -> Any:
    if isinstance(node, ast.Name) and node.id == "_":
        if like is None:
            raise ValueError(
                f"symbolic_shape: {text!r} has '_', which stands for a dimension of like, but like is None"
            )
        return like[i]
    d = _value(node, scope, text)
    if like is not None and type(d) is int and like[i] is not None and d != like[i]:
        raise ValueError(f"symbolic_shape: dimension {i} of {text!r} is {d}, but that of like is {like[i]}")
    return d


@boundary
def symbolic_args_specs(
    args: PyTree, shapes_specs: PyTree, constraints: Sequence[str] = (), scope: SymbolicScope | None = None
) -> PyTree:
    """`ShapeDtypeStruct`s of arguments with the shapes that texts say, in one scope, for `export`.

    Args:
      args: a pytree of arrays or `ShapeDtypeStruct`s: their structure, dtypes, and the dimensions that "_" and "..."
        stand for.
      shapes_specs: a text as of `symbolic_shape`, for all, or a pytree of such texts that `args` begins with; None for
        shapes as they are.
      constraints, scope: as of `symbolic_shape`.

    ValueError as of `symbolic_shape`, and for a `shapes_specs` of another structure.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> from pullback import export
    >>> export.symbolic_args_specs((pnp.zeros((2, 3)), pnp.zeros(2)), ("b, ...", "b"))
    (ShapeDtypeStruct(shape=(b, 3), dtype=float32), ShapeDtypeStruct(shape=(b,), dtype=float32))
    """
    if scope is not None and constraints:
        raise ValueError("symbolic_args_specs: constraints belong to a scope: pass them to SymbolicScope(constraints)")
    where = SymbolicScope(constraints) if scope is None else scope
    leaves, tree = tree_flatten(args)
    specs = broadcast_prefix(shapes_specs, args, is_leaf=lambda x: x is None)
    structs = []
    for leaf, spec in zip(leaves, specs, strict=True):
        struct = ShapeDtypeStruct.like(leaf)
        structs.append(struct.update(shape=symbolic_shape(spec, scope=where, like=struct.shape), weak_type=False))
    return tree.unflatten(structs)


__all__ = ["SymbolicScope", "is_symbolic_dim", "symbolic_args_specs", "symbolic_shape"]
