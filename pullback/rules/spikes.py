"""The step of a spiking neuron, with a surrogate for its derivative."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from pullback import numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary, described
from pullback.custom_derivatives import custom_jvp
from pullback.nn.activations import sigmoid
from pullback.numpy._elementwise.promotion import FLOAT, promote_operands

__all__ = ["spike"]

Surrogate = Literal["superspike", "sigmoid", "arctan", "triangle"]


def _superspike(z: Array) -> Array:
    return 1 / (1 + abs(z)) ** 2


def _logistic_slope(z: Array) -> Array:
    return sigmoid(z) * sigmoid(-z)


def _lorentzian(z: Array) -> Array:
    return 1 / (1 + (pnp.pi * z) ** 2)


def _triangle(z: Array) -> Array:
    return pnp.maximum(1 - abs(z), 0)


_SURROGATES: dict[str, Callable[[Array], Array]] = {
    "superspike": _superspike,
    "sigmoid": _logistic_slope,
    "arctan": _lorentzian,
    "triangle": _triangle,
}


@boundary
def spike(
    potential: ArrayLike, surrogate: Surrogate | Callable[[Any], Any] = "superspike", *, sharpness: ArrayLike = 1.0
) -> Array:
    """1 where the potential is positive, else 0; the derivative is that of a smooth function.

    With `z = sharpness * potential` the derivative is `sharpness` times

    | surrogate | of z | source |
    |---|---|---|
    | "superspike" | `1 / (1 + abs(z))**2` | Zenke and Ganguli, SuperSpike (2018) |
    | "sigmoid" | `sigmoid(z) * sigmoid(-z)` | Neftci, Mostafa, Zenke, Surrogate gradient learning (2019) |
    | "arctan" | `1 / (1 + (pi * z)**2)` | Fang and others, Incorporating learnable membrane time constants (2021) |
    | "triangle" | `max(1 - abs(z), 0)` | Esser and others, Convolutional networks for fast computing (2016) |

    Args:
      potential: how far the membrane potential is above the threshold, a real array.
      surrogate: one of these, or a function of z.
      sharpness: a positive number, or an array that broadcasts. It gets no gradient.

    nan stays nan. Raises: ValueError for an unknown surrogate, TypeError for complex numbers.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> v = pnp.array([-1., 0., 1.])
    >>> print(pb.rules.spike(v), pb.grad(lambda v: pb.rules.spike(v).sum())(v))
    [0. 0. 1.] [0.25 1.   0.25]
    """
    if not callable(surrogate) and surrogate not in _SURROGATES:
        raise ValueError(
            f"spike: surrogate must be a function or one of {list(_SURROGATES)}, got {described(surrogate)}"
        )
    slope = surrogate if callable(surrogate) else _SURROGATES[surrogate]
    potential, sharpness = promote_operands("spike", FLOAT, potential, sharpness)
    return _step(slope, *pnp.broadcast_arrays(potential, sharpness))


@partial(custom_jvp, nondiff_argnums=(0,))
def _step(slope: Callable[[Any], Any], potential: Any, sharpness: Any) -> Any:
    return pnp.where(pnp.isnan(potential), potential, pnp.where(potential > 0, 1, 0)).astype(potential.dtype)


@_step.defjvp
def _step_jvp(slope, primals, tangents):
    potential, sharpness = primals
    return _step(slope, *primals), sharpness * slope(sharpness * potential) * tangents[0]
