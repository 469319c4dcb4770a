"""Why a line misses its goal, where that is known and stays: the last column of "Goals missed".

A reason says what bounds the error, and what a better result would cost. A line without one is open.
"""

import fnmatch
from typing import NamedTuple

from .compare import Line


class Reason(NamedTuple):
    """`name` is the name of a function, or a pattern with * or ?; `dtype` or `order` None stands for all."""

    name: str
    dtype: str | None
    order: int | None
    why: str

    def holds_for(self, line: Line) -> bool:
        return (
            fnmatch.fnmatchcase(line.name, self.name)
            and self.dtype in (None, line.dtype)
            and self.order in (None, line.order)
        )


_FLUSHED = "next to the smallest normal number an intermediate result is subnormal and flushed: a few points of 800"
_SQUARES = (
    "for a tiny parameter it is the difference of two squares of its reciprocal; a form without it would be a "
    "function of its own"
)
_CURVATURE = "far out the slope is next to constant: a difference with the hazard keeps the digits of the hazard alone"

REASONS: tuple[Reason, ...] = (
    Reason(
        "numpy.power",
        None,
        2,
        "x**(y - 2) overflows before the tiny y makes it small; another order of the "
        "factors would take a second power, which is the whole cost",
    ),
    Reason("numpy.tanh", "float64", 0, "XLA's own tanh; the eager one is within one unit"),
    Reason("nn.gelu tanh", "float64", 0, "the cubic inside is rounded before tanh, which doubles that: 4.3 units"),
    Reason("nn.sparse_sigmoid", "float64", 1, "one ulp above 1 the half of x + 1 rounds to 1, the kink"),
    Reason(
        "nn.softmax",
        None,
        2,
        "a share next to 1/2 against one other: its curvature is a difference of two shares, "
        "and the exponentials know it to their rounding",
    ),
    Reason("special.zeta", "float32", 2, _FLUSHED),
    Reason("special.gammainc*", "float64", 2, _FLUSHED),
    Reason("stats.gamma.pdf", None, None, _FLUSHED),
    Reason("stats.gamma.log*", None, None, _FLUSHED),
    Reason("stats.poisson.pmf", None, None, _FLUSHED),
    Reason("stats.poisson.cdf", None, 2, _FLUSHED),
    Reason(
        "stats.poisson.entropy",
        None,
        None,
        "for a tiny mean: exp(log) has the rounding error of the logarithm; "
        "the masses themselves would double the cost",
    ),
    Reason("stats.t.pdf", None, 2, _FLUSHED),
    Reason("special.beta", "float32", 1, _FLUSHED),
    Reason("special.beta", None, 2, _SQUARES),
    Reason("stats.beta.pdf", None, 2, _SQUARES),
    Reason(
        "stats.beta.pdf",
        None,
        None,
        "where the density underflows, its derivative by a tiny parameter is 0 times a large number: three points",
    ),
    Reason("stats.beta.logpdf", None, None, "for parameters next to 1 the terms cancel"),
    Reason(
        "stats.beta.log[cs]*",
        None,
        2,
        "next to 0 the hazard and what it is multiplied by leave the range; elsewhere, " + _CURVATURE,
    ),
    Reason(
        "stats.beta.[cs]*f",
        None,
        0,
        "exponentials of hundreds; between 0.01 and 1 a parameter leaves some digits "
        "to 1 less a tail: its own tail takes ten times the steps; and no distribution for parameters 0",
    ),
    Reason(
        "stats.beta.log[cs]*",
        None,
        None,
        "for a parameter far below 1 the hazard is a quotient of what is flushed; and " + _FLUSHED,
    ),
    Reason("special.betainc", None, None, _FLUSHED),
    Reason("special.poch", None, 0, _FLUSHED),
    Reason("special.poch", None, None, "where the value overflows, its derivatives are it times what is small"),
    Reason("special.expn", "float64", 0, "above 1 the continued fraction takes 70 steps, each of which rounds"),
    Reason(
        "stats.betabinom.pmf",
        None,
        0,
        "for a million trials it is a product of three masses, whose logarithms have rounding errors of their size",
    ),
    Reason("stats.betabinom.pmf", None, None, _FLUSHED),
    Reason(
        "stats.dirichlet.logpdf",
        "float64",
        0,
        "the logarithms of tiny concentrations cancel, two points; and one where the last proportion is lost, as the "
        "sum of the others rounds to 1",
    ),
    Reason(
        "stats.dirichlet.logpdf",
        None,
        None,
        "two points of tiny concentrations, whose second derivative is beyond the range: nan instead of -inf; and, in "
        "float64, one where the sum of all but the last proportion rounds to 1",
    ),
    Reason(
        "stats.dirichlet.pdf",
        None,
        None,
        "the exponential of a logarithm of hundreds; and of derivatives, where it vanishes it is 0 times what is "
        "beyond the range, and for a tiny concentration a difference of two squares of its reciprocal",
    ),
    Reason("stats.binom.pmf", None, 2, "where it vanishes; and " + _FLUSHED),
    Reason("stats.pareto.*", None, None, _FLUSHED),
    Reason("stats.wrapcauchy.logpdf", None, 2, "for a tiny c its curvature is a difference of two numbers next to 2"),
    Reason(
        "stats.chi2.*",
        None,
        None,
        "half of the smallest number of degrees of freedom is subnormal: with that number instead, the value would be "
        "twice what is right, but its derivatives by it would not, so each would take two evaluations; and " + _FLUSHED,
    ),
    Reason(
        "stats.nbinom.pmf",
        None,
        2,
        "for n next to 1 the second derivative of a power overflows before its small factor",
    ),
    Reason("stats.nbinom.pmf", None, None, _FLUSHED),
    Reason("stats.gennorm.*", None, None, _FLUSHED),
    Reason("stats.wrapcauchy.*", None, None, _FLUSHED),
    Reason("stats.vonmises.*", None, None, _FLUSHED),
    Reason("special.wofz complex*", None, None, _FLUSHED),
    Reason(
        "stats.multivariate_normal.*",
        None,
        2,
        "where it vanishes, a difference of products of what the triangular solution rounds: within 4 ulp of the "
        "density itself, eager 3, compiled 3.8, JAX 3.5 at 400 such points",
    ),
    Reason(
        "stats.truncnorm.*",
        "float64",
        0,
        "a share of 1e-71 is the exponential of a difference of logarithms, which have rounding errors of their size",
    ),
    Reason("stats.multinomial.logpmf", None, None, "the last probability is 1 less the others, rounded; next to 0"),
    Reason("stats.multinomial.pmf", None, None, _FLUSHED),
    Reason("stats.bernoulli.*", None, None, "at the ends of p the term of the impossible outcome is 0 / 0"),
)


def why(line: Line) -> str:
    """The first reason for a line, or "open"."""
    return next((reason.why for reason in REASONS if reason.holds_for(line)), "open")
