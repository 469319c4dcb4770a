"""A Kalman filter whose noise is learned: the gradient of a likelihood through a scan.

A point moves with a random acceleration and is measured with an error. The filter gives the likelihood of the
measurements; its gradient by the two standard deviations comes from reverse mode through the scan, and Newton's
method climbs it.
"""

import numpy as np

import pullback as pb
import pullback.numpy as pnp

MOVE = np.array([[1.0, 1.0], [0.0, 1.0]])  # position and velocity after one unit of time
PUSH = np.array([[0.25, 0.5], [0.5, 1.0]])  # the covariance that an acceleration of variance 1 adds
TRUTH = {"acceleration": 0.1, "measurement": 2.0}


def measurements(steps=120):
    """A path and what was seen of it."""
    random = np.random.default_rng(1)
    state, path = np.zeros(2), []
    for _ in range(steps):
        state = MOVE @ state + np.array([0.5, 1.0]) * TRUTH["acceleration"] * random.normal()
        path.append(state[0])
    path = np.array(path)
    return path, path + TRUTH["measurement"] * random.normal(size=steps)


def filtered(log_noise, seen):
    """The log-likelihood of the measurements, and the estimates of the positions."""
    acceleration, measurement = pnp.exp(2.0 * log_noise)  # variances

    def step(carry, z):
        mean, cov = carry
        mean, cov = MOVE @ mean, MOVE @ cov @ MOVE.T + acceleration * PUSH
        variance = cov[0, 0] + measurement
        surprise = z - mean[0]
        gain = cov[:, 0] / variance
        mean, cov = mean + gain * surprise, cov - gain[:, None] * cov[None, 0]
        return (mean, cov), (-0.5 * (surprise**2 / variance + pnp.log(2.0 * pnp.pi * variance)), mean[0])

    _, (terms, positions) = pb.lax.scan(step, (pnp.zeros(2), pnp.eye(2) * 1e-2), seen)
    return terms.sum(), positions


def log_likelihood(log_noise, seen):
    """The first of these alone."""
    return filtered(log_noise, seen)[0]


def run(steps=12):
    """Newton's method on the log-likelihood, from a guess that is far off."""
    with pb.enable_x64():
        path, seen = measurements()
        log_noise = pnp.log(pnp.array([0.3, 1.0]))
        gradient = pb.jit(pb.grad(log_likelihood))
        hessian = pb.jit(pb.hessian(log_likelihood))
        for _ in range(steps):
            slope, curvature = gradient(log_noise, seen), hessian(log_noise, seen)
            values, vectors = pnp.linalg.eigh(curvature)
            move = vectors @ (
                (vectors.T @ slope) / pnp.maximum(abs(values), 1e-3)
            )  # uphill, where it is not concave too
            log_noise = log_noise + pnp.clip(move, -0.5, 0.5)
        _, positions = filtered(log_noise, seen)
        return {
            "path": path,
            "seen": seen,
            "positions": positions,
            "noise": pnp.exp(log_noise),
            "slope at the end": abs(gradient(log_noise, seen)).max(),
            "error of a measurement": np.sqrt(((seen - path) ** 2).mean()),
            "error of the filter": np.sqrt(((np.asarray(positions) - path) ** 2).mean()),
        }


def draw(axes, result):
    """The path, what was seen of it, and the estimate."""
    axes.plot(result["seen"], ".", alpha=0.5, label="measured")
    axes.plot(result["path"], lw=3, alpha=0.5, label="true")
    axes.plot(result["positions"], label="filtered")
    axes.legend()
