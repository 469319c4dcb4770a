"""A program on a library, ready to be differentiated: a flat function of its floating-point arguments."""

import re
from dataclasses import dataclass

import numpy as np

from fuzz.libraries import PULLBACK
from fuzz.program import DICT, FLAT, Program, kind_of
from fuzz.source import load, widened


@dataclass(frozen=True)
class Data:
    """What a case is run on: NumPy arrays and Python numbers. `batches` has several rows of each argument, or None."""

    args: list
    tangents: list
    cotangents: list
    batches: list
    axes: tuple


class Case:
    """A function `f` of the arguments `xs` that are differentiated, with directions `vs` for them and cotangents `cts`
    for its results; `whole` returns the results that are not differentiable too."""

    def __init__(self, library, program: Program, fun, data: Data):
        self.library, self.t, self.np = library, library.t, library.np
        self.program, self.fun, self.data = program, fun, data
        self.args = [self.np.asarray(x) for x in data.args]
        self.active = program.active
        self.xs = tuple(self.args[i] for i in self.active)
        self.vs = tuple(self.np.asarray(v) for v in data.tangents)
        self.every = tuple(range(len(self.active)))

    def call(self, *args) -> list:
        """All results, given all arguments."""
        pack = self.program.pack
        if pack == FLAT:
            result = self.fun(*args)
        elif pack == DICT:
            result = self.fun({chr(97 + i): x for i, x in enumerate(args)})
        else:
            result = self.fun((args[0], tuple(args[1:])) if len(args) > 1 else [args[0]])
        return self.t.tree.leaves(result)

    def whole(self, *xs) -> list:
        args = list(self.args)
        for i, x in zip(self.active, xs, strict=True):
            args[i] = x
        return self.call(*args)

    def f(self, *xs) -> list:
        return [out for out in self.whole(*xs) if kind_of_array(out) in "fc"]

    @property
    def cts(self) -> list:
        return [self.np.asarray(ct) for ct in self.data.cotangents]

    def loss(self, *xs):
        return pair(self.np, self.cts, self.f(*xs))


def pair(np_, cs, ts):
    """The pairing of cotangents and tangents, as a real number: bilinear, without conjugation."""
    return sum((np_.sum(np_.real(c * t)) for c, t in zip(cs, ts, strict=True)), start=np_.zeros(()))


def kind_of_array(x) -> str:
    return "f" if "float" in x.dtype.name and x.dtype.name != "float0" else x.dtype.kind


EPS = {
    "float64": 2.0**-52,
    "complex128": 2.0**-52,
    "float32": 2.0**-23,
    "complex64": 2.0**-23,
    "float16": 2.0**-10,
    "bfloat16": 2.0**-7,
}


def coarsest(program: Program) -> float:
    """The spacing of numbers near 1 in the coarsest type that a program computes in."""
    names = re.findall(r"[a-z]+\d+", program.source)
    names += [np.asarray(x).dtype.name for x in program.args if not isinstance(x, float)]
    return max(EPS["float64"] if program.x64 else EPS["float32"], *(EPS.get(name, 0.0) for name in names))


# what numbers that are too small for a type are rounded by, or to zero by compiled code
LOST = {2.0**-52: 2.0**-1022, 2.0**-23: 2.0**-126, 2.0**-10: 2.0**-24, 2.0**-7: 2.0**-126}


def in_double_precision(program: Program) -> bool:
    """Whether a program computes in double precision throughout."""
    return program.x64 and widened(program.source) == program.source and all(doubled(x) is x for x in program.args)


def function(program: Program, library, double: bool = False):
    return load(widened(program.source) if double else program.source, library)


def doubled(x):
    """An argument in double precision."""
    if isinstance(x, float):
        return x
    kind = kind_of(x)
    wide = np.complex128 if kind == "c" else np.float64 if kind == "f" else x.dtype
    return x if x.dtype == wide else x.astype(wide)


def draw_data(program: Program, rng: np.random.Generator) -> Data:
    """Directions, cotangents and batches for a program: numbers of few bits."""

    def near(shape):
        return rng.integers(4, 13, shape) / 8 * rng.choice([-1.0, 1.0], shape)

    def like(x):
        if isinstance(x, float):
            return float(near(()))
        value = near(np.shape(x)) + (1j * near(np.shape(x)) if kind_of(x) == "c" else 0)
        return np.asarray(value).astype(np.asarray(x).dtype)

    with PULLBACK.t.enable_x64(program.x64):
        empty = Data(list(program.args), [], [], [], ())
        case = Case(PULLBACK, program, function(program, PULLBACK), empty)
        outs = [np.asarray(out) for out in case.f(*case.xs)]
    tangents = [like(program.args[i]) for i in program.active]
    batches, axes = draw_batches(program, rng)
    return Data(list(program.args), tangents, [like(out) for out in outs], batches, axes)


def draw_batches(program: Program, rng: np.random.Generator) -> tuple[list, tuple]:
    """For some arguments a few rows, close to the argument, along some axis."""
    size = int(rng.choice([1, 2, 2, 3]))
    batches, axes = [], []
    default, sole_type = "float64" if program.x64 else "float32", np.asarray(program.args[0]).dtype.name
    chosen = rng.random(len(program.args)) < 0.6
    if not chosen.any() or sole_type != default:
        chosen[0] = True
    for x, batched in zip(program.args, chosen, strict=True):
        if not batched or (isinstance(x, float) and sole_type != default):
            # an array in place of a scalar of weak type would change what it meets
            batches.append(x)
            axes.append(None)
            continue
        x = np.asarray(x, np.float64 if program.x64 else np.float32) if isinstance(x, float) else np.asarray(x)
        rows = [x] + [nearby(x, rng) for _ in range(size - 1)]
        axis = int(rng.integers(-x.ndim - 1, x.ndim + 1))
        batches.append(np.stack(rows, axis))
        axes.append(axis)
    return batches, tuple(axes)


def nearby(x, rng):
    if kind_of(x) not in "fc":
        return rng.permutation(x.ravel()).reshape(x.shape)
    factors = 1 + rng.integers(-4, 5, x.shape) / 32
    with np.errstate(all="ignore"):
        return (x.astype(np.complex128 if x.dtype.kind == "c" else np.float64) * factors).astype(x.dtype)
