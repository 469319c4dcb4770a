"""The numbers that functions are tried at: everything from the smallest normal number to the largest."""

import itertools
import math

import numpy as np

from .function import Function, Range


def of_range(argument: Range, dtype: np.dtype, count: int) -> np.ndarray:
    """About `count` numbers of a range: magnitudes over all exponents, the middle, and the neighbours of its points."""
    if argument.only:
        return np.array(argument.only, dtype)
    info = np.finfo(dtype)
    rng = np.random.default_rng(20)
    part = max(count // 8, 3)
    # all magnitudes, with random digits
    low, high = math.log2(float(info.tiny)), math.log2(float(info.max))
    sizes = 2.0 ** np.clip(np.linspace(low, high, 2 * part) + rng.uniform(-0.5, 0.5, 2 * part), low, high - 1e-3)
    # where exponentials begin to vanish and to overflow, and the range between
    reach = 120.0 if dtype.itemsize == 4 else 760.0
    middle = np.concatenate(
        [np.linspace(-reach, reach, 2 * part), rng.uniform(-30, 30, part), rng.uniform(-4, 4, part)]
    )
    near = [np.asarray(argument.extra, float)]
    span = info.nmant + 1
    for point in (*argument.points, argument.low, argument.high):
        if math.isfinite(point):
            scale = abs(point) or 1.0
            steps = scale * 2.0 ** -np.linspace(1, span, part) * rng.uniform(1, 2, part)
            near += [np.array([point]), point + steps, point - steps]
            if point == 0:
                near += [sizes, -sizes]
    x = np.concatenate([sizes, -sizes, middle, *near])
    with np.errstate(over="ignore"):
        x = x.astype(dtype)
    size = np.abs(x)
    inside = (x >= argument.low) & (x <= argument.high) & ((size >= info.tiny) | (x == 0)) & np.isfinite(x)
    return np.unique(x[inside])


def of_function(function: Function, dtype: np.dtype, scale: float = 1.0) -> list[np.ndarray]:
    """One array for each argument, all of one length."""
    if function.arity == 1:
        return [of_range(function.ranges[0], dtype, int(120 * scale))]
    # a product of thin grids, and as many points with random partners out of thick ones
    rng = np.random.default_rng(21)
    total = int(400 * scale)
    each = max(round(total ** (1 / function.arity)), 3)
    thick = [of_range(r, dtype, 60) for r in function.ranges]
    thin = [rng.choice(x, min(each, x.size), replace=False) for x in thick]
    pairs = np.array(list(itertools.product(*thin)), dtype)
    mixed = np.stack([rng.choice(x, total) for x in thick], axis=1)
    common = thick[0][np.all([(thick[0] >= r.low) & (thick[0] <= r.high) for r in function.ranges], axis=0)]
    if common.size:
        mixed = np.concatenate([mixed, np.stack([rng.choice(common, 20)] * function.arity, axis=1)])  # ties
    points = np.unique(np.concatenate([pairs, mixed.astype(dtype)]), axis=0)
    return [np.ascontiguousarray(points[:, i]) for i in range(function.arity)]
