"""Numerical derivatives, for the checks of rules: central differences with an error estimate, and the complex step.

The pairing of cotangents and tangents is `<c, t> = Re(sum c t)`: bilinear, without conjugation (see _ops/trig.py), so
that the gradient at `x + iy` is `∂f/∂x − i ∂f/∂y`.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pullback._api.directions import direction, displaced, is_by_tangents
from pullback._core import dtypes
from pullback._core.arguments import check_callable, flatten_result, lift_leaves
from pullback._core.array import Array, from_numpy
from pullback._core.tree import tree_flatten, tree_unflatten
from pullback._core.tree_paths import keystr, tree_flatten_with_path
from pullback._core.types import ShapedArray
from pullback._core.typing import AnyValue, PyTree
from pullback._ops.shape import zeros_like_aval


class Place(NamedTuple):
    """A leaf of the arguments, as shown in reports."""

    argument: int
    path: str

    def __str__(self) -> str:
        return f"arg {self.argument}{', leaf ' + self.path if self.path else ''}"


class FlatFunction:
    """A function of the floating-point and complex leaves of its arguments, with a list of such leaves as result.

    Other leaves, and the arguments at `fixed` positions, keep their values. `xs` are the differentiated leaves and
    `places` their names; `result_tree` is the structure of the whole result and `result_paths` names the leaves that
    are returned, both known after a call. Values of types of one's own are replaced by arrays of their tangents (see
    `directions`); `has_differences` flags the leaves for which there are differences.
    """

    def __init__(self, function: str, fun: Callable, args: Sequence[Any], fixed: Sequence[int] = ()):
        check_callable(function, fun)
        self.function = function
        self.fun = fun
        self.args = list(args)
        self.positions = [i for i in range(len(self.args)) if i not in fixed]
        dynamic = [self.args[i] for i in self.positions]
        leaves, self.tree = tree_flatten(dynamic)
        self.leaves = lift_leaves(function, fun, leaves, dynamic, None, self.positions)
        self.own = [i for i, x in enumerate(self.leaves) if is_by_tangents(x.aval)]
        self.where = [i for i, x in enumerate(self.leaves) if i in self.own or _is_inexact(x)]
        self.xs = [
            zeros_like_aval(x.aval.to_tangent_aval()) if i in self.own else x
            for i, x in enumerate(self.leaves)
            if i in self.where
        ]
        self.has_differences = [i not in self.own for i in self.where]
        paths = [path for path, _ in tree_flatten_with_path(dynamic)[0]]
        self.places = [Place(self.positions[paths[i][0].idx], keystr(paths[i][1:])) for i in self.where]
        self.result_paths: list[str] = []
        self.result_tree: Any = None

    def with_function(self, fun: Callable) -> Callable[..., list[Array]]:
        """The flat form of another function of the same arguments."""
        return functools.partial(self.call, fun)

    def __call__(self, *xs: PyTree) -> list[Array]:
        return self.call(self.fun, *xs)

    def call(self, fun: Callable, *xs: PyTree) -> list[Array]:
        leaves = list(self.leaves)
        for i, x in zip(self.where, xs, strict=True):
            leaves[i] = displaced(leaves[i], x) if i in self.own else x
        args = list(self.args)
        for i, value in zip(self.positions, tree_unflatten(self.tree, leaves), strict=True):
            args[i] = value
        result = fun(*args)
        outs, self.result_tree = flatten_result(self.function, fun, result)
        paths = [keystr(path) for path, _ in tree_flatten_with_path(result)[0]]
        own = [is_by_tangents(out.aval) for out in outs]
        kept = [i for i, out in enumerate(outs) if own[i] or _is_inexact(out)]
        self.result_paths = [paths[i] for i in kept]
        if any(own):
            self.has_differences = [False] * len(self.where)
        return [direction(outs[i]) if own[i] else outs[i] for i in kept]


def _is_inexact(x: Any) -> bool:
    return type(x.aval) is ShapedArray and dtypes.is_inexact(x.aval.dtype)


# --- directions and their pairing ---


def wide(x: AnyValue) -> np.ndarray:
    """A value converted to double precision."""
    value = np.asarray(x)
    return value.astype(np.complex128 if dtypes.is_complex(value.dtype) else np.float64)


def narrow(value: AnyValue, like: Array) -> Array:
    """A double-precision value converted to the type of an array, including its weak type."""
    return from_numpy(np.asarray(value).astype(like.aval.dtype).reshape(like.aval.shape), like.aval.weak_type)


def random_direction(rng: np.random.Generator, x: Array) -> Array:
    """A random tangent: numbers with few bits between 1/2 and 3/2, of either sign, so that steps along it are exact."""

    def draw():
        return rng.integers(4, 13, x.aval.shape) / 8 * rng.choice([-1.0, 1.0], x.aval.shape)

    return narrow(draw() + 1j * draw() if dtypes.is_complex(x.aval.dtype) else draw(), x)


def pair(cs: Sequence[Any], ts: Sequence[Any]) -> float:
    """`<c, t> = Re(sum c t)` over all leaves, in double precision."""
    return float(sum(np.sum(wide(c) * wide(t)).real for c, t in zip(cs, ts, strict=True)))


# --- precision ---

_EPS = {"bfloat16": 2.0**-7, "float16": 2.0**-10, "float32": 2.0**-23, "complex64": 2.0**-23}


def precision(xs: Sequence[Any]) -> float:
    """The spacing of numbers near 1 in the least precise dtype among the arrays."""
    eps = 2.0**-52
    for x in xs:
        dtype = x.aval.dtype
        eps = max(eps, _EPS.get(dtype.name, 2.0**-52 if dtype.itemsize >= 8 else 2.0**-3))
    return eps


def tolerances(eps: float, rtol: float | None, atol: float | None) -> tuple[float, float]:
    """Default tolerances for comparing derivatives with differences at a given precision."""
    usual = (1e-6, 1e-9) if eps < 1e-9 else (2e-3, 1e-5) if eps < 1e-4 else (1e-1, 1e-2)
    return (usual[0] if rtol is None else rtol), (usual[1] if atol is None else atol)


# --- differences ---


@dataclass
class Difference:
    """A directional derivative by differences: for each result its value, an estimate of the error, and whether the
    one-sided slopes disagree for every step size (a kink)."""

    value: list[np.ndarray]
    error: list[np.ndarray]
    kink: list[np.ndarray]


def difference(
    f: Callable[..., Sequence[Any]], xs: Sequence[Array], ts: Sequence[Any], eps: float | None = None
) -> Difference:
    """The derivative of `f` at `xs` along `ts` by central differences of several step sizes.

    Steps shrink by a constant factor and are extrapolated to zero; the extrapolation with the smallest estimated error,
    which includes the rounding of the results, is returned. `eps` is the largest step relative to the
    larger of 1 and the arguments.
    Source: C. J. F. Ridders, Accurate computation of F'(x) and F'(x) F''(x), Advances in Engineering Software 4 (1982).
    """
    middle = f(*xs)
    rounding = precision([*xs, *middle])
    first, factor, count = (
        (2.0**-4, 4.0, 9) if rounding < 1e-9 else (2.0**-4, 2.0, 9) if rounding < 1e-4 else (0.5, 2.0, 4)
    )
    values, directions = [wide(x) for x in xs], [wide(t) for t in ts]
    moving = [np.abs(v[t != 0]) for v, t in zip(values, directions, strict=True)]
    largest = max([1.0, *(float(np.max(size, initial=0.0)) for size in moving)])
    step = (first if eps is None else eps) * 2.0 ** math.floor(math.log2(largest))

    def at(h):
        moved = [narrow(v + h * t, x) if t.any() else x for v, t, x in zip(values, directions, xs, strict=True)]
        return [wide(out) for out in f(*moved)]

    centre = [wide(out) for out in middle]
    value = [np.full(c.shape, np.nan, c.dtype) for c in centre]
    error = [np.full(c.shape, np.inf) for c in centre]
    steady = [np.zeros(c.shape, int) for c in centre]
    previous: list[list[np.ndarray]] = []
    bends: list[np.ndarray] = []
    # larger steps at which the function leaves its domain give NaN and are ignored
    with np.errstate(all="ignore"):
        for k in range(count):
            h = step / factor**k
            up, down = at(h), at(-h)
            rows, new_bends = [], []
            for j, (u, d, c) in enumerate(zip(up, down, centre, strict=True)):
                row = [(u - d) / (2 * h)]
                noise = rounding * (np.max(np.abs(c), initial=0.0) + largest * np.abs(row[0])) / h
                for m in range(1, k + 1):
                    power = factor ** (2 * m)
                    row.append((power * row[m - 1] - previous[j][m - 1]) / (power - 1))
                    estimate = np.maximum(np.abs(row[m] - row[m - 1]), np.abs(row[m] - previous[j][m - 1])) + noise
                    better = estimate < error[j]
                    value[j] = np.where(better, row[m], value[j])
                    error[j] = np.where(better, estimate, error[j])
                # the difference of the one-sided slopes: it shrinks with the step for a smooth function, grows
                # if it is rounding, and stays constant at a kink
                bend = np.abs(u - 2 * c + d) / h
                if k:
                    stays = (bend > 0.75 * bends[j]) & (bend < 1.3 * bends[j]) & (bend > 8 * noise)
                    steady[j] = np.where(stays, steady[j] + 1, 0)
                rows.append(row)
                new_bends.append(bend)
                if k == count - 1:
                    # a pole or an edge within the larger steps can make extrapolations agree on a wrong value, so the
                    # smallest steps must not contradict it
                    plain, last = row[0], previous[j][0]
                    against = ~(np.abs(value[j] - plain) <= 2 * np.abs(plain - last) + error[j] + 8 * noise)
                    error[j] = np.where(against, np.inf, error[j])
            previous, bends = rows, new_bends
    return Difference(value, error, [s >= min(3, count - 1) for s in steady])


def complex_step(f: Callable[..., Sequence[Any]], xs: Sequence[Array], ts: Sequence[Any]) -> list[np.ndarray] | None:
    """The derivative along `ts` as `Im f(x + i h t) / h`, exact to rounding; None if it does not apply.

    It applies to functions of real numbers that accept complex ones and consist of real-analytic operations.
    Source: W. Squire and G. Trapp, Using complex variables to estimate derivatives of real functions, SIAM Review 40
    (1998).
    """
    if any(dtypes.is_complex(x.aval.dtype) or x.aval.dtype.itemsize < 4 for x in xs):
        return None
    h = 2.0**-40
    moved = [
        from_numpy(
            np.asarray(wide(x) + 1j * h * wide(t), np.complex64 if x.aval.dtype.itemsize == 4 else np.complex128)
        )
        for x, t in zip(xs, ts, strict=True)
    ]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a function that casts to real numbers is recognized by its results
            outs = [np.asarray(out) for out in f(*moved)]
    except Exception:  # operations may refuse complex numbers in any way
        return None
    if not all(dtypes.is_complex(out.dtype) for out in outs):
        return None
    return [wide(out).imag / h for out in outs]
