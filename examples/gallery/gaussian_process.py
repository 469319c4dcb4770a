"""A Gaussian process: length, size and noise by the gradient of the likelihood, through a Cholesky factor.

The likelihood of all measurements is one expression of linear algebra. Its gradient and Hessian are exact, and
SciPy's trust-region method takes both.
"""

import numpy as np
import scipy.optimize

import pullback as pb
import pullback.numpy as pnp


def kernel(log_params, a, b):
    """The covariance of two sets of places."""
    length, size = pnp.exp(log_params[:2])
    return size**2 * pnp.exp(-0.5 * ((a[:, None] - b[None]) / length) ** 2)


def negative_log_likelihood(log_params, x, y):
    """Of the measurements, without the constant."""
    cov = kernel(log_params, x, x) + pnp.exp(2.0 * log_params[2]) * pnp.eye(len(x))
    factor = pnp.linalg.cholesky(cov)
    white = pb.scipy.linalg.solve_triangular(factor, y, lower=True)
    return 0.5 * white @ white + pnp.log(pnp.diagonal(factor)).sum()


def posterior(log_params, x, y, at):
    """The mean and the standard deviation of the function at other places."""
    cov = kernel(log_params, x, x) + pnp.exp(2.0 * log_params[2]) * pnp.eye(len(x))
    cross = kernel(log_params, x, at)
    weights = pnp.linalg.solve(cov, cross)
    variance = pnp.exp(2.0 * log_params[1]) - (cross * weights).sum(0)
    return weights.T @ y, pnp.sqrt(pnp.maximum(variance, 0.0))


def run():
    """Fit, and predict beyond the data."""
    random = np.random.default_rng(0)
    x = np.sort(random.uniform(0.0, 10.0, 40))
    y = np.sin(x) + 0.2 * random.normal(size=40)
    with pb.enable_x64():
        fit = scipy.optimize.minimize(
            pb.jit(pb.value_and_grad(negative_log_likelihood)),
            np.log([0.5, 0.5, 0.5]),
            args=(x, y),
            jac=True,
            hess=pb.jit(pb.hessian(negative_log_likelihood)),
            method="trust-exact",
        )
        at = np.linspace(0.0, 12.0, 121)
        mean, deviation = posterior(fit.x, x, y, at)
    length, size, noise = np.exp(fit.x)
    return {
        "x": x,
        "y": y,
        "at": at,
        "mean": mean,
        "deviation": deviation,
        "length": length,
        "size": size,
        "noise": noise,
    }


def draw(axes, result):
    """The data, and the function with two standard deviations."""
    at, mean, deviation = (np.asarray(result[name]) for name in ("at", "mean", "deviation"))
    axes.fill_between(at, mean - 2 * deviation, mean + 2 * deviation, alpha=0.3)
    axes.plot(at, mean)
    axes.plot(result["x"], result["y"], ".", color="gray")
