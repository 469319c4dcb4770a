"""Initial value problems, under the name and signature that JAX documents; `pullback.implicit.odeint` is the same."""

from pullback._higher_order.solvers.initial_value import odeint

__all__ = ["odeint"]
