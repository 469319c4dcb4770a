"""Derivatives at the ends of arguments and parameters: the one-sided ones, of both orders, in every mode."""

from __future__ import annotations

import importlib

import mpmath as mp
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback.scipy import special

STEP = mp.mpf(10) ** -25


def power(x, y):
    return mp.mpf(1) if y == 0 else mp.mpf(0) if x == 0 else x**y


def coefficient(n, k):
    return mp.gamma(n + k) / mp.gamma(n) / mp.factorial(k)


def incomplete_beta(a, b, x):
    if x > mp.mpf(1) / 2:
        return 1 - incomplete_beta(b, a, 1 - x)
    return x**a * mp.hyp2f1(a, 1 - b, a + 1, x) / a / mp.beta(a, b) if x else mp.mpf(0)


def incomplete_gamma(a, x):
    return mp.gammainc(a, 0, x, regularized=True) if x else mp.mpf(0)


def normal(a, b):
    return mp.erfc(a / mp.sqrt(2)) - mp.erfc(b / mp.sqrt(2))


def xlogy(x, y):
    return x * mp.log(y) if x else mp.mpf(0)


def difference(f, point, sides, *which):
    """The derivative of first or second order from these sides: by what argument, and by what other."""
    with mp.workdps(120):
        signs = [1 if s == "+" else -1 for s in sides]

        def at(*moves):
            args = [mp.mpf(x) for x in point]
            for i in moves:
                args[i] += signs[i] * STEP
            return f(*args)

        rest = at()
        if len(which) == 1:
            return float(signs[which[0]] * (at(*which) - rest) / STEP)
        i, j = which
        bend = at(i, j) - at(i) - at(j) + rest
        return float(signs[i] * signs[j] * bend / STEP**2)


def stat(name, function):
    return getattr(importlib.import_module(f"pullback.scipy.stats.{name}"), function)


# name: function, the same by mpmath, points with the sides that the arguments come from, and the arguments' numbers
CASES = {}


def case(name, fun, exact, points, active):
    CASES[name] = fun, exact, points, active


def masses(name, mass, log_mass, points, active):
    case(f"{name}.pmf", stat(name, "pmf"), mass, points, active)
    case(f"{name}.logpmf", stat(name, "logpmf"), log_mass, [p for p in points if mass(*map(mp.mpf, p[0]))], active)


ENDS = ((0.0, "+"), (1.0, "-"))
masses(
    "bernoulli",
    lambda k, p: power(p, k) * power(1 - p, 1 - k),
    lambda k, p: xlogy(k, p) + xlogy(1 - k, 1 - p),
    [((k, p), "+" + s) for k in (0.0, 1.0) for p, s in ENDS],
    [1],
)
masses(
    "binom",
    lambda k, n, p: mp.binomial(n, k) * power(p, k) * power(1 - p, n - k),
    lambda k, n, p: mp.log(mp.binomial(n, k)) + xlogy(k, p) + xlogy(n - k, 1 - p),
    [((k, n, p), "++" + s) for n in (0.0, 1.0, 5.0) for k in np.arange(n + 1) for p, s in ENDS],
    [2],
)
masses(
    "geom",
    lambda k, p: p * power(1 - p, k - 1),
    lambda k, p: mp.log(p) + xlogy(k - 1, 1 - p),
    [((k, p), "+" + s) for k in (1.0, 2.0, 3.0, 4.0) for p, s in ENDS],
    [1],
)
masses(
    "nbinom",
    lambda k, n, p: coefficient(n, k) * power(p, n) * power(1 - p, k),
    lambda k, n, p: mp.log(coefficient(n, k)) + xlogy(n, p) + xlogy(k, 1 - p),
    # at p = 0 the slopes of a power below 1, and second ones below 2 by the parameter, are infinite
    [((k, n, 1.0), "++-") for k in (0.0, 1.0, 2.0, 3.0) for n in (0.5, 1.0, 2.5)]
    + [((k, n, 0.0), "+++") for k in (0.0, 1.0, 2.0) for n in (2.0, 3.0)],
    [2],
)
masses(
    "poisson",
    lambda k, mu: power(mu, k) * mp.exp(-mu) / mp.factorial(k),
    lambda k, mu: xlogy(k, mu) - mu - mp.log(mp.factorial(k)),
    [((k, 0.0), "++") for k in (0.0, 1.0, 2.0, 3.0)],
    [1],
)
case(
    "multinomial.pmf",
    lambda a, b, c, p, q, r: stat("multinomial", "pmf")(pnp.stack([a, b, c]), a + b + c, pnp.stack([p, q, r])),
    lambda a, b, c, p, q, r: (
        mp.factorial(a + b + c)
        / (mp.factorial(a) * mp.factorial(b) * mp.factorial(c))
        * (power(p, a) * power(q, b) * power(r, c))
    ),
    [
        ((*x, *p), "++++++")
        for x in ((0.0, 2.0, 1.0), (1.0, 1.0, 1.0), (3.0, 0.0, 0.0))
        for p in ((0.0, 0.5, 0.5), (0.5, 0.5, 0.0), (0.0, 1.0, 0.0))
    ],
    [3, 5],
)
BETA = [((0.0, a, b), "+++") for a in (1.0, 2.0, 3.0, 4.0) for b in (1.0, 2.5)]
BETA += [((1.0, a, b), "-++") for a in (1.0, 2.5) for b in (1.0, 2.0, 3.0, 4.0)]


