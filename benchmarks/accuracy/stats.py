"""Functions of `scipy.stats`, of standard distributions (location 0, scale 1)."""

import math

from mpmath import mp

from .elementwise import normal_below, sigmoid, softplus
from .function import POSITIVE, REAL, UNIT, Range, row
from .special import (
    SHAPE,
    beta_density,
    betainc,
    log_beta,
    lower_gamma,
    normal_quantile,
    normal_quantile_slope,
    upper_gamma,
    xlogy,
)

WHOLE = Range(only=(*map(float, range(20)), 1e2, 1e3, 1e5, 1e6))


def stats(name, reference, *ranges, **options):
    return row(f"stats.{name}", reference, *ranges, special=True, **options)


def cauchy_below(x):
    return mp.atan2(1, -x) / mp.pi


def gamma_logpdf(x, a):
    return xlogy(a - 1, x) - x - mp.loggamma(a)


def beta_logpdf(x, a, b):
    return (a - 1) * mp.log(x) + (b - 1) * mp.log1p(-x) - log_beta(a, b)


def t_logpdf(x, n):
    return (mp.loggamma((n + 1) / 2) - mp.loggamma(n / 2) - mp.log(n * mp.pi) / 2
            - (n + 1) / 2 * mp.log1p(x * x / n))


def laplace_below(x):
    return mp.exp(x) / 2 if x < 0 else 1 - mp.exp(-x) / 2


STATS = [
    stats("norm.logpdf", lambda x: -x * x / 2 - mp.log(2 * mp.pi) / 2),
    stats("norm.pdf", lambda x: mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi)),
    stats("norm.cdf", normal_below),
    stats("norm.sf", lambda x: normal_below(-x)),
    stats("norm.logcdf", lambda x: mp.log(normal_below(x)) if x < 0 else mp.log1p(-normal_below(-x))),
    stats("norm.logsf", lambda x: mp.log(normal_below(-x)) if x > 0 else mp.log1p(-normal_below(x))),
    stats("norm.ppf", normal_quantile, UNIT, derivatives={(k, 0): normal_quantile_slope(k) for k in (1, 2)}),
    stats("cauchy.logpdf", lambda x: -mp.log(mp.pi * (1 + x * x))),
    stats("cauchy.pdf", lambda x: 1 / (mp.pi * (1 + x * x))),
    stats("cauchy.cdf", cauchy_below),
    stats("cauchy.sf", lambda x: cauchy_below(-x)),
    stats("cauchy.logcdf", lambda x: mp.log(cauchy_below(x)) if x < 0 else mp.log1p(-cauchy_below(-x))),
    stats("cauchy.logsf", lambda x: mp.log(cauchy_below(-x)) if x > 0 else mp.log1p(-cauchy_below(x))),
    stats("cauchy.ppf", lambda q: -mp.cot(mp.pi * q), UNIT),
    stats("cauchy.isf", lambda q: mp.cot(mp.pi * q), UNIT),
    stats("expon.logpdf", lambda x: -x, POSITIVE.with_kinks(0.0)),
    stats("expon.pdf", lambda x: mp.exp(-x), POSITIVE.with_kinks(0.0)),
    stats("expon.cdf", lambda x: -mp.expm1(-x), POSITIVE.with_kinks(0.0)),
    stats("expon.sf", lambda x: mp.exp(-x), POSITIVE.with_kinks(0.0)),
    stats("expon.logcdf", lambda x: mp.log(-mp.expm1(-x)), POSITIVE.near(math.log(2))),
    stats("expon.logsf", lambda x: -x, POSITIVE.with_kinks(0.0)),
    stats("expon.ppf", lambda q: -mp.log1p(-q), UNIT),
    stats("laplace.logpdf", lambda x: -abs(x) - mp.log(2), REAL.with_kinks(0.0)),
    stats("laplace.pdf", lambda x: mp.exp(-abs(x)) / 2, REAL.with_kinks(0.0)),
    stats("laplace.cdf", laplace_below, REAL.with_kinks(0.0)),
    stats("logistic.logpdf", lambda x: -softplus(x) - softplus(-x)),
    stats("logistic.pdf", lambda x: sigmoid(x) * sigmoid(-x)),
    stats("logistic.cdf", sigmoid),
    stats("logistic.sf", lambda x: sigmoid(-x)),
    stats("logistic.ppf", lambda q: mp.log(q) - mp.log1p(-q), UNIT),
    stats("logistic.isf", lambda q: mp.log1p(-q) - mp.log(q), UNIT),
    stats("gamma.logpdf", gamma_logpdf, SHAPE, SHAPE),
    stats("gamma.pdf", lambda x, a: mp.exp(gamma_logpdf(x, a)), SHAPE, SHAPE),
    stats("gamma.cdf", lambda x, a: lower_gamma(a, x), SHAPE, SHAPE, constant=(1,),
          derivatives={(1, 0): lambda x, a: mp.exp(gamma_logpdf(x, a))}, orders=(0, 1)),
    stats("gamma.sf", lambda x, a: upper_gamma(a, x), SHAPE, SHAPE, constant=(1,),
          derivatives={(1, 0): lambda x, a: -mp.exp(gamma_logpdf(x, a))}, orders=(0, 1)),
    stats("beta.logpdf", beta_logpdf, UNIT, SHAPE, SHAPE),
    stats("beta.pdf", lambda x, a, b: beta_density(a, b, x), UNIT, SHAPE, SHAPE),
    stats("beta.cdf", lambda x, a, b: betainc(a, b, x), UNIT, SHAPE, SHAPE, constant=(1, 2),
          derivatives={(1, 0): lambda x, a, b: beta_density(a, b, x)}, orders=(0, 1)),
    stats("t.logpdf", t_logpdf, REAL, Range(0.0, 1e10, (0.0, 1.0, 2.0, 30.0))),
    stats("t.pdf", lambda x, n: mp.exp(t_logpdf(x, n)), REAL, Range(0.0, 1e10, (0.0, 1.0, 2.0, 30.0))),
    stats("poisson.logpmf", lambda k, mu: xlogy(k, mu) - mu - mp.loggamma(k + 1),
          WHOLE, POSITIVE, constant=(0,)),
    stats("uniform.ppf", lambda q: q, UNIT),
]
