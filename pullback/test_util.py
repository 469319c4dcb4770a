"""`check_grads`, `check_jvp` and `check_vjp`: derivatives against finite differences along a random direction.

`pullback.check_rules` checks in more detail, entry by entry, and reports in words.
"""

from __future__ import annotations

import functools
import typing as _typing
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback._api.derivatives import jvp
from pullback._api.differences import (
    Difference,
    FlatFunction,
    difference,
    pair,
    precision,
    random_direction,
    tolerances,
    wide,
)
from pullback._api.reverse_mode import vjp
from pullback._api.rule_report import Report
from pullback._check_rules import check_rules
from pullback._core import dtypes
from pullback._core.array import lift
from pullback._core.errors import RuleCheckError, boundary, describe_function
from pullback._core.lazy import attributes as _attributes
from pullback._core.tree import tree_leaves, tree_unflatten
from pullback._core.typing import AnyValue

__all__ = ["Report", "RuleCheckError", "check_grads", "check_jvp", "check_rules", "check_vjp"]

_MODES = ("fwd", "rev")


@boundary
def check_grads(
    f: Callable,
    args: Sequence[Any],
    order: int,
    modes: Sequence[str] = _MODES,
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
) -> None:
    """Check the derivatives of `f`, in forward and reverse mode and their compositions, up to `order`.

    Args:
      f: a function of arrays and pytrees of them.
      args: the point, a tuple of its arguments.
      order: the number of times to differentiate; every sequence of modes of that length is checked.
      modes: "fwd", "rev" or both.
      atol, rtol: tolerances; the defaults depend on the dtypes.
      eps: the largest step of the differences, relative to the larger of 1 and the arguments.

    Raises: AssertionError with the derivative, the difference and the order of modes.

    >>> import pullback.numpy as pnp
    >>> from pullback.test_util import check_grads
    >>> check_grads(pnp.sin, (1.,), order=2)
    """
    if isinstance(modes, str) or not modes or any(mode not in _MODES for mode in modes):
        raise ValueError(f"check_grads: modes must hold 'fwd', 'rev' or both, got {modes!r}")
    if order < 1:
        raise ValueError(f"check_grads: order must be at least 1, got {order!r}")
    flat = FlatFunction("check_grads", f, args)
    _check_order(flat, flat.xs, order, modes, atol, rtol, eps, describe_function(f))


def _check_order(f, xs, order, modes, atol, rtol, eps, name) -> None:
    rng = np.random.default_rng(0)
    for mode in modes:
        what = f"{mode} of {name}"
        if mode == "fwd":
            check_jvp(f, functools.partial(jvp, f), xs, atol, rtol, eps, what)
            derivative = functools.partial(_push, f, [random_direction(rng, x) for x in xs])
        else:
            check_vjp(f, functools.partial(vjp, f), xs, atol, rtol, eps, what)
            derivative = functools.partial(_pull, f, [random_direction(rng, out) for out in f(*xs)])
        if order > 1:
            _check_order(derivative, xs, order - 1, modes, atol, rtol, eps, what)


def _push(f, ts, *xs):
    return jvp(f, xs, tuple(ts))[1]


def _pull(f, cs, *xs):
    return list(vjp(f, *xs)[1](cs))


@boundary
def check_jvp(
    f: Callable,
    f_jvp: Callable,
    args: Sequence[Any],
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
    err_msg: str = "",
) -> None:
    """Check that `f_jvp(primals, tangents)` returns the value of `f` and its derivative along a random direction.

    Args: as for `check_grads`; `err_msg` is put in front of the message.
    Raises: AssertionError.

    >>> import functools, pullback as pb
    >>> from pullback.test_util import check_jvp
    >>> f = lambda x: x ** 3
    >>> check_jvp(f, functools.partial(pb.jvp, f), (2.,))
    """
    flat = FlatFunction("check_jvp", f, args)
    ts, d = _random_difference(flat, eps)
    value, tangents = f_jvp(tuple(args), tuple(tree_unflatten(flat.tree, _spread(flat, ts))))
    _check_value("check_jvp", flat, value, err_msg)
    got = [t for t in map(np.asarray, tree_leaves(tangents)) if t.dtype != dtypes.float0]
    outs = flat(*flat.xs)
    rtol, atol = tolerances(precision([*flat.xs, *outs]), rtol, atol)
    if len(got) != len(d.value):
        raise AssertionError(
            f"{_front('check_jvp', err_msg)}the tangent has {len(got)} leaves, expected {len(d.value)}"
        )
    for path, t, expected, error in zip(flat.result_paths, got, d.value, d.error, strict=True):
        place = f"{_front('check_jvp', err_msg)}the tangent of result{' ' + path if path else ''}"
        _assert_close(place, wide(t), expected, error, rtol, atol)


