"""Gaussian processes: kernels, marginal likelihoods, predictions, Kalman-like solvers, latent inference."""

import jax
import jax.numpy as jnp
import jaxopt
import tinygp
from tinygp import GaussianProcess, kernels, noise, transforms
from tinygp.solvers import QuasisepSolver

_X = jnp.sort(jax.random.uniform(jax.random.key(0), (20,), minval=0.0, maxval=5.0))
_Y = jnp.sin(_X) + 0.1 * jnp.cos(7 * _X)
_T = jnp.linspace(-0.5, 5.5, 7)


def all_kernels():
    cases = [
        kernels.Exp(1.2),
        kernels.ExpSquared(0.8),
        kernels.Matern32(1.1),
        kernels.Matern52(1.1),
        kernels.Cosine(2.0),
        kernels.ExpSineSquared(scale=1.5, gamma=0.7),
        kernels.RationalQuadratic(alpha=1.4),
        1.5 * kernels.Matern32(1.3) + 0.3 * kernels.ExpSquared(0.5) * kernels.Cosine(3.0),
    ]
    results = []
    for kernel in cases:
        gp = GaussianProcess(kernel, _X, diag=0.05)
        results += [gp.log_probability(_Y), gp.predict(_Y, _T, return_var=True), gp.sample(jax.random.key(1))]
    return results


def likelihood_fitted():
    def loss(params):
        kernel = jnp.exp(params["amplitude"]) * kernels.Matern52(jnp.exp(params["scale"]))
        return -GaussianProcess(kernel, _X, diag=jnp.exp(params["noise"])).log_probability(_Y)

    start = {"amplitude": jnp.zeros(()), "scale": jnp.zeros(()), "noise": jnp.array(-3.0)}
    fitted = jaxopt.GradientDescent(loss, maxiter=20, tol=1e-8).run(start)
    return jax.value_and_grad(loss)(start), jax.hessian(loss)(start), fitted.params


def quasiseparable():
    def loss(scale):
        kernel = 1.3 * kernels.quasisep.Matern32(scale) + kernels.quasisep.SHO(omega=2.0, quality=1.5)
        gp = GaussianProcess(kernel, _X, diag=0.05, solver=QuasisepSolver)
        return gp.log_probability(_Y)

    kernel = kernels.quasisep.Celerite(1.0, 0.2, 0.7, 0.1)
    gp = GaussianProcess(kernel, _X, diag=0.05)
    return jax.value_and_grad(loss)(1.1), gp.condition(_Y, _T).gp.loc, gp.log_probability(_Y)


def conditioned_and_transformed():
    kernel = transforms.Linear(jnp.array([1.0, 0.5]), kernels.ExpSquared())
    points = jnp.stack([_X, jnp.cos(_X)], axis=1)
    gp = GaussianProcess(kernel, points, diag=0.1, mean=lambda x: 0.2 * x[0])
    value, conditioned = gp.condition(_Y, points[:5] + 0.1)
    return value, conditioned.loc, conditioned.variance, conditioned.covariance


def other_noise():
    dense = noise.Dense(0.1 * jnp.eye(20) + 0.01)
    return [
        GaussianProcess(kernels.Matern32(), _X, noise=n).log_probability(_Y)
        for n in (dense, noise.Diagonal(0.1 + 0.01 * _X))
    ]


def custom_kernel():
    class Spectral(tinygp.kernels.Kernel):
        weight: jax.Array
        freq: jax.Array

        def evaluate(self, a, b):
            tau = jnp.atleast_1d(jnp.abs(a - b))[..., None]
            return jnp.sum(self.weight * jnp.prod(jnp.exp(-2 * tau**2) * jnp.cos(self.freq * tau), axis=-1))

    def f(freq):
        return GaussianProcess(Spectral(jnp.array([1.0, 0.5]), freq), _X, diag=0.1).log_probability(_Y)

    return jax.value_and_grad(f)(jnp.array([1.0, 2.0]))
