"""Densities estimated from samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pullback.numpy as pnp
from pullback import random
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary, described
from pullback._core.tree import register_pytree_node
from pullback._core.typing import ShapeLike
from pullback.numpy._elementwise.promotion import FLOAT, as_operand, promote_operands
from pullback.scipy import linalg, special

__all__ = ["gaussian_kde"]


class gaussian_kde:
    """A density from samples: the average of normal densities around them.

    Args:
      dataset: n vectors of length d as columns, of shape (d, n); or n numbers.
      bw_method: the factor by which the normal densities are narrower than the samples: "scott" (None),
        `neff**(-1 / (d + 4))`; "silverman", `(neff * (d + 2) / 4)**(-1 / (d + 4))`; a number; or a function of the
        object. `neff` is the effective number of samples, `sum(weights)**2 / sum(weights**2)`.
      weights: n weights; equal ones by default.

    It is a pytree with the leaves `neff`, `dataset`, `weights`, `covariance` and `inv_cov`, and everything is
    differentiable in them.

    Raises: ValueError for less than two numbers, for weights of another shape and an unknown method; TypeError for
      complex numbers.

    >>> import pullback.numpy as pnp
    >>> from pullback.scipy.stats import gaussian_kde
    >>> density = gaussian_kde(pnp.array([-1., 1.]), bw_method=1.)
    >>> print(density(pnp.array([0.])).round(4))
    [0.2197]
    """

    neff: Array
    dataset: Array
    weights: Array
    covariance: Array
    inv_cov: Array

    @boundary
    def __init__(
        self,
        dataset: ArrayLike,
        bw_method: str | ArrayLike | Callable[[Any], ArrayLike] | None = None,
        weights: ArrayLike | None = None,
    ) -> None:
        given = [dataset] if weights is None else [dataset, weights]
        operands = [as_operand(x, "gaussian_kde", i) for i, x in enumerate(given)]
        dtype = promote_operands("gaussian_kde", FLOAT, *(x.reshape(-1)[:1] for x in operands))[0].dtype
        self.dataset = pnp.atleast_2d(operands[0]).astype(dtype)
        if self.dataset.size < 2 or self.dataset.ndim > 2:
            raise ValueError(
                f"gaussian_kde: dataset must be a vector or a matrix of at least two numbers, got shape "
                f"{operands[0].shape}"
            )
        d, n = self.dataset.shape
        if weights is None:
            self.weights = pnp.full(n, 1 / n, dtype)
        else:
            w = pnp.atleast_1d(operands[1]).astype(dtype)
            if w.shape != (n,):
                raise ValueError(f"gaussian_kde: weights must have shape ({n},), got {operands[1].shape}")
            self.weights = w / w.sum()
        self.neff = 1 / (self.weights**2).sum()
        factor: Any
        if bw_method is None or (isinstance(bw_method, str) and bw_method == "scott"):
            factor = self.neff ** (-1 / (d + 4))
        elif isinstance(bw_method, str) and bw_method == "silverman":
            factor = (self.neff * ((d + 2) / 4)) ** (-1 / (d + 4))
        elif callable(bw_method):
            factor = bw_method(self)
        elif not isinstance(bw_method, str) and pnp.ndim(bw_method) == 0:
            factor = bw_method
        else:
            raise ValueError(
                f"gaussian_kde: bw_method must be 'scott', 'silverman', a number or a function, got "
                f"{described(bw_method)}"
            )
        spread = pnp.atleast_2d(pnp.cov(self.dataset, bias=False, aweights=self.weights))
        self.covariance = spread * factor**2
        self.inv_cov = pnp.linalg.inv(spread) / factor**2

    @property
    def d(self) -> int:
        """The length of the vectors."""
        return self.dataset.shape[0]

    @property
    def n(self) -> int:
        """The number of samples."""
        return self.dataset.shape[1]

    @boundary
    def evaluate(self, points: ArrayLike) -> Array:
        """The density at m points, of shape (d, m); for d = 1 also a vector, and one point of shape (d,)."""
        exponents, size = self._kernels("gaussian_kde.evaluate", points)
        return (pnp.exp(exponents) * self.weights).sum(-1) * pnp.exp(-size)

    @boundary
    def __call__(self, points: ArrayLike) -> Array:
        return self.evaluate(points)

    @boundary
    def pdf(self, x: ArrayLike) -> Array:
        """The density, as `evaluate`."""
        return self.evaluate(x)

    @boundary
    def logpdf(self, x: ArrayLike) -> Array:
        """The logarithm of the density, also where that is too small for its dtype."""
        exponents, size = self._kernels("gaussian_kde.logpdf", x)
        return special.logsumexp(exponents, axis=-1, b=self.weights) - size

    @boundary
    def integrate_gaussian(self, mean: ArrayLike, cov: ArrayLike) -> Array:
        """The integral of the density times a normal one, of a mean of length d and a covariance of shape (d, d)."""
        center, spread = pnp.atleast_1d(pnp.squeeze(mean)), pnp.atleast_2d(cov)
        for name, x, shape in (("mean", center, (self.d,)), ("cov", spread, (self.d, self.d))):
            if x.shape != shape:
                raise ValueError(f"gaussian_kde.integrate_gaussian: {name} must have shape {shape}, got {x.shape}")
        exponents, size = _normal(self.dataset - center[:, None], self.covariance + spread)
        return (pnp.exp(exponents) * self.weights).sum() * pnp.exp(-size)

    @boundary
    def integrate_box_1d(self, low: ArrayLike, high: ArrayLike) -> Array:
        """The probability of an interval, for d = 1."""
        if self.d != 1:
            raise ValueError(f"gaussian_kde.integrate_box_1d: the samples have {self.d} dimensions, not 1")
        if pnp.ndim(low) or pnp.ndim(high):
            raise ValueError("gaussian_kde.integrate_box_1d: low and high must be numbers")
        width, points = pnp.sqrt(self.covariance[0, 0]), self.dataset[0]
        return (self.weights * (special.ndtr((high - points) / width) - special.ndtr((low - points) / width))).sum()

    @boundary
    def integrate_kde(self, other: gaussian_kde) -> Array:
        """The integral of the product of two such densities."""
        if other.d != self.d:
            raise ValueError(f"gaussian_kde.integrate_kde: the samples have {self.d} and {other.d} dimensions")
        apart = (self.dataset[:, :, None] - other.dataset[:, None]).reshape(self.d, -1)
        exponents, size = _normal(apart, self.covariance + other.covariance)
        return (pnp.exp(exponents).reshape(self.n, other.n) @ other.weights) @ self.weights * pnp.exp(-size)

    @boundary
    def resample(self, key: Array, shape: ShapeLike = ()) -> Array:
        """Random vectors of this density, as columns: an array of shape (d, *shape)."""
        which, noise = random.split(key)
        chosen = random.choice(which, self.n, shape, p=self.weights)
        zero = pnp.zeros(self.d, self.dataset.dtype)
        drawn = random.multivariate_normal(noise, zero, self.covariance, shape, self.dataset.dtype)
        return self.dataset[:, chosen] + pnp.moveaxis(drawn, -1, 0)

    @boundary
    def integrate_box(self, low_bounds: ArrayLike, high_bounds: ArrayLike, maxpts: int | None = None) -> Array:
        """Refused: there is no closed form in several dimensions."""
        raise NotImplementedError(
            "gaussian_kde.integrate_box is not implemented, for boxes of several dimensions; use integrate_box_1d"
        )

    @boundary
    def set_bandwidth(self, bw_method: Any = None) -> None:
        """Refused: the object is a value that does not change."""
        raise NotImplementedError(
            "gaussian_kde.set_bandwidth is not implemented, for the object does not change; make another one"
        )

    def _kernels(self, function: str, points: ArrayLike) -> tuple[Array, Array]:
        """For each point and sample the exponent of the normal density, and the logarithm of what divides it."""
        (x,) = promote_operands(function, FLOAT, points)
        x = pnp.atleast_2d(x)
        if x.shape == (1, self.d):
            x = x.reshape(self.d, 1)
        if x.ndim != 2 or x.shape[0] != self.d:
            raise ValueError(f"{function}: points must have shape ({self.d}, m), got {x.shape}")
        apart = (x[:, :, None] - self.dataset[:, None]).reshape(self.d, -1)
        exponents, size = _normal(apart, self.covariance)
        return exponents.reshape(x.shape[1], self.n), size


def _normal(columns: Array, covariance: Array) -> tuple[Array, Array]:
    """`-y @ inv(covariance) @ y / 2` for each column y, and `log(det(2 pi covariance)) / 2`."""
    factor = linalg.cholesky(covariance, lower=True)
    white = linalg.solve_triangular(factor, columns, lower=True)
    size = pnp.log(pnp.diagonal(factor)).sum() + columns.shape[0] * (math.log(2 * math.pi) / 2)
    return -(white * white).sum(0) / 2, size


def _flatten(kde: gaussian_kde) -> tuple[tuple[Array, ...], None]:
    return (kde.neff, kde.dataset, kde.weights, kde.covariance, kde.inv_cov), None


def _unflatten(_: None, leaves: Any) -> gaussian_kde:
    kde = object.__new__(gaussian_kde)
    kde.neff, kde.dataset, kde.weights, kde.covariance, kde.inv_cov = leaves
    return kde


register_pytree_node(gaussian_kde, _flatten, _unflatten)
