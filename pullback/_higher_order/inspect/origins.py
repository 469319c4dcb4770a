"""What the frames of loops and custom rules tell about an operation that ran inside of them, see `births`."""
from __future__ import annotations

from typing import Any

from pullback._core.errors import describe_function
from pullback._core.origins import Origin, tells
from pullback._higher_order.control import scan, while_loop
from pullback._higher_order.custom.user_rules import FlatCall


def _rule(kind: str):
    def tell(local: dict[str, Any], origin: Origin) -> None:
        if origin.rule is None:
            call = local["self"]
            origin.rule = f"the {kind} rule {describe_function(getattr(call.carrier, f'{kind}_rule'))} of {call.label}"

    return tell


for _kind in ("jvp", "fwd", "bwd"):
    tells(getattr(FlatCall, f"_{_kind}"), _rule(_kind))


def _scan_step(local: dict[str, Any], origin: Origin) -> None:
    if "i" in local:
        origin.steps.append(f"step {local['i']} of a scan of {local['length']}")


def _while_step(local: dict[str, Any], origin: Origin) -> None:
    if "spent" in local:
        origin.steps.append(f"step {local['spent'] // local['step']} of a while_loop")


tells(scan.scan_p.evaluate, _scan_step)
tells(while_loop.while_p.evaluate, _while_step)
