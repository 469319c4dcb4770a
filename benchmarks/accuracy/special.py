"""Functions of `scipy.special`."""

import math

from mpmath import mp, mpf

from .elementwise import NARROW, complex_rows, normal_below, off_the_axes, sigmoid
from .function import POSITIVE, REAL, SIGNED_UNIT, UNIT, Range, special
from .integrals import INTEGRALS, faddeeva, faddeeva_slope

MODERATE = Range(-170.0, 170.0, tuple(float(k) for k in range(-5, 6)))
POLES = Range(points=(1.0, 2.0, *(float(-k) for k in range(12))))
SHAPE = Range(0.0, 1e7, (0.0, 0.5, 1.0, 2.0, 10.0), extra=(1e2, 1e3, 1e4, 1e5, 1e6))
EXPONENT = Range(1.0, 200.0, (1.0, 2.0))


def entr(x):
    return -x * mp.log(x) if x else mpf(0)


def xlogy(x, y):
    return x * mp.log(y) if x else mpf(0)


def xlog1py(x, y):
    return x * mp.log1p(y) if x else mpf(0)


def erfinv(x):
    """By Newton's method from a start of 15 digits, in logarithms near the ends, for erf(y) = x."""
    return -normal_quantile((1 - x) / 2) / mp.sqrt(2)


def normal_quantile(p):
    """The y with Phi(y) = p, by Newton's method on log(Phi(-|y|))."""
    if p == mpf(1) / 2:
        return mpf(0)
    if not 0 < p < 1:
        raise ValueError("outside")
    q = min(p, 1 - p)
    target = mp.log(q)
    y = -mp.sqrt(-2 * target) if q < 0.1 else -mp.mpf(normal_start(float(q)))
    for _ in range(60):
        value = normal_below(y)
        step = (mp.log(value) - target) * value / (mp.exp(-y * y / 2) / mp.sqrt(2 * mp.pi))
        y -= step
        if abs(step) <= abs(y) * mp.ldexp(1, -mp.prec + 12):
            break
    return y if p < 0.5 else -y


def normal_start(q):
    # DLMF 7.17.2, its first terms
    z = (1 - 2 * q) * math.sqrt(math.pi) / 2
    return math.sqrt(2) * (z + z**3 / 3 + 7 * z**5 / 30)


def normal_quantile_slope(order):
    """The derivatives 1 / phi(y) and y / phi(y)**2 of the y with Phi(y) = p."""

    def slope(p):
        y = normal_quantile(p)
        density = mp.exp(-y * y / 2) / mp.sqrt(2 * mp.pi)
        return 1 / density if order == 1 else y / density**2

    return slope


def erfinv_slope(order):
    """The derivatives u = sqrt(pi) / 2 exp(y**2) and 2 y u**2 of the y with erf(y) = x."""

    def slope(x):
        y = erfinv(x)
        u = mp.sqrt(mp.pi) / 2 * mp.exp(y * y)
        return u if order == 1 else 2 * y * u * u

    return slope


def polygamma(n, x):
    """Below 1/2 by reflection, DLMF 5.15.6: mpmath steps up from negative arguments one by one."""
    if n == 0 or x > 0.5:
        return mp.psi(n, x)
    if x == mp.floor(x):
        raise ZeroDivisionError
    # the derivatives of cot(pi x) are polynomials in c = cot(pi x), whose derivative is -pi (1 + c**2)
    terms = {1: mpf(1)}
    for _ in range(n):
        following = {}
        for k, a in terms.items():
            for power in (k - 1, k + 1):
                following[power] = following.get(power, 0) - mp.pi * k * a
        terms = following
    c = mp.cos(mp.pi * x) / mp.sin(mp.pi * x)
    return (-1) ** n * mp.psi(n, 1 - x) - mp.pi * sum(a * c**k for k, a in terms.items())


def hurwitz(s, q):
    if q == 0:
        raise ZeroDivisionError
    return mp.zeta(s, q)


