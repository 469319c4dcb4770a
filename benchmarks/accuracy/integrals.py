"""Functions of `scipy.special` that are integrals: of Gaussians, exponentials, sines and logarithms."""

from mpmath import mp, mpf

from .elementwise import normal_below
from .function import REAL, Range, special


def faddeeva(z):
    # with digits for the smaller one of its parts
    with mp.workprec(mp.prec + (2 * abs(mp.mag(z.real) - mp.mag(z.imag)) if z.real and z.imag else 0)):
        return mp.exp(-z * z) * mp.erfc(-1j * z)


def faddeeva_slope(z):
    return 2j / mp.sqrt(mp.pi) - 2 * z * faddeeva(z)


def erfcx(x):
    return mp.exp(x * x) * mp.erfc(x)


def erfcx_second(x):
    return (4 * x * x + 2) * erfcx(x) - 4 * x / mp.sqrt(mp.pi)


def dawson(x):
    return mp.sqrt(mp.pi) / 2 * mp.exp(-x * x) * mp.erfi(x)


def dawson_second(x):
    return (4 * x * x - 2) * dawson(x) - 2 * x


def owens_t(h, a):
    """T(|h|, |a|) with the sign of a (Owen 1956), for a > 1 by T(a h, 1 / a)."""
    h, size = abs(h), abs(a)
    if size > 1:
        upper, steep = normal_below(-h), normal_below(-h * size)
        value = (upper + steep) / 2 - upper * steep - _owens_series(h * size, 1 / size, h)
    else:
        value = _owens_series(h, size, h)
    return mp.sign(a) * value


def _owens_series(h, a, scale):
    """For 0 <= a <= 1: that of atan(a), of which each term is multiplied by the chance of at most j Poisson events.

    The mean of these is h**2 / 2. It cancels to exp(-mean), and is 0 where that is far below exp(-scale**2 / 2).
    """
    mean = h * h / 2
    if mean - scale * scale / 2 > mp.prec:
        return mpf(0)
    with mp.workprec(mp.prec + int(1.5 * mean) + 40):
        total, power, chance = mpf(0), a, mp.exp(-mean)
        above, j = -mp.expm1(-mean), 0
        while power * (above if j < mean else chance) > mp.ldexp(a, -mp.prec):
            total += (-1) ** j * power * above / (2 * j + 1)
            j += 1
            power, chance = power * a * a, chance * mean / j
            above -= chance
        return (mp.atan(a) - total) / (2 * mp.pi)


def density(x):
    return mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi)


def owens_slope(h, a):
    return mp.exp(-h * h * (1 + a * a) / 2) / (2 * mp.pi * (1 + a * a))


OWENS_SLOPES = {
    (1, 0): lambda h, a: -density(h) * mp.erf(a * h / mp.sqrt(2)) / 2,
    (2, 0): lambda h, a: density(h) * (h * mp.erf(a * h / mp.sqrt(2)) / 2 - a * density(a * h)),
    (1, 1): owens_slope,
    (2, 1): lambda h, a: -owens_slope(h, a) * a * (h * h + 2 / (1 + a * a)),
}


def expint(n, x):
    """E_n(x) for whole n, near 0 by DLMF 8.19.8: mpmath takes seconds there."""
    if n == 0:
        return mp.exp(-x) / x
    if n == 1 or x > 0.01:
        return mp.expint(n, x)
    n = int(n)
    total, term, k = mpf(0), mpf(1), 0
    while k <= n or abs(term) > mp.ldexp(1, -mp.prec - 20):
        if k != n - 1:
            total -= term / (k + 1 - n)
        k += 1
        term *= -x / k
    if x:
        total += (-x) ** (n - 1) / mp.factorial(n - 1) * (mp.digamma(n) - mp.log(x))
    return total


def expint_slope(order):
    """DLMF 8.19.13; below E_0 = exp(-x) / x by the derivatives of that."""

    def slope(n, x):
        if n >= order:
            return (-1) ** order * expint(n - order, x)
        further = order - int(n)
        return (-1) ** order * mp.exp(-x) / x * (1 + 1 / x if further == 1 else 1 + 2 / x + 2 / x**2)

    return slope


def sinc_slope(x):
    return mp.cos(x) / x - mp.sin(x) / x**2


PARTS = (
    ("sici", 0, "si", mp.si, Range(-1e4, 1e4), lambda x: mp.sin(x) / x if x else mpf(1), sinc_slope),
    ("sici", 1, "ci", mp.ci, Range(0.0, 1e4), lambda x: mp.cos(x) / x, lambda x: -mp.sin(x) / x - mp.cos(x) / x**2),
    (
        "fresnel",
        0,
        "s",
        mp.fresnels,
        Range(-1e3, 1e3),
        lambda x: mp.sin(mp.pi * x * x / 2),
        lambda x: mp.pi * x * mp.cos(mp.pi * x * x / 2),
    ),
    (
        "fresnel",
        1,
        "c",
        mp.fresnelc,
        Range(-1e3, 1e3),
        lambda x: mp.cos(mp.pi * x * x / 2),
        lambda x: -mp.pi * x * mp.sin(mp.pi * x * x / 2),
    ),
)


def part_of(name, i):
    """The maker of one of the results of a function."""
    return lambda L: lambda x: getattr(L.special, name)(x)[i]


INTEGRALS = [
    special(
        "erfcx",
        erfcx,
        Range(-26.0, 1e4),
        torch="special.erfcx",
        derivatives={(1, 0): lambda x: 2 * x * erfcx(x) - 2 / mp.sqrt(mp.pi), (2, 0): erfcx_second},
    ),
    special(
        "dawsn", dawson, Range(-1e4, 1e4), derivatives={(1, 0): lambda x: 1 - 2 * x * dawson(x), (2, 0): dawson_second}
    ),
    special(
        "exp1",
        mp.e1,
        Range(0.0, 700.0, (0.0, 1.0)),
        jax=False,
        derivatives={(1, 0): lambda x: -mp.exp(-x) / x, (2, 0): lambda x: mp.exp(-x) / x * (1 + 1 / x)},
    ),
    special(
        "expi",
        mp.ei,
        Range(-700.0, 700.0),
        jax=False,
        derivatives={(1, 0): lambda x: mp.exp(x) / x, (2, 0): lambda x: mp.exp(x) / x * (1 - 1 / x)},
    ),
    special(
        "expn",
        expint,
        Range(only=(0.0, 1.0, 2.0, 5.0, 20.0)),
        Range(0.0, 700.0),
        constant=(0,),
        jax=False,
        derivatives={(1, 1): expint_slope(1), (2, 1): expint_slope(2)},
    ),
    special(
        "spence",
        lambda x: mp.polylog(2, 1 - x).real,
        Range(0.0, 1e10, (0.0, 0.5, 1.0, 2.0)),
        derivatives={
            (1, 0): lambda x: mp.log(x) / (1 - x) if x != 1 else mpf(-1),
            (2, 0): lambda x: (1 / x + mp.log(x) / (1 - x)) / (1 - x) if x != 1 else mpf(1) / 2,
        },
    ),
    *(
        special(f"{name} {part}", value, of, make=part_of(name, i), derivatives={(1, 0): first, (2, 0): second})
        for name, i, part, value, of, first, second in PARTS
    ),
    special("owens_t", owens_t, Range(-40.0, 40.0), REAL, derivatives=OWENS_SLOPES),
]
