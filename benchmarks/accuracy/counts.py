"""Functions of the distributions of counts in `scipy.stats`."""

from mpmath import mp, mpf

from .closed import of_exp
from .function import POSITIVE, UNIT, Range, stats
from .special import SHAPE, gamma_density, gamma_density_slope, log_beta, polygamma, upper_gamma, xlogy

BIT = Range(only=(0.0, 1.0))
WHOLE = Range(only=(*map(float, range(20)), 1e2, 1e3, 1e5, 1e6))
TRIALS = Range(only=(1.0, 2.0, 10.0, 1e3, 1e6))


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


def betabinom_slope(order, of_b):
    def slope(k, n, a, b):
        if k > n or a <= 0 or b <= 0:
            raise ValueError("impossible")
        c, own = (n - k, b) if of_b else (k, a)
        psi = [polygamma(order - 1, v) for v in (c + own, n + a + b, own, a + b)]
        return psi[0] - psi[1] - psi[2] + psi[3]

    return slope


BETABINOM_SLOPES = {(order, 2 + of_b): betabinom_slope(order, of_b) for order in (1, 2) for of_b in (0, 1)}


def nbinom_logpmf(k, n, p):
    return mp.loggamma(n + k) - mp.loggamma(n) - mp.loggamma(k + 1) + xlogy(n, p) + xlogy(k, 1 - p)


NBINOM_SLOPES = {
    (1, 1): lambda k, n, p: mp.digamma(n + k) - mp.digamma(n) + mp.log(p),
    (2, 1): lambda k, n, p: polygamma(1, n + k) - polygamma(1, n),
    (1, 2): lambda k, n, p: n / p - k / (1 - p),
    (2, 2): lambda k, n, p: -n / p**2 - k / (1 - p) ** 2,
}


def geom_logpmf(k, p):
    return xlogy(k - 1, 1 - p) + mp.log(p)


TRIES = Range(only=(1.0, 2.0, 5.0, 1e3))
COUNTS = [
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
    stats(
        "betabinom.logpmf", betabinom_logpmf, WHOLE, TRIALS, SHAPE, SHAPE, constant=(0, 1), derivatives=BETABINOM_SLOPES
    ),
    stats(
        "betabinom.pmf",
        lambda *xs: mp.exp(betabinom_logpmf(*xs)),
        WHOLE,
        TRIALS,
        SHAPE,
        SHAPE,
        constant=(0, 1),
        derivatives=of_exp(betabinom_logpmf, BETABINOM_SLOPES),
    ),
    stats("nbinom.logpmf", nbinom_logpmf, WHOLE, SHAPE, UNIT, constant=(0,), derivatives=NBINOM_SLOPES),
    stats(
        "nbinom.pmf",
        lambda k, n, p: mp.exp(nbinom_logpmf(k, n, p)),
        WHOLE,
        SHAPE,
        UNIT,
        constant=(0,),
        derivatives=of_exp(nbinom_logpmf, NBINOM_SLOPES),
    ),
    stats("geom.logpmf", geom_logpmf, TRIES, UNIT, constant=(0,)),
    stats("geom.pmf", lambda k, p: mp.exp(geom_logpmf(k, p)), TRIES, UNIT, constant=(0,)),
]
