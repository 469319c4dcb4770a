"""Functions of `scipy.stats`, of standard distributions (location 0, scale 1)."""

import math

from mpmath import mp, mpf

from .elementwise import normal_below, sigmoid, softplus
from .function import POSITIVE, REAL, UNIT, Range, row
from .special import (
    SHAPE,
    beta_density,
    beta_tails,
    betainc,
    gamma_density,
    gamma_density_slope,
    log_beta,
    lower_gamma,
    negated,
    normal_quantile,
    normal_quantile_slope,
    upper_gamma,
    xlogy,
)

BIT = Range(only=(0.0, 1.0))
WHOLE = Range(only=(*map(float, range(20)), 1e2, 1e3, 1e5, 1e6))


def stats(name, reference, *ranges, **options):
    return row(f"stats.{name}", reference, *ranges, special=True, **options)


def cauchy_below(x):
    return mp.atan2(1, -x) / mp.pi


def gamma_logpdf(x, a):
    return xlogy(a - 1, x) - x - mp.loggamma(a)


def beta_logpdf(x, a, b):
    if a <= 0 or b <= 0:
        raise ValueError("no density")
    return (a - 1) * mp.log(x) + (b - 1) * mp.log1p(-x) - log_beta(a, b)


def t_logpdf(x, n):
    return mp.loggamma((n + 1) / 2) - mp.loggamma(n / 2) - mp.log(n * mp.pi) / 2 - (n + 1) / 2 * mp.log1p(x * x / n)


def beta_log_density_slope(x, a, b):
    return (a - 1) / x - (b - 1) / (1 - x)


def beta_above(a, b, x):
    """From x to 1, with digits for the complement of a tiny x."""
    with mp.workprec(mp.prec + max(0, -mp.mag(x)) if x else mp.prec):
        return betainc(b, a, 1 - x)


def log_beta_tail(upper):
    def tail(x, a, b):
        part, rest = beta_tails(a, b, x)[:: -1 if upper else 1]
        return mp.log(part) if part < 0.5 else mp.log1p(-rest)

    return tail


def log_beta_tail_slope(upper, order):
    """The hazard h, with its sign, and h times what the density falls by, less h."""
    sign = -1 if upper else 1

    def slope(x, a, b):
        hazard = sign * beta_density(a, b, x) / beta_tails(a, b, x)[upper]
        return hazard if order == 1 else hazard * (beta_log_density_slope(x, a, b) - hazard)

    return slope


def log_gamma_tail(upper):
    return lambda x, a: mp.log(upper_gamma(a, x) if upper else lower_gamma(a, x))


def log_gamma_tail_slope(upper, order):
    """The same of the gamma distribution."""
    sign = -1 if upper else 1

    def slope(x, a):
        hazard = sign * mp.exp(gamma_logpdf(x, a)) / (upper_gamma(a, x) if upper else lower_gamma(a, x))
        return hazard if order == 1 else hazard * ((a - 1) / x - 1 - hazard)

    return slope


def bernoulli_logpmf(k, p):
    return xlogy(k, p) + xlogy(1 - k, 1 - p)


def poisson_below(k, mu):
    return upper_gamma(mp.floor(k) + 1, mu)


def poisson_entropy(mu):
    """The sum over all counts that matter at the working precision."""
    if not mu:
        return mpf(0)
    term, log, total, k = mp.exp(-mu), -mu, mpf(0), 0
    while k < mu + 2 or abs(term * log) > mp.ldexp(total, -mp.prec - 20):
        total -= term * log
        k += 1
        term, log = term * mu / k, log + mp.log(mu / k)
    return total


def laplace_below(x):
    return mp.exp(x) / 2 if x < 0 else 1 - mp.exp(-x) / 2


def log_comb(n, k):
    return mp.loggamma(n + 1) - mp.loggamma(k + 1) - mp.loggamma(n - k + 1)


def binom_logpmf(k, n, p):
    if k > n:
        raise ValueError("impossible")
    return log_comb(n, k) + xlogy(k, p) + xlogy(n - k, 1 - p)


def betabinom_logpmf(k, n, a, b):
    if k > n or a <= 0 or b <= 0:
        raise ValueError("impossible")
    return log_comb(n, k) + log_beta(k + a, n - k + b) - log_beta(a, b)


def nbinom_logpmf(k, n, p):
    return mp.loggamma(n + k) - mp.loggamma(n) - mp.loggamma(k + 1) + xlogy(n, p) + xlogy(k, 1 - p)


def gennorm_logpdf(x, beta):
    return -(abs(x) ** beta) - mp.loggamma(1 + 1 / beta) - mp.log(2)


def gennorm_below(x, beta):
    part = abs(x) ** beta
    return upper_gamma(1 / beta, part) / 2 if x < 0 else (1 + lower_gamma(1 / beta, part)) / 2


def vonmises_logpdf(x, kappa):
    return kappa * mp.cos(x) - mp.log(2 * mp.pi * mp.besseli(0, kappa))


