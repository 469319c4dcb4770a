"""Functions of `scipy.stats`, of standard distributions (location 0, scale 1)."""

import math

from mpmath import mp, mpf

from .closed import negated as opposite
from .closed import of_exp, of_log, scaled
from .elementwise import normal_below, sigmoid, softplus
from .function import POSITIVE, REAL, UNIT, Range, stats
from .special import (
    SHAPE,
    beta_density,
    beta_tails,
    betainc,
    gamma_tails,
    log_beta,
    lower_gamma,
    negated,
    normal_quantile,
    normal_quantile_slope,
    polygamma,
    upper_gamma,
    xlogy,
)


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


def laplace_below(x):
    return mp.exp(x) / 2 if x < 0 else 1 - mp.exp(-x) / 2


def gennorm_logpdf(x, beta):
    return -(abs(x) ** beta) - mp.loggamma(1 + 1 / beta) - mp.log(2)


def gennorm_below(x, beta):
    part = abs(x) ** beta
    return upper_gamma(1 / beta, part) / 2 if x < 0 else (1 + lower_gamma(1 / beta, part)) / 2


def vonmises_logpdf(x, kappa):
    return kappa * mp.cos(x) - mp.log(2 * mp.pi * mp.besseli(0, kappa))


def mean_cosine(kappa):
    return mp.besseli(1, kappa) / mp.besseli(0, kappa)


VONMISES_SLOPES = {
    (1, 0): lambda x, kappa: -kappa * mp.sin(x),
    (2, 0): lambda x, kappa: -kappa * mp.cos(x),
    (1, 1): lambda x, kappa: mp.cos(x) - mean_cosine(kappa),
    (2, 1): lambda x, kappa: mean_cosine(kappa) ** 2 + mean_cosine(kappa) / kappa - 1,
}


def wrapcauchy_pdf(x, c):
    if not 0 < c < 1:
        raise ValueError("no concentration")
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


def truncnorm_above(x, a, b):
    return truncnorm_below(-x, -b, -a)


def log_of_part(f, rest):
    return lambda *xs: mp.log(f(*xs)) if f(*xs) < 0.5 else mp.log1p(-rest(*xs))


def share_at(v, a, b):
    """The density at v, in units of the mass of the interval."""
    return mp.exp(-v * v / 2) / mp.sqrt(2 * mp.pi) / normal_mass(a, b)


def inside(f):
    def checked(x, a, b):
        if not a < x < b:
            raise ValueError("outside")
        return f(x, a, b)

    return checked


TRUNCNORM_SLOPES = {
    (1, 0): inside(lambda x, a, b: -x),
    (2, 0): inside(lambda x, a, b: mpf(-1)),
    (1, 1): inside(lambda x, a, b: share_at(a, a, b)),
    (2, 1): inside(lambda x, a, b: share_at(a, a, b) * (share_at(a, a, b) - a)),
    (1, 2): inside(lambda x, a, b: -share_at(b, a, b)),
    (2, 2): inside(lambda x, a, b: share_at(b, a, b) * (share_at(b, a, b) + b)),
}
TRUNCNORM_TAIL_SLOPES = {
    (1, 0): inside(lambda x, a, b: share_at(x, a, b)),
    (2, 0): inside(lambda x, a, b: -x * share_at(x, a, b)),
    (1, 1): lambda x, a, b: -share_at(a, a, b) * truncnorm_above(x, a, b),
    (2, 1): lambda x, a, b: share_at(a, a, b) * truncnorm_above(x, a, b) * (a - 2 * share_at(a, a, b)),
    (1, 2): lambda x, a, b: -share_at(b, a, b) * truncnorm_below(x, a, b),
    (2, 2): lambda x, a, b: share_at(b, a, b) * truncnorm_below(x, a, b) * (b + 2 * share_at(b, a, b)),
}
CHI2_SLOPES = scaled(
    {
        (1, 0): lambda x, a: (a - 1) / x - 1,
        (2, 0): lambda x, a: -(a - 1) / x**2,
        (1, 1): lambda x, a: mp.log(x) - mp.digamma(a),
        (2, 1): lambda x, a: -polygamma(1, a),
    },
    0.5,
)


def chi2_tail(upper):
    return lambda x, n: gamma_tails(n / 2, x / 2)[upper]


