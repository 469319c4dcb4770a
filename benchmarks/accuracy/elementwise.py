"""Functions of `numpy` and `lax`, and of `nn`. What `lax` has under another name is the same primitive."""

import math

from mpmath import mp, mpf

from .function import POSITIVE, REAL, SIGNED_UNIT, Range, row

TURN = Range(points=(0.0, *(k * math.pi / 4 for k in range(-8, 9)), 1e5, 1e22))
ABOVE_ONE = Range(1.0, math.inf, (1.0,))
ABOVE_MINUS_ONE = Range(-1.0, math.inf, (-1.0, 0.0, 1.0))
WHOLE = Range(points=tuple(map(float, range(-4, 5))))


def power(x, y):
    return mpf(1) if y == 0 else mp.power(x, y)


def trunc(x):
    return mp.sign(x) * mp.floor(abs(x))


def sigmoid(x):
    return 1 / (1 + mp.exp(-x))


def softplus(x):
    return mp.log1p(mp.exp(x)) if x < 0 else x + mp.log1p(mp.exp(-x))


def relu(x):
    return max(mpf(0), x)


def relu6(x):
    return min(max(mpf(0), x), mpf(6))


def sinc(x):
    return mp.sin(mp.pi * x) / (mp.pi * x) if x else mpf(1)


def expm1_below(x, scale=1, alpha=1):
    return alpha * scale * mp.expm1(x) if x <= 0 else scale * x


def gelu_tanh(x):
    return x / 2 * (1 + mp.tanh(mp.sqrt(2 / mp.pi) * (x + mpf("0.044715") * x**3)))


def normal_below(x):
    return mp.erfc(-x / mp.sqrt(2)) / 2


def sparse_plus(x):
    return mpf(0) if x < -1 else x if x > 1 else (x + 1) ** 2 / 4


def softmax(*xs):
    return 1 / sum(mp.exp(x - xs[0]) for x in xs)


def share(xs, i):
    return 1 / sum(mp.exp(x - xs[i]) for x in xs)


def rest(xs, i):
    """1 less the share of one."""
    return sum(share(xs, k) for k in range(len(xs)) if k != i)


def slopes(first, second):
    """The derivatives along each of three arguments, from functions of all arguments and the place of one."""
    return {
        (order, i): lambda x, y, z, f=f, i=i: f((x, y, z), i)
        for order, f in ((1, first), (2, second))
        for i in range(3)
    }


def softmax_slope(xs, i):
    return share(xs, 0) * (rest(xs, 0) if i == 0 else -share(xs, i))


def softmax_second(xs, i):
    p, q = share(xs, 0), share(xs, i)
    return p * rest(xs, 0) * (rest(xs, 0) - p) if i == 0 else p * q * (q - rest(xs, i))


def along(name):
    """A function along an axis, as an elementwise function of three numbers: its first element."""

    def make(L):
        f = L
        for part in name.split("."):
            f = getattr(f, part)
        return lambda x, y, z: f(L.numpy.stack([x, y, z]), axis=0)[0]

    return make


def along_torch(name):
    return lambda torch: lambda x, y, z: getattr(torch, name)(torch.stack([x, y, z]), dim=0)[0]


