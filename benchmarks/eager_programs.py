"""Programs of small operations that are not compiled, for `benchmarks/clients.py`."""

import jax
import jax.numpy as jnp


def optax_loop():
    """Two hundred steps of Adam on a regression with eight weights, without jit."""
    import optax

    x = jnp.linspace(-1, 1, 128).reshape(16, 8)
    y = jnp.sin(x.sum(1))

    def loss(w):
        return jnp.mean((jnp.tanh(x @ w) - y) ** 2)

    optimizer = optax.adam(0.1)
    w = jnp.zeros(8)
    state = optimizer.init(w)
    for _ in range(200):
        updates, state = optimizer.update(jax.grad(loss)(w), state)
        w = optax.apply_updates(w, updates)
    return w


def kalman_filter():
    """Two hundred steps of a Kalman filter of position and velocity, a Python loop."""
    step = jnp.array([[1.0, 0.1], [0.0, 1.0]])
    seen = jnp.array([[1.0, 0.0]])
    mean, cov = jnp.zeros(2), jnp.eye(2)
    total = 0.0
    for t in range(200):
        mean, cov = step @ mean, step @ cov @ step.T + 0.01 * jnp.eye(2)
        error = jnp.sin(0.1 * t) - seen @ mean
        spread = seen @ cov @ seen.T + 0.1
        gain = cov @ seen.T / spread
        mean, cov = mean + gain @ error, (jnp.eye(2) - gain @ seen) @ cov
        total = total - 0.5 * (jnp.log(spread[0, 0]) + error[0] ** 2 / spread[0, 0])
    return mean, cov, total


def tinygp_likelihood():
    """Thirty gradients of the log likelihood of a Gaussian process with 20 points, without jit."""
    from tinygp import GaussianProcess, kernels

    x = jnp.linspace(0, 3, 20)
    y = jnp.sin(x)

    def likelihood(log_scale):
        return GaussianProcess(kernels.ExpSquared(jnp.exp(log_scale)), x, diag=0.1).log_probability(y)

    scale = jnp.array(0.0)
    for _ in range(30):
        scale = scale + 0.05 * jax.grad(likelihood)(scale)
    return scale