def chi2_log_tail(upper):
    def tail(x, n):
        part, rest = gamma_tails(n / 2, x / 2)[:: -1 if upper else 1]
        return mp.log(part) if part < 0.5 else mp.log1p(-rest)

    return tail


def chi2_log_tail_slope(upper, order):
    """As that of the gamma distribution."""
    sign = -1 if upper else 1

    def slope(x, n):
        a, z = n / 2, x / 2
        hazard = sign * mp.exp(gamma_logpdf(z, a)) / gamma_tails(a, z)[upper]
        return hazard / 2 if order == 1 else hazard * ((a - 1) / z - 1 - hazard) / 4

    return slope


def chi2_logpdf(x, n):
    return gamma_logpdf(x / 2, n / 2) - mp.log(2)


GENNORM_SLOPES = {
    (1, 0): lambda x, beta: -mp.sign(x) * beta * abs(x) ** (beta - 1),
    (2, 0): lambda x, beta: -beta * (beta - 1) * abs(x) ** (beta - 2),
    (1, 1): lambda x, beta: -(abs(x) ** beta) * mp.log(abs(x)) + mp.digamma(1 + 1 / beta) / beta**2,
    (2, 1): lambda x, beta: (
        -(abs(x) ** beta) * mp.log(abs(x)) ** 2
        - 2 * mp.digamma(1 + 1 / beta) / beta**3
        - polygamma(1, 1 + 1 / beta) / beta**4
    ),
}


