"""A user's function and rules, on pytrees, as the flat call that `custom_rules` works with; and the checks of rules.

Every check names the rule and its definition, the argument or leaf by path, what was expected, what came.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.arguments import argument_path, flatten_result
from pullback._core.array import Array, is_array_like, lift
from pullback._core.errors import RuleError, describe_function
from pullback._core.tree import PyTreeDef, tree_flatten, tree_unflatten
from pullback._core.tree_paths import equality_errors, keystr, tree_flatten_with_path, tree_map
from pullback._core.types import ShapedArray, matches
from pullback._core.zeros import Zero, zero_of
from pullback._ops.shape import convert_element_type, full, zeros_like_aval

_FLOAT = np.dtype(np.float32)


class FlatCall:
    """One call of a decorated function: the function and its rules on the leaves of its differentiable arguments.

    `carrier` is the decorated function, with `fun`, `jvp_rule`, `fwd_rule`, `bwd_rule`; `fixed` holds the arguments at
    the `nondiff` positions of `count`.
    """

    __slots__ = ("carrier", "in_tree", "fixed", "nondiff", "count", "out_tree", "out_avals", "jvp", "fwd", "bwd",
                 "forward")

    def __init__(self, carrier: Any, in_tree: PyTreeDef, fixed: Sequence[Any], nondiff: Sequence[int], count: int):
        self.carrier = carrier
        self.in_tree = in_tree
        self.fixed = fixed
        self.nondiff = nondiff
        self.count = count
        self.out_tree: Any = None
        self.out_avals: list[ShapedArray] | None = None
        self.jvp = self._jvp if carrier.jvp_rule is not None else None
        self.fwd = self._fwd if carrier.fwd_rule is not None else None
        self.bwd = self._bwd if carrier.bwd_rule is not None else None
        self.forward = carrier.forward

    captured = 0

    @property
    def name(self) -> str:
        return self.carrier.__name__

    @property
    def label(self) -> str:
        return f"{type(self.carrier).__name__} function {describe_function(self.carrier.fun)}"

    def __str__(self):
        return self.name

    def arguments(self, leaves: Sequence[Any]) -> Sequence[Any]:
        """All positional arguments of the user's function, from the leaves of the differentiable ones."""
        dynamic = tree_unflatten(self.in_tree, leaves)
        if not self.nondiff:
            return dynamic
        fixed, rest = iter(self.fixed), iter(dynamic)
        return [next(fixed) if i in self.nondiff else next(rest) for i in range(self.count)]

    def position(self, i: int) -> int:
        """The position in the user's signature of the `i`-th differentiable argument."""
        return [p for p in range(self.count) if p not in self.nondiff][i]

    def fun(self, *leaves):
        outs, self.out_tree = flatten_result(type(self.carrier).__name__, self.carrier.fun,
                                             self.carrier.fun(*self.arguments(leaves)))
        self.out_avals = [out.aval for out in outs]
        return outs

    def check_primals(self, label: Callable[[], str], value: Any, outs: Sequence[Array], tree: PyTreeDef) -> None:
        """Refuse a rule's primal output that differs from what the function returned, where the function has run."""
        if self.out_avals is None:
            return
        if tree != self.out_tree:
            path, expected, got = _first_difference(tree_unflatten(self.out_tree, [0.] * len(self.out_avals)), value)
            raise RuleError(f"{label()} must return a primal output with the structure of the function's result, but "
                            f"at {path} expected {expected}, got {got}")
        for i, (out, aval) in enumerate(zip(outs, self.out_avals, strict=True)):
            if not matches(aval, out.aval):
                where = keystr(tree_flatten_with_path(value)[0][i][0])
                raise RuleError(f"{label()}: the primal output{' at ' + where if where else ''} must be what the "
                                f"function returns: expected {aval.str_short()}, got {out.aval.str_short()}")

    # --- the jvp rule ---

    def jvp_label(self) -> str:
        """The jvp rule in words."""
        return f"the jvp rule {describe_function(self.carrier.jvp_rule)} of {self.label}"

    def _jvp(self, primals, tangents):
        rule = self.carrier.jvp_rule
        given = [_zeros_for_user(t.aval) if type(t) is Zero else t for t in tangents]
        result = rule(*self.fixed, tree_unflatten(self.in_tree, primals), tree_unflatten(self.in_tree, given))
        primal_out, tangent_out = check_pair(self.jvp_label, result, "(primal_out, tangent_out)")
        outs, out_tree = _leaves(self.jvp_label, "primal output", primal_out)
        self.check_primals(self.jvp_label, primal_out, outs, out_tree)
        dots, dot_tree = tree_flatten(tangent_out)
        if out_tree != dot_tree:
            path, expected, got = _first_difference(primal_out, tangent_out)
            raise RuleError(f"{self.jvp_label()} must return a tangent output with the structure of the primal output, "
                            f"but at {path} expected {expected}, got {got}. Return a tangent for each primal result.")
        touts = [_check_tangent(dot, out, self.jvp_label, "tangent output", tangent_out, i)
                 for i, (out, dot) in enumerate(zip(outs, dots, strict=True))]
        self.out_tree = out_tree
        return outs, touts

    # --- the vjp rule ---

    def _fwd(self, *primals):
        rule = self.carrier.fwd_rule

        def label():
            return f"the fwd rule {describe_function(rule)} of {self.label}"

        result = rule(*self.arguments(primals))
        primal_out, residuals = check_pair(label, result, "(primal_out, residuals)")
        outs, out_tree = _leaves(label, "primal output", primal_out)
        self.check_primals(label, primal_out, outs, out_tree)
        self.out_tree = out_tree
        leaves, tree = tree_flatten(residuals)
        arrays, static = [], []
        for leaf in leaves:
            if is_array_like(leaf):
                arrays.append(lift(leaf))
                static.append(_ARRAY)
            else:
                static.append(leaf)
        avals = [lift(p).aval for p in primals]
        return outs, arrays, (tree, static, self.out_tree, avals)

    def _bwd(self, static, residuals, cts):
        tree, pattern, out_tree, in_avals = static
        rule = self.carrier.bwd_rule
        arrays = iter(residuals)
        saved = tree_unflatten(tree, [next(arrays) if leaf is _ARRAY else leaf for leaf in pattern])
        given = tree_unflatten(out_tree, [_zeros_for_user(ct.aval) if type(ct) is Zero else ct for ct in cts])
        result = rule(*self.fixed, saved, given)
        return self._check_cotangents(result, in_avals)

    def bwd_label(self) -> str:
        """The bwd rule in words."""
        return f"the bwd rule {describe_function(self.carrier.bwd_rule)} of {self.label}"

    def _check_cotangents(self, result: Any, in_avals: Sequence[ShapedArray]) -> list[Any]:
        children = self.in_tree.children()
        if not isinstance(result, (tuple, list)):
            advice = " For one argument that is a tuple of length 1: return (ct,)." if len(children) == 1 else ""
            raise RuleError(f"{self.bwd_label()} must return a tuple with a cotangent for each of the {len(children)} "
                            f"differentiable arguments, got {_describe(result)}.{advice}")
        if len(result) != len(children):
            raise RuleError(f"{self.bwd_label()} must return a cotangent for each of the {len(children)} "
                            f"differentiable arguments, got {len(result)}. Use None for an argument whose "
                            "cotangent is zero.")
        flat: list[Any] = []
        n = 0
        for i, (ct, child) in enumerate(zip(result, children, strict=True)):
            avals = in_avals[n:n + child.num_leaves]
            n += child.num_leaves

            def place(i=i):
                return f"{self.bwd_label()}, cotangent of {argument_path(self.carrier.fun, self.position(i))}"

            flat += _argument_cotangents(place, ct, child, avals)
        return flat


