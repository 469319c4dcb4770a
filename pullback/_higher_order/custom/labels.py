"""The labels of a decorated function, a call of it, its rules and its arguments in messages.

A label is made only when a message needs it; until then a call stores its location in the user's code.
"""

from __future__ import annotations

import sys
from types import CodeType
from typing import Any

from pullback._core.arguments import argument_path
from pullback._core.errors import describe_function, is_internal
from pullback._core.typing import AnyValue
from pullback._higher_order.custom.signature import Layout

# the code that calls and the instruction, or the text that this became when it was pickled
CallSite = tuple[CodeType, int] | str


def call_site() -> CallSite:
    """The instruction of the user's code that is running; its line is determined when a message needs it."""
    frame = sys._getframe(2)
    while frame.f_back is not None and is_internal(frame.f_code):
        frame = frame.f_back
    return frame.f_code, frame.f_lasti


def place_of(site: CallSite) -> str:
    """The file and the line of a call."""
    if isinstance(site, str):
        return site
    code, instruction = site
    line = next((n for start, end, n in code.co_lines() if start <= instruction < end), code.co_firstlineno)
    return f"{code.co_filename}:{line}"


def function_label(decorated: AnyValue) -> str:
    """A decorated function, with its decorator and the location of its definition."""
    return f"{type(decorated).__name__} function {describe_function(decorated.fun)}"


class CallLabels:
    """The labels of one call of a decorated function; without a `site`, of the running call."""

    __slots__ = ("decorated", "layout", "site")
    decorated: Any
    layout: Layout
    site: CallSite | None

    @property
    def name(self) -> str:
        """The name of the function."""
        return self.decorated.__name__

    @property
    def label(self) -> str:
        """The function and the line of the call."""
        return f"{function_label(self.decorated)}, called at {place_of(self.site or call_site())}"

    def jvp_label(self) -> str:
        """The jvp rule of the call."""
        return f"the jvp rule {describe_function(self.decorated.jvp_rule)} of {self.label}"

    def fwd_label(self) -> str:
        """The fwd rule of the call."""
        return f"the fwd rule {describe_function(self.decorated.fwd_rule)} of {self.label}"

    def bwd_label(self) -> str:
        """The bwd rule of the call, or the transpose from which it was made."""
        return f"the {self.decorated.bwd_role} {describe_function(self.decorated.bwd_rule)} of {self.label}"

    def vmap_label(self) -> str:
        """The vmap rule of the call."""
        return f"the vmap rule {describe_function(self.decorated.vmap_rule)} of {self.label}"

    def path(self, i: int) -> str:
        """The `i`-th differentiable argument."""
        return argument_path(self.decorated.fun, self.layout.differentiable[i])
