"""The table of operations: each row a function of a library, and arguments to try it on.

A function is written once, of a library `L` with `L.np`, `L.lax`, `L.nn` and `L.special`: pullback's or JAX's. The
tests in test_op_table.py put every row through every transformation.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter

import numpy as np


@dataclass(frozen=True)
class Row:
    """An operation: `fun` of a library and its arguments, or the name of a function of the library.

    `active` are the positions of the arguments to differentiate, `()` for none.
    """

    name: str
    fun: Callable | str
    args: tuple
    active: tuple[int, ...] = field(default=())
    second: bool = True
    scale: float = 1.0

    def __str__(self):
        return self.name

    def make(self, library):
        """The function of its arguments alone."""
        return attrgetter(self.fun)(library) if isinstance(self.fun, str) else partial(self.fun, library)


rng = np.random.default_rng(0)


def real(*shape, low=-1.5, high=1.5):
    return rng.uniform(low, high, shape).astype("float32")


def positive(*shape):
    return real(*shape, low=0.3, high=2.0)


def unit(*shape):
    return real(*shape, low=-0.9, high=0.9)


def integers(*shape, low=-4, high=5):
    return rng.integers(low, high, shape).astype("int32")


def distinct(*shape):
    """Numbers a finite difference cannot bring to a tie."""
    return (rng.permutation(np.prod(shape)).reshape(shape) / 4 - 1).astype("float32")


def bools(*shape):
    return rng.random(shape) < 0.5


def positive_definite(n):
    a = real(n, n)
    return (a @ a.T + n * np.eye(n)).astype("float32")


def parts(library, z):
    """The real and the imaginary parts of complex numbers, one after the other."""
    return library.np.stack([library.np.real(z), library.np.imag(z)])


def numpy_row(name, *args, active=None, **kw):
    """A function of `numpy` under its own name, differentiated in its float arguments."""
    return row(f"numpy.{name}", f"np.{name}", *args, active=active, **kw)


def row(name, fun, *args, active=None, **kw):
    active = tuple(i for i, x in enumerate(args) if np.asarray(x).dtype.kind == "f") if active is None else active
    return Row(name, fun, args, active, **kw)


def along(axis, name):
    """The function of NumPy's of this name, along an axis."""

    def fun(L, x):
        return getattr(L.np, name)(x, axis=axis)

    return fun


SMOOTH = [
    "sin",
    "cos",
    "tan",
    "arctan",
    "sinh",
    "cosh",
    "tanh",
    "arcsinh",
    "exp",
    "exp2",
    "expm1",
    "square",
    "negative",
    "positive",
    "deg2rad",
    "rad2deg",
    "sinc",
]
ON_POSITIVE = ["log", "log2", "log10", "log1p", "sqrt", "cbrt", "reciprocal", "absolute"]
ON_UNIT = ["arcsin", "arccos", "arctanh"]
STEPS = ["floor", "ceil", "trunc", "rint", "sign", "isfinite", "isnan", "isinf", "signbit", "logical_not"]
BINARY = ["add", "subtract", "multiply", "arctan2", "logaddexp", "hypot"]
EXTREMES = ["maximum", "minimum", "fmax", "fmin"]
COMPARISONS = ["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"]
BITS = ["bitwise_and", "bitwise_or", "bitwise_xor"]
REDUCTIONS = ["sum", "mean", "var", "std"]
ORDER = ["max", "min", "median", "sort"]
CUMULATIVE = ["cumsum", "cumprod"]

