"""How programs are drawn: statement by statement, each run on concrete arrays as soon as it is drawn.

A family (operations.py, control_flow.py and the other files of statements) draws a statement from the values at hand,
whose shapes, dtypes and numbers it may look at: no logarithm is taken of a negative number. A statement whose values
grow too large, or are not finite, is drawn again.
"""

import itertools
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from fuzz.libraries import PULLBACK
from fuzz.program import DICT, FLAT, TUPLE, Block, Step, Type

LARGEST_SIZE = 60
FLOATS = ("float16", "bfloat16", "float32", "float64")


class Unsuitable(Exception):
    """What was to be drawn asks for values that there are none of."""


@dataclass
class Value:
    """A value at hand: its name, and what it is where the statement is drawn."""

    name: str
    array: object
    outer: bool = False

    @property
    def shape(self):
        return self.array.shape

    @property
    def ndim(self):
        return len(self.array.shape)

    @property
    def dtype(self) -> str:
        return self.array.dtype.name

    @property
    def kind(self) -> str:
        return self.type.kind

    @property
    def type(self) -> Type:
        return Type(tuple(self.array.shape), self.array.dtype.name)

    @property
    def numbers(self) -> np.ndarray:
        value = np.asarray(self.array)
        return value if value.dtype.kind in "biuc" else value.astype(np.float64)


@dataclass
class Session:
    """What the drawing of one program shares: random numbers, fresh names, the dtypes in use, what was refused."""

    rng: np.random.Generator
    dtype: str = "float64"
    x64: bool = True
    edge: bool = False
    names: itertools.count = field(default_factory=itertools.count)
    refusals: Counter = field(default_factory=Counter)
    closures: bool = True
    widest: float = 1e3


