"""Sharding rules of operations, for XLA's partitioner: which axes of operands and results belong together.

A rule gives each axis of each value a factor, or several to an axis that is their product (a compound factor). Axes
with one factor are divided alike. A rule is written as in `einops`: `"batch i, i j -> batch j"`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

BATCHING = "…"
"""Stands for leading axes, as many as there are; a number after it tells groups of such axes apart."""


class CompoundFactor(tuple):
    """The factors of one axis, from the slowest varying to the fastest; `CompoundFactor("i", "j")`.

    ValueError for less than two, TypeError for anything but names.

    >>> CompoundFactor("i", "j")
    ('i', 'j')
    """

    def __new__(cls, *factors: str) -> CompoundFactor:
        if len(factors) < 2:
            raise ValueError(f"CompoundFactor: expected two factors or more, got {factors}")
        for factor in factors:
            _check_name("CompoundFactor", factor)
        return super().__new__(cls, factors)


class ArrayMapping(tuple):
    """The factors of the axes of one value: names, `CompoundFactor`s, and `BATCHING` in front.

    ValueError for `BATCHING` elsewhere and for names that are none, TypeError for other things.

    >>> ArrayMapping(BATCHING, "i", CompoundFactor("j", "k"))
    ('…', 'i', ('j', 'k'))
    """

    def __new__(cls, *axes: str | CompoundFactor) -> ArrayMapping:
        for i, axis in enumerate(axes):
            if isinstance(axis, CompoundFactor):
                continue
            if isinstance(axis, str) and axis.startswith(BATCHING):
                if i:
                    raise ValueError(f"ArrayMapping: '...' must come before all other axes, got {axes}")
                if axis != BATCHING and not axis[len(BATCHING) :].isdecimal():
                    raise ValueError(f"ArrayMapping: '...' is followed by a number or by nothing, got {axis!r}")
                continue
            _check_name("ArrayMapping", axis)
        return super().__new__(cls, axes)

    @property
    def factors(self) -> Iterator[str]:
        """The names of the factors, without groups of leading axes."""
        for axis in self:
            if isinstance(axis, CompoundFactor):
                yield from axis
            elif not axis.startswith(BATCHING):
                yield axis


def _check_name(where: str, name: Any) -> None:
    if not isinstance(name, str):
        raise TypeError(f"{where}: expected the name of a factor, a string, got {name!r}")
    if not re.fullmatch(r"[A-Za-z]\w*", name):
        raise ValueError(f"{where}: the name of a factor begins with a letter, got {name!r}")


class SdyShardingRule:
    """A rule: the mappings of operands and results, the sizes of factors that are parts of axes only, and properties.

    Args:
      operand_mappings, result_mappings: an `ArrayMapping` for each operand and result.
      reduction_factors: factors of operands alone that the operation sums over, so that its result is to be summed over
        the devices that have parts of them.
      need_replication_factors: factors that must not be divided.
      permutation_factors: factors whose parts are exchanged among devices.
      factor_sizes: the sizes of factors that occur in compound factors alone, by name.

    Raises: ValueError for factors that do not occur, and for sizes of those that are whole axes.

    >>> SdyShardingRule((ArrayMapping("i", "j"),), (ArrayMapping("j", "i"),)).text([(2, 3)], [(3, 2)])
    '#sdy.op_sharding_rule<([i, j])->([j, i]) {i=2, j=3}, custom>'
    """

    def __init__(
        self,
        operand_mappings: Sequence[ArrayMapping],
        result_mappings: Sequence[ArrayMapping],
        reduction_factors: Sequence[str] = (),
        need_replication_factors: Sequence[str] = (),
        permutation_factors: Sequence[str] = (),
        **factor_sizes: int,
    ):
        self.operand_mappings: tuple[ArrayMapping, ...] = tuple(operand_mappings)
        self.result_mappings: tuple[ArrayMapping, ...] = tuple(result_mappings)
        self.reduction_factors: tuple[str, ...] = tuple(reduction_factors)
        self.need_replication_factors: tuple[str, ...] = tuple(need_replication_factors)
        self.permutation_factors: tuple[str, ...] = tuple(permutation_factors)
        self.factor_sizes: dict[str, int] = dict(factor_sizes)
        mappings = (*self.operand_mappings, *self.result_mappings)
        for mapping in mappings:
            if not isinstance(mapping, ArrayMapping):
                raise TypeError(f"SdyShardingRule: expected an ArrayMapping for each value, got {mapping!r}")
        used = {factor for mapping in mappings for factor in mapping.factors}
        whole = {axis for mapping in mappings for axis in mapping if not isinstance(axis, CompoundFactor)}
        for name, size in self.factor_sizes.items():
            if name not in used:
                raise ValueError(
                    f"SdyShardingRule: there is no factor {name!r} in the rule, but it is given the size {size}"
                )
            if name in whole:
                raise ValueError(
                    f"SdyShardingRule: the factor {name!r} is a whole axis, whose size is known: leave it out"
                )
        for what, names in self._properties():
            missing = [name for name in names if name not in used]
            if missing:
                raise ValueError(f"SdyShardingRule: {what}: there is no factor {missing[0]!r} in the rule")
        results = {factor for mapping in self.result_mappings for factor in mapping.factors}
        kept = [name for name in self.reduction_factors if name in results]
        if kept:
            raise ValueError(
                f"SdyShardingRule: reduction_factors: the results have an axis {kept[0]!r}: it is not summed over"
            )

    def _properties(self) -> Iterable[tuple[str, tuple[str, ...]]]:
        return (
            ("reduction_factors", self.reduction_factors),
            ("need_replication_factors", self.need_replication_factors),
            ("permutation_factors", self.permutation_factors),
        )

    def __repr__(self) -> str:
        more = "".join(f" {what}={names}" for what, names in self._properties() if names)
        return f"SdyShardingRule({self.operand_mappings}, {self.result_mappings}, {self.factor_sizes}{more})"

    def text(self, operands: Sequence[tuple[int, ...]], results: Sequence[tuple[int, ...]]) -> str:
        """The rule as an attribute of an operation on values of these shapes; ValueError if it does not fit them."""
        sizes = dict(self.factor_sizes)
        groups: dict[str, int] = {}
        values = []
        for kind, mappings, shapes in (
            ("operand", self.operand_mappings, operands),
            ("result", self.result_mappings, results),
        ):
            if len(mappings) != len(shapes):
                raise ValueError(
                    f"the sharding rule has {len(mappings)} {kind}s, but the function has {len(shapes)}: {self}"
                )
            for i, (mapping, shape) in enumerate(zip(mappings, shapes, strict=True)):
                values.append((f"{kind} {i}", _expanded(f"{kind} {i}", mapping, shape, groups), shape))
        for _, axes, shape in values:
            for axis, size in zip(axes, shape, strict=True):
                if isinstance(axis, str):
                    sizes.setdefault(axis, size)
        for where, axes, shape in values:
            for axis, size in zip(axes, shape, strict=True):
                if isinstance(axis, CompoundFactor):
                    _settle(where, axis, size, sizes)
        symbols: dict[str, str] = {}
        for _, axes, _ in values:
            for axis in axes:
                for factor in (axis,) if isinstance(axis, str) else axis:
                    symbols.setdefault(factor, _symbol(len(symbols)))
        texts = [
            "["
            + ", ".join("".join(symbols[f] for f in ((axis,) if isinstance(axis, str) else axis)) for axis in axes)
            + "]"
            for _, axes, _ in values
        ]
        n = len(operands)
        counts = ", ".join(f"{symbol}={sizes[factor]}" for factor, symbol in symbols.items())
        more = "".join(
            f" {what.removesuffix('_factors')}={{{', '.join(sorted((symbols[name] for name in names), key=_order))}}}"
            for what, names in self._properties()
            if names
        )
        return f"#sdy.op_sharding_rule<({', '.join(texts[:n])})->({', '.join(texts[n:])}) {{{counts}}}{more}, custom>"


def _expanded(where: str, mapping: ArrayMapping, shape: tuple[int, ...], groups: dict[str, int]) -> list[Any]:
    """The factors of each axis, those of a group of leading axes with names of their own."""
    group = mapping[0] if mapping and isinstance(mapping[0], str) and mapping[0].startswith(BATCHING) else None
    rest = list(mapping if group is None else mapping[1:])
    leading = len(shape) - len(rest)
    if leading < 0 or (leading and group is None):
        raise ValueError(f"the sharding rule has {len(rest)} axes for {where}, which has shape {shape}")
    if group is None:
        return rest
    if groups.setdefault(group, leading) != leading:
        raise ValueError(
            f"the sharding rule says that {where}, of shape {shape}, has as many leading axes as the values before, "
            f"{groups[group]}, but it has {leading}"
        )
    return [*[f"{group} {i}" for i in range(leading)], *rest]


def _settle(where: str, axis: CompoundFactor, size: int, sizes: dict[str, int]) -> None:
    """Find the size of the one factor of an axis that has none yet, and check the product."""
    unknown = [factor for factor in axis if factor not in sizes]
    known = 1
    for factor in axis:
        known *= sizes.get(factor, 1)
    if len(unknown) == 1 and size % known == 0:
        sizes[unknown[0]] = size // known
        return
    if unknown:
        raise ValueError(f"the sharding rule: the sizes of the factors {unknown} of {where} must be given by name")
    if known != size:
        raise ValueError(
            f"the sharding rule: the factors {tuple(axis)} of {where} have the product {known}, not {size}"
        )


def _symbol(i: int) -> str:
    last = ord("z") - ord("i")
    return chr(ord("i") + i) if i <= last else f"z_{i - last}"


def _order(symbol: str) -> tuple[int, str]:
    return len(symbol), symbol


def rule_of_text(text: str, **properties: Any) -> SdyShardingRule:
    """The rule that a text describes; ValueError for a text that is none.

    >>> rule_of_text("... i j -> ... (i j)").text([(5, 2, 3)], [(5, 6)])
    '#sdy.op_sharding_rule<([i, j, k])->([i, jk]) {i=5, j=2, k=3}, custom>'
    """
    sides = text.split("->")
    if len(sides) != 2:
        raise ValueError(f"sharding_rule: expected 'operands -> results', with one arrow, got {text!r}")
    operands, results = (tuple([_mapping_of_text(text, part) for part in side.split(",")]) for side in sides)
    return SdyShardingRule(operands, results, **properties)


def _mapping_of_text(rule: str, text: str) -> ArrayMapping:
    axes: list[Any] = []
    tokens = re.findall(r"\.\.\.\d*|\w+|\S", text)
    while tokens:
        token = tokens.pop(0)
        if token == "(":
            if ")" not in tokens:
                raise ValueError(f"sharding_rule: brackets are not balanced in {rule!r}")
            end = tokens.index(")")
            axes.append(CompoundFactor(*tokens[:end]))
            del tokens[: end + 1]
        elif token.startswith("..."):
            axes.append(BATCHING + token[3:])
        else:
            axes.append(token)
    try:
        return ArrayMapping(*axes)
    except ValueError as error:
        raise ValueError(f"sharding_rule: {rule!r}: {error}") from None


def checked_rule(rule: Any, properties: Mapping[str, Any]) -> SdyShardingRule:
    """A rule, or the one that a text describes; TypeError for other things."""
    if isinstance(rule, str):
        return rule_of_text(rule, **properties)
    if not isinstance(rule, SdyShardingRule):
        raise TypeError(
            f"sharding_rule: expected a text, an SdyShardingRule or a function that returns one, got {rule!r}"
        )
    if properties:
        raise ValueError(
            f"sharding_rule: {', '.join(properties)}: only a text takes these, an SdyShardingRule has its own"
        )
    return rule
