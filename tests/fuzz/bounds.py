"""How far two ways to compute a quantity may differ.

A few units in the last place always may. Beyond, the quantity is computed in double precision with random errors in
every operation (noise.py); the spread of the results is what rounding errors of that size do.
"""

from collections.abc import Iterable

import numpy as np

from fuzz.case import LOST, Case, doubled, function
from fuzz.libraries import PULLBACK
from fuzz.noise import largest_number, moved, rounding

ULPS = 16  # of difference that is not looked into
AMPLIFIED = 64  # times the spread: rules round more often than a program has statements
SEEDS = (range(3), range(3, 15))  # of noise: more of them before a difference is called one
HALF = 2.0**-10  # the spacing of float16 near 1
SMALL = 2.0**-26  # noise whose effect is linear


def wide(x) -> np.ndarray:
    value = np.asarray(x)
    return value.astype(np.complex128) if value.dtype.kind == "c" else value.astype(np.float64)


def leaves(tree) -> list[np.ndarray]:
    return [wide(x) for x in PULLBACK.t.tree.leaves(tree)]


def double_case(case: Case, move=lambda x: x) -> Case:
    """The same case in double precision; `move` changes the arguments."""
    data = case.data
    args, tangents, cotangents, batches = (
        [doubled(x) for x in part] for part in (data.args, data.tangents, data.cotangents, data.batches)
    )
    moved = type(data)([move(x) for x in args], tangents, cotangents, [move(x) for x in batches], data.axes)
    return Case(PULLBACK, case.program, function(case.program, PULLBACK, double=True), moved)


def noisy(case: Case, run, seed: int, size: float, eps: float) -> list[np.ndarray]:
    """A quantity with rounding errors of a size, in the arguments and in every operation."""
    smallest = LOST[eps] / eps
    rng = np.random.default_rng((seed, 0))

    def move(x):
        if isinstance(x, float):
            return float(moved(np.asarray(x), rng, size, smallest))
        return np.asarray(moved(x, rng, size, smallest))

    with rounding(seed, size, smallest):
        return leaves(run(double_case(case, move)))


def spread(case: Case, run, eps: float, seeds: Iterable[int] = SEEDS[0]) -> list[np.ndarray]:
    """An estimate of what rounding errors of size `eps` do to each number of a quantity; infinite where it jumps."""
    with PULLBACK.t.enable_x64(True), np.errstate(all="ignore"):
        clean = leaves(run(double_case(case)))
        sizes = (SMALL, SMALL / 64) if eps < 1e-12 else (SMALL, 4 * eps)
        scaled = []
        for size in sizes:
            parts = [noisy(case, run, seed, size, eps) for seed in seeds]
            # inf and nan have no spread if they stay
            scaled.append(
                [
                    np.max([np.where(near(p[i], c, 0), 0, np.abs(p[i] - c)) for p in parts], axis=0) / size
                    for i, c in enumerate(clean)
                ]
            )
        bounds = []
        for first, second, c in zip(*scaled, clean, strict=True):
            bound = np.maximum(first, second) * eps
            if eps < 1e-12:
                # linear noise has the same effect at both sizes
                finite = np.where(np.isfinite(c), np.abs(c), 0.0)
                rough = 2.0**-48 * (finite + np.max(finite, initial=0.0)) / sizes[1]
                jumps = np.maximum(first, second) > 4 * np.minimum(first, second) + rough
                bound = np.where(jumps, np.inf, bound)
            bounds.append(np.where(np.isnan(bound), np.inf, bound))
        return bounds


def overflows(case: Case, run) -> bool:
    """Whether there is a number on the way that float16 has not."""
    with PULLBACK.t.enable_x64(True), np.errstate(all="ignore"), largest_number() as largest:
        run(double_case(case))
    return largest[0] > np.finfo(np.float16).max


def disagreement(case: Case, run, got: list, want: list, eps: float, extra: float = 1.0) -> str | None:
    """What is wrong with a quantity, or None. `run` computes it; `want` is what it should be."""
    if len(got) != len(want):
        return f"{len(got)} results, not {len(want)}"
    pairs = list(zip(got, want, strict=True))
    for i, (g, w) in enumerate(pairs):
        if np.shape(g) != np.shape(w):
            return f"result {i} has shape {np.shape(g)}, not {np.shape(w)}"
    if all(np.all(near(g, w, ULPS / 4 * eps * (4 * np.abs(w) + np.max(np.abs(w), initial=0.0)))) for g, w in pairs):
        return None
    if eps == HALF and not all(np.all(np.isfinite(g)) for g in got) and overflows(case, run):
        return None
    for seeds in SEEDS:
        message = _beyond(pairs, spread(case, run, eps, seeds), eps, extra)
        if message is None:
            break
    return message


def _beyond(pairs: list[tuple], spreads: list[np.ndarray], eps: float, extra: float) -> str | None:
    """The first number that is farther off than its spread allows."""
    for i, ((g, w), s) in enumerate(zip(pairs, spreads, strict=True)):
        finite = s[np.isfinite(s)]
        largest = float(np.max(finite, initial=0.0))
        bound = extra * (AMPLIFIED * s + AMPLIFIED / 4 * largest + ULPS * eps * np.abs(w) + LOST[eps])
        bad = ~near(g, w, bound) & ~np.isinf(s)
        if eps == HALF:  # it may have become too large a number
            bad &= np.isfinite(g) | (np.abs(w) + bound < np.finfo(np.float16).max)
        if np.any(bad):
            at = np.unravel_index(np.argmax(bad), bad.shape)
            where = f"[{', '.join(map(str, at))}]" if at else ""
            return (
                f"result {i}{where} is {g[at]}, not {w[at]} (difference {abs(g[at] - w[at]):.3g}, "
                f"bound {bound[at]:.3g})\ngot  {g!r}\nwant {w!r}"
            )
    return None


def near(got, want, bound):
    with np.errstate(all="ignore"):
        equal = (got == want) | (np.isnan(got) & np.isnan(want))
        return equal | (np.abs(got - want) <= bound)
