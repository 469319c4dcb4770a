"""Samplers of blackjax on a correlated density, and its window adaptation."""

import blackjax
import jax
import jax.numpy as jnp

_PRECISION = jnp.array([[2.0, 0.6], [0.6, 1.0]])


def _logdensity(x):
    return -0.5 * x @ _PRECISION @ x - 0.1 * jnp.sum(jnp.cosh(x))


def _chain(algorithm, start=None, steps=12):
    state = algorithm.init(jnp.array([0.5, -0.3])) if start is None else start

    def step(state, key):
        state, _ = algorithm.step(key, state)
        return state, state.position

    # a chain is chaotic: as many steps as keep the same path under other roundings
    return jax.lax.scan(step, state, jax.random.split(jax.random.key(0), steps))[1]


def nuts():
    return _chain(blackjax.nuts(_logdensity, step_size=0.3, inverse_mass_matrix=jnp.ones(2)), steps=6)


def hmc():
    return _chain(blackjax.hmc(_logdensity, step_size=0.3, inverse_mass_matrix=jnp.ones(2), num_integration_steps=5))


def langevin():
    return _chain(blackjax.mala(_logdensity, step_size=0.1))


def barker():
    return _chain(blackjax.barker_proposal(_logdensity, step_size=0.3))


def random_walk():
    return _chain(blackjax.additive_step_random_walk(_logdensity, blackjax.mcmc.random_walk.normal(0.4 * jnp.eye(2))))


def elliptical_slice():
    algorithm = blackjax.elliptical_slice(lambda x: -jnp.sum(x**4), mean=jnp.zeros(2), cov=jnp.eye(2))
    return _chain(algorithm)


def window_adaptation():
    warmup = blackjax.window_adaptation(blackjax.hmc, _logdensity, num_integration_steps=3)
    (state, parameters), _ = warmup.run(jax.random.key(1), jnp.array([0.2, 0.1]), num_steps=10)
    return state.position, parameters["step_size"], parameters["inverse_mass_matrix"]


def tempered_smc():
    smc = blackjax.adaptive_tempered_smc(
        lambda x: -0.5 * jnp.sum(x**2),
        _logdensity,
        blackjax.hmc.build_kernel(),
        blackjax.hmc.init,
        {
            "step_size": jnp.array([0.1]),
            "inverse_mass_matrix": jnp.eye(2)[None],
            "num_integration_steps": jnp.array([3]),
        },
        blackjax.smc.resampling.systematic,
        target_ess=0.9,
        num_mcmc_steps=2,
    )
    state = smc.init(jax.random.normal(jax.random.key(2), (20, 2)))
    state, _ = smc.step(jax.random.key(3), state)
    return state.particles, state.weights, state.tempering_param


def pathfinder():
    state, _ = blackjax.vi.pathfinder.approximate(
        jax.random.key(4), _logdensity, jnp.array([1.0, 1.0]), num_samples=20, maxiter=5
    )
    return state.position, state.elbo
