"""Sizes of arrays that are not known yet: expressions of integer variables, and what can be said about them.

A `Dimension` is a sum of products of atoms, in a normal form. An atom is a variable, which is at least 1, or a
`floordiv`, `mod`, `max` or `min` of two others. What is constant is no `Dimension` but an int.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import total_ordering
from typing import Any, ClassVar

from pullback._core.errors import InconclusiveDimensionOperation
from pullback._core.typing import AnyValue


@total_ordering
class Atom:
    """A variable (`kind` is "var" and `args` its name) or an operation on two dimensions; equal ones look alike."""

    __slots__ = ("kind", "args", "text")

    def __init__(self, kind: str, args: tuple[Any, ...]):
        self.kind, self.args = kind, args
        self.text = args[0] if kind == "var" else f"{kind}({args[0]}, {args[1]})"

    def __hash__(self) -> int:
        return hash(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Atom) and self.text == other.text

    def __lt__(self, other: Atom) -> bool:
        return self.text < other.text


# a product of atoms, each once, in order, with its power; the terms of a sum, with their factors
Product = tuple[tuple[Atom, int], ...]
Terms = dict[Product, int]


class Scope:
    """What is known about the variables of dimensions that may meet: `positive` are dimensions that are at least 0.

    `equal` are products and what each is replaced by.
    """

    def __init__(self):
        self.constraints: list[str] = []
        self.positive: list[Dimension] = []
        self.equal: dict[Product, Dimension | int] = {}

    def __repr__(self) -> str:
        listed = "".join(f"\n  {text}" for text in self.constraints)
        return f"the scope {id(self)}" + (f" with constraints:{listed}" if listed else "")


def _degree(product: Product) -> tuple[int, Product]:
    """The order of products by degree, then by the powers of the last atoms, which multiplication keeps."""
    return sum(power for _, power in product), product[::-1]


class Dimension:
    """A size with variables. It adds, multiplies and divides as an integer does, and compares where the answer is the
    same for all values of the variables; `==` is False where it is not.
    """

    __slots__ = ("terms", "scope", "_hash")
    __array_ufunc__ = None  # NumPy's numbers leave arithmetic to it
    # makes an array of a dimension: installed by the operation that does
    to_array: ClassVar[Callable[..., Any]]

    def __init__(self, terms: Terms, scope: Scope):
        self.terms, self.scope = terms, scope
        self._hash = hash(frozenset(terms.items()))

    def __repr__(self) -> str:
        text = ""
        for product in sorted(self.terms, key=_degree, reverse=True):
            factor = self.terms[product]
            names = "*".join(atom.text if power == 1 else f"{atom.text}^{power}" for atom, power in product)
            size = abs(factor)
            part = names if names and size == 1 else f"{size}*{names}" if names else str(size)
            sign = "-" if factor < 0 else "+"
            text += f" {sign} {part}" if text else part if factor > 0 else f"- {part}"
        return text

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> Any:
        raise TypeError(f"the symbolic dimension {self} is not pickled: its variables belong to this process")

    # --- arithmetic ---

    def _with(self, other: AnyValue, name: str, op: Callable[[Terms, Terms, Scope], Any], swap: bool = False) -> Any:
        if isinstance(other, Dimension):
            self._check_scope(other)
            terms = other.terms
        elif isinstance(other, float) or getattr(other, "ndim", False) or hasattr(other, "aval"):
            x = Dimension.to_array(self)
            return getattr(operator, name)(other, x) if swap else getattr(operator, name)(x, other)
        else:
            try:
                terms = _constant(operator.index(other))
            except TypeError:
                return NotImplemented
        return op(terms, self.terms, self.scope) if swap else op(self.terms, terms, self.scope)

    def _check_scope(self, other: Dimension) -> None:
        if other.scope is not self.scope:
            raise ValueError(
                f"the symbolic dimensions {self} and {other} belong to different scopes, so that nothing relates their "
                f"variables: make both by one symbolic_shape, or pass scope=. One is of {self.scope}, one of "
                f"{other.scope}"
            )

    def __add__(self, other: AnyValue) -> Any:
        return self._with(other, "add", _add)

    def __radd__(self, other: AnyValue) -> Any:
        return self._with(other, "add", _add, True)

    def __sub__(self, other: AnyValue) -> Any:
        return self._with(other, "sub", _subtract)

    def __rsub__(self, other: AnyValue) -> Any:
        return self._with(other, "sub", _subtract, True)

    def __mul__(self, other: AnyValue) -> Any:
        if isinstance(other, (tuple, list)):
            return NotImplemented
        return self._with(other, "mul", _multiply)

    def __rmul__(self, other: AnyValue) -> Any:
        return self._with(other, "mul", _multiply, True)

    def __floordiv__(self, other: AnyValue) -> Any:
        return self._with(other, "floordiv", _floor_divide)

    def __rfloordiv__(self, other: AnyValue) -> Any:
        return self._with(other, "floordiv", _floor_divide, True)

    def __mod__(self, other: AnyValue) -> Any:
        return self._with(other, "mod", _modulo)

    def __rmod__(self, other: AnyValue) -> Any:
        return self._with(other, "mod", _modulo, True)

    def __divmod__(self, other: AnyValue) -> tuple[Any, Any]:
        return self // other, self % other

    def __rdivmod__(self, other: AnyValue) -> tuple[Any, Any]:
        return other // self, other % self

    def __truediv__(self, other: AnyValue) -> Any:
        return Dimension.to_array(self) / other

    def __rtruediv__(self, other: AnyValue) -> Any:
        return other / Dimension.to_array(self)

    def __pow__(self, power: AnyValue) -> Any:
        if not isinstance(power, int) or power < 0:
            return Dimension.to_array(self) ** power
        return math.prod([self] * power)

    def __neg__(self) -> Any:
        return self * -1

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return self if self >= 0 else -self

    # --- comparison ---

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Dimension):
            return hasattr(other, "aval") and bool(Dimension.to_array(self) == other)
        return self is other or (self.scope is other.scope and self.terms == other.terms)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __ge__(self, other: AnyValue) -> Any:
        if hasattr(other, "aval") or isinstance(other, float):
            return Dimension.to_array(self) >= other
        return _decided(self - other, f"{self} >= {other}")

    def __le__(self, other: AnyValue) -> Any:
        if hasattr(other, "aval") or isinstance(other, float):
            return Dimension.to_array(self) <= other
        return _decided(other - self, f"{self} <= {other}")

    def __gt__(self, other: AnyValue) -> Any:
        if hasattr(other, "aval") or isinstance(other, float):
            return Dimension.to_array(self) > other
        return _decided(self - other - 1, f"{self} > {other}")

    def __lt__(self, other: AnyValue) -> Any:
        if hasattr(other, "aval") or isinstance(other, float):
            return Dimension.to_array(self) < other
        return _decided(other - self - 1, f"{self} < {other}")

    def is_at_least(self, bound: int) -> bool:
        """Whether it is known to be so large."""
        return lower_bound(self - bound) >= 0

    def is_at_most(self, bound: int) -> bool:
        """Whether it is known not to be larger."""
        return lower_bound(bound - self) >= 0

    def __bool__(self) -> bool:
        return bounds(self)[0] > 0 or _decided(self - 1, f"{self} > 0")

    def __index__(self) -> int:
        raise InconclusiveDimensionOperation(
            f"the symbolic dimension {self} was used where a number is needed: a Python loop, an array of NumPy's, or "
            "an operation that has no form for sizes that are not known yet"
        )

    __int__ = __index__

    def __float__(self) -> float:
        return float(self.__index__())

    def __jax_array__(self) -> Any:
        return Dimension.to_array(self)


# --- arithmetic on terms ---


def _constant(value: int) -> Terms:
    return {(): value} if value else {}


def of_terms(terms: Terms, scope: Scope) -> Dimension | int:
    """The dimension of terms, an int where it is constant; products that the scope replaces are replaced."""
    for product, factor in terms.items() if scope.equal else ():
        for replaced, value in scope.equal.items():
            if (times := _quotient(product, replaced)) is not None:
                rest = {p: c for p, c in terms.items() if p != product}
                return of_terms(_sum(rest, _times({times: factor}, terms_of(value))), scope)
    if not terms:
        return 0
    if len(terms) == 1 and () in terms:
        return terms[()]
    return Dimension(terms, scope)


def terms_of(d: Dimension | int) -> Terms:
    """The terms of a dimension or of a number."""
    return d.terms if isinstance(d, Dimension) else _constant(operator.index(d))


def variable(name: str, scope: Scope) -> Dimension | int:
    """A variable."""
    return of_terms({((Atom("var", (name,)), 1),): 1}, scope)


def _sum(a: Terms, b: Terms, factor: int = 1) -> Terms:
    out = dict(a)
    for product, c in b.items():
        total = out.pop(product, 0) + factor * c
        if total:
            out[product] = total
    return out


def _add(a: Terms, b: Terms, scope: Scope) -> Dimension | int:
    return of_terms(_sum(a, b), scope)


def _subtract(a: Terms, b: Terms, scope: Scope) -> Dimension | int:
    return of_terms(_sum(a, b, -1), scope)


def _product(p: Product, q: Product) -> Product:
    powers = dict(p)
    for atom, power in q:
        powers[atom] = powers.get(atom, 0) + power
    return tuple(sorted((atom, power) for atom, power in powers.items() if power))


def _times(a: Terms, b: Terms) -> Terms:
    out: Terms = {}
    for p, c in a.items():
        for q, d in b.items():
            out = _sum(out, {_product(p, q): c * d})
    return out


def _multiply(a: Terms, b: Terms, scope: Scope) -> Dimension | int:
    return of_terms(_times(a, b), scope)


def _quotient(p: Product, q: Product) -> Product | None:
    powers = dict(p)
    for atom, power in q:
        powers[atom] = powers.get(atom, 0) - power
    if min(powers.values(), default=0) < 0:
        return None
    return tuple(sorted((atom, power) for atom, power in powers.items() if power))


def _divided(a: Terms, b: Terms) -> tuple[Terms, Terms]:
    """Terms q and r with a = q b + r: long division, of the terms that the largest one of b divides."""
    lead = max(b, key=_degree)
    q: Terms = {}
    r: Terms = {}
    rest = dict(a)
    while rest:
        product = max(rest, key=_degree)
        c = rest[product]
        ratio, times = _quotient(product, lead), c // b[lead]
        if ratio is None or not times or (len(b) > 1 and c % b[lead]):
            r[product] = rest.pop(product)
            continue
        q = _sum(q, {ratio: times})
        if c % b[lead]:
            r[product] = c % b[lead]
            rest.pop(product)
        else:
            rest = _sum(rest, _times({ratio: times}, b), -1)
    return q, r


def _atom(kind: str, a: Terms, b: Terms, scope: Scope) -> Dimension | int:
    return of_terms({((Atom(kind, (of_terms(a, scope), of_terms(b, scope))), 1),): 1}, scope)


def _floor_divide(a: Terms, b: Terms, scope: Scope) -> Dimension | int:
    if not b:
        raise ZeroDivisionError(f"division of the symbolic dimension {of_terms(a, scope)} by 0")
    q, r = _divided(a, b)
    if set(r) <= {()} and set(b) == {()}:
        return of_terms(_sum(q, _constant(r.get((), 0) // b[()])), scope)
    if not r:
        return of_terms(q, scope)
    if _within(of_terms(r, scope), of_terms(b, scope)):
        return of_terms(q, scope)
    return of_terms(q, scope) + _atom("floordiv", r, b, scope)


def _modulo(a: Terms, b: Terms, scope: Scope) -> Dimension | int:
    if not b:
        raise ZeroDivisionError(f"the remainder of the symbolic dimension {of_terms(a, scope)} by 0")
    _, r = _divided(a, b)
    if set(r) <= {()} and set(b) == {()}:
        return r.get((), 0) % b[()]
    if not r:
        return 0
    if _within(of_terms(r, scope), of_terms(b, scope)):
        return of_terms(r, scope)
    return _atom("mod", r, b, scope)


def _within(r: Dimension | int, b: Dimension | int) -> bool:
    """Whether it is known that 0 <= r < b."""
    return lower_bound(r) >= 0 and lower_bound(b - r - 1) >= 0


def max_dim(a: Any, b: Any) -> Any:
    """The larger one of two dimensions."""
    return _extreme("max", a, b)


def min_dim(a: Any, b: Any) -> Any:
    """The smaller one of two dimensions."""
    return _extreme("min", a, b)


def _extreme(kind: str, a: AnyValue, b: AnyValue) -> Any:
    try:
        return (a if a >= b else b) if kind == "max" else (a if a <= b else b)
    except InconclusiveDimensionOperation:
        scope = a.scope if isinstance(a, Dimension) else b.scope
        return _atom(kind, terms_of(a), terms_of(b), scope)


# --- what is known ---

# how many facts are combined to decide a comparison, and how many combinations are tried
_DEPTH, _STEPS = 3, 300


def bounds(d: Dimension | int) -> tuple[float, float]:
    """The least and the largest value that are known of a dimension by its terms alone."""
    if not isinstance(d, Dimension):
        return d, d
    low = high = 0.0
    for product, factor in d.terms.items():
        ends: tuple[float, float] = (factor, factor)
        for atom, power in product:
            at = _atom_bounds(atom)
            for _ in range(power):
                corners = [_bounded_product(x, y) for x in ends for y in at]
                ends = min(corners), max(corners)
        low, high = low + ends[0], high + ends[1]
    return low, high


def _bounded_product(x: float, y: float) -> float:
    return 0 if x == 0 or y == 0 else x * y


def _atom_bounds(atom: Atom) -> tuple[float, float]:
    if atom.kind == "var":
        return 1, math.inf
    (a, b), (c, d) = map(bounds, atom.args)
    if atom.kind == "max":
        return max(a, c), max(b, d)
    if atom.kind == "min":
        return min(a, c), min(b, d)
    if c <= 0:
        return -math.inf, math.inf
    if atom.kind == "mod":
        return 0, d - 1
    corners = [
        math.floor(x / y)
        if math.isfinite(x) and math.isfinite(y)
        else 0
        if math.isfinite(x) and x >= 0
        else -1
        if math.isfinite(x)
        else x
        for x in (a, b)
        for y in (c, d)
    ]
    return min(corners), max(corners)


def _facts(d: Dimension) -> list[Dimension]:
    """Dimensions that are at least 0 whatever the variables are: of the scope, and of the atoms that occur."""
    found = [*d.scope.positive]
    for product in d.terms:
        for atom, _ in product:
            if atom.kind == "var":
                continue
            a, b = atom.args
            x: Any = Dimension({((atom, 1),): 1}, d.scope)
            if atom.kind == "max":
                facts = [x - a, x - b]
            elif atom.kind == "min":
                facts = [a - x, b - x]
            elif bounds(b)[0] <= 0:
                facts = []
            else:
                facts = [b - 1 - x] if atom.kind == "mod" else [a - b * x, b * x - a + b - 1]
            found += [fact for fact in facts if isinstance(fact, Dimension)]
    return found


def lower_bound(d: Dimension | int) -> float:
    """The least value that is known of a dimension, with the facts of its scope."""
    best, _ = _search(d, _DEPTH, _STEPS)
    return best


def _search(d: Dimension | int, depth: int, steps: int) -> tuple[float, int]:
    """The bound, and how many of the steps are left: the facts of a long expression are too many to combine all."""
    best = bounds(d)[0]
    if not isinstance(d, Dimension) or not depth or best >= 0:
        return best, steps
    for fact in _facts(d):
        for product, c in fact.terms.items():
            # d = d' + k fact with k > 0, where d' has no such product
            if steps and product and c * d.terms.get(product, 0) > 0 and d.terms[product] % c == 0:
                found, steps = _search(d - (d.terms[product] // c) * fact, depth - 1, steps - 1)
                best = max(best, found)
        if best >= 0:
            break
    return best, steps


def _decided(d: AnyValue, question: str) -> bool:
    """Whether a dimension is at least 0."""
    if not isinstance(d, Dimension):
        return bool(d >= 0)
    if lower_bound(d) >= 0:
        return True
    if lower_bound(-1 - d) >= 0:
        return False
    constant = d.terms.get((), 0)
    rest = d - constant
    raise InconclusiveDimensionOperation(
        f'whether {question} depends on the variables. Where the shape is made, constraints=["{rest} >= {-constant}"] '
        f'says yes, ["{rest} <= {-constant - 1}"] no; or have the size of the axis be a number'
    )
