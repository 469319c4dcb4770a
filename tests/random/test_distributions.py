"""Samples have the distributions they are named for, by the Kolmogorov-Smirnov distance.

Of 5000 draws, the distance 0.027 is exceeded once in 1000; the keys are fixed, so that the tests are too.
"""

import numpy as np
import pytest
from scipy import stats

from pullback import random

WEIGHTS = np.array([0.1, 0.5, 0.2, 0.2], np.float32)

DISTRIBUTIONS = [
    ("uniform", {}, stats.uniform),
    ("normal", {}, stats.norm),
    ("truncated_normal", {"lower": -1.0, "upper": 2.0}, stats.truncnorm(-1, 2)),
    ("exponential", {}, stats.expon),
    ("gumbel", {}, stats.gumbel_r),
    ("laplace", {}, stats.laplace),
    ("logistic", {}, stats.logistic),
    ("cauchy", {}, stats.cauchy),
    ("maxwell", {}, stats.maxwell),
    ("lognormal", {"sigma": 0.5}, stats.lognorm(0.5)),
    ("pareto", {"b": 3.0}, stats.pareto(3)),
    ("rayleigh", {"scale": 2.0}, stats.rayleigh(scale=2)),
    ("weibull_min", {"scale": 2.0, "concentration": 0.7}, stats.weibull_min(0.7, scale=2)),
    ("triangular", {"left": 0.0, "mode": 1.0, "right": 4.0}, stats.triang(0.25, scale=4)),
    ("wald", {"mean": 2.0}, stats.invgauss(2)),
    ("gamma", {"a": 0.3}, stats.gamma(0.3)),
    ("gamma", {"a": 5.0}, stats.gamma(5)),
    ("loggamma", {"a": 2.0}, stats.loggamma(2)),
    ("beta", {"a": 0.5, "b": 2.0}, stats.beta(0.5, 2)),
    ("chisquare", {"df": 3.0}, stats.chi2(3)),
    ("t", {"df": 3.0}, stats.t(3)),
    ("f", {"dfnum": 3.0, "dfden": 5.0}, stats.f(3, 5)),
    ("generalized_normal", {"p": 3.0}, stats.gennorm(3)),
]


@pytest.mark.parametrize(("name", "params", "distribution"), DISTRIBUTIONS, ids=[row[0] for row in DISTRIBUTIONS])
def test_distribution(name, params, distribution):
    draws = np.asarray(getattr(random, name)(random.key(0), shape=(5000,), **params), np.float64)
    assert stats.kstest(draws, distribution.cdf).statistic < 0.027


@pytest.mark.parametrize(
    ("name", "params", "distribution"),
    [
        ("poisson", {"lam": 3.0}, stats.poisson(3)),
        ("poisson", {"lam": 40.0}, stats.poisson(40)),
        ("geometric", {"p": 0.3}, stats.geom(0.3)),
        ("binomial", {"n": 12, "p": 0.4}, stats.binom(12, 0.4)),
        ("binomial", {"n": 200, "p": 0.6}, stats.binom(200, 0.6)),
    ],
)
def test_counts_distribution(name, params, distribution):
    draws = np.asarray(getattr(random, name)(random.key(0), shape=(5000,), **params), np.int64)
    frequencies = np.bincount(draws, minlength=400).cumsum() / 5000
    assert np.abs(frequencies - distribution.cdf(np.arange(len(frequencies)))).max() < 0.027


def test_ball_is_uniform():
    radius = np.linalg.norm(np.asarray(random.ball(random.key(0), 3, shape=(5000,))), axis=-1)
    assert stats.kstest(radius, lambda r: np.clip(r, 0, 1) ** 3).statistic < 0.027


def test_choice_with_weights():
    drawn = np.asarray(random.choice(random.key(0), 4, (5000,), p=WEIGHTS))
    np.testing.assert_allclose(np.bincount(drawn) / 5000, WEIGHTS, atol=0.03)
