"""Models of numpyro: hierarchical models by NUTS, variational inference, distributions, transforms, enumeration."""

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from numpyro.distributions import transforms
from numpyro.infer import HMC, MCMC, NUTS, SVI, Predictive, Trace_ELBO, autoguide, log_likelihood
from numpyro.infer.util import log_density, potential_energy

_EFFECTS = jnp.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
_ERRORS = jnp.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def _schools(effects=None):
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    tau = numpyro.sample("tau", dist.HalfCauchy(5))
    with numpyro.plate("schools", 8):
        theta = numpyro.sample("theta", dist.Normal(0, 1))
        return numpyro.sample("obs", dist.Normal(mu + tau * theta, _ERRORS), obs=effects)


def eight_schools_by_nuts():
    # a chain is chaotic: as many steps as keep the same path under other roundings
    mcmc = MCMC(NUTS(_schools), num_warmup=5, num_samples=5, progress_bar=False)
    mcmc.run(jax.random.key(0), _EFFECTS)
    return mcmc.get_samples()


def regression_by_hmc():
    x = jnp.linspace(-1.0, 1.0, 20)

    def model(y):
        a = numpyro.sample("a", dist.Normal(0.0, 1.0))
        b = numpyro.sample("b", dist.Normal(0.0, 1.0))
        sigma = numpyro.sample("sigma", dist.Exponential(1.0))
        numpyro.sample("y", dist.Normal(a + b * x, sigma), obs=y)

    mcmc = MCMC(
        HMC(model, step_size=0.05, num_steps=5, adapt_step_size=False), num_warmup=0, num_samples=10, progress_bar=False
    )
    mcmc.run(jax.random.key(1), 0.5 + 0.7 * x)
    samples = mcmc.get_samples()
    return samples, log_likelihood(model, samples, 0.5 + 0.7 * x)


def density_and_gradient():
    params = {"mu": 1.0, "tau": 2.0, "theta": jnp.linspace(-1.0, 1.0, 8)}

    def value(params):
        return log_density(_schools, (_EFFECTS,), {}, params)[0]

    def energy(params):
        return potential_energy(_schools, (_EFFECTS,), {}, params)

    return value(params), jax.grad(value)(params), jax.grad(energy)(params)


def variational_inference():
    results = []
    for guide in (
        autoguide.AutoNormal(_schools),
        autoguide.AutoMultivariateNormal(_schools),
        autoguide.AutoDelta(_schools),
    ):
        svi = SVI(_schools, guide, numpyro.optim.Adam(1e-2), Trace_ELBO())
        results.append(svi.run(jax.random.key(2), 20, _EFFECTS, progress_bar=False).params)
    return results


def prior_predictive():
    return Predictive(_schools, num_samples=4)(jax.random.key(3))


def distributions():
    cases = [
        dist.Gamma(2.0, 3.0),
        dist.Beta(2.0, 0.5),
        dist.StudentT(4.0, 1.0, 2.0),
        dist.Dirichlet(jnp.array([1.0, 2.0, 3.0])),
        dist.MultivariateNormal(jnp.zeros(3), jnp.eye(3) + 0.3),
        dist.LKJCholesky(3, 1.5),
        dist.Poisson(3.0),
        dist.Binomial(5, 0.3),
        dist.NegativeBinomial2(3.0, 2.0),
        dist.CategoricalLogits(jnp.array([0.1, 0.4, -1.0])),
        dist.VonMises(0.3, 2.0),
        dist.MixtureSameFamily(dist.Categorical(jnp.array([0.3, 0.7])), dist.Normal(jnp.array([-1.0, 1.0]), 1.0)),
        dist.TruncatedNormal(0.2, 1.0, low=0.0, high=2.0),
        dist.GaussianRandomWalk(0.5, num_steps=4),
        dist.ZeroInflatedPoisson(0.3, 2.0),
    ]
    drawn = [d.sample(jax.random.key(4), (3,)) for d in cases]
    return drawn, [d.log_prob(x) for d, x in zip(cases, drawn, strict=True)]


def bijections():
    x = jnp.array([0.3, -0.7, 1.1])
    cases = [
        transforms.StickBreakingTransform(),
        transforms.OrderedTransform(),
        transforms.SoftplusTransform(),
        transforms.CorrCholeskyTransform(),
        transforms.ComposeTransform([transforms.AffineTransform(1.0, 2.0), transforms.SigmoidTransform()]),
    ]
    images = [t(x) for t in cases]
    return (
        images,
        [t.inv(y) for t, y in zip(cases, images, strict=True)],
        [t.log_abs_det_jacobian(x, y) for t, y in zip(cases, images, strict=True)],
    )


def handlers():
    from numpyro import handlers

    seeded = handlers.seed(_schools, 5)
    trace = handlers.trace(handlers.substitute(seeded, {"mu": 1.5})).get_trace(None)
    conditioned = handlers.trace(handlers.condition(seeded, {"tau": 2.0})).get_trace(None)
    return {name: site["value"] for name, site in trace.items() if site["type"] == "sample"}, conditioned["obs"][
        "value"
    ]
