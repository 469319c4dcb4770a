"""Optimizers of first order, each as three functions: of parameters to a state, of a step to the next, and back.

The functions that make one are written for a single array; `optimizer` applies them to all leaves of a pytree, so that
a state is a pytree too.
"""

from __future__ import annotations

import functools
import typing as _typing
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import described
from pullback._core.lazy import attributes as _attributes
from pullback._core.tree import register_pytree_node, tree_flatten, tree_leaves, tree_unflatten
from pullback._core.tree_paths import tree_map
from pullback._core.typing import PyTree

__all__ = [
    "JoinPoint",
    "Optimizer",
    "OptimizerState",
    "adagrad",
    "adam",
    "adamax",
    "clip_grads",
    "constant",
    "exponential_decay",
    "inverse_time_decay",
    "l2_norm",
    "make_schedule",
    "momentum",
    "nesterov",
    "optimizer",
    "pack_optimizer_state",
    "piecewise_constant",
    "polynomial_decay",
    "rmsprop",
    "rmsprop_momentum",
    "sgd",
    "sm3",
    "unpack_optimizer_state",
]

Schedule = Callable[[Any], Any]


class OptimizerState(NamedTuple):
    """The states of all leaves in a row, and how they belong together: a pytree.

    >>> state = sgd(0.1).init_fn({"w": pnp.ones(2)})
    >>> type(state).__name__, len(state.packed_state)
    ('OptimizerState', 1)
    """

    packed_state: Any
    tree_def: Any
    subtree_defs: Any


register_pytree_node(
    OptimizerState,
    lambda state: ((state.packed_state,), (state.tree_def, state.subtree_defs)),
    lambda defs, children: OptimizerState(children[0], *defs),
)


class Optimizer(NamedTuple):
    """The three functions of an optimizer: `init_fn(params)`, `update_fn(step, grads, state)`, `get_params(state)`.

    >>> opt = sgd(0.5)
    >>> state = opt.update_fn(0, 2.0, opt.init_fn(3.0))
    >>> print(opt.get_params(state))
    2.0
    """

    init_fn: Callable[[Any], Any]
    update_fn: Callable[[Any, Any, Any], Any]
    params_fn: Callable[[Any], Any]

    @property
    def get_params(self) -> Callable[[Any], Any]:
        """The function of a state to the parameters."""
        return self.params_fn


def optimizer(opt_maker: Callable[..., tuple[Callable, Callable, Callable]]) -> Callable[..., Optimizer]:
    """Make an optimizer of pytrees of functions for one array.

    Args:
      opt_maker: returns `init(x)`, `update(step, gradient, state)` and `get_params(state)`, for one array.

    Returns: a function of the same arguments to an `Optimizer`.
    Raises: TypeError at an update, if the gradients have another structure than the parameters.

    >>> @optimizer
    ... def descent(rate):
    ...     return lambda x: x, lambda i, g, x: x - rate * g, lambda x: x
    >>> opt = descent(0.5)
    >>> opt.get_params(opt.update_fn(0, [2.0], opt.init_fn([3.0])))
    [2.0]
    """

    @functools.wraps(opt_maker)
    def made(*args: Any, **kwargs: Any) -> Optimizer:
        init, update, get_params = opt_maker(*args, **kwargs)

        def init_fn(params: PyTree) -> OptimizerState:
            leaves, tree = tree_flatten(params)
            parts = [tree_flatten(init(x)) for x in leaves]
            return OptimizerState(tuple(tuple(states) for states, _ in parts), tree, tuple(t for _, t in parts))

        def states_of(state: OptimizerState) -> list[Any]:
            return [tree_unflatten(t, x) for x, t in zip(state.packed_state, state.subtree_defs, strict=True)]

        def update_fn(step: Any, grads: PyTree, state: OptimizerState) -> OptimizerState:
            leaves, tree = tree_flatten(grads)
            if tree != state.tree_def:
                raise TypeError(
                    f"optimizer: the gradients have the structure {tree}, the parameters had {state.tree_def}"
                )
            new = [tree_flatten(update(step, g, s)) for g, s in zip(leaves, states_of(state), strict=True)]
            for i, ((_, after), before) in enumerate(zip(new, state.subtree_defs, strict=True)):
                if after != before:
                    raise TypeError(f"optimizer: the update of leaf {i} changes its state from {before} to {after}")
            return OptimizerState(tuple(tuple(x) for x, _ in new), tree, state.subtree_defs)

        def params_fn(state: OptimizerState) -> Any:
            return tree_unflatten(state.tree_def, map(get_params, states_of(state)))

        return Optimizer(init_fn, update_fn, params_fn)

    return made