ELEMENTWISE = [
    *(numpy_row(name, real(3, 4)) for name in SMOOTH),
    *(numpy_row(name, positive(3, 4)) for name in ON_POSITIVE),
    *(numpy_row(name, unit(3, 4)) for name in ON_UNIT),
    numpy_row("arccosh", positive(3, 4) + 1),
    *(numpy_row(name, real(3, 4), active=()) for name in STEPS),
    *(numpy_row(name, real(3, 4), real(4)) for name in BINARY),
    *(numpy_row(name, distinct(3, 4), distinct(3, 1) + 0.1) for name in EXTREMES),
    *(
        numpy_row(name, integers(3, 4), integers(4))
        for name in (*COMPARISONS, *BITS, "floor_divide", "remainder", "fmod")
    ),
    numpy_row("divide", real(3, 4), positive(4)),
    numpy_row("power", positive(3, 4), real(4)),
    numpy_row("float_power", positive(3, 4), real(4)),
    numpy_row("remainder", integers(3, 4) + np.float32(0.4), np.ones(4, "float32"), active=(0,)),
    numpy_row("clip", distinct(3, 4), np.float32(-0.6), np.float32(0.4), active=(0,)),
    numpy_row("where", bools(3, 4), real(3, 4), real(4)),
    numpy_row("nan_to_num", real(3, 4)),
    row("x ** 3", lambda L, x: x**3, real(3, 4)),
    row("x ** -2", lambda L, x: x**-2, positive(3, 4)),
    row("2 ** x", lambda L, x: 2.0**x, real(3, 4)),
    row("lax.rsqrt", "lax.rsqrt", positive(3, 4)),
    row("lax.logistic", "lax.logistic", real(3, 4)),
    row("lax.erf", "lax.erf", real(3, 4)),
    row("lax.erfc", "lax.erfc", real(3, 4)),
    row("lax.erf_inv", "lax.erf_inv", unit(3, 4)),
    row("lax.lgamma", "lax.lgamma", positive(3, 4) + 1),
    row("lax.digamma", "lax.digamma", positive(3, 4) + 1, second=False),
    row("lax.integer_pow", lambda L, x: L.lax.integer_pow(x, 4), real(3, 4)),
    row("lax.stop_gradient", lambda L, x: x * L.lax.stop_gradient(x), real(3), active=()),
    row("lax.shift_left", "lax.shift_left", integers(5), np.abs(integers(5))),
    row("lax.population_count", "lax.population_count", np.abs(integers(5))),
    row("lax.clz", "lax.clz", integers(5)),
    row("lax.mulhi", "lax.mulhi", integers(5) << 28, integers(5)),
    row("barrier", lambda L, x, y: L.lax.optimization_barrier((L.np.sin(x), y))[0] * y, real(3), real(3)),
    row("astype", lambda L, x: x.astype("bfloat16").astype("float32"), integers(3, 4)),
]

SHAPES = [
    row("reshape", lambda L, x: L.np.reshape(x, (4, 6)), real(2, 3, 4)),
    row("ravel", "np.ravel", real(2, 3)),
    row("transpose", lambda L, x: L.np.transpose(x, (2, 0, 1)), real(2, 3, 4)),
    row("moveaxis", lambda L, x: L.np.moveaxis(x, 0, -1), real(2, 3, 4)),
    row("swapaxes", lambda L, x: L.np.swapaxes(x, 0, 2), real(2, 3, 4)),
    row("squeeze", lambda L, x: L.np.squeeze(x, 1), real(2, 1, 4)),
    row("expand_dims", lambda L, x: L.np.expand_dims(x, (0, 2)), real(2, 3)),
    row("broadcast_to", lambda L, x: L.np.broadcast_to(x, (5, 2, 3)), real(2, 1)),
    row("concatenate", lambda L, x, y: L.np.concatenate([x, y, x], axis=1), real(2, 3), real(2, 1)),
    row("stack", lambda L, x, y: L.np.stack([x, y], axis=1), real(2, 3), real(2, 3)),
    row("split", lambda L, x: L.np.split(x, [1, 3], axis=1)[1], real(2, 5)),
    row("tile", lambda L, x: L.np.tile(x, (2, 3)), real(2, 3)),
    row("repeat", lambda L, x: L.np.repeat(x, 3, axis=1), real(2, 3)),
    row("flip", lambda L, x: L.np.flip(x, 1), real(2, 3)),
    row("roll", lambda L, x: L.np.roll(x, 2, axis=1), real(2, 5)),
    row("pad", lambda L, x: L.np.pad(x, ((1, 2), (0, 1))), real(2, 3)),
    row("pad reflect", lambda L, x: L.np.pad(x, ((1, 1), (0, 2)), mode="reflect"), real(3, 4)),
    row("lax.pad", lambda L, x, v: L.lax.pad(x, v, ((1, -1, 2), (0, 1, 0))), real(3, 3), real()),
    row("tril", "np.tril", real(3, 4)),
    row("triu", lambda L, x: L.np.triu(x, 1), real(3, 4)),
    row("diag", "np.diag", real(4)),
    row("diagonal", "np.diagonal", real(3, 4)),
    row("trace", "np.trace", real(3, 4)),
    row("diff", "np.diff", real(3, 5)),
    row("linspace", lambda L, a, b: L.np.linspace(a, b, 5), real(), real()),
    row("arange", lambda L, x: x + L.np.arange(4), real(4)),
    row("eye", lambda L, x: x * L.np.eye(3, 4), real(3, 4)),
]

