"""The names of the parts of a program that is being traced, which `named_scope` gives: equations keep them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Scopes(threading.local):
    names: tuple[str, ...] = ()


scopes = _Scopes()


@contextmanager
def in_scopes(names: tuple[str, ...]) -> Iterator[None]:
    """Further names, until the context ends."""
    outer = scopes.names
    scopes.names = outer + names
    try:
        yield
    finally:
        scopes.names = outer