@boundary
def check_vjp(
    f: Callable,
    f_vjp: Callable,
    args: Sequence[Any],
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
    err_msg: str = "",
) -> None:
    """Check that `f_vjp(*args)` returns the value of `f` and a function from a cotangent to those of the arguments.

    It compares `<c, J t>`, by differences, with `<Jᵀ c, t>` for a random cotangent `c` and tangent `t`; the pairing is
    `Re(sum c t)`, without conjugation.

    Args: as for `check_grads`; `err_msg` is put in front of the message.
    Raises: AssertionError.

    >>> import functools, pullback as pb
    >>> from pullback.test_util import check_vjp
    >>> f = lambda x: x ** 3
    >>> check_vjp(f, functools.partial(pb.vjp, f), (2.,))
    """
    flat = FlatFunction("check_vjp", f, args)
    ts, d = _random_difference(flat, eps)
    value, pullback = f_vjp(*args)
    _check_value("check_vjp", flat, value, err_msg)
    rng = np.random.default_rng(1)
    leaves = [lift(x) for x in tree_leaves(value)]
    cs = [
        random_direction(rng, x) if dtypes.is_inexact(x.aval.dtype) else np.zeros(x.aval.shape, dtypes.float0)
        for x in leaves
    ]
    live = [c for c, x in zip(cs, leaves, strict=True) if dtypes.is_inexact(x.aval.dtype)]
    grads = tree_leaves(tuple(pullback(tree_unflatten(flat.result_tree, cs))))
    if len(grads) != len(flat.leaves):
        raise AssertionError(
            f"{_front('check_vjp', err_msg)}the vjp returned {len(grads)} leaves, expected one for "
            f"each of the {len(flat.leaves)} leaves of the arguments"
        )
    got = pair([grads[i] for i in flat.where], ts)
    error = sum(float(np.sum(np.abs(wide(c)) * e)) for c, e in zip(live, d.error, strict=True))
    rtol, atol = tolerances(precision([*flat.xs, *flat(*flat.xs)]), rtol, atol)
    # the sum may cancel: the tolerance is relative to its parts
    size = sum(float(np.sum(np.abs(wide(c) * v))) for c, v in zip(live, d.value, strict=True))
    _assert_close(
        f"{_front('check_vjp', err_msg)}<t, Jᵀc>",
        np.asarray(got),
        np.asarray(pair(live, d.value)),
        np.asarray(error),
        rtol,
        atol + rtol * size,
    )


def _front(function: str, err_msg: str) -> str:
    return f"{err_msg}: " if err_msg else f"{function}: "


def _random_difference(flat: FlatFunction, eps: float | None) -> tuple[list[Any], Difference]:
    rng = np.random.default_rng(2)
    ts = [random_direction(rng, x) for x in flat.xs]
    return ts, difference(flat, flat.xs, ts, eps)


def _spread(flat: FlatFunction, ts: Sequence[Any]) -> list[Any]:
    """Tangents of all leaves: `float0` where there is no derivative."""
    leaves: list[Any] = [np.zeros(x.aval.shape, dtypes.float0) for x in flat.leaves]
    for i, t in zip(flat.where, ts, strict=True):
        leaves[i] = t
    return leaves


def _check_value(function: str, flat: FlatFunction, value: AnyValue, err_msg: str) -> None:
    expected = [np.asarray(x) for x in tree_leaves(flat.fun(*flat.args))]
    got = [np.asarray(x) for x in tree_leaves(value)]
    if len(got) != len(expected):
        raise AssertionError(
            f"{_front(function, err_msg)}the value has {len(got)} leaves, that of the function {len(expected)}"
        )
    for a, b in zip(got, expected, strict=True):
        if dtypes.is_inexact(b.dtype):
            scale = float(np.max(np.abs(wide(b)), initial=0.0))
            rtol, atol = tolerances(precision([lift(b)]), None, None)
            _assert_close(
                f"{_front(function, err_msg)}the value",
                wide(a),
                wide(b),
                np.zeros(b.shape),
                rtol,
                atol * (1 + scale),
                "of the function",
            )


def _assert_close(
    what: str,
    got: np.ndarray,
    expected: np.ndarray,
    error: np.ndarray,
    rtol: float,
    atol: float,
    reference: str = "finite difference",
) -> None:
    if got.shape != expected.shape:
        raise AssertionError(f"{what}: shape {got.shape}, expected {expected.shape}")
    allowed = atol + rtol * np.maximum(np.abs(got), np.abs(expected)) + 2 * error
    off = ~((np.abs(got - expected) <= allowed) | (np.isnan(got) & np.isnan(expected)))
    if off.any():
        index = tuple(int(i) for i in np.argwhere(off)[0])
        raise AssertionError(
            f"{what}{f' at {index}' if index else ''}: {got[index]:.7g}, {reference} "
            f"{expected[index]:.7g} ± {error[index]:.1g} (rtol={rtol:g}, atol={atol:g})"
        )


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
