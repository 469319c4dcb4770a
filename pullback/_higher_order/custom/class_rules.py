"""Which rules a primitive class defines, and from which of them each mode of differentiation is derived.

| mode | taken from the first of these that the class defines |
|---|---|
| forward | `jvp`; `lin` and `linearized`; the transpose of the backward rule; linearity, by `transpose`; `expand` |
| reverse | `vjp_fwd` and a backward rule; `lin` and `linearized`; `jvp`, transposed; `transpose`; `expand` |
| `vmap` | `batch`; `batch_dim_rule` for the axes of what follows; `expand` and every rule, batched alike |

`expand` is differentiated only where no derivative rule is defined at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

BACKWARD = "vjp_bwd", "vjp_bwd_retval_logs", "vjp_bwd_retval"
PAIRS = {"lin": ("linearized",), "linearized": ("lin",), "vjp_fwd": BACKWARD, **dict.fromkeys(BACKWARD, ("vjp_fwd",))}
RULES = ("jvp", "lin", "linearized", "vjp_fwd", *BACKWARD, "transpose", "batch", "batch_dim_rule", "dce", "remat")


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules of a class. `forward` and `reverse` name the source of each mode, `backward` the rule for cotangents.

    `named` are the rules for which the author named another one as their source, by `vjp_from_jvp` and its like;
    `linear` are the arguments that `transpose` is for, if it is known.
    """

    defined: frozenset[str]
    named: Mapping[str, str]
    forward: str
    reverse: str
    backward: str
    batch: str | None
    linear: tuple[int, ...]


def rules_of(cls: Any, base: type) -> RuleSet:
    """The rules that a class defines; TypeError for derivations in a circle."""
    own = {name: getattr(cls, name) for name in RULES if getattr(cls, name) is not getattr(base, name)}
    named = {name: rule.derived_from for name, rule in own.items() if hasattr(rule, "derived_from")}
    defined = frozenset(own) - frozenset(named)
    _refuse_unpacked(cls, own)
    _refuse_circle(cls, named)
    linear = () if cls.linear_argnums is None else tuple(cls.linear_argnums)
    sources = [source for source in ("jvp", "lin", "vjp") if {"vjp": "vjp_fwd"}.get(source, source) in defined]
    sources.append("transpose" if "transpose" in defined and linear else "expand")
    reverse = next(source for source in ("vjp", "lin", *sources) if source in sources)
    return RuleSet(
        defined,
        named,
        _source(named, "jvp") or sources[0],
        _source(named, "vjp_fwd") or reverse,
        next((name for name in BACKWARD if name in own), ""),
        next((name for name in ("batch", "batch_dim_rule") if name in defined), None),
        linear,
    )


def of_one_argument(rules: RuleSet) -> RuleSet:
    """The rules of an instance with one argument: with a transpose rule, it is linear in that."""
    if "transpose" not in rules.defined or rules.linear:
        return rules
    forward, reverse = (
        "transpose" if source == "expand" and rule not in rules.named else source
        for source, rule in ((rules.forward, "jvp"), (rules.reverse, "vjp_fwd"))
    )
    return replace(rules, forward=forward, reverse=reverse, linear=(0,))


def _source(named: Mapping[str, str], rule: str) -> str | None:
    """The rule that another one is derived from in the end, where the author named one."""
    source = named.get(rule)
    while source is not None and source in named:
        source = named[source]
    return source


def _refuse_unpacked(cls: type, own: Mapping[str, Any]) -> None:
    for name, rule in own.items():
        pair = getattr(rule, "pair", None)
        if pair is not None:
            raise TypeError(
                f"{cls.__name__}.{name} is the pair of rules {rule}: unpack it in the class body, {', '.join(pair)} = "
                f"{rule}"
            )


def _refuse_circle(cls: type, named: Mapping[str, str]) -> None:
    """Refuse rules of which each is derived from the next."""
    for name in named:
        way = [name]
        while way[-1] in named:
            way.append(named[way[-1]])
            if way[-1] == name:
                raise TypeError(
                    f"{cls.__name__} derives {' from '.join(way)}, in a circle: write one of these rules out"
                )


def missing(cls: type, rules: RuleSet) -> str | None:
    """The message about a rule that another one needs, but that is not there."""
    for name in sorted(rules.defined):
        others = PAIRS.get(name)
        if others and not any(other in rules.defined or other in rules.named for other in others):
            return f"{cls.__name__} defines {name}, but not {' or '.join(others)}, without which it is of no use"
    for name, source in rules.named.items():
        if source not in rules.defined and source not in rules.named and source != "expand":
            return f"{cls.__name__} derives {name} from {source}, which it does not define"
    return None


def derived(rules: RuleSet) -> dict[str, str]:
    """For each mode of differentiation, and `vmap`, that the class has no rule for, from what it is derived."""
    forward = {
        "lin": "lin and linearized",
        "vjp": f"{rules.backward}, transposed",
        "transpose": "expand, which is linear as it has a transpose rule",
        "expand": "expand, differentiated",
    }
    reverse = {
        "lin": "lin and linearized, transposed",
        "jvp": "jvp, transposed",
        "transpose": "transpose",
        "expand": "expand, differentiated",
    }
    found = {"jvp": forward.get(rules.forward), "vjp": reverse.get(rules.reverse)}
    if rules.batch != "batch":
        found["vmap"] = "expand and the rules, batched alike"
    return {mode: source for mode, source in found.items() if source is not None}