NUMPY = [
    row("numpy.sqrt", mp.sqrt, POSITIVE, torch="sqrt"),
    row("lax.rsqrt", lambda x: 1 / mp.sqrt(x), POSITIVE, torch="rsqrt"),
    row("numpy.cbrt", lambda x: mp.cbrt(abs(x)) * mp.sign(x), REAL.with_kinks(0.0)),
    row("numpy.square", lambda x: x * x, torch="square"),
    row("numpy.reciprocal", lambda x: 1 / x, torch="reciprocal"),
    row(
        "lax.integer_pow 3",
        lambda x: x**3,
        make=lambda L: lambda x: L.lax.integer_pow(x, 3),
        torch=lambda torch: lambda x: x**3,
    ),
    row(
        "lax.integer_pow -2",
        lambda x: 1 / (x * x),
        REAL.with_kinks(0.0),
        make=lambda L: lambda x: L.lax.integer_pow(x, -2),
        torch=lambda torch: lambda x: x**-2,
    ),
    row(
        "numpy.power",
        power,
        POSITIVE,
        Range(points=(0.0, 0.5, 1.0, 2.0, 3.0)),
        torch="pow",
        derivatives={
            (1, 0): lambda x, y: y * mp.power(x, y - 1),
            (2, 0): lambda x, y: y * (y - 1) * mp.power(x, y - 2),
            (1, 1): lambda x, y: mp.power(x, y) * mp.log(x),
            (2, 1): lambda x, y: mp.power(x, y) * mp.log(x) ** 2,
        },
    ),
    row("numpy.add", lambda x, y: x + y, torch="add"),
    row("numpy.subtract", lambda x, y: x - y, torch="subtract"),
    row("numpy.divide", lambda x, y: x / y, torch="divide"),
    row("numpy.multiply", lambda x, y: x * y, torch="multiply"),
    row("numpy.float_power", power, POSITIVE, Range(-1e3, 1e3, (0.0, 1.0)), torch="float_power", orders=(0,)),
    row("numpy.fmod", lambda x, y: x - y * trunc(x / y), torch="fmod", orders=(0,)),
    row("numpy.remainder", lambda x, y: x - y * mp.floor(x / y), torch="remainder", orders=(0,)),
    row("numpy.floor_divide", lambda x, y: mp.floor(x / y), torch="floor_divide", orders=(0,)),
    row("numpy.exp", mp.exp, torch="exp"),
    row("numpy.exp2", lambda x: mp.power(2, x), torch="exp2"),
    row("numpy.expm1", mp.expm1, torch="expm1"),
    row("numpy.log", mp.log, POSITIVE, torch="log"),
    row("numpy.log2", lambda x: mp.log(x) / mp.log(2), POSITIVE, torch="log2"),
    row("numpy.log10", mp.log10, POSITIVE, torch="log10"),
    row("numpy.log1p", mp.log1p, ABOVE_MINUS_ONE, torch="log1p"),
    row("numpy.logaddexp", lambda x, y: x + softplus(y - x), torch="logaddexp"),
    row("numpy.logaddexp2", lambda x, y: y + softplus((x - y) * mp.log(2)) / mp.log(2), torch="logaddexp2"),
    row("numpy.hypot", lambda x, y: mp.sqrt(x * x + y * y), torch="hypot"),
    row("numpy.sin", mp.sin, TURN, torch="sin"),
    row("numpy.cos", mp.cos, TURN, torch="cos"),
    row("numpy.tan", mp.tan, TURN, torch="tan"),
    row("numpy.arcsin", mp.asin, SIGNED_UNIT, torch="arcsin"),
    row("numpy.arccos", mp.acos, SIGNED_UNIT, torch="arccos"),
    row("numpy.arctan", mp.atan, torch="arctan"),
    row("numpy.arctan2", mp.atan2, torch="arctan2"),
    row("numpy.sinh", mp.sinh, torch="sinh"),
    row("numpy.cosh", mp.cosh, torch="cosh"),
    row("numpy.tanh", mp.tanh, torch="tanh"),
    row("numpy.arcsinh", mp.asinh, torch="arcsinh"),
    row("numpy.arccosh", mp.acosh, ABOVE_ONE, torch="arccosh"),
    row("numpy.arctanh", mp.atanh, SIGNED_UNIT, torch="arctanh"),
    row("numpy.sinc", sinc, WHOLE, torch="sinc"),
    row("numpy.abs", abs, REAL.with_kinks(0.0), torch="abs"),
    row("numpy.deg2rad", lambda x: x * mp.pi / 180, torch="deg2rad"),
    row("numpy.rad2deg", lambda x: x * 180 / mp.pi, torch="rad2deg"),
]