INDEXING = [
    row("x[1]", lambda L, x: x[1], real(3, 4)),
    row("x[::-2, 1:3]", lambda L, x: x[::-2, 1:3], real(5, 4)),
    row("x[..., None, -1]", lambda L, x: x[..., None, -1], real(3, 4)),
    row("x[i]", lambda L, x, i: x[i], real(3, 4), np.array([2, 0, 0, -1])),
    row("x[i, :, j]", lambda L, x, i, j: x[i, :, j], real(3, 2, 4), np.array([2, 0]), np.array([1, 3])),
    row("x[mask]", lambda L, x: x[np.array([True, False, True])], real(3, 4)),
    row("at set", lambda L, x, v: x.at[1].set(v), real(3, 4), real(4)),
    row("at add", lambda L, x, i, v: x.at[i].add(v), real(3, 4), np.array([2, 0, 2]), real(3, 4)),
    row("at multiply", lambda L, x, v: x.at[::2].multiply(v), real(3, 4), real(2, 4)),
    row("take", lambda L, x, i: L.np.take(x, i, axis=1), real(3, 4), np.array([[1, 1], [3, 0]])),
    row(
        "take_along_axis", lambda L, x, i: L.np.take_along_axis(x, i, 1), real(3, 4), np.array([[0, 3], [1, 1], [2, 0]])
    ),
    row("dynamic_slice", lambda L, x, i: L.lax.dynamic_slice(x, (i, 1), (2, 2)), real(4, 4), np.int32(3)),
    row(
        "dynamic_update_slice",
        lambda L, x, u, i: L.lax.dynamic_update_slice(x, u, (i, 0)),
        real(4, 3),
        real(2, 2),
        np.int32(1),
    ),
]

REDUCING = [
    numpy_row("prod", positive(2, 3)),
    row("prod, axis", lambda L, x: L.np.prod(x, axis=1), real(3, 4)),
    *(numpy_row(name, real(3, 4) + 2) for name in REDUCTIONS),
    *(row(f"{name}, axis", along(1, name), real(3, 4) + 2) for name in REDUCTIONS),
    *(row(f"{name}, axis", along(0, name), distinct(3, 4)) for name in ORDER),
    *(row(name, along(1, name), real(3, 4) + 1) for name in CUMULATIVE),
    row("cummax", lambda L, x: L.lax.cummax(x, 1), distinct(3, 4)),
    row("cumlogsumexp", lambda L, x: L.lax.cumlogsumexp(x, 1), real(3, 4)),
    *(row(name, along(1, name), distinct(3, 4), active=()) for name in ("argmax", "argmin", "argsort")),
    *(row(name, f"np.{name}", bools(3, 4)) for name in ("any", "all", "count_nonzero")),
    row("top_k", lambda L, x: L.lax.top_k(x, 2)[0], distinct(3, 4)),
    row("norm", "np.linalg.norm", real(3, 4)),
]