def wrapcauchy_pdf(x, c):
    return (1 - c * c) / (2 * mp.pi * (1 + c * c - 2 * c * mp.cos(x)))


def normal_mass(a, b):
    if a >= b:
        raise ValueError("no interval")
    return normal_below(b) - normal_below(a) if a < 0 else normal_below(-a) - normal_below(-b)


def truncnorm_logpdf(x, a, b):
    if not a <= x <= b:
        raise ValueError("outside")
    return -x * x / 2 - mp.log(2 * mp.pi) / 2 - mp.log(normal_mass(a, b))


def truncnorm_below(x, a, b):
    if not a < x < b:
        raise ValueError("outside")
    return normal_mass(a, x) / normal_mass(a, b)


TRIALS = Range(only=(1.0, 2.0, 10.0, 1e3, 1e6))
MODEST = Range(-30.0, 30.0, (0.0, 1.0, -1.0)).with_kinks(0.0)
GUMBEL = Range(-600.0, 800.0)
PARETO = Range(1.0, math.inf, (1.0,), kinks=(1.0,))
ENDS = Range(-40.0, 40.0, (0.0, 1.0, -1.0))

STATS = [
    stats("norm.logpdf", lambda x: -x * x / 2 - mp.log(2 * mp.pi) / 2),
    stats("norm.pdf", lambda x: mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi)),
    stats("norm.cdf", normal_below),
    stats("norm.sf", lambda x: normal_below(-x)),
    stats("norm.logcdf", lambda x: mp.log(normal_below(x)) if x < 0 else mp.log1p(-normal_below(-x))),
    stats("norm.logsf", lambda x: mp.log(normal_below(-x)) if x > 0 else mp.log1p(-normal_below(x))),
    stats("norm.ppf", normal_quantile, UNIT, derivatives={(k, 0): normal_quantile_slope(k) for k in (1, 2)}),
    stats(
        "norm.isf",
        lambda q: -normal_quantile(q),
        UNIT,
        derivatives={(k, 0): negated(normal_quantile_slope(k)) for k in (1, 2)},
    ),
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
    stats(
        "gamma.cdf",
        lambda x, a: lower_gamma(a, x),
        SHAPE,
        SHAPE,
        constant=(1,),
        derivatives={(1, 0): lambda x, a: mp.exp(gamma_logpdf(x, a))},
        orders=(0, 1),
    ),
    stats(
        "gamma.sf",
        lambda x, a: upper_gamma(a, x),
        SHAPE,
        SHAPE,
        constant=(1,),
        derivatives={(1, 0): lambda x, a: -mp.exp(gamma_logpdf(x, a))},
        orders=(0, 1),
    ),
    *(
        stats(
            f"gamma.log{name}",
            log_gamma_tail(upper),
            SHAPE,
            SHAPE,
            constant=(1,),
            derivatives={(k, 0): log_gamma_tail_slope(upper, k) for k in (1, 2)},
        )
        for name, upper in (("cdf", False), ("sf", True))
    ),
    stats("beta.logpdf", beta_logpdf, UNIT, SHAPE, SHAPE),
    stats("beta.pdf", lambda x, a, b: beta_density(a, b, x), UNIT, SHAPE, SHAPE),
    stats(
        "beta.cdf",
        lambda x, a, b: betainc(a, b, x),
        UNIT,
        SHAPE,
        SHAPE,
        constant=(1, 2),
        derivatives={(1, 0): lambda x, a, b: beta_density(a, b, x)},
        orders=(0, 1),
    ),
    stats(
        "beta.sf",
        lambda x, a, b: beta_above(a, b, x),
        UNIT,
        SHAPE,
        SHAPE,
        constant=(1, 2),
        derivatives={(1, 0): lambda x, a, b: -beta_density(a, b, x)},
        orders=(0, 1),
    ),
    *(
        stats(
            f"beta.log{name}",
            log_beta_tail(upper),
            UNIT,
            SHAPE,
            SHAPE,
            constant=(1, 2),
            derivatives={(k, 0): log_beta_tail_slope(upper, k) for k in (1, 2)},
        )
        for name, upper in (("cdf", False), ("sf", True))
    ),
    stats("t.logpdf", t_logpdf, REAL, Range(0.0, 1e10, (0.0, 1.0, 2.0, 30.0))),
    stats("t.pdf", lambda x, n: mp.exp(t_logpdf(x, n)), REAL, Range(0.0, 1e10, (0.0, 1.0, 2.0, 30.0))),
    stats("poisson.logpmf", lambda k, mu: xlogy(k, mu) - mu - mp.loggamma(k + 1), WHOLE, POSITIVE, constant=(0,)),
    stats("poisson.pmf", lambda k, mu: mp.exp(xlogy(k, mu) - mu - mp.loggamma(k + 1)), WHOLE, POSITIVE, constant=(0,)),
    stats(
        "poisson.cdf",
        poisson_below,
        WHOLE,
        POSITIVE,
        constant=(0,),
        derivatives={
            (1, 1): lambda k, mu: -gamma_density(k + 1, mu),
            (2, 1): lambda k, mu: -gamma_density_slope(k + 1, mu),
        },
    ),
    stats("poisson.entropy", poisson_entropy, Range(0.0, 150.0, (0.0, 1.0, 100.0)), orders=(0,)),
    stats("bernoulli.logpmf", bernoulli_logpmf, BIT, UNIT, constant=(0,)),
    stats("bernoulli.pmf", lambda k, p: mp.exp(bernoulli_logpmf(k, p)), BIT, UNIT, constant=(0,)),
    stats(
        "bernoulli.cdf",
        lambda k, p: mpf(0) if k < 0 else 1 - p if k < 1 else mpf(1),
        Range(only=(-1.0, 0.0, 0.5, 1.0, 2.0)),
        UNIT,
        constant=(0,),
    ),
    stats("bernoulli.ppf", lambda q, p: mpf(int(q > 1 - p)), UNIT, UNIT, orders=(0,)),
    stats("binom.logpmf", binom_logpmf, WHOLE, TRIALS, UNIT, constant=(0, 1)),
    stats("binom.pmf", lambda k, n, p: mp.exp(binom_logpmf(k, n, p)), WHOLE, TRIALS, UNIT, constant=(0, 1)),
    stats("betabinom.logpmf", betabinom_logpmf, WHOLE, TRIALS, SHAPE, SHAPE, constant=(0, 1), orders=(0, 1)),
    stats("nbinom.logpmf", nbinom_logpmf, WHOLE, SHAPE, UNIT, constant=(0,), orders=(0, 1)),
    stats(
        "nbinom.pmf", lambda k, n, p: mp.exp(nbinom_logpmf(k, n, p)), WHOLE, SHAPE, UNIT, constant=(0,), orders=(0, 1)
    ),
    stats(
        "geom.logpmf",
        lambda k, p: xlogy(k - 1, 1 - p) + mp.log(p),
        Range(only=(1.0, 2.0, 5.0, 1e3)),
        UNIT,
        constant=(0,),
    ),
    stats("gennorm.logpdf", gennorm_logpdf, MODEST, Range(0.1, 10.0, (1.0, 2.0)), orders=(0, 1)),
    stats("gennorm.cdf", gennorm_below, MODEST, Range(0.1, 10.0, (1.0, 2.0)), orders=(0, 1), constant=(1,)),
    stats("gumbel_r.logpdf", lambda x: -x - mp.exp(-x), GUMBEL),
    stats("gumbel_r.pdf", lambda x: mp.exp(-x - mp.exp(-x)), GUMBEL),
    stats("gumbel_r.cdf", lambda x: mp.exp(-mp.exp(-x)), GUMBEL),
    stats("gumbel_r.sf", lambda x: -mp.expm1(-mp.exp(-x)), GUMBEL),
    stats("gumbel_r.logcdf", lambda x: -mp.exp(-x), GUMBEL),
    stats("gumbel_r.logsf", lambda x: mp.log(-mp.expm1(-mp.exp(-x))), GUMBEL),
    stats("gumbel_r.ppf", lambda q: -mp.log(-mp.log(q)), UNIT),
    stats("gumbel_l.ppf", lambda q: mp.log(-mp.log1p(-q)), UNIT),
    stats("pareto.logpdf", lambda x, b: mp.log(b) - (b + 1) * mp.log(x), PARETO, SHAPE),
    stats("pareto.pdf", lambda x, b: b * x ** (-b - 1), PARETO, SHAPE),
    stats("pareto.cdf", lambda x, b: 1 - x**-b, PARETO, SHAPE),
    stats("pareto.sf", lambda x, b: x**-b, PARETO, SHAPE),
    stats("pareto.logcdf", lambda x, b: mp.log1p(-(x**-b)), PARETO, SHAPE, orders=(0, 1)),
    stats("pareto.ppf", lambda q, b: (1 - q) ** (-1 / b), UNIT, SHAPE, orders=(0, 1)),
    stats("truncnorm.logpdf", truncnorm_logpdf, ENDS, ENDS, ENDS, orders=(0, 1)),
    stats("truncnorm.cdf", truncnorm_below, ENDS, ENDS, ENDS, orders=(0, 1)),
    stats("vonmises.logpdf", vonmises_logpdf, Range(-math.pi, math.pi, (0.0,)), SHAPE, orders=(0, 1)),
    stats("wrapcauchy.pdf", wrapcauchy_pdf, Range(0.0, 6.28, (0.0, 3.14)), UNIT, orders=(0, 1)),
    stats("uniform.logpdf", lambda x: mpf(0), UNIT.with_kinks(0.0, 1.0)),
    stats("uniform.pdf", lambda x: mpf(1), UNIT.with_kinks(0.0, 1.0)),
    stats("uniform.cdf", lambda x: x, UNIT.with_kinks(0.0, 1.0)),
    stats("uniform.ppf", lambda q: q, UNIT),
]