class Draw:
    """The function that is being drawn: its values so far and the choices to make."""

    def __init__(self, session: Session, space: dict, values: list[Value], depth: int = 0, varying: bool = False):
        self.session = session
        self.rng = session.rng
        self.space = space
        self.values = values
        self.depth = depth
        self.varying = varying  # the function will run on other values than these
        self.steps: list[Step] = []

    # choices

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def choice(self, options):
        options = list(options)
        if not options:
            raise Unsuitable
        return options[self.rng.integers(len(options))]

    def integer(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def constant(self) -> float:
        """A number of few bits, which every type holds exactly."""
        return self.choice([-2.0, -1.5, -1.0, -0.75, -0.5, -0.25, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0])

    def value(self, test: Callable = lambda v: True) -> Value:
        """A value that passes a test: recent ones rather than old ones, own ones rather than closed-over ones."""
        fit = [v for v in self.values if test(v)]
        if not fit:
            raise Unsuitable
        weights = np.array([(0.3 if v.outer else 1.0) * 1.25**i for i, v in enumerate(fit)])
        return fit[self.rng.choice(len(fit), p=weights / weights.sum())]

    def real(self, test: Callable = lambda v: True) -> Value:
        return self.value(lambda v: v.kind == "f" and test(v))

    def inexact(self, test: Callable = lambda v: True) -> Value:
        return self.value(lambda v: v.kind in "fc" and test(v))

    def whole(self, test: Callable = lambda v: True) -> Value:
        return self.value(lambda v: v.kind in "iu" and test(v))

    def like(self, x: Value, test: Callable = lambda v: True) -> Value:
        """A value that broadcasts with another."""
        return self.value(lambda v: v.kind in "fc" and broadcast(v.shape, x.shape) and test(v))

    def fresh(self, letter: str) -> str:
        return f"{letter}{next(self.session.names)}"

    def pack(self) -> str:
        return self.choice([FLAT, FLAT, FLAT, DICT, TUPLE])

    def axis(self, x: Value) -> int:
        """An axis of a value."""
        if not x.ndim:
            raise Unsuitable
        return self.integer(-x.ndim, x.ndim - 1)

    # statements

    def run(self, step: Step) -> list:
        """The values of a statement."""
        lines = "\n".join(step.lines())
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                exec(lines, self.space)
            except Exception as error:
                self.session.refusals[f"{step.op}: {type(error).__name__}: {str(error).splitlines()[0][:120]}"] += 1
                raise Unsuitable from error
        return [self.space[out] for out in step.outs]

    def add(self, op: str, text: str, operands=(), outs: int = 1, **kw) -> list[Value]:
        """Append a statement of values, whose results are new values."""
        names = tuple(self.fresh("v") for _ in range(outs))
        step = Step(op, names, (), text, tuple(v.name for v in operands), **kw)
        arrays = self.run(step)
        if not self.session.x64 and getattr(arrays[0], "dtype", None) == np.int32 and op in ("position", "integer"):
            # the same with double precision, where integers are wider
            return self.add("narrow " + op, f'({text}).astype("int32")', operands, outs, **kw)
        if not all(isinstance(a, PULLBACK.t.Array) for a in arrays):
            raise Unsuitable
        results = [Value(name, a) for name, a in zip(names, arrays, strict=True)]
        if not all(map(self.tame, results)):
            raise Unsuitable
        self.steps.append(Step(op, names, tuple(v.type for v in results), text, step.operands, **kw))
        self.values.extend(results)
        return results

    def tame(self, v: Value) -> bool:
        if np.prod(v.shape) > LARGEST_SIZE or v.ndim > 4:
            return False
        if self.session.edge:
            return True
        if v.kind in "fc":
            with np.errstate(all="ignore"):
                size = np.abs(v.numbers)
            return bool(
                np.all(np.isfinite(size))
                and np.max(size, initial=0.0) <= self.session.widest
                and not np.any((size > 0) & (size < 1 / self.session.widest))
            )
        return v.kind == "b" or bool(np.all(np.abs(v.numbers.astype(np.float64)) < 10_000))

    def fit(self, v: Value, type: Type) -> Value:
        """A value of a given shape and dtype that depends on another."""
        if v.type == type and strong(v):
            return v
        dtype = f'"{type.dtype}"'
        if v.shape != type.shape:
            if type.kind in "fc" and v.kind in "fc":
                (v,) = self.add("fit", f"np.broadcast_to(np.mean(np.sin($0)), {type.shape})", [v])
            else:
                (v,) = self.add("fit", f"np.broadcast_to(np.sum($0), {type.shape})", [v])
        if v.kind == "c" and type.kind == "f":
            (v,) = self.add("fit", "np.real($0)", [v])
        if v.kind == "c" and type.kind != "c":
            (v,) = self.add("fit", "np.real($0) > 0", [v])
        (v,) = self.add("fit", f"$0.astype({dtype})", [v])
        if v.type != type:
            raise Unsuitable
        return v

    def function(
        self,
        arrays,
        length: int,
        results=None,
        pack: str = FLAT,
        varying: bool = False,
        closes: bool = True,
        finish: Callable | None = None,
    ) -> Block:
        """A function of arrays like the given ones; `results` are the types that it must return, or how many."""
        if self.depth >= 3:
            raise Unsuitable
        name = self.fresh("f")
        params = tuple(self.fresh("a") for _ in arrays)
        values = [Value(p, a) for p, a in zip(params, arrays, strict=True)]
        outer = [Value(v.name, v.array, True) for v in self.values] if closes and self.session.closures else []
        space = {**self.space, **dict(zip(params, arrays, strict=True))}
        inner = Draw(self.session, space, outer + values, self.depth + 1, self.varying or varying)
        inner.draw(length)
        own = [v for v in inner.values if not v.outer]
        if finish:
            chosen = finish(inner, own)
        elif isinstance(results, int):
            floats = [v for v in own if v.kind in "fc"]
            chosen = [own[-1 - i] if i < len(own) else own[0] for i in range(results)]
            if floats and not any(v.kind in "fc" for v in chosen):
                chosen[0] = floats[-1]
        else:
            recent = own[::-1]
            chosen = [
                inner.fit(next((v for v in recent if v.type == of), recent[min(i, len(recent) - 1)]), of)
                for i, of in enumerate(results or ())
            ]
        return Block(name, params, tuple(inner.steps), tuple(v.name for v in chosen), pack)

    def draw(self, length: int) -> None:
        """Statements until there are so many, or luck has left."""
        families = self.space["families"]
        weights = np.array([f.weight * (0.35**self.depth if f.nested else 1.0) for f in families])
        weights /= weights.sum()
        misses = 0
        while length > 0 and misses < 40:
            family = families[self.rng.choice(len(families), p=weights)]
            try:
                family.draw(self)
                length -= 1
            except Unsuitable:
                misses += 1


@dataclass(frozen=True)
class Family:
    """A kind of statement, and how often it is drawn."""

    name: str
    draw: Callable
    weight: float
    nested: bool = False


FAMILIES: list[Family] = []


def family(weight: float, nested: bool = False) -> Callable:
    """A decorator that enters a function which draws a statement."""

    def enter(draw: Callable) -> Callable:
        FAMILIES.append(Family(draw.__name__, draw, weight, nested))
        return draw

    return enter


def strong(v: Value) -> bool:
    """Whether the type of a value is one of its own: a value of weak type takes that of what it meets."""
    return not getattr(v.array, "weak_type", False)


def broadcast(a, b):
    """The common shape, or None."""
    try:
        return np.broadcast_shapes(a, b)
    except ValueError:
        return None