_ARRAY = object()


def _describe(x: Any) -> str:
    if is_array_like(x):
        return f"an array of type {lift(x).aval.str_short()}"
    return f"{x!r} of type {type(x).__name__}"


def check_pair(label: Callable[[], str], result: Any, expected: str) -> tuple[Any, Any]:
    """Refuse what is not a pair."""
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        got = f"a {type(result).__name__} of length {len(result)}" if isinstance(result, (tuple, list)) \
            else _describe(result)
        raise RuleError(f"{label()} must return a pair {expected}, got {got}")
    return result[0], result[1]


def _leaves(label: Callable[[], str], part: str, value: Any) -> tuple[list[Array], PyTreeDef]:
    leaves, tree = tree_flatten(value)
    try:
        return [lift(x) for x in leaves], tree
    except TypeError:
        for path, leaf in tree_flatten_with_path(value)[0]:
            if not is_array_like(leaf):
                raise RuleError(f"{label()}: the {part} must hold arrays, but at {keystr(path) or 'the top'} it holds "
                                f"{_describe(leaf)}") from None
        raise


def _first_difference(expected: Any, got: Any) -> tuple[str, str, str]:
    for path, what1, what2, _ in equality_errors(expected, got):
        return keystr(path) or "the top", what1, what2
    return "the top", "one structure", "another"