def zeta_slope(n):
    """The derivative of order `n` in the second argument, DLMF 25.11.17."""
    return lambda s, q: (-1) ** n * mp.rf(s, n) * mp.zeta(s + n, q)


def gamma_density(a, x):
    return mp.exp((a - 1) * mp.log(x) - x - mp.loggamma(a))


def gamma_density_slope(a, x):
    return gamma_density(a, x) * ((a - 1) / x - 1)


def lower_gamma(a, x):
    return mp.gammainc(a, 0, x, regularized=True) if x else mpf(0)


def upper_gamma(a, x):
    return mp.gammainc(a, x, mp.inf, regularized=True) if x else mpf(1)


def gamma_tails(a, x):
    """The parts of the gamma distribution of order a below and above x, each to its own digits; mpmath gives up."""
    if a <= 0:
        raise ValueError("no distribution")
    if not x:
        return mpf(0), mpf(1)
    root = mp.sqrt(a)
    if x < a + 20 * root + 50:
        # the part above is 1 less the other
        lost = max(0, -mp.mag(a)) + (int((x - a) ** 2 / a) if x > a + 1 and a > 1 else int(2 * x))
        with mp.workprec(mp.prec + 40 + min(lost, 1200)):
            below = mp.exp(a * mp.log(x) - x - mp.loggamma(a + 1)) * _rising_sum(a, x)
            return below, 1 - below
    with mp.workprec(mp.prec + 40):
        above = mp.exp(a * mp.log(x) - x - mp.loggamma(a)) / _legendre_fraction(a, x)
        return 1 - above, above


def _rising_sum(a, x):
    """The sum of x**k / ((a + 1) ... (a + k)), in integers with a binary point behind `bits` bits."""
    bits = mp.prec + 40
    rate, order = int(mp.ldexp(x, bits)), int(mp.ldexp(a, bits))
    one = 1 << bits
    total = term = one
    while term > total >> (mp.prec + 20) or rate > order:
        order += one
        term = term * rate // order
        total += term
    return mp.ldexp(total, -bits)


def _legendre_fraction(a, x):
    """x + 1 - a - 1 (1 - a) / (x + 3 - a - 2 (2 - a) / (x + 5 - a - ...)), DLMF 8.9.2, with twice as many steps."""
    last, count = None, 32
    while True:
        rest = x + 2 * count + 1 - a
        for n in range(count, 0, -1):
            rest = x + (2 * n - 1) - a - n * (n - a) / rest
        if last is not None and abs(rest - last) <= mp.ldexp(abs(rest), -mp.prec + 10):
            return rest
        last, count = rest, 2 * count


def betainc(a, b, x):
    if a <= 0 and b <= 0:
        raise ValueError("no distribution")
    return mp.betainc(a, b, 0, x, regularized=True)


def beta_tails(a, b, x):
    """The parts of the beta distribution below and above x, each to its own digits; mpmath takes 100 times longer."""
    if a <= 0 or b <= 0:
        raise ValueError("no distribution")
    # the part above is 1 less the other: for tiny parameters the other is next to 1
    with mp.workprec(mp.prec + 40 + max(0, -mp.mag(min(a, b)), mp.mag(max(a, b)))):
        if x > (a + 1) / (a + b + 2):
            return _beta_parts(b, a, 1 - x, mp.log1p(-x), mp.log(x))[::-1]
        return _beta_parts(a, b, x, mp.log(x), mp.log1p(-x))


