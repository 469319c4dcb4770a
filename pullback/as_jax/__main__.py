"""`python -m pullback.as_jax [options] script.py [args]`, `... -m module [args]`, `... -c code [args]`."""

from __future__ import annotations

import os
import runpy
import sys
from types import ModuleType

from pullback.as_jax import install, report_at_exit

_USAGE = """\
usage: python -m pullback.as_jax [--report] [--subprocesses] (script.py | -m module | -c code) [arguments]

Run a program written for JAX on pullback: in it, `import jax` gives pullback.

  --report        print at exit every name that was asked for and is missing, why, and where it was asked for
  --subprocesses  the same in processes that the program starts
"""


def main(arguments: list[str]) -> None:
    """Run a program as Python would."""
    options, rest = set(), list(arguments)
    while rest and rest[0] in ("--report", "--subprocesses"):
        options.add(rest.pop(0))
    if not rest or rest[0] in ("-h", "--help"):
        print(_USAGE, end="")
        sys.exit(0 if rest else 2)
    if rest[0].startswith("-") and (rest[0] not in ("-m", "-c") or len(rest) < 2):
        sys.exit(f"python -m pullback.as_jax: cannot read {' '.join(rest)!r}\n{_USAGE}")
    if rest[0] not in ("-m", "-c") and not sys.flags.safe_path:
        sys.path[0] = os.path.dirname(os.path.abspath(rest[0]))
    install(subprocesses="--subprocesses" in options)
    if "--report" in options:
        report_at_exit()
    if rest[0] == "-m":
        sys.argv = rest[1:]
        runpy.run_module(rest[1], run_name="__main__", alter_sys=True)
    elif rest[0] == "-c":
        sys.argv = ["-c", *rest[2:]]
        program = sys.modules["__main__"] = ModuleType("__main__")
        exec(compile(rest[1], "<string>", "exec"), vars(program))
    else:
        sys.argv = rest
        runpy.run_path(rest[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