def _zeros_for_user(aval: ShapedArray) -> Array:
    # a value without derivative gets zeros that can be computed with, not the empty dtype
    if aval.dtype == dtypes.float0:
        return full(aval.shape, 0, _FLOAT)
    return zeros_like_aval(aval)


def _check_tangent(t: Any, primal: Array, label: Callable[[], str], part: str, tree: Any, i: int) -> Any:
    """A rule's tangent (or cotangent) of `primal`, checked; a weak scalar takes the dtype that is expected."""

    def place():
        path = keystr(tree_flatten_with_path(tree)[0][i][0])
        return f"{label()}: the {part}{' at ' + path if path else ''}"

    return fit_tangent(t, primal.aval, place)


def fit_tangent(t: Any, primal: ShapedArray, place: Callable[[], str]) -> Any:
    """A tangent for a value of type `primal`; RuleError where the type is another."""
    if type(t) is Zero:
        return zero_of(primal)
    expected = primal.to_tangent_aval()
    if isinstance(t, Array) and t.aval is expected:
        return t
    if expected.dtype == dtypes.float0:
        return zero_of(primal)
    if not is_array_like(t):
        raise RuleError(f"{place()} must be an array of type {expected.str_short()}, got {_describe(t)}")
    t = lift(t)
    if t.aval.dtype != expected.dtype and t.aval.weak_type and (
            not dtypes.is_complex(t.aval.dtype) or dtypes.is_complex(expected.dtype)):
        t = convert_element_type(t, expected.dtype, True)
    if t.aval.dtype != expected.dtype or t.aval.shape != expected.shape:
        raise RuleError(f"{place()} must have the shape and dtype of its primal value: expected "
                        f"{expected.str_short()}, got {t.aval.str_short()}")
    return t


def _argument_cotangents(place: Callable[[], str], ct: Any, tree: PyTreeDef, avals: Sequence[ShapedArray]) -> list[Any]:
    leaves, got = tree_flatten(ct, _is_none)
    if got != tree:
        dummy = tree_unflatten(tree, [0.] * tree.num_leaves)
        try:
            leaves = _spread_none(ct, dummy)
        except ValueError:
            path, expected, what = _first_difference(dummy, ct)
            raise RuleError(f"{place()} must have the structure of the argument, but at {path} expected {expected}, "
                            f"got {what}. Use None for a zero cotangent.") from None
    flat: list[Any] = []
    for i, (leaf, aval) in enumerate(zip(leaves, avals, strict=True)):
        if leaf is None:
            flat.append(None)
            continue

        def where(i=i):
            path = keystr(tree_flatten_with_path(tree_unflatten(tree, [0.] * tree.num_leaves))[0][i][0])
            return f"{place()}{', leaf ' + path if path else ''}"

        fitted = fit_tangent(leaf, aval, where)
        flat.append(None if type(fitted) is Zero else fitted)
    return flat


def _is_none(x: Any) -> bool:
    return x is None


def _spread_none(ct: Any, dummy: Any) -> list[Any]:
    """The leaves of a cotangent in which a None may stand for a whole subtree; ValueError where it does not fit."""
    leaves: list[Any] = []

    def place(part, expected):
        if part is not None and type(expected) is not float:
            raise ValueError
        leaves.extend([part] * len(tree_flatten(expected)[0]))

    tree_map(place, ct, dummy, is_leaf=_is_none)
    return leaves
