"""The operations that say which random keys are used (`_analysis/key_reuse.py`): identities, as data goes."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback._analysis.key_reuse import Part, follow_key_p, use_key_p
from pullback._core.config import config, keys_were_checked
from pullback._core.typing import AnyValue
from pullback._ops.rules import keeps_type, zero_jvp


def are_checked() -> bool:
    """Whether the use of keys is recorded: while the option `debug_key_reuse` is on."""
    return keys_were_checked[0] and config.debug_key_reuse


def used(words: AnyValue, function: str, flags: np.ndarray | None = None) -> Any:
    """The words of keys that a function uses, those where the flags are set; KeyReuseError if one was used before."""
    return use_key_p.bind(words, function=function, part=None if flags is None else Part.of(flags))


def following(words: AnyValue, origin: AnyValue) -> Any:
    """The words of keys that are those of `origin`, moved or copied: used if they are."""
    return follow_key_p.bind(words, origin)


def unused(words: AnyValue) -> Any:
    """The words of keys that count as new ones."""
    return follow_key_p.bind(words)


def _use_batch(trace, operands, dims, *, function, part):
    part = part if part is None else part.repeated(dims[0], trace.size)
    return use_key_p.bind(*operands, function=function, part=part), dims[0]


for _p in (use_key_p, follow_key_p):
    keeps_type(_p)
    zero_jvp(_p)
use_key_p.lower = lambda ctx, words, function, part: words
follow_key_p.lower = lambda ctx, words, *origin: words
use_key_p.batch = _use_batch
follow_key_p.batch = lambda trace, operands, dims: (follow_key_p.bind(*operands), dims[0])