MODEST = Range(-30.0, 30.0, (0.0, 1.0, -1.0)).with_kinks(0.0)
POWER = Range(0.1, 10.0, (1.0, 2.0))
ANGLE = Range(-math.pi, math.pi, (0.0,))
GUMBEL = Range(-600.0, 800.0)
MIRRORED_GUMBEL = Range(-800.0, 600.0)
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
    stats("gennorm.logpdf", gennorm_logpdf, MODEST, POWER, derivatives=GENNORM_SLOPES),
    stats(
        "gennorm.pdf",
        lambda x, beta: mp.exp(gennorm_logpdf(x, beta)),
        MODEST,
        POWER,
        derivatives=of_exp(gennorm_logpdf, GENNORM_SLOPES),
    ),
    stats(
        "gennorm.cdf",
        gennorm_below,
        MODEST,
        POWER,
        constant=(1,),
        derivatives={
            (1, 0): lambda x, beta: mp.exp(gennorm_logpdf(x, beta)),
            (2, 0): of_exp(gennorm_logpdf, GENNORM_SLOPES)[1, 0],
        },
    ),
    stats("gumbel_r.logpdf", lambda x: -x - mp.exp(-x), GUMBEL),
    stats("gumbel_r.pdf", lambda x: mp.exp(-x - mp.exp(-x)), GUMBEL),
    stats("gumbel_r.cdf", lambda x: mp.exp(-mp.exp(-x)), GUMBEL),
    stats("gumbel_r.sf", lambda x: -mp.expm1(-mp.exp(-x)), GUMBEL),
    stats("gumbel_r.logcdf", lambda x: -mp.exp(-x), GUMBEL),
    stats("gumbel_r.logsf", lambda x: mp.log(-mp.expm1(-mp.exp(-x))), GUMBEL),
    stats("gumbel_r.ppf", lambda q: -mp.log(-mp.log(q)), UNIT),
    stats("gumbel_l.logpdf", lambda x: x - mp.exp(x), MIRRORED_GUMBEL),
    stats("gumbel_l.pdf", lambda x: mp.exp(x - mp.exp(x)), MIRRORED_GUMBEL),
    stats("gumbel_l.cdf", lambda x: -mp.expm1(-mp.exp(x)), MIRRORED_GUMBEL),
    stats("gumbel_l.sf", lambda x: mp.exp(-mp.exp(x)), MIRRORED_GUMBEL),
    stats("gumbel_l.logcdf", lambda x: mp.log(-mp.expm1(-mp.exp(x))), MIRRORED_GUMBEL),
    stats("gumbel_l.logsf", lambda x: -mp.exp(x), MIRRORED_GUMBEL),
    stats("gumbel_l.ppf", lambda q: mp.log(-mp.log1p(-q)), UNIT),
    stats("pareto.logpdf", lambda x, b: mp.log(b) - (b + 1) * mp.log(x), PARETO, SHAPE),
    stats("pareto.pdf", lambda x, b: b * x ** (-b - 1), PARETO, SHAPE),
    stats("pareto.cdf", lambda x, b: -mp.expm1(-b * mp.log(x)), PARETO, SHAPE),
    stats("pareto.sf", lambda x, b: x**-b, PARETO, SHAPE),
    stats("pareto.logcdf", lambda x, b: mp.log(-mp.expm1(-b * mp.log(x))), PARETO, SHAPE),
    stats("pareto.logsf", lambda x, b: -b * mp.log(x), PARETO, SHAPE),
    stats("pareto.ppf", lambda q, b: mp.exp(-mp.log1p(-q) / b), UNIT, SHAPE),
    stats("truncnorm.logpdf", truncnorm_logpdf, ENDS, ENDS, ENDS, derivatives=TRUNCNORM_SLOPES),
    stats(
        "truncnorm.pdf",
        lambda *xs: mp.exp(truncnorm_logpdf(*xs)),
        ENDS,
        ENDS,
        ENDS,
        derivatives=of_exp(truncnorm_logpdf, TRUNCNORM_SLOPES),
    ),
    stats("truncnorm.cdf", truncnorm_below, ENDS, ENDS, ENDS, derivatives=TRUNCNORM_TAIL_SLOPES),
    stats("truncnorm.sf", truncnorm_above, ENDS, ENDS, ENDS, derivatives=opposite(TRUNCNORM_TAIL_SLOPES)),
    stats(
        "truncnorm.logcdf",
        log_of_part(truncnorm_below, truncnorm_above),
        ENDS,
        ENDS,
        ENDS,
        derivatives=of_log(truncnorm_below, TRUNCNORM_TAIL_SLOPES),
    ),
    stats(
        "truncnorm.logsf",
        log_of_part(truncnorm_above, truncnorm_below),
        ENDS,
        ENDS,
        ENDS,
        derivatives=of_log(truncnorm_above, opposite(TRUNCNORM_TAIL_SLOPES)),
    ),
    stats("vonmises.logpdf", vonmises_logpdf, ANGLE, SHAPE, derivatives=VONMISES_SLOPES),
    stats(
        "vonmises.pdf",
        lambda x, kappa: mp.exp(vonmises_logpdf(x, kappa)),
        ANGLE,
        SHAPE,
        derivatives=of_exp(vonmises_logpdf, VONMISES_SLOPES),
    ),
    stats("wrapcauchy.logpdf", lambda x, c: mp.log(wrapcauchy_pdf(x, c)), Range(0.0, 6.28, (0.0, 3.14)), UNIT),
    stats("wrapcauchy.pdf", wrapcauchy_pdf, Range(0.0, 6.28, (0.0, 3.14)), UNIT),
    stats("chi2.logpdf", chi2_logpdf, SHAPE, SHAPE, derivatives=CHI2_SLOPES),
    stats(
        "chi2.pdf",
        lambda x, n: mp.exp(chi2_logpdf(x, n)),
        SHAPE,
        SHAPE,
        derivatives=of_exp(chi2_logpdf, CHI2_SLOPES),
    ),
    *(
        stats(
            f"chi2.{name}",
            chi2_tail(upper),
            SHAPE,
            SHAPE,
            constant=(1,),
            derivatives=(opposite if upper else dict)(
                {
                    (1, 0): lambda x, n: mp.exp(chi2_logpdf(x, n)),
                    (2, 0): of_exp(chi2_logpdf, CHI2_SLOPES)[1, 0],
                }
            ),
        )
        for name, upper in (("cdf", False), ("sf", True))
    ),
    *(
        stats(
            f"chi2.log{name}",
            chi2_log_tail(upper),
            SHAPE,
            SHAPE,
            constant=(1,),
            derivatives={(k, 0): chi2_log_tail_slope(upper, k) for k in (1, 2)},
        )
        for name, upper in (("cdf", False), ("sf", True))
    ),
    stats("uniform.logpdf", lambda x: mpf(0), UNIT.with_kinks(0.0, 1.0)),
    stats("uniform.pdf", lambda x: mpf(1), UNIT.with_kinks(0.0, 1.0)),
    stats("uniform.cdf", lambda x: x, UNIT.with_kinks(0.0, 1.0)),
    stats("uniform.ppf", lambda q: q, UNIT),
]
