"""Values that backward rules log: they are reported by name, and dropped where nobody collects them."""

from __future__ import annotations

from collections.abc import Callable

from pullback._core.config import config
from pullback._core.errors import RuleError
from pullback._core.typing import AnyValue, PyTree
from pullback._higher_order.bodies import lift_tree
from pullback._transforms.harvest import LOG, Site, tap_p


def log(value: PyTree, name: str) -> None:
    """Report a pytree of arrays under a name, if logs are collected."""
    if config.collecting_taps:
        leaves, tree = lift_tree("a log", name, value)
        tap_p.bind(*leaves, site=Site(name, tree, tuple(range(len(leaves)))), kind=LOG)


def log_all(logs: AnyValue, label: Callable[[], str]) -> None:
    """Report what a rule logs, a dict of pytrees or None."""
    if logs is None:
        return
    if not isinstance(logs, dict):
        raise RuleError(f"{label()} must log a dict or None, got {logs!r}")
    for name, value in logs.items():
        log(value, name)
