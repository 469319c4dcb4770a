"""Options in a program's arguments, as JAX's programs have them: --jax_enable_x64, --jax_debug_nans=true."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import re
import sys
from collections.abc import Iterable

from pullback._core.config import config, from_text, is_option

_flag = re.compile(r"--?(no)?jax_(\w+)(?:=(.*))?", re.DOTALL)


def parse_with_absl() -> None:
    """Set the options that the arguments before "--" give, and have absl's flags read, where absl is installed.

    absl refuses values of flags that it has not read; programs that it does not start itself rely on this call.
    """
    read_arguments(itertools.takewhile("--".__ne__, sys.argv[1:]))
    if importlib.util.find_spec("absl") is not None:
        importlib.import_module("absl.flags").FLAGS([sys.argv[0]], known_only=True)


def read_arguments(arguments: Iterable[str]) -> None:
    """Set those options that arguments give; others are left alone.

    ValueError, which names the option, for a value that it does not take.

    >>> read_arguments(["--steps=3", "--jax_enable_x64=false"])
    """
    for argument in arguments:
        found = _flag.fullmatch(argument)
        if found is None or not is_option(found[2]):
            continue
        value = "false" if found[1] else "true" if found[3] is None else found[3]
        config.update(found[2], from_text(f"--jax_{found[2]}", found[2], value))
