"""Rules of primitive classes that are derived from other rules, for authors who want to say so in the class body."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pullback._api.derivatives import jvp
from pullback._api.linear_maps import linearize
from pullback._api.reverse_mode import vjp
from pullback._core.tree_paths import tree_map
from pullback._core.typing import PyTree
from pullback._higher_order.custom.ruled_call import instantiated


class DerivedRule:
    """A rule `name` that is derived from the rule `derived_from`; as a method it can be called like any other."""

    def __init__(self, name: str, derived_from: str, body: Callable[..., Any]):
        self.name = name
        self.derived_from = derived_from
        self.body = body

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else self.body.__get__(instance)

    def __repr__(self) -> str:
        return f"{self.name} from {self.derived_from}"


class DerivedRules:
    """Two rules that belong together, to be unpacked in the class body."""

    def __init__(self, name: str, *rules: DerivedRule):
        self.name = name
        self.rules = rules
        self.pair: tuple[str, ...] = tuple(rule.name for rule in rules)

    def __iter__(self) -> Iterator[DerivedRule]:
        return iter(self.rules)

    def __repr__(self) -> str:
        return self.name


def _arrays(tangents: PyTree) -> Any:
    return tree_map(instantiated, tangents)


def _lin(self, nzs_in, /, *primals):
    return linearize(self, *primals)


def _linearized(self, residuals, /, *tangents):
    return residuals(*_arrays(tangents))


def _vjp_fwd(self, nzs_in, /, *args):
    return vjp(self, *args)


def _vjp_bwd_retval(self, res, ct, /):
    return res(_arrays(ct))


def _jvp(self, primals, tangents):
    return jvp(self, tuple(primals), tuple(_arrays(tangents)))


def _linearization(name: str, source: str) -> DerivedRules:
    return DerivedRules(name, DerivedRule("lin", source, _lin), DerivedRule("linearized", source, _linearized))


def _reverse(name: str, source: str) -> DerivedRules:
    return DerivedRules(
        name, DerivedRule("vjp_fwd", source, _vjp_fwd), DerivedRule("vjp_bwd_retval", source, _vjp_bwd_retval)
    )


# in a class body: lin, linearized = linearize_from_jvp
linearize_from_jvp: Iterable[Any] = _linearization("linearize_from_jvp", "jvp")
# vjp_fwd, vjp_bwd_retval = vjp_from_lin
vjp_from_lin: Iterable[Any] = _reverse("vjp_from_lin", "lin")
vjp_from_jvp: Iterable[Any] = _reverse("vjp_from_jvp", "jvp")
vjp_from_expand: Iterable[Any] = _reverse("vjp_from_expand", "expand")
# jvp = jvp_from_lin
jvp_from_lin: Any = DerivedRule("jvp", "lin", _jvp)
jvp_from_expand: Any = DerivedRule("jvp", "expand", _jvp)