# --- optimizers ---


@optimizer
def sgd(step_size: float | Schedule) -> Any:
    """Gradient descent. ValueError for a step size that is neither a number nor a function of the step.

    >>> opt = sgd(0.1)
    >>> print(opt.get_params(opt.update_fn(0, 1.0, opt.init_fn(2.0))))
    1.9
    """
    rate = make_schedule(step_size)
    return lambda x: x, lambda i, g, x: x - rate(i) * g, lambda x: x


@optimizer
def momentum(step_size: float | Schedule, mass: float) -> Any:
    """Gradient descent with momentum: the steps are a geometric sum of gradients. ValueError as `sgd`.

    >>> opt = momentum(0.1, 0.9)
    >>> state = opt.update_fn(0, 1.0, opt.init_fn(2.0))
    >>> print(opt.get_params(opt.update_fn(1, 1.0, state)).round(3))
    1.71
    """
    rate = make_schedule(step_size)

    def update(i, g, state):
        x, velocity = state
        velocity = mass * velocity + g
        return x - rate(i) * velocity, velocity

    return lambda x: (x, pnp.zeros_like(x)), update, _first


@optimizer
def nesterov(step_size: float | Schedule, mass: float) -> Any:
    """Gradient descent with Nesterov's momentum, which looks one step ahead. ValueError as `sgd`.

    >>> opt = nesterov(0.1, 0.9)
    >>> print(opt.get_params(opt.update_fn(0, 1.0, opt.init_fn(2.0))).round(3))
    1.81
    """
    rate = make_schedule(step_size)

    def update(i, g, state):
        x, velocity = state
        velocity = mass * velocity + g
        return x - rate(i) * (mass * velocity + g), velocity

    return lambda x: (x, pnp.zeros_like(x)), update, _first


def _first(state: Sequence[Any]) -> Any:
    return state[0]


@optimizer
def adagrad(step_size: float | Schedule, momentum: float = 0.9) -> Any:
    """AdaGrad (Duchi, Hazan, Singer 2011): steps divided by the root of the sum of squared gradients, with momentum.

    ValueError as `sgd`.

    >>> opt = adagrad(0.1)
    >>> print(opt.get_params(opt.update_fn(0, 1.0, opt.init_fn(2.0))).round(3))
    1.99
    """
    rate = make_schedule(step_size)

    def update(i, g, state):
        x, squares, mean = state
        squares = squares + g**2
        scaled = pnp.where(squares > 0, g / pnp.sqrt(pnp.where(squares > 0, squares, 1)), 0.0)
        mean = (1 - momentum) * scaled + momentum * mean
        return x - rate(i) * mean, squares, mean

    return lambda x: (x, pnp.zeros_like(x), pnp.zeros_like(x)), update, _first


@optimizer
def rmsprop(step_size: float | Schedule, gamma: float = 0.9, eps: float = 1e-8) -> Any:
    """RMSProp (Hinton 2012): steps divided by the root of a running mean of squared gradients. ValueError as `sgd`.

    >>> opt = rmsprop(0.1)
    >>> print(opt.get_params(opt.update_fn(0, 1.0, opt.init_fn(2.0))).round(3))
    1.684
    """
    rate = make_schedule(step_size)

    def update(i, g, state):
        x, mean = state
        mean = mean * gamma + g**2 * (1 - gamma)
        return x - rate(i) * g / pnp.sqrt(mean + eps), mean

    return lambda x: (x, pnp.zeros_like(x)), update, _first


@optimizer
def rmsprop_momentum(step_size: float | Schedule, gamma: float = 0.9, eps: float = 1e-8, momentum: float = 0.9) -> Any:
    """RMSProp with momentum. ValueError as `sgd`.

    >>> opt = rmsprop_momentum(0.1)
    >>> print(opt.get_params(opt.update_fn(0, 1.0, opt.init_fn(2.0))).round(3))
    1.684
    """
    rate = make_schedule(step_size)

    def update(i, g, state):
        x, mean, velocity = state
        mean = mean * gamma + g**2 * (1 - gamma)
        velocity = momentum * velocity + rate(i) * g / pnp.sqrt(mean + eps)
        return x - velocity, mean, velocity

    return lambda x: (x, pnp.zeros_like(x), pnp.zeros_like(x)), update, _first