def _beta_parts(a, b, x, log_x, log_y):
    """DLMF 8.17.22 by its numerators and denominators, which are integers with a binary point behind `bits` bits."""
    bits = mp.prec + 60
    one = 1 << bits
    rate, first, second, both = (int(mp.ldexp(v, bits)) for v in (x, a, b, a + b))
    before, now = (0, one), (one, one)
    last, value, m = 0, one, 0
    while abs(value - last) > value >> (mp.prec + 20):
        place = first + 2 * m * one
        odd = -((first + m * one) * (both + m * one) // place) * rate // (place + one)
        m += 1
        place += 2 * one
        even = (m * (second - m * one) * rate << bits) // place // (place - one)
        for d in (odd, even):
            before, now = now, tuple(v + (d * u >> bits) for u, v in zip(before, now, strict=True))
        excess = now[1].bit_length() - bits
        before, now = (tuple(v >> excess if excess > 0 else v << -excess for v in pair) for pair in (before, now))
        last, value = value, (now[0] << bits) // now[1]
    scale = mp.exp(a * log_x + b * log_y - mp.loggamma(a + 1) - mp.loggamma(b) + mp.loggamma(a + b))
    part = scale * mp.ldexp(value, -bits)
    return part, 1 - part


def beta_density(a, b, x):
    return mp.exp((a - 1) * mp.log(x) + (b - 1) * mp.log1p(-x) - log_beta(a, b))


def beta_density_slope(a, b, x):
    return beta_density(a, b, x) * ((a - 1) / x - (b - 1) / (1 - x))


def log_beta(a, b):
    return mp.loggamma(a) + mp.loggamma(b) - mp.loggamma(a + b)


def gamma_sign(x):
    if x == mp.floor(x) and x <= 0:
        raise ZeroDivisionError
    return mpf(-1) if x < 0 and int(mp.floor(x)) % 2 else mpf(1)


def negated(f):
    return lambda *args: -f(*args)


def boxcox(x, power):
    return mp.expm1(power * mp.log(x)) / power if power else mp.log(x)


def ways(n, k):
    if k > n:
        raise ValueError("impossible")
    return mp.binomial(n, k)


def ways_slope(n, k):
    return ways(n, k) * (mp.digamma(n + 1) - mp.digamma(n - k + 1))


def kummer_slope(order):
    """DLMF 13.3.16."""
    return lambda a, b, x: mp.rf(a, order) / mp.rf(b, order) * mp.hyp1f1(a + order, b + order, x)


def gauss(a, b, c, x):
    if x == 1 and c - a - b <= 0:
        raise ZeroDivisionError
    return mp.hyp2f1(a, b, c, x)


def gauss_slope(order):
    """DLMF 15.5.2."""
    return lambda a, b, c, x: (
        mp.rf(a, order) * mp.rf(b, order) / mp.rf(c, order) * gauss(a + order, b + order, c + order, x)
    )


def harmonic(n, m, theta, phi):
    """By the sum of DLMF 14.7.10 and 14.3.4 for whole degrees: products of sines and cosines of half the angle."""
    if not 0 <= theta <= mp.pi:
        raise ValueError("outside")
    sine, cosine, k = mp.sin(theta / 2), mp.cos(theta / 2), abs(m)
    total = sum(
        (-1) ** i * mp.binomial(n, i) * mp.binomial(n, i + k) * sine ** (2 * i + k) * cosine ** (2 * n - 2 * i - k)
        for i in range(n - k + 1)
    )
    # the sum is that of Jacobi's polynomial: (n! / (n + k)!) times Ferrers' function, but for the sign
    factorials = mp.factorial(n) ** 2 / (mp.factorial(n - k) * mp.factorial(n + k))
    size = mp.sqrt((2 * n + 1) / (4 * mp.pi) / factorials) * total
    sign = (-1) ** k if m > 0 else 1
    return sign * size * mp.expj(m * phi)


def harmonic_part(n, m, part, argument=None):
    """The real or imaginary part; with an argument, of the derivative along it, along the first by DLMF 14.10.5."""

    def of(theta, phi):
        value = harmonic(n, m, theta, phi)
        if argument == 0:
            following = mp.sqrt((n - m) * (n + m + 1)) * mp.expj(-phi) * harmonic(n, m + 1, theta, phi)
            value = (m * mp.cot(theta) * value if m else 0) + following
        elif argument == 1:
            value *= 1j * m
        return mp.re(value) if part == "real" else mp.im(value)

    return of


def harmonic_maker(n, m, part):
    def make(L):
        def function(theta, phi):
            degree, order = (L.numpy.full(theta.shape, k, "int32") for k in (n, m))
            return getattr(L.numpy, part)(L.special.sph_harm_y(degree, order, theta, phi, n_max=n))

        return function

    return make


def multigammaln_of_3(L):
    return lambda a: L.special.multigammaln(a, 3)


def third_bessel_function(L):
    return lambda x: L.special.bessel_jn(x, v=2)[2]


SPECIAL = [
    special("expit", sigmoid, torch="special.expit"),
    special("logit", lambda x: mp.log(x) - mp.log1p(-x), UNIT, torch="special.logit"),
    special("xlogy", xlogy, REAL, POSITIVE.with_kinks(0.0), torch="special.xlogy"),
    special(
        "xlog1py", xlog1py, REAL, Range(-1.0, math.inf, (-1.0, 0.0, 1.0)).with_kinks(-1.0), torch="special.xlog1py"
    ),
    special("entr", entr, POSITIVE, torch="special.entr"),
    special("rel_entr", lambda x, y: x * mp.log(x / y) if x else mpf(0), POSITIVE, POSITIVE),
    special("kl_div", lambda x, y: x * mp.log(x / y) - x + y if x else y, POSITIVE, POSITIVE),
    special("erf", mp.erf, torch="special.erf"),
    special("erfc", mp.erfc, torch="special.erfc"),
    special(
        "erfinv", erfinv, SIGNED_UNIT, torch="special.erfinv", derivatives={(k, 0): erfinv_slope(k) for k in (1, 2)}
    ),
    special("ndtr", normal_below, torch="special.ndtr"),
    special(
        "ndtri",
        normal_quantile,
        UNIT,
        torch="special.ndtri",
        derivatives={(k, 0): normal_quantile_slope(k) for k in (1, 2)},
    ),
    special(
        "log_ndtr",
        lambda x: mp.log(normal_below(x)) if x < 0 else mp.log1p(-normal_below(-x)),
        torch="special.log_ndtr",
    ),
    # the gamma family
    special(
        "gammaln",
        lambda x: mp.re(mp.loggamma(x)),
        POLES,
        torch="lgamma",
        derivatives={(1, 0): mp.digamma, (2, 0): lambda x: polygamma(1, x)},
    ),
    # of PyTorch's polygamma a call takes time in proportion to a negative argument: that column would never end
    special(
        "digamma", mp.digamma, POLES, derivatives={(1, 0): lambda x: polygamma(1, x), (2, 0): lambda x: polygamma(2, x)}
    ),
    special("gamma", mp.gamma, MODERATE),
    special("gammasgn", gamma_sign, MODERATE, orders=(0,)),
    special("factorial", lambda x: mp.gamma(x + 1), Range(0.0, 170.0, (0.0, 1.0, 2.0))),
    *(
        special(
            f"polygamma {n}",
            lambda x, n=n: polygamma(n, x),
            POLES,
            make=lambda L, n=n: lambda x: L.special.polygamma(n, x),
            derivatives={(k, 0): lambda x, n=n, k=k: polygamma(n + k, x) for k in (1, 2)},
        )
        for n in (1, 2, 3, 10)
    ),
    special(
        "zeta",
        hurwitz,
        EXPONENT,
        Range(0.0, math.inf, (0.0, 1.0)),
        torch="special.zeta",
        derivatives={(1, 1): zeta_slope(1), (2, 1): zeta_slope(2)},
    ),
    special(
        "gammainc",
        lower_gamma,
        SHAPE,
        SHAPE,
        torch="special.gammainc",
        derivatives={(1, 1): gamma_density, (2, 1): gamma_density_slope},
        orders=(0, 1, 2),
        constant=(0,),
    ),
    special(
        "gammaincc",
        upper_gamma,
        SHAPE,
        SHAPE,
        torch="special.gammaincc",
        derivatives={(1, 1): negated(gamma_density), (2, 1): negated(gamma_density_slope)},
        constant=(0,),
    ),
    special("betaln", log_beta, POSITIVE, POSITIVE),
    special("beta", lambda a, b: mp.exp(log_beta(a, b)), SHAPE, SHAPE),
    special(
        "betainc",
        betainc,
        SHAPE,
        SHAPE,
        UNIT,
        derivatives={(1, 2): beta_density, (2, 2): beta_density_slope},
        constant=(0, 1),
    ),
    special("poch", lambda z, m: mp.exp(mp.loggamma(z + m) - mp.loggamma(z)), SHAPE, SHAPE),
    # Bessel functions
    special("i0", lambda x: mp.besseli(0, x), torch="special.i0"),
    special("i1", lambda x: mp.besseli(1, x), torch="special.i1"),
    special("i0e", lambda x: mp.exp(-abs(x)) * mp.besseli(0, x), REAL.with_kinks(0.0), torch="special.i0e"),
    special("i1e", lambda x: mp.exp(-abs(x)) * mp.besseli(1, x), REAL.with_kinks(0.0), torch="special.i1e"),
    *INTEGRALS,
    # powers and factorials
    special("boxcox", boxcox, Range(0.0, 1e10, (0.0, 1.0)), Range(-10.0, 10.0, (0.0,))),
    special(
        "boxcox1p",
        lambda x, power: boxcox(1 + x, power),
        Range(-1.0, 1e10, (0.0,)),
        Range(-10.0, 10.0, (0.0,)),
    ),
    special(
        "comb",
        ways,
        Range(0.0, 100.0, (0.0, 1.0)),
        Range(only=(0.0, 1.0, 2.0, 7.0)),
        constant=(1,),
        orders=(0, 1),
        derivatives={(1, 0): ways_slope},
    ),
    special(
        "multigammaln",
        lambda a: 1.5 * mp.log(mp.pi) + sum(mp.loggamma(a - mp.mpf(j) / 2) for j in range(3)),
        Range(1.01, 1e10),
        make=multigammaln_of_3,
        orders=(0, 1),
    ),
    special("bessel_jn 2", lambda x: mp.besselj(2, x), Range(-1e3, 1e3), make=third_bessel_function, orders=(0, 1)),
    special(
        "hyp1f1",
        mp.hyp1f1,
        Range(only=(0.5, 2.0, 5.5)),
        Range(only=(0.25, 1.0, 7.5)),
        Range(-60.0, 60.0),
        constant=(0, 1),
        derivatives={(1, 2): kummer_slope(1), (2, 2): kummer_slope(2)},
    ),
    special(
        "hyp2f1",
        gauss,
        Range(only=(0.5, 2.25)),
        Range(only=(1.0, 2.7, 4.0)),
        Range(only=(1.9, 3.5)),
        Range(-1e4, 1.0, (0.0, 0.5, 1.0)),
        constant=(0, 1, 2),
        derivatives={(1, 3): gauss_slope(1), (2, 3): gauss_slope(2)},
    ),
    special("loggamma", mp.loggamma, POSITIVE, derivatives={(1, 0): mp.digamma, (2, 0): lambda x: polygamma(1, x)}),
    *complex_rows("loggamma", off_the_axes(mp.loggamma), NARROW, NARROW, module="special", special=True),
    *complex_rows(
        "wofz",
        faddeeva,
        Range(-1e4, 1e4),
        Range(-5.0, 1e4),
        module="special",
        special=True,
        orders=(0, 1, 2),
        slopes=(faddeeva_slope, lambda z: -2 * faddeeva(z) - 2 * z * faddeeva_slope(z)),
    ),
    *(
        special(
            f"sph_harm_y {n} {m}, {part}",
            harmonic_part(n, m, part),
            Range(0.0, math.pi, (0.0, math.pi / 2, math.pi)),
            Range(-math.pi, math.pi, (0.0,)),
            make=harmonic_maker(n, m, part),
            derivatives={(1, i): harmonic_part(n, m, part, i) for i in (0, 1)},
            orders=(0, 1),
        )
        for n, m, part in ((1, 0, "real"), (5, 2, "real"), (5, 2, "imag"))
    ),
]