def beta_density(x, a, b):
    return power(x, a - 1) * power(1 - x, b - 1) / mp.beta(a, b)


case("beta.pdf", stat("beta", "pdf"), beta_density, BETA, [0])
case("beta.cdf", stat("beta", "cdf"), lambda x, a, b: incomplete_beta(a, b, x), BETA, [0])
case("beta.sf", stat("beta", "sf"), lambda x, a, b: incomplete_beta(b, a, 1 - x), BETA, [0])
HIGH, LOW = [p for p in BETA if p[0][0]], [p for p in BETA if not p[0][0]]
case("beta.logcdf", stat("beta", "logcdf"), lambda x, a, b: mp.log(incomplete_beta(a, b, x)), HIGH, [0])
case("beta.logsf", stat("beta", "logsf"), lambda x, a, b: mp.log(incomplete_beta(b, a, 1 - x)), LOW, [0])
# by the parameters too, where the powers vanish fast enough
STEEP = [((0.0, a, 1.0), "+++") for a in (3.0, 4.5)] + [((1.0, 1.0, b), "-++") for b in (3.0, 4.5)]
case("beta.pdf, all", stat("beta", "pdf"), beta_density, STEEP, [0, 1, 2])
case("beta.cdf, all", stat("beta", "cdf"), lambda x, a, b: incomplete_beta(a, b, x), STEEP, [0, 1, 2])
# parameters of 1, inside
INSIDE = [((0.3, 1.0, 2.0), "+++"), ((0.3, 2.0, 1.0), "+++"), ((0.3, 1.0, 1.0), "+++")]
case("beta.logpdf", stat("beta", "logpdf"), lambda *args: mp.log(beta_density(*args)), INSIDE, [0, 1, 2])
case("beta.logpdf, flat", stat("beta", "logpdf"), lambda *args: mp.log(beta_density(*args)), BETA[:2], [0, 2])
GAMMA = [((0.0, a), "++") for a in (1.0, 2.0, 3.0, 4.0)]
case("gamma.pdf", stat("gamma", "pdf"), lambda x, a: power(x, a - 1) * mp.exp(-x) / mp.gamma(a), GAMMA, [0])
case("gamma.logsf", stat("gamma", "logsf"), lambda x, a: mp.log(1 - incomplete_gamma(a, x)), GAMMA, [0])
case("gamma.logsf, all", stat("gamma", "logsf"), lambda x, a: mp.log(1 - incomplete_gamma(a, x)), GAMMA[2:], [0, 1])
case("chi2.logsf", stat("chi2", "logsf"), lambda x, a: mp.log(1 - incomplete_gamma(a / 2, x / 2)), GAMMA[1::2], [0])
case(
    "uniform.cdf",
    stat("uniform", "cdf"),
    lambda x, loc, scale: min(max((x - loc) / scale, mp.mpf(0)), mp.mpf(1)),
    [((1.0, 1.0, 2.0), "+-+"), ((3.0, 1.0, 2.0), "-++")],
    [0, 1, 2],
)
INTERVAL = [((-1.0, -1.0, 1.0), "+-+"), ((1.0, -1.0, 1.0), "--+"), ((0.0, 0.0, 1.0), "+-+")]
case("truncnorm.cdf", stat("truncnorm", "cdf"), lambda x, a, b: normal(a, x) / normal(a, b), INTERVAL, [0, 1])
case("truncnorm.sf", stat("truncnorm", "sf"), lambda x, a, b: normal(x, b) / normal(a, b), INTERVAL, [0])
ABOVE = INTERVAL[1:2]
case(
    "truncnorm.logcdf", stat("truncnorm", "logcdf"), lambda x, a, b: mp.log(normal(a, x) / normal(a, b)), ABOVE, [0, 2]
)
case("xlogy", special.xlogy, xlogy, [((0.0, y), "++") for y in (0.0, 1.0)], [1])
case("xlog1py", special.xlog1py, lambda x, y: xlogy(x, 1 + y), [((0.0, y), "++") for y in (-1.0, 0.0)], [1])
case("expn", special.expn, mp.expint, [((4.0, 0.0), "++"), ((5.0, 0.0), "++")], [1])


