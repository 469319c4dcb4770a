"""A function and its derivatives along one argument, on a whole grid, by pullback, JAX and PyTorch."""

import functools
import importlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from .function import Function


def _library(root: str) -> SimpleNamespace:
    modules = {"numpy": "numpy", "lax": "lax", "nn": "nn", "special": "scipy.special", "stats": "scipy.stats"}
    found = {name: importlib.import_module(f"{root}.{path}") for name, path in modules.items()}
    if root == "jax":  # its distributions are modules that must be imported one by one
        for name in (
            "bernoulli",
            "beta",
            "betabinom",
            "binom",
            "cauchy",
            "chi2",
            "dirichlet",
            "expon",
            "gamma",
            "gennorm",
            "geom",
            "gumbel_l",
            "gumbel_r",
            "laplace",
            "logistic",
            "multinomial",
            "multivariate_normal",
            "nbinom",
            "norm",
            "pareto",
            "poisson",
            "t",
            "truncnorm",
            "uniform",
            "vonmises",
            "wrapcauchy",
        ):
            importlib.import_module(f"jax.scipy.stats.{name}")
    return SimpleNamespace(**found, vmap=importlib.import_module(root).vmap)


@functools.cache
def pullback_library() -> SimpleNamespace:
    return _library("pullback")


@functools.cache
def jax_library() -> SimpleNamespace:
    return _library("jax")


def _derivative(jvp: Callable, f: Callable, order: int, argument: int) -> Callable:
    """The derivative of an elementwise function: the same for all elements of a grid, so one tangent of ones."""
    if order == 0:
        return f

    def derivative(*args):
        inner = _derivative(jvp, f, order - 1, argument)

        def along(x):
            return inner(*args[:argument], x, *args[argument + 1 :])

        return jvp(along, (args[argument],), (np.ones(args[argument].shape, args[argument].dtype),))[1]

    return derivative


def ours(function: Function, order: int, argument: int, grid: list[np.ndarray], compiled: bool) -> np.ndarray | None:
    import pullback

    f = function.of(pullback_library())
    if f is None:
        return None
    g = _derivative(pullback.jvp, f, order, argument)
    with pullback.enable_x64():
        return np.asarray((pullback.jit(g) if compiled else g)(*[pullback.numpy.asarray(x) for x in grid]))


def theirs(function: Function, order: int, argument: int, grid: list[np.ndarray]) -> np.ndarray | None:
    import jax

    f = function.of(jax_library()) if function.jax else None
    if f is None:
        return None
    try:
        with jax.enable_x64():
            return np.asarray(jax.jit(_derivative(jax.jvp, f, order, argument))(*map(jax.numpy.asarray, grid)))
    except (NotImplementedError, ValueError, TypeError):
        return None  # a derivative that JAX does not have


def by_torch(function: Function, order: int, argument: int, grid: list[np.ndarray]) -> np.ndarray | None:
    import torch

    f = function.of_torch(torch)
    if f is None:
        return None
    args: list[Any] = [torch.tensor(x) for x in grid]
    x = args[argument].requires_grad_(order > 0)
    try:
        y = f(*args)
        for left in range(order, 0, -1):
            if not y.requires_grad:
                return np.zeros_like(grid[0])
            (y,) = torch.autograd.grad(y.sum(), x, create_graph=left > 1)
    except (NotImplementedError, RuntimeError):
        return None  # a derivative that PyTorch does not have
    return y.numpy(force=True)


COLUMNS: dict[str, Callable[..., np.ndarray | None]] = {
    "eager": functools.partial(ours, compiled=False),
    "compiled": functools.partial(ours, compiled=True),
    "JAX": theirs,
    "PyTorch": by_torch,
}
