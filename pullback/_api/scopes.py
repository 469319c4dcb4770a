"""Names for parts of programs."""

from __future__ import annotations

import functools
import sys
from contextlib import ContextDecorator
from typing import Any, cast

from pullback._core.arguments import check_callable
from pullback._core.errors import described, function_name
from pullback._core.scopes import scopes
from pullback._core.typing import F


class named_scope(ContextDecorator):
    """Context manager and decorator: a name for a part of a program, which profiles of eager code show.

    In traced code the equations of jaxprs have it among their `scopes`, and operations of compiled programs in their
    metadata, where profiles show it: "layer/sin" for `sin`, for all that derivatives make of it too.
    TypeError for anything but a string.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> @pb.named_scope("layer")
    ... def f(x):
    ...     return pnp.sin(x)
    >>> pb.make_jaxpr(f)(1.).eqns[0].scopes
    ('layer',)
    >>> 'op_name="layer/sin"' in pb.jit(f).lower(1.).compile().as_text()
    True
    """

    def __init__(self, name: str):
        if not isinstance(name, str):
            raise TypeError(f"named_scope: expected a string, got {described(name)}")
        self.name = name
        self._annotation: Any = None
        self._outer: tuple[str, ...] = ()

    def __enter__(self) -> named_scope:
        self._outer = scopes.names
        scopes.names = (*self._outer, self.name)
        profiling = sys.modules.get("pullback._xla.profiling")
        if profiling is not None:
            self._annotation = profiling.Annotation(self.name)
            self._annotation.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        scopes.names = self._outer
        annotation, self._annotation = self._annotation, None
        if annotation is not None:
            annotation.__exit__(*error)

    def _recreate_cm(self) -> named_scope:
        return named_scope(self.name)


def named_call(fun: F, *, name: str | None = None) -> F:
    """The function as a named part of a program; by default under its own name. TypeError if it is not callable.

    >>> import pullback as pb
    >>> pb.named_call(abs, name="absolute")(-1)
    1
    """
    check_callable("named_call", fun)
    return cast(F, functools.wraps(fun)(named_scope(name or function_name(fun))(fun)))