@pytest.mark.parametrize("name", CASES)
def test_first_and_second_derivatives(name):
    f, exact, points, active = CASES[name]
    columns = [np.array(c) for c in zip(*(p for p, _ in points), strict=True)]

    def by(transform, i, g):
        def along(*args):
            return transform(lambda x: g(*args[:i], x, *args[i + 1 :]))(args[i])

        return along

    pairs = ((pb.grad, pb.grad), (pb.grad, pb.jacfwd), (pb.jacfwd, pb.jacfwd))
    found = {}
    with pb.enable_x64(), np.errstate(all="ignore"):
        for i in active:
            found[i,] = [pb.vmap(by(t, i, f))(*columns) for t in (pb.grad, pb.jacfwd)]
            for j in active:
                found[i, j] = [pb.vmap(by(t, j, by(s, i, f)))(*columns) for s, t in pairs]
        i = active[0]  # a program of both orders
        first = by(pb.grad, i, f)
        both = pb.jit(pb.vmap(lambda *args: [first(*args), by(pb.jacfwd, i, first)(*args)]))(*columns)
    found[i,].append(both[0])
    found[i, i].append(both[1])
    for k, (point, sides) in enumerate(points):
        for which, runs in found.items():
            expected, values = difference(exact, point, sides, *which), [v[k] for v in runs]
            np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-12, err_msg=f"{name} at {point}: {which}")


def test_infinite_slopes_at_the_ends_are_infinite():
    density, above = stat("gamma", "pdf"), stat("gamma", "logsf")
    cases = [
        (pb.grad(stat("expon", "logcdf")), (0.0,), np.inf),
        (pb.grad(stat("poisson", "entropy")), (0.0,), np.inf),
        (pb.grad(density, 1), (0.0, 1.0), -np.inf),
        (pb.grad(density, 1), (0.0, 0.5), -np.inf),
        (pb.grad(pb.grad(density), 1), (0.0, 2.0), -np.inf),
        (pb.grad(pb.grad(density), 1), (0.0, 1.0), np.inf),
        (pb.grad(pb.grad(above)), (0.0, 1.5), -np.inf),
        (pb.grad(pb.grad(stat("beta", "pdf")), 1), (0.0, 2.0, 3.0), -np.inf),
        (pb.grad(pb.grad(special.xlogy, 1), 0), (0.0, 0.0), np.inf),
        (pb.grad(stat("nbinom", "pmf"), 2), (0.0, 0.5, 0.0), np.inf),
    ]
    for derivative, args, expected in cases:
        assert float(derivative(*args)) == expected, args
        assert float(pb.jit(derivative)(*args)) == expected, args


def test_relative_entropies_of_nothing_change_with_the_other_by_what_is_added():
    for fun in (special.rel_entr, special.kl_div):
        mixed = pb.jacfwd(pb.grad(fun, 1), 0)
        assert float(mixed(0.0, 2.0)) == float(pb.jit(mixed)(0.0, 2.0)) == -0.5
    second = pb.grad(pb.grad(special.kl_div, 1), 1)
    assert float(second(0.0, 0.0)) == float(pb.jit(second)(0.0, 0.0)) == 0


def test_the_mass_of_labels_between_0_and_1():
    pmf = stat("bernoulli", "pmf")
    k, p = 0.25, pnp.array([0.0, 0.25, 1.0])
    for run in (pmf, pb.jit(pmf)):
        np.testing.assert_allclose(run(k, p), [0, 0.25**0.25 * 0.75**0.75, 0], rtol=1e-6)
        assert np.isnan(run(1, pnp.array([-0.5, np.nan]))).all()
    slopes = pb.vmap(pb.jacfwd(pb.grad(pmf, 0), 1), (None, 0))(1.0, pnp.array([0.25, 0.5]))
    # the derivative of p (log p - log(1 - p))
    np.testing.assert_allclose(slopes, np.log([1 / 3, 1]) + 1 / np.array([0.75, 0.5]), rtol=1e-5)


def test_every_derivative_of_a_rising_factorial_at_its_roots():
    polynomial = np.polynomial.Polynomial([0, 6, 11, 6, 1])  # z (z + 1) (z + 2) (z + 3)
    for root in (0.0, -1.0, -2.0, -3.0):

        def slope(z):
            return special.poch(z, 4.0)

        for order in range(1, 5):
            slope = pb.grad(slope) if order % 2 else pb.jacfwd(slope)
            expected = polynomial.deriv(order)(root)
            np.testing.assert_allclose(slope(root), expected, rtol=1e-4)
            np.testing.assert_allclose(pb.jit(slope)(root), expected, rtol=1e-4)