@optimizer
def adam(step_size: float | Schedule, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Any:
    """Adam (Kingma, Ba 2014): running means of gradients and of their squares, corrected for their start.

    ValueError as `sgd`.

    >>> opt = adam(0.1)
    >>> print(opt.get_params(opt.update_fn(0, 1.0, opt.init_fn(2.0))).round(3))
    1.9
    """
    rate = make_schedule(step_size)

    def update(i, g, state):
        x, m, v = state
        m = (1 - b1) * g + b1 * m
        v = (1 - b2) * pnp.square(g) + b2 * v
        steps = i + 1
        corrected = m / (1 - pnp.asarray(b1, m.dtype) ** steps)
        squares = v / (1 - pnp.asarray(b2, m.dtype) ** steps)
        return x - rate(i) * corrected / (pnp.sqrt(squares) + eps), m, v

    return lambda x: (x, pnp.zeros_like(x), pnp.zeros_like(x)), update, _first


@optimizer
def adamax(step_size: float | Schedule, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Any:
    """AdaMax (Kingma, Ba 2014): Adam with a running maximum in place of the mean of squares. ValueError as `sgd`.

    >>> opt = adamax(0.1)
    >>> print(opt.get_params(opt.update_fn(0, 1.0, opt.init_fn(2.0))).round(3))
    1.9
    """
    rate = make_schedule(step_size)

    def update(i, g, state):
        x, m, largest = state
        m = (1 - b1) * g + b1 * m
        largest = pnp.maximum(b2 * largest, pnp.abs(g))
        scale = rate(i) / (1 - pnp.asarray(b1, m.dtype) ** (i + 1))
        return x - scale * m / (largest + eps), m, largest

    return lambda x: (x, pnp.zeros_like(x), pnp.zeros_like(x)), update, _first


@optimizer
def sm3(step_size: float | Schedule, momentum: float = 0.9) -> Any:
    """SM3 (Anil, Gupta, Koren, Singer 2019): AdaGrad with sums of squares that rows and columns share, and momentum.

    ValueError as `sgd`.

    >>> opt = sm3(0.1)
    >>> print(opt.get_params(opt.update_fn(0, pnp.ones(1), opt.init_fn(2 * pnp.ones(1)))).round(3))
    [1.99]
    """
    rate = make_schedule(step_size)

    def init(x):
        x = pnp.asarray(x)
        return x, pnp.zeros_like(x), [pnp.zeros(n, x.dtype) for n in x.shape]

    def update(i, g, state):
        x, mean, sums = state
        shapes = [tuple(n if d == k else 1 for d in range(x.ndim)) for k, n in enumerate(x.shape)]
        bound = functools.reduce(pnp.minimum, [s.reshape(shape) for s, shape in zip(sums, shapes, strict=True)])
        squares = bound + pnp.square(g)
        scaled = g * pnp.where(squares > 0, 1 / pnp.sqrt(pnp.where(squares > 0, squares, 1)), 0.0)
        mean = (1 - momentum) * scaled + momentum * mean
        sums = [squares.max(tuple(d for d in range(x.ndim) if d != k)) for k in range(x.ndim)]
        return x - rate(i) * mean, mean, sums

    return init, update, _first


# --- step sizes ---


def constant(step_size: Any) -> Schedule:
    """The same step size at every step. Raises nothing.

    >>> constant(0.1)(5)
    0.1
    """
    return lambda i: step_size


def exponential_decay(step_size: float, decay_steps: float, decay_rate: float) -> Schedule:
    """A step size that shrinks by `decay_rate` in `decay_steps` steps. Raises nothing.

    >>> exponential_decay(1.0, 2, 0.5)(4)
    0.25
    """
    return lambda i: step_size * decay_rate ** (i / decay_steps)


def inverse_time_decay(step_size: float, decay_steps: float, decay_rate: float, staircase: bool = False) -> Schedule:
    """A step size divided by `1 + decay_rate * i / decay_steps`, of which `staircase` takes whole numbers.

    Raises nothing.

    >>> inverse_time_decay(1.0, 2, 0.5)(4)
    0.5
    """

    def schedule(i):
        passed = decay_rate * (pnp.floor(i / decay_steps) if staircase else i / decay_steps)
        return step_size / (1 + passed)

    return schedule


def polynomial_decay(step_size: float, decay_steps: float, final_step_size: float, power: float = 1.0) -> Schedule:
    """A step size that goes to `final_step_size` in `decay_steps` steps, as a power of what is left. Raises nothing.

    >>> print(polynomial_decay(1.0, 10, 0.0)(5))
    0.5
    """

    def schedule(i):
        left = 1 - pnp.minimum(i, decay_steps) / decay_steps
        return left**power * (step_size - final_step_size) + final_step_size

    return schedule


def piecewise_constant(boundaries: Any, values: Any) -> Schedule:
    """One of `values` between each two of `boundaries`. ValueError if their numbers do not fit.

    >>> print(piecewise_constant([10, 20], [3., 2., 1.])(15))
    2.0
    """
    edges, steps = pnp.asarray(boundaries), pnp.asarray(values)
    if not edges.ndim == steps.ndim == 1 or steps.shape[0] != edges.shape[0] + 1:
        raise ValueError("piecewise_constant: boundaries must be one fewer than values, both of one axis")
    return lambda i: steps[pnp.sum(i > edges)]


def make_schedule(scalar_or_schedule: float | ArrayLike | Schedule) -> Schedule:
    """A function of the step, of a function or of a number. ValueError for anything else.

    >>> make_schedule(0.1)(3)
    0.1
    """
    if callable(scalar_or_schedule):
        return scalar_or_schedule
    if pnp.ndim(scalar_or_schedule) == 0:
        return constant(scalar_or_schedule)
    raise ValueError(f"make_schedule: expected a number or a function of the step, got {described(scalar_or_schedule)}")


# --- gradients and states ---


def l2_norm(tree: PyTree) -> Array:
    """The length of all leaves of a pytree as one vector. TypeError for leaves that are no arrays.

    >>> print(l2_norm([3., (4.,)]))
    5.0
    """
    return pnp.sqrt(sum(pnp.vdot(x, x) for x in tree_leaves(tree)))


def clip_grads(grad_tree: PyTree, max_norm: float) -> Any:
    """Gradients, shortened to the length `max_norm` if they are longer. TypeError for leaves that are no arrays.

    >>> [float(x) for x in clip_grads([3., 4.], 2.5)]
    [1.5, 2.0]
    """
    norm = l2_norm(grad_tree)
    return tree_map(lambda g: pnp.where(norm < max_norm, g, g * (max_norm / norm)), grad_tree)


class JoinPoint:
    """Where the state of a leaf begins in an unpacked state: a leaf of the pytree, with its `subtree`.

    >>> unpack_optimizer_state(sgd(0.1).init_fn([1.0]))[0].subtree
    1.0
    """

    def __init__(self, subtree: Any):
        self.subtree = subtree


def unpack_optimizer_state(opt_state: OptimizerState) -> Any:
    """A state as a pytree like the parameters, with a `JoinPoint` for each: to be stored. Raises nothing.

    >>> state = momentum(0.1, 0.9).init_fn({"w": 1.0})
    >>> unpack_optimizer_state(state)["w"].subtree[0]
    1.0
    """
    parts = [tree_unflatten(t, x) for x, t in zip(opt_state.packed_state, opt_state.subtree_defs, strict=True)]
    return tree_unflatten(opt_state.tree_def, map(JoinPoint, parts))


def pack_optimizer_state(marked_pytree: PyTree) -> OptimizerState:
    """The state of an unpacked one. TypeError for leaves that are no `JoinPoint`.

    >>> opt = momentum(0.1, 0.9)
    >>> state = pack_optimizer_state(unpack_optimizer_state(opt.init_fn({"w": 1.0})))
    >>> opt.get_params(state)
    {'w': 1.0}
    """
    points, tree = tree_flatten(marked_pytree)
    for point in points:
        if not isinstance(point, JoinPoint):
            raise TypeError(f"pack_optimizer_state: expected a JoinPoint for each leaf, got {described(point)}")
    parts = [tree_flatten(point.subtree) for point in points]
    return OptimizerState(tuple(tuple(x) for x, _ in parts), tree, tuple(t for _, t in parts))


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