NN = [
    row("nn.sigmoid", sigmoid, torch="sigmoid"),
    row("nn.softplus", softplus, torch="nn.functional.softplus"),
    row("nn.log_sigmoid", lambda x: -softplus(-x), torch="nn.functional.logsigmoid"),
    row("nn.silu", lambda x: x * sigmoid(x), torch="nn.functional.silu"),
    row("nn.mish", lambda x: x * mp.tanh(softplus(x)), torch="nn.functional.mish"),
    row(
        "nn.gelu tanh",
        gelu_tanh,
        make=lambda L: lambda x: L.nn.gelu(x, approximate=True),
        torch=lambda torch: lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
    ),
    row(
        "nn.gelu erf",
        lambda x: x * normal_below(x),
        make=lambda L: lambda x: L.nn.gelu(x, approximate=False),
        torch="nn.functional.gelu",
        special=True,
    ),
    row("nn.relu", relu, REAL.with_kinks(0.0), torch="relu"),
    row("nn.relu6", relu6, REAL.with_kinks(0.0, 6.0), torch="nn.functional.relu6"),
    row("nn.leaky_relu", lambda x: x if x > 0 else x / 100, REAL.with_kinks(0.0), torch="nn.functional.leaky_relu"),
    row("nn.elu", expm1_below, REAL.with_kinks(0.0), make=lambda L: lambda x: L.nn.elu(x), torch="nn.functional.elu"),
    row(
        "nn.celu",
        lambda x: expm1_below(x, 1, 1),
        REAL.with_kinks(0.0),
        make=lambda L: lambda x: L.nn.celu(x),
        torch="nn.functional.celu",
    ),
    row(
        "nn.selu",
        lambda x: expm1_below(x, mpf("1.0507009873554804934193349852946"), mpf("1.6732632423543772848170429916717")),
        REAL.with_kinks(0.0),
        torch="nn.functional.selu",
    ),
    row("nn.soft_sign", lambda x: x / (1 + abs(x)), REAL.with_kinks(0.0), torch="nn.functional.softsign"),
    row(
        "nn.hard_tanh",
        lambda x: max(min(x, mpf(1)), mpf(-1)),
        REAL.with_kinks(-1.0, 1.0),
        torch="nn.functional.hardtanh",
    ),
    row("nn.hard_sigmoid", lambda x: relu6(x + 3) / 6, REAL.with_kinks(-3.0, 3.0), torch="nn.functional.hardsigmoid"),
    row("nn.hard_silu", lambda x: x * relu6(x + 3) / 6, REAL.with_kinks(-3.0, 3.0), torch="nn.functional.hardswish"),
    row("nn.squareplus", lambda x: (x + mp.sqrt(x * x + 4)) / 2),
    row("nn.sparse_plus", sparse_plus, REAL.with_kinks(-1.0, 1.0)),
    row("nn.sparse_sigmoid", lambda x: min(max((x + 1) / 2, mpf(0)), mpf(1)), REAL.with_kinks(-1.0, 1.0)),
    row("nn.log1mexp", lambda x: mp.log(-mp.expm1(-x)), POSITIVE.near(math.log(2))),
    row(
        "nn.softmax",
        softmax,
        REAL,
        REAL,
        REAL,
        make=along("nn.softmax"),
        torch=along_torch("softmax"),
        derivatives=slopes(softmax_slope, softmax_second),
    ),
    row(
        "nn.log_softmax",
        lambda *xs: mp.log(softmax(*xs)),
        REAL,
        REAL,
        REAL,
        make=along("nn.log_softmax"),
        torch=along_torch("log_softmax"),
        derivatives=slopes(
            lambda xs, i: rest(xs, 0) if i == 0 else -share(xs, i), lambda xs, i: -share(xs, i) * rest(xs, i)
        ),
    ),
    row(
        "nn.logsumexp",
        lambda *xs: xs[0] - mp.log(softmax(*xs)),
        REAL,
        REAL,
        REAL,
        make=lambda L: lambda x, y, z: L.nn.logsumexp(L.numpy.stack([x, y, z]), axis=0),
        torch=lambda torch: lambda x, y, z: torch.logsumexp(torch.stack([x, y, z]), dim=0),
        derivatives=slopes(share, lambda xs, i: share(xs, i) * rest(xs, i)),
    ),
]

