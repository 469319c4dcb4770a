"""Functions of the distributions of vectors in `scipy.stats`, as functions of single numbers."""

from mpmath import mp

from .closed import of_exp
from .function import SIGNED_UNIT, UNIT, Range, stats
from .special import SHAPE, polygamma, xlogy


def multinomial_logpmf(i, j, k, p, q):
    """Of three categories, the last of which has the rest of the probability."""
    rest = 1 - p - q
    if rest < 1e-6:  # of a smaller one the functions get no digit
        raise ValueError("no probabilities")
    counts = mp.loggamma(i + j + k + 1) - mp.loggamma(i + 1) - mp.loggamma(j + 1) - mp.loggamma(k + 1)
    return counts + xlogy(i, p) + xlogy(j, q) + xlogy(k, rest)


def of_three(name):
    """The maker of a function of three counts and two probabilities."""

    def make(L):
        f = getattr(L.stats.multinomial, name)
        stack = L.numpy.stack

        def function(i, j, k, p, q):
            return f(stack([i, j, k], -1), i + j + k, stack([p, q, 1 - p - q], -1))

        return function

    return make


def dirichlet_logpdf(x, y, a, b, c):
    """Of three proportions, the last of which is the rest."""
    if min(x, y) <= 0 or x + y >= 1 or min(a, b, c) <= 0:
        raise ValueError("no proportions")
    powers = (a - 1) * mp.log(x) + (b - 1) * mp.log(y) + (c - 1) * mp.log(1 - x - y)
    return powers + mp.loggamma(a + b + c) - mp.loggamma(a) - mp.loggamma(b) - mp.loggamma(c)


def dirichlet_slope(order, i):
    def of_proportion(*xs):
        x, y, *shape = xs
        return (-1) ** (order - 1) * (shape[i] - 1) / xs[i] ** order - (shape[2] - 1) / (1 - x - y) ** order

    def of_shape(x, y, *shape):
        value = polygamma(order - 1, sum(shape)) - polygamma(order - 1, shape[i - 2])
        return value + (mp.log((x, y, 1 - x - y)[i - 2]) if order == 1 else 0)

    def slope(*xs):
        dirichlet_logpdf(*xs)  # raises an error where there is no density
        return (of_proportion if i < 2 else of_shape)(*xs)

    return slope


DIRICHLET_SLOPES = {(order, i): dirichlet_slope(order, i) for order in (1, 2) for i in range(5)}


def of_proportions(name):
    """The maker of a function of two of three proportions and of three concentrations."""

    def make(L):
        f, stack = getattr(L.stats.dirichlet, name), L.numpy.stack

        def function(x, y, a, b, c):
            # the concentrations are one vector for all points: one point after the other, as in a loop
            return L.vmap(lambda x, y, *shape: f(stack([x, y]), stack(shape)))(x, y, a, b, c)

        return function

    return make


def pair_logpdf(x, y, r):
    """Of two normal variates whose correlation is r."""
    if abs(r) >= 1:
        raise ValueError("no correlation")
    square = (x * x - 2 * r * x * y + y * y) / (1 - r * r)
    return -square / 2 - mp.log(2 * mp.pi) - mp.log1p(-r * r) / 2


def of_pair(name):
    def make(L):
        f, numpy = getattr(L.stats.multivariate_normal, name), L.numpy

        def function(x, y, r):
            one = numpy.ones_like(r)
            covariance = numpy.stack([numpy.stack([one, r], -1), numpy.stack([r, one], -1)], -2)
            return L.vmap(f)(numpy.stack([x, y], -1), numpy.zeros_like(x, shape=(*x.shape, 2)), covariance)

        return function

    return make


# for smaller ones the second derivative is infinite, and nan along another, whose tangent for them is 0
PROBABILITY = Range(1e-12, 1.0, (0.5, 1.0))
FEW = Range(only=(0.0, 1.0, 2.0, 7.0, 100.0, 1e4))
MODERATE = Range(-30.0, 30.0, (0.0, 1.0, -1.0))

VECTORS = [
    stats(
        "multinomial.logpmf",
        multinomial_logpmf,
        FEW,
        FEW,
        FEW,
        PROBABILITY,
        PROBABILITY,
        make=of_three("logpmf"),
        constant=(0, 1, 2),
    ),
    stats(
        "multinomial.pmf",
        lambda *xs: mp.exp(multinomial_logpmf(*xs)),
        FEW,
        FEW,
        FEW,
        PROBABILITY,
        PROBABILITY,
        make=of_three("pmf"),
        constant=(0, 1, 2),
    ),
    stats(
        "dirichlet.logpdf",
        dirichlet_logpdf,
        UNIT,
        UNIT,
        SHAPE,
        SHAPE,
        SHAPE,
        make=of_proportions("logpdf"),
        constant=(1, 3),  # as the other ones
        derivatives=DIRICHLET_SLOPES,
    ),
    stats(
        "dirichlet.pdf",
        lambda *xs: mp.exp(dirichlet_logpdf(*xs)),
        UNIT,
        UNIT,
        SHAPE,
        SHAPE,
        SHAPE,
        make=of_proportions("pdf"),
        constant=(1, 3),
        derivatives=of_exp(dirichlet_logpdf, DIRICHLET_SLOPES),
    ),
    stats("multivariate_normal.logpdf", pair_logpdf, MODERATE, MODERATE, SIGNED_UNIT, make=of_pair("logpdf")),
    stats(
        "multivariate_normal.pdf",
        lambda *xs: mp.exp(pair_logpdf(*xs)),
        MODERATE,
        MODERATE,
        SIGNED_UNIT,
        make=of_pair("pdf"),
    ),
]
