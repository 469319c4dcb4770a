"""Compiled programs on disk, by which a later process need not compile what an earlier one has compiled.

They are kept by default, in `$XDG_CACHE_HOME/pullback/programs` or `~/.cache/pullback/programs`. Options of `config`:
`enable_compilation_cache`, `compilation_cache_dir`, `compilation_cache_max_size` (bytes; the programs that were not
used for longest go), `persistent_cache_min_compile_time_secs`, `persistent_cache_min_entry_size_bytes`. Each can be set
by an environment variable too, `PULLBACK_ENABLE_COMPILATION_CACHE=0` for example. A program is found by its text, the
compiler's options, the versions of pullback and jaxlib, and the processor. Programs that call Python functions are not
kept. A folder or a file that others could have written to is not used; whatever goes wrong, the program is compiled.

    python -m pullback.compilation_cache          the folder, the number and the size of its programs
    python -m pullback.compilation_cache list     each program: its size, its last use, its name
    python -m pullback.compilation_cache clear    remove them
"""

from __future__ import annotations

import argparse as _argparse
import time as _time
from collections.abc import Sequence as _Sequence
from pathlib import Path as _Path

from pullback._core.errors import boundary as _boundary
from pullback._xla import disk_cache as _disk_cache
from pullback._xla.program_files import ProgramFile as ProgramFile
from pullback._xla.program_files import ProgramFolder as _ProgramFolder

__all__ = ["ProgramFile", "cache_dir", "clear", "programs"]


@_boundary
def cache_dir() -> _Path | None:
    """The folder of the compiled programs; None if they are not kept.

    >>> import pullback as pb
    >>> from pullback import compilation_cache
    >>> pb.config.update("enable_compilation_cache", False)
    >>> print(compilation_cache.cache_dir())
    None
    """
    kept = _disk_cache.folder()
    return None if kept is None else kept.path


@_boundary
def programs() -> list[ProgramFile]:
    """The programs on disk, least recently used first: `name`, `size` in bytes, time of last use, `used`.

    >>> from pullback import compilation_cache
    >>> total = sum(program.size for program in compilation_cache.programs())
    """
    kept = _disk_cache.folder()
    return [] if kept is None else kept.files()


@_boundary
def clear() -> int:
    """Remove all programs from the folder; returns their number. Those that are loaded stay in use.

    >>> import tempfile
    >>> import pullback as pb
    >>> from pullback import compilation_cache
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pb.config.update("compilation_cache_dir", folder)
    ...     compilation_cache.clear()
    0
    >>> pb.config.update("compilation_cache_dir", None)
    """
    kept = _disk_cache.folder()
    return 0 if kept is None else kept.clear()


def _main(arguments: _Sequence[str] | None = None) -> None:
    parser = _argparse.ArgumentParser(
        prog="python -m pullback.compilation_cache", description="Compiled programs that pullback keeps on disk."
    )
    parser.add_argument("command", nargs="?", choices=("show", "list", "clear"), default="show")
    command = parser.parse_args(arguments).command
    path = _disk_cache.folder_path()
    if path is None:
        print("there is no home folder: no programs are kept")
        return
    kept = _ProgramFolder(path)
    if command == "clear":
        print(f"{kept.clear()} programs removed from {kept.path}")
        return
    files = kept.files()
    if command == "list":
        for file in files:
            print(f"{file.size:>12,}  {_time.strftime('%Y-%m-%d %H:%M', _time.localtime(file.used))}  {file.name}")
    print(f"{len(files)} programs, {sum(file.size for file in files):,} bytes, in {kept.path}")
    if _disk_cache.folder() is None:
        print("new ones are not kept: the option enable_compilation_cache is off")
    elif (problem := kept.problem()) is not None:
        print(f"new ones are not kept: {problem}")


if __name__ == "__main__":
    _main()
