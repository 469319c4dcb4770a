"""What a backward pass has written to references is undone if it fails, so that none has half of a gradient."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

# whether there has been a reference: until then nothing is watched
refs_exist = [False]


class _Changes(threading.local):
    """The changes of the backward pass that runs in this thread, for each cell, in order; None outside of one.

    A change is how it is undone, and whether it restores everything: earlier ones are undone after it.
    """

    of: dict[Any, list[tuple[Callable[[], None], bool]]] | None = None


_changes = _Changes()


def watched() -> bool:
    """Return whether changes are noted in this thread."""
    return _changes.of is not None


def note_change(cell: Any, undo: Callable[[], None], whole: bool) -> None:
    """Note a change of a cell that is about to be made; one of all of the content makes later ones irrelevant."""
    assert _changes.of is not None
    known = _changes.of.setdefault(cell, [])
    if not known or not known[-1][1]:
        known.append((undo, whole))


def undone_on_error(run: Callable[..., Any], *args: Any) -> Any:
    """Call a function, and undo the changes of references if it fails."""
    changes: dict[Any, list[tuple[Callable[[], None], bool]]] = {}
    _changes.of = changes
    try:
        return run(*args)
    except BaseException:
        _changes.of = None
        for known in changes.values():
            for undo, _ in reversed(known):
                undo()
        raise
    finally:
        _changes.of = None


__all__ = ["note_change", "refs_exist", "undone_on_error", "watched"]
