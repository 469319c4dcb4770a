"""Lines kept in a file between runs, one JSON object each, so that one page can be printed from several runs."""

import json
from collections.abc import Iterable
from pathlib import Path

from .compare import Cell, Line

Key = tuple[str, str, int]


def read(path: Path | None) -> dict[Key, Line]:
    """The lines of a file by function, dtype and order; of equal ones the last. None, or no file: none."""
    found: dict[Key, Line] = {}
    if path is not None and path.exists():
        for text in path.read_text().splitlines():
            data = json.loads(text)
            cells = {
                name: None if cell is None else Cell(**{**cell, "where": tuple(cell["where"])})
                for name, cell in data["cells"].items()
            }
            line = Line(**{**data, "cells": cells})
            found[line.name, line.dtype, line.order] = line
    return found


def append(path: Path, lines: Iterable[Line]) -> None:
    with path.open("a") as file:
        for line in lines:
            cells = {name: None if cell is None else cell._asdict() for name, cell in line.cells.items()}
            file.write(json.dumps({**line._asdict(), "cells": cells}) + "\n")
