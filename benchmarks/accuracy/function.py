"""What the tables are made of: a function, its exact value, and the ranges of its arguments."""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any


@dataclass(frozen=True)
class Range:
    """The numbers an argument is tried at: from `low` to `high`, densely near `points`, and `extra`; or `only` some.

    At `kinks` values are measured, but no derivatives.
    """

    low: float = -math.inf
    high: float = math.inf
    points: tuple[float, ...] = (0.0, 1.0, -1.0)
    kinks: tuple[float, ...] = ()
    extra: tuple[float, ...] = ()
    only: tuple[float, ...] = ()

    def near(self, *points: float) -> "Range":
        return replace(self, points=self.points + points)

    def with_kinks(self, *kinks: float) -> "Range":
        return replace(self, points=self.points + kinks, kinks=kinks)


REAL = Range()
POSITIVE = Range(0.0, math.inf, (0.0, 1.0))
UNIT = Range(0.0, 1.0, (0.0, 0.5, 1.0))
SIGNED_UNIT = Range(-1.0, 1.0, (-1.0, 0.0, 1.0))


@dataclass(frozen=True)
class Function:
    """A row of the table.

    `name` is a path such as "numpy.expm1": looked up in pullback and in JAX, unless `make` builds the function out of
    a library `L` (with `L.numpy`, `L.lax`, `L.nn`, `L.special`, `L.stats`, `L.vmap`). `torch` is a path in PyTorch, or
    a function of the module `torch`. `reference` takes and returns mpmath numbers and may cancel: it is evaluated with
    as many digits as it takes. `derivatives[order, argument]` are closed forms for those that are slow to get from
    differences.
    """

    name: str
    reference: Callable
    ranges: tuple[Range, ...] = ()
    make: Callable | None = None
    torch: str | Callable | None = None
    special: bool = False
    orders: tuple[int, ...] = (0, 1, 2)
    derivatives: dict[tuple[int, int], Callable] = field(default_factory=dict)
    constant: tuple[int, ...] = ()  # arguments in which it is not differentiated
    dtypes: tuple[str, ...] = ("float32", "float64")
    jax: bool = True  # False where JAX's does not come back from a call on the grid

    @property
    def arity(self) -> int:
        return len(self.ranges)

    def of(self, library: SimpleNamespace) -> Callable | None:
        """The function of pullback or of JAX; None where the library has none."""
        if self.make is not None:
            try:
                return self.make(library)
            except AttributeError:
                return None
        found: Any = library
        for part in self.name.split(" ")[0].split("."):
            found = getattr(found, part, None)
        return found

    def of_torch(self, torch: Any) -> Callable | None:
        if self.torch is None:
            return None
        if callable(self.torch):
            return self.torch(torch)
        found: Any = torch
        for part in self.torch.split("."):
            found = getattr(found, part)
        return found

    def limit(self, order: int) -> float:
        """The error that is allowed, in units."""
        return (32.0, 64.0, 256.0)[order] if self.special else (4.0, 16.0, 64.0)[order]


def row(name: str, reference: Callable, *ranges: Range, **options: Any) -> Function:
    """A line of a table; without ranges, all real numbers for each argument of the reference."""
    if not ranges:
        kinds = [p.kind for p in inspect.signature(reference).parameters.values()]
        named = all(kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for kind in kinds)
        ranges = (REAL,) * (len(kinds) if named else 1)  # mpmath's own functions do not say
    return Function(name, reference, ranges, **options)


def special(name: str, reference: Callable, *ranges: Range, **options: Any) -> Function:
    """A line of a function of `scipy.special`."""
    return row(f"special.{name}", reference, *ranges, special=True, **options)


def stats(name: str, reference: Callable, *ranges: Range, **options: Any) -> Function:
    """A line of a function of `scipy.stats`."""
    return row(f"stats.{name}", reference, *ranges, special=True, **options)
