"""`find_inaccuracy`: run a function and its gradient beside a shadow of higher precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from pullback._analysis.inaccuracy.advice import advice
from pullback._analysis.inaccuracy.decimals import Decimals
from pullback._analysis.inaccuracy.ledger import EXHAUSTED, Ledger
from pullback._analysis.inaccuracy.shadows import Double, Shadow, unit_of
from pullback._analysis.inaccuracy.suspects import NOTICED, Suspect
from pullback._api.derivatives import jvp
from pullback._api.reverse_mode import vjp
from pullback._core import dtypes, numpy_state
from pullback._core.arguments import argument_path, check_callable
from pullback._core.array import ConcreteArray, array_of, is_array_like, lift
from pullback._core.config import config
from pullback._core.errors import Location, boundary, describe_function, fold, wrapping
from pullback._core.nans import watching
from pullback._core.notebooks import table
from pullback._core.option_contexts import debug_nans, enable_x64
from pullback._core.primitive import Primitive
from pullback._core.trace import context
from pullback._core.tree import tree_flatten, tree_unflatten
from pullback._core.tree_paths import keystr, tree_flatten_with_path
from pullback._core.types import make_aval
from pullback._core.typing import AnyValue
from pullback._xla.evaluate import eagerly, evaluator


class LostDigits:
    """An operation that lost digits: a row of the report of `find_inaccuracy`.

    `primitive` is the operation, `kind` one of "cancellation", "sensitive", "overflow", "underflow", "invalid", "pole",
    "rounding", "accumulation" and "branch". `error` is the relative error of its result, `added` the part that it made
    itself, `condition` its condition number there. `location` is the user's line, `forward` the line whose derivative
    it is, if `backward` is true, `rule` the custom rule, `steps` the steps of loops, innermost first. `leaves` names
    the results that the error reached; `count` operations of the line lost digits. `advice` is a better form, or None.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> row = pb.debug.find_inaccuracy(lambda x: pnp.exp(x) - 1)(1e-6).rows[0]
    >>> print(row.primitive, row.kind, row.leaves)
    sub cancellation ['value']
    >>> print(row.advice)
    expm1(x) for exp(x) - 1
    """

    def __init__(self, suspect: Suspect, leaves: list[str]):
        origin = suspect.origin
        self.primitive: str = suspect.primitive
        self.kind: str = suspect.kind
        self.sentence: str = suspect.sentence()
        self.error: float = suspect.error
        self.added: float = suspect.local
        self.condition: float = suspect.condition
        self.operands: list[str] = suspect.operands
        self.index: tuple[int, ...] = suspect.index
        self.count: int = suspect.count
        self.leaves = leaves
        self.location: Location | None = origin.location
        self.forward: Location | None = origin.forward
        self.backward: bool = origin.backward
        self.rule: str | None = origin.rule
        self.steps: list[str] = origin.steps
        self.advice: str | None = advice(suspect)
        self._origin = origin

    def lines(self) -> list[str]:
        """The row in words, one line each; the first is the sentence."""
        at = f" at {list(self.index)}" if self.index else ""
        numbers = [f"relative error {self.error:.1e}{at}"] if np.isfinite(self.error) and self.error else []
        if np.isfinite(self.condition):
            numbers.append(f"condition {self.condition:.1e}")
        if self.count > 1:
            numbers.append(f"the worst of {self.count} such operations")
        lines = [f"'{self.primitive}': {self.sentence}"]
        lines += [", ".join(numbers)] if numbers else []
        lines += [line.replace("It was made", "it ran") for line in self._origin.lines()]
        lines += [f"it reached {', '.join(self.leaves)}"] if self.leaves else []
        return lines + ([f"better: {self.advice}"] if self.advice else [])

    def __str__(self) -> str:
        return "\n  ".join(self.lines())

    __repr__ = __str__


class InaccuracyReport:
    """The report of `find_inaccuracy`. Its length is the number of rows: false if no digits were lost.

    `rows` are the operations that lost digits, the worst first; `value` and `gradient` the results (`gradient` is None
    if it was not asked for). `errors` maps the names of inaccurate leaves ("value", "gradient of 'x'") to their
    relative errors. `operations` ran, and of them
    `evaluations` a second time in higher precision.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> report = pb.debug.find_inaccuracy(pnp.expm1)(1e-6)
    >>> len(report), report.errors
    (0, {})
    """

    def __init__(
        self,
        subject: str,
        value: AnyValue,
        gradient: AnyValue,
        rows: list[LostDigits],
        errors: dict[str, float],
        operations: int,
        evaluations: int,
    ):
        self.subject = subject
        self.value = value
        self.gradient = gradient
        self.rows = rows
        self.errors = errors
        self.operations = operations
        self.evaluations = evaluations

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        if not self.rows:
            return f"find_inaccuracy of {self.subject}: no digits lost"
        lines = [f"find_inaccuracy of {self.subject}:"]
        lines += [f"{name}: relative error {error:.1e}" for name, error in self.errors.items()]
        for number, row in enumerate(self.rows, 1):
            first, *rest = row.lines()
            lines += [f"{number}. {first}", *(f"   {line}" for line in rest)]
        return "\n  ".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        lost = ", ".join(f"{name}: relative error {error:.1e}" for name, error in self.errors.items())
        rows = [
            (str(n), row.primitive, "\n".join(row.lines()[1:]), row.advice or "") for n, row in enumerate(self.rows, 1)
        ]
        heading = f"find_inaccuracy of {self.subject}: {lost or 'no digits lost'}"
        return table(heading, ("", "operation", "what is known of it", "better"), rows)


@boundary
def find_inaccuracy(
    fun: Callable, *, tolerance: float | None = None, gradient: bool = True
) -> Callable[..., InaccuracyReport]:
    """A function that runs `fun` and its gradient, and reports the operations that lose digits.

    Every operation, forward and backward, inside compiled functions, loops, branches and custom rules too, runs a
    second time on values of higher precision. Where a result is inaccurate, its error is followed back to the
    operations that made it, or that made a rounding error large. Branches follow the program's own values; a decision
    that is otherwise in higher precision is a row of its own.

    Args:
      fun: a function of arrays or pytrees of arrays with at least one floating-point result. Arrays of floating-point
        numbers among its arguments are differentiated; the rest is constant. Results that are no scalars are weighted
        by fixed numbers between 0.5 and 1.5, as errors that differ in sign would vanish from their sum.
      tolerance: the relative error from which a result is inaccurate; by default a third of the digits are lost,
        `eps ** (2 / 3)`: 2e-5 in float32. Entries of results of matrix products are compared with the largest.
      gradient: whether the gradient is looked at, too. Without it the function needs none: it may hold a `while_loop`
        of unknown length or a Python function that has no derivative, and take integers alone.

    Returns: a function with the arguments of `fun` that returns an `InaccuracyReport`.
    Raises: TypeError without a floating-point result, for a gradient without a floating-point argument, for a function
      with side effects (`io_callback`), and inside `jit`, `scan` and similar functions; ValueError for an argument
      with a nan or an infinity, and for a tolerance that is no positive number.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> from pullback.debug import find_inaccuracy
    >>> def log1pexp(x):
    ...     return pnp.log(1 + pnp.exp(x))
    >>> report = find_inaccuracy(log1pexp)(-20.)
    >>> print(report.rows[0].sentence)
    log(1) makes an error of its operands ... times larger
    >>> print(find_inaccuracy(pb.nn.softplus)(-20.))
    find_inaccuracy of softplus...: no digits lost
    """
    check_callable("find_inaccuracy", fun)
    if tolerance is not None and not (isinstance(tolerance, int | float) and 0 < tolerance < np.inf):
        raise ValueError(f"find_inaccuracy: tolerance must be a positive number, got {tolerance!r}")

    @wrapping(fun)
    def found(*args, **kwargs):
        try:
            return _found(fun, args, kwargs, tolerance, gradient)
        except Exception as error:
            fold(error)
            raise

    return found


def _found(
    fun: Callable, args: tuple, kwargs: dict[str, Any], tolerance: float | None, differentiated: bool
) -> InaccuracyReport:
    label = describe_function(fun)
    if not context.trace.transparent:
        raise TypeError(
            f"find_inaccuracy of {label} was called while another function is traced: there are no values to look at. "
            "Call it outside, as find_inaccuracy(jit(f)) say."
        )
    leaves, tree = tree_flatten((args, kwargs))
    named = [_leaf_name(fun, path) for path, _ in tree_flatten_with_path((args, kwargs))[0]]
    xs = [lift(leaf) if is_array_like(leaf) else leaf for leaf in leaves]
    active = [i for i, x in enumerate(xs) if isinstance(x, ConcreteArray) and dtypes.is_inexact(x.dtype)]
    _check_arguments(label, xs, named, active, differentiated)

    @wrapping(fun)
    def of_floats(*floats):
        given = list(xs)
        for i, x in zip(active, floats, strict=True):
            given[i] = x
        there, named = tree_unflatten(tree, given)
        return fun(*there, **named)

    def refuse(primitive: Primitive) -> None:
        if primitive.name == "debug_callback":
            return  # it prints
        raise TypeError(
            f"find_inaccuracy of {label}: '{primitive.name}' has a side effect, whose values no shadow follows. Take "
            "it out of the function, or pass what it reads as an argument."
        )

    double = any(xs[i].dtype.itemsize >= 8 and xs[i].dtype.kind == "f" for i in active)
    double = double or (not active and config.enable_x64)
    ledger = Ledger(Decimals(_followed) if double else Double(_generally), refuse)
    with debug_nans(), watching(ledger):
        floats = [xs[i] for i in active]
        with _saying_what_else_to_do() if differentiated else nullcontext():
            value, pull = vjp(of_floats, *floats) if differentiated else (of_floats(*floats), None)
        outs, out_tree = tree_flatten(value)
        outs = [lift(out) for out in outs]
        if not any(dtypes.is_inexact(out.dtype) for out in outs):
            kinds = ", ".join(out.aval.str_short() for out in outs) or "nothing"
            raise TypeError(f"find_inaccuracy of {label}: expected a floating-point result, got {kinds}")
        with _saying_what_else_to_do():
            gradients = pull(tree_unflatten(out_tree, [_weights(out) for out in outs])) if pull else ()
    of = dict(zip([named[i] for i in active], gradients, strict=pull is not None))
    paths = [path for path, _ in tree_flatten_with_path(value)[0]]
    where = [("value" + keystr(path), out) for path, out in zip(paths, outs, strict=True)]
    where += [(f"gradient of {name}", g) for name, g in of.items()]
    errors, reached = _inaccurate(ledger, where, tolerance)
    rows = _rows(ledger, reached)
    gradient = None if pull is None else gradients[0] if len(gradients) == 1 else of
    return InaccuracyReport(label, value, gradient, rows, errors, ledger.operations, ledger.evaluations)


@contextmanager
def _saying_what_else_to_do() -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError, NotImplementedError) as error:
        error.add_note("find_inaccuracy(..., gradient=False) looks at the value alone.")
        raise


def _leaf_name(fun: Callable, path: tuple) -> str:
    if path[0].idx == 1:
        return f"'{path[1].key}'{keystr(path[2:])}"
    return argument_path(fun, path[1].idx, path[2:]).removeprefix("argument ").replace(", leaf ", "")


def _check_arguments(
    label: str, xs: Sequence[Any], named: Sequence[str], active: Sequence[int], differentiated: bool
) -> None:
    alone = "gradient=False looks at the value alone"
    if differentiated and not xs:
        raise TypeError(
            f"find_inaccuracy of {label}: there are no arguments to differentiate by. Pass the values; {alone}"
        )
    if differentiated and not active:
        kinds = ", ".join(x.aval.str_short() if isinstance(x, ConcreteArray) else type(x).__name__ for x in xs)
        raise TypeError(
            f"find_inaccuracy of {label}: expected a floating-point argument, got {kinds}. Pass 3.0 in place of 3, "
            f"say; {alone}"
        )
    for i in active:
        value = np.asarray(xs[i].value)
        if not np.isfinite(value if value.dtype.isbuiltin else value.astype(np.float32)).all():
            raise ValueError(f"find_inaccuracy of {label}: {named[i]} has a nan or an infinity. See debug.find_nan")


def _generally(primitive: Primitive, values: Sequence[Any], params: dict[str, Any]) -> Sequence[Any]:
    """The results of a primitive that has no kernel, by the program of one operation."""
    arrays = [array_of(make_aval(np.shape(x), np.asarray(x).dtype, False), x) for x in values]
    with debug_nans(False), enable_x64():
        outs = eagerly(evaluator.evaluate_generally, primitive, arrays, params)
    return [out.value for out in (outs if primitive.multiple_results else (outs,))]


def _followed(
    primitive: Primitive, values: Sequence[Any], rests: Sequence[Any], params: dict[str, Any]
) -> tuple[Sequence[Any], Sequence[Any]]:
    """The results of a primitive, and their derivatives along the rests (None for operands without), NumPy values."""
    arrays = [array_of(make_aval(np.shape(x), x.dtype, False), x) for x in values]
    given = [x for x, rest in zip(arrays, rests, strict=True) if rest is not None]
    tangents = [array_of(x.aval, rest) for x, rest in zip(arrays, rests, strict=True) if rest is not None]

    def of_floats(*floats):
        left = iter(floats)
        out = primitive.bind(*[x if r is None else next(left) for x, r in zip(arrays, rests, strict=True)], **params)
        return list(out) if primitive.multiple_results else [out]

    with debug_nans(False):
        # outside the transformation that the program is under
        outs, slopes = eagerly(jvp, of_floats, tuple(given), tuple(tangents))
    return [out.value for out in outs], [np.asarray(slope) for slope in slopes]


def _weights(out: Any) -> Any:
    """The cotangent of a result: 1 for a scalar, fixed numbers between 0.5 and 1.5 for an array."""
    if not dtypes.is_inexact(out.dtype):
        return np.zeros(out.shape, dtypes.float0)
    if not out.shape:
        return array_of(out.aval, out.dtype.type(1))
    steps = np.arange(out.size) * 0.6180339887498949  # the golden ratio: evenly spread at any length
    return array_of(out.aval, (0.5 + steps % 1.0).reshape(out.shape).astype(out.dtype))


def _inaccurate(
    ledger: Ledger, where: Sequence[tuple[str, Any]], tolerance: float | None
) -> tuple[dict[str, float], dict[int, list[str]]]:
    """The relative errors of the inaccurate leaves, and for each suspect the leaves that its error reached."""
    errors: dict[str, float] = {}
    reached: dict[int, list[str]] = {}
    with numpy_state.silenced():
        for name, x in where:
            if not isinstance(x, ConcreteArray) or not dtypes.is_inexact(x.dtype) or not x.size:
                continue
            shadow = ledger.of(x)
            limit = (2 * shadow.unit) ** (2 / 3) if tolerance is None else tolerance
            value = np.asarray(x.value)
            error = _error(value, shadow, limit)
            if not error <= limit:
                errors[name] = error
                for n in ledger.suspects_in(shadow.rows):
                    reached.setdefault(n, []).append(name)
    return errors, reached


def _error(value: np.ndarray, shadow: Shadow, limit: float) -> float:
    """The relative error of a result, 0 if it is within the limit. One that is rounded right, to zero or infinity say,
    has none.
    """
    wanted = np.asarray(shadow.value)
    errors, sizes = np.abs(wanted - value), np.abs(wanted)
    if shadow.mixed:
        sizes = np.broadcast_to(sizes.max(), sizes.shape)
    if wanted.dtype != object:
        off = ~(errors <= sizes * limit)
        if not off.any():
            return 0.0
        value, wanted, errors, sizes = value[off], wanted[off], errors[off], sizes[off]
    info = dtypes.finfo(value.dtype)
    right = (wanted.astype(value.dtype) == value) | (errors <= NOTICED * unit_of(value.dtype) * float(info.tiny))
    if shadow.rows & EXHAUSTED:
        right &= np.isfinite(value)  # that the shadow is too large as well says nothing
    ratios = np.where(right, 0.0, errors / np.where(sizes == 0, np.finfo(float).tiny, sizes)).astype(float)
    worst = ratios.max()
    return float(worst) if worst == worst else np.inf


def _rows(ledger: Ledger, reached: dict[int, list[str]]) -> list[LostDigits]:
    """The suspects whose errors reached a result, the worst first, and the decisions that would have been others."""
    nan = any(ledger.suspects[n].kind == "invalid" for n in reached)
    rows = []
    for n, suspect in enumerate(ledger.suspects):
        if n in reached and (suspect.kind != "pole" or nan):
            rows.append(suspect)
        elif suspect.kind == "branch" and (suspect.forced or suspect.pending):
            rows.append(suspect)
    rows.sort(key=lambda s: (-min(s.error, 1.0) if s.kind != "pole" else -1.0, s.order))
    return [LostDigits(s, reached.get(ledger.suspects.index(s), [])) for s in rows]


__all__ = ["InaccuracyReport", "LostDigits", "find_inaccuracy"]