# complex functions: the real and the imaginary part, as functions of the real and the imaginary part


def off_the_axes(f):
    """On the axes, where the cuts are, the value goes by the sign of a zero, which mpmath's numbers have not."""

    def reference(z):
        if z.real == 0 or z.imag == 0:
            raise ValueError
        return f(z)

    return reference


def acosh(z):
    """By the roots of both factors (Kahan 1987): mpmath 1.3.0 takes the wrong side of the cut for tiny parts."""
    return 2 * mp.log(mp.sqrt((z + 1) / 2) + mp.sqrt((z - 1) / 2))


def complex_rows(name, reference, x=REAL, y=REAL, torch=None, module="numpy", orders=(0,), special=False, slopes=()):
    """The rows of both parts; `slopes` are the complex derivatives of the first and second order."""

    def make(part):
        def of(L):
            f = getattr(getattr(L, module), name)
            return lambda x, y: getattr(L.numpy, part)(f(L.lax.complex(x, y)))

        return of

    def make_torch(part):
        if torch is None:
            return None
        return lambda T: lambda x, y: getattr(T, part)(getattr(T, torch)(T.complex(x, y)))

    def part_of(f, part, turn=1):
        return lambda x, y: (mp.re if part == "real" else mp.im)(turn * f(mp.mpc(x, y)))

    return [
        row(
            f"{module}.{name} complex, {part}",
            part_of(reference, part),
            x,
            y,
            make=make(part),
            torch=make_torch(part),
            orders=orders,
            special=special,
            # along the imaginary part it is 1j for each order
            derivatives={
                (k + 1, i): part_of(f, part, (1, 1j ** (k + 1))[i]) for k, f in enumerate(slopes) for i in (0, 1)
            },
        )
        for part in ("real", "imag")
    ]


SMALL_TURN = Range(-1e6, 1e6, (0.0, 1.0, -1.0, math.pi / 2, math.pi, -math.pi))
NARROW = Range(-1e4, 1e4, (0.0, 1.0, -1.0))

COMPLEX = [
    *complex_rows("exp", mp.exp, y=SMALL_TURN, torch="exp"),
    *complex_rows("expm1", mp.expm1, y=SMALL_TURN, torch="expm1"),
    *complex_rows("log", mp.log, torch="log"),
    *complex_rows("log1p", mp.log1p, torch="log1p"),
    *complex_rows("sqrt", mp.sqrt, torch="sqrt"),
    *complex_rows("sin", mp.sin, x=SMALL_TURN, torch="sin"),
    *complex_rows("cos", mp.cos, x=SMALL_TURN, torch="cos"),
    *complex_rows("tan", mp.tan, x=SMALL_TURN, y=NARROW, torch="tan"),
    *complex_rows("sinh", mp.sinh, y=SMALL_TURN, torch="sinh"),
    *complex_rows("cosh", mp.cosh, y=SMALL_TURN, torch="cosh"),
    *complex_rows("tanh", mp.tanh, x=NARROW, y=SMALL_TURN, torch="tanh"),
    *complex_rows("arcsin", off_the_axes(mp.asin), torch="arcsin"),
    *complex_rows("arccos", off_the_axes(mp.acos), torch="arccos"),
    *complex_rows("arctan", off_the_axes(mp.atan), torch="arctan"),
    *complex_rows("arcsinh", off_the_axes(mp.asinh), torch="arcsinh"),
    *complex_rows("arccosh", off_the_axes(acosh), torch="arccosh"),
    *complex_rows("arctanh", off_the_axes(mp.atanh), torch="arctanh"),
    *complex_rows("reciprocal", lambda z: 1 / z, torch="reciprocal"),
    *complex_rows("square", lambda z: z * z, torch="square"),
]
