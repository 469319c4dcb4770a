"""Which rules a primitive class defines, and from which of them each mode of differentiation is derived.

| mode | taken from the first of these that the class defines |
|---|---|
| forward | `jvp`; `lin` and `linearized`; the transpose of the backward rule; `expand` |
| reverse | `vjp_fwd` and a backward rule; `lin` and `linearized`; `jvp`, recorded and transposed; `expand` |
| `vmap` | `batch`; `batch_dim_rule` for the axes of what follows; `expand` and every rule, batched alike |

`expand` is differentiated only where no derivative rule is defined at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

BACKWARD = "vjp_bwd", "vjp_bwd_retval_logs", "vjp_bwd_retval"
PAIRS = {"lin": ("linearized",), "linearized": ("lin",), "vjp_fwd": BACKWARD, **dict.fromkeys(BACKWARD, ("vjp_fwd",))}
RULES = ("jvp", "lin", "linearized", "vjp_fwd", *BACKWARD, "transpose", "batch", "batch_dim_rule", "dce", "remat")


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules of a class. `forward` and `reverse` name the source of each mode, `backward` the rule for cotangents.

    `named` are the rules for which the author named another one as their source, by `vjp_from_jvp` and its like.
    """

    defined: frozenset[str]
    named: Mapping[str, str]
    forward: str
    reverse: str
    backward: str
    batch: str | None


def rules_of(cls: type, base: type) -> RuleSet:
    """The rules that a class defines; TypeError for derivations in a circle."""
    own = {name: getattr(cls, name) for name in RULES if getattr(cls, name, None) is not getattr(base, name, None)}
    named = {name: rule.derived_from for name, rule in own.items() if hasattr(rule, "derived_from")}
    defined = frozenset(own) - frozenset(named)
    _refuse_unpacked(cls, own)
    _refuse_circle(cls, named)
    has_vjp = "vjp_fwd" in defined
    has_lin, has_jvp = "lin" in defined, "jvp" in defined
    reverse = named.get("vjp_fwd") or ("vjp" if has_vjp else "lin" if has_lin else "jvp" if has_jvp else "")
    forward = named.get("jvp") or ("jvp" if has_jvp else "lin" if has_lin else "vjp" if has_vjp else "")
    reverse = reverse if reverse != "lin" or has_lin else "jvp"
    return RuleSet(
        defined,
        named,
        forward or "expand",
        reverse or "expand",
        next((name for name in BACKWARD if name in own), ""),
        next((name for name in ("batch", "batch_dim_rule") if name in defined), None),
    )


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


Rule = Callable[..., Any]
