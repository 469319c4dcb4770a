"""`vectorize`: a function of core arrays as one that broadcasts over leading axes, by `vmap`."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

from pullback._api.vectorize import vmap
from pullback._core.errors import boundary, function_name, wrapping
from pullback._core.typing import P, R
from pullback._ops.families import broadcast_shapes
from pullback.numpy._creation.creation import asarray
from pullback.numpy._shape.manipulation import squeeze

__all__ = ["vectorize"]

_CORE = re.compile(r"\s*\(([^()]*)\)\s*")


def _parse(signature: str) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """The core dimensions of arguments and results in a signature such as `(m,n),(n)->(m)`."""
    halves = signature.split("->")
    pattern = re.compile(r"\s*\([^()]*\)\s*(,\s*\([^()]*\)\s*)*")
    if len(halves) != 2 or not all(pattern.fullmatch(half) for half in halves):
        raise ValueError(f"vectorize: the signature must look like '(m,n),(n)->(m)', got {signature!r}")
    ins, outs = (
        [tuple(d.strip() for d in core.split(",") if d.strip()) for core in _CORE.findall(half)] for half in halves
    )
    return ins, outs


def vectorize(
    pyfunc: Callable[P, R], *, excluded: Collection[int | str] = frozenset(), signature: str | None = None
) -> Callable[P, R]:
    """A function that broadcasts its arguments against each other, and maps `pyfunc` over the remaining axes.

    Args:
      pyfunc: a function of arrays with the core dimensions of the signature (scalars without one).
      excluded: positions and names of arguments that are passed whole.
      signature: core dimensions such as `(m,n),(n)->(m)`; equal names have equal lengths.

    Raises: ValueError where an argument lacks core dimensions, their lengths disagree, or leading axes do not
      broadcast.

    >>> import pullback.numpy as pnp
    >>> matvec = pnp.vectorize(pnp.dot, signature="(m,n),(n)->(m)")
    >>> matvec(pnp.ones((4, 2, 3)), pnp.ones(3)).shape
    (4, 2)
    """
    cores = _parse(signature) if signature is not None else None
    name = function_name(pyfunc)

    @wrapping(pyfunc)
    @boundary
    def vectorized(*args, **kwargs):
        mapped = [i for i in range(len(args)) if i not in excluded]
        keys = [k for k in kwargs if k not in excluded]
        if keys and cores is not None:
            raise TypeError(f"vectorize of {name}: with a signature, arguments go by position; got {keys} by keyword")
        xs = [asarray(args[i]) for i in mapped] + [asarray(kwargs[k]) for k in keys]
        ins: list[tuple[str, ...]] = cores[0] if cores is not None else [()] * len(xs)
        if len(ins) != len(xs):
            raise TypeError(f"vectorize of {name}: the signature {signature} has {len(ins)} arguments, got {len(xs)}")
        _check_cores(name, signature, xs, ins)
        leads = [x.shape[: x.ndim - len(core)] for x, core in zip(xs, ins, strict=True)]
        lead = broadcast_shapes(f"vectorize of {name}", *leads) if leads else ()

        def call(*core_args):
            values = list(args)
            for i, value in zip(mapped, core_args, strict=False):
                values[i] = value
            named = dict(zip(keys, core_args[len(mapped) :], strict=True))
            return pyfunc(*values, **{**kwargs, **named})

        # from the last leading axis to the first; an axis of length 1 is shared by all
        fun = call
        rank = len(lead)
        for axis in range(rank - 1, -1, -1):
            axes = [
                0
                if _length(part, axis, rank) == lead[axis] and _has(part, axis, rank) and _length(part, axis, rank) != 1
                else None
                for part in leads
            ]
            if any(a == 0 for a in axes):
                fun = vmap(fun, tuple(axes))
            else:
                fun = vmap(fun, (None,) * len(xs), axis_size=lead[axis])
        kept = [squeeze(x, tuple(i for i, n in enumerate(part) if n == 1)) for x, part in zip(xs, leads, strict=True)]
        return fun(*kept)

    return vectorized


def _has(part: tuple[int, ...], axis: int, rank: int) -> bool:
    return axis >= rank - len(part)


def _length(part: tuple[int, ...], axis: int, rank: int) -> int:
    return part[axis - rank + len(part)] if _has(part, axis, rank) else 1


def _check_cores(name: str, signature: str | None, xs: list[Any], ins: list[tuple[str, ...]]) -> None:
    lengths: dict[str, int] = {}
    for i, (x, core) in enumerate(zip(xs, ins, strict=True)):
        if x.ndim < len(core):
            raise ValueError(
                f"vectorize of {name}: argument {i} of shape {x.shape} lacks the core dimensions "
                f"({','.join(core)}) of the signature {signature}"
            )
        for label, n in zip(core, x.shape[x.ndim - len(core) :], strict=True):
            if lengths.setdefault(label, n) != n:
                raise ValueError(
                    f"vectorize of {name}: argument {i} of shape {x.shape} has length {n} along the core "
                    f"dimension {label}, which has length {lengths[label]} elsewhere ({signature})"
                )