CONTRACTIONS = [
    numpy_row("dot", real(3, 4), real(4, 2)),
    numpy_row("matmul", real(2, 3, 4), real(4, 5)),
    numpy_row("vdot", real(5), real(5)),
    numpy_row("outer", real(3), real(4)),
    numpy_row("inner", real(2, 3), real(4, 3)),
    numpy_row("kron", real(2, 2), real(2, 3)),
    row("tensordot", lambda L, x, y: L.np.tensordot(x, y, ((1, 2), (0, 1))), real(2, 3, 4), real(3, 4, 2)),
    row("einsum bij,bjk->bik", lambda L, x, y: L.np.einsum("bij,bjk->bik", x, y), real(2, 3, 4), real(2, 4, 2)),
    row("einsum ii->", lambda L, x: L.np.einsum("ii->", x), real(3, 3)),
    row("einsum of three", lambda L, x, y, z: L.np.einsum("ij,jk,kl->il", x, y, z), real(2, 3), real(3, 2), real(2, 2)),
    row("conv", lambda L, x, w: L.lax.conv(x, w, (2, 1), "SAME"), real(1, 2, 5, 4), real(3, 2, 2, 3)),
    row("reduce_window sum", lambda L, x: L.lax.reduce_window(x, 0.0, L.lax.add, (2, 2), (1, 2), "VALID"), real(4, 4)),
    row(
        "reduce_window max",
        lambda L, x: L.lax.reduce_window(x, -np.inf, L.lax.max, (2, 2), (2, 2), "SAME"),
        distinct(4, 4),
        second=False,
    ),
]

NETWORKS = [
    *(
        row(f"nn.{name}", f"nn.{name}", distinct(3, 4) + 0.1)
        for name in (
            "relu",
            "sigmoid",
            "softplus",
            "silu",
            "gelu",
            "elu",
            "selu",
            "celu",
            "leaky_relu",
            "log_sigmoid",
            "soft_sign",
            "softmax",
            "log_softmax",
            "relu6",
            "hard_tanh",
            "swish",
            "standardize",
        )
    ),
    row("logsumexp", lambda L, x: L.nn.logsumexp(x, axis=1), real(3, 4)),
    row("one_hot", lambda L, i: L.nn.one_hot(i, 4), np.array([0, 3, 1])),
]


def square(x):
    return x * x


def double(x):
    return x * 2


def cond(L, p, x):
    return L.lax.cond(p > 0, L.np.sin, square, x)


def switch(L, i, x):
    return L.lax.switch(i, [L.np.sin, L.np.cos, double], x)


def scan(L, c, xs):
    def step(c, x):
        return L.np.sin(c * x), c + x

    return L.lax.scan(step, c, xs)[1]


def fori_loop(L, x):
    def body(i, x):
        return L.np.sin(x) * (i + 1)

    return L.lax.fori_loop(0, 3, body, x)


def map_(L, xs):
    return L.lax.map(lambda x: L.np.sin(x) * x, xs)


CONTROL = [
    row("cond", cond, np.int32(1), real(3)),
    row("switch", switch, np.int32(1), real(3)),
    row("scan", scan, real(), real(4)),
    row("fori_loop", fori_loop, real(3)),
    row("map", map_, real(3, 2)),
]

FOURIER = [
    row("fft", lambda L, x, y: parts(L, L.np.fft.fft(L.lax.complex(x, y), 3, axis=0)), real(4, 3), real(4, 3)),
    row("rfftn", lambda L, x: parts(L, L.np.fft.rfftn(x, axes=(2, 0))), real(4, 2, 3)),
    row("irfft", lambda L, x, y: L.np.fft.irfft(L.lax.complex(x, y), 5), real(2, 3), real(2, 3)),
]


def integrals(L, x):
    """Functions of one number, in one program."""
    return L.np.stack([L.special.erfcx(x), L.special.dawsn(x), L.special.exp1(x), *L.special.sici(x)])


def of_two_numbers(L, x, y):
    return L.np.stack([L.special.owens_t(x, y), L.special.boxcox(x, y), L.special.boxcox1p(x, y)])


def faddeeva(L, x, y):
    return parts(L, L.special.wofz(L.lax.complex(x, y)))


SPECIAL = [
    row("special, of one number", integrals, positive(6), second=False, scale=5),
    row("special, of two numbers", of_two_numbers, positive(6), real(6), second=False, scale=5),
    row("special.wofz", faddeeva, real(6), positive(6), second=False, scale=5),
]

TABLE = [*ELEMENTWISE, *SHAPES, *INDEXING, *REDUCING, *CONTRACTIONS, *NETWORKS, *CONTROL, *FOURIER, *SPECIAL]
