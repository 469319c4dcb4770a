"""`check_rules`: check the derivative rules of a function, in one call with a readable report.

The function is `pullback.check_rules`; `pullback.test_util` exports its `Report` and `RuleCheckError` too.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from pullback._api.derivatives import jvp
from pullback._api.differences import (
    FlatFunction,
    complex_step,
    difference,
    narrow,
    pair,
    precision,
    random_direction,
    tolerances,
    wide,
)
from pullback._api.jit import jit
from pullback._api.primitive_class import HiPrim
from pullback._api.reverse_mode import vjp
from pullback._api.rule_report import Report, derived_modes
from pullback._api.rules import custom_rules
from pullback._api.vectorize import vmap
from pullback._core import dtypes
from pullback._core.array import Array, from_numpy
from pullback._core.errors import (
    ConcretizationTypeError,
    NonConcreteBooleanIndexError,
    RuleCheckError,
    RuleOrderWarning,
    boundary,
    describe_function,
    described,
)
from pullback._core.hitypes import TypeIsIncomplete
from pullback._core.typing import AnyValue, PyTree
from pullback._higher_order.custom.backward import FORWARD_REFUSED
from pullback.ad_checkpoint import checkpoint

# for a leaf with more entries than this, this many are drawn
_ENTRIES = 16


@boundary
def check_rules(
    fun: Callable,
    *args: PyTree,
    order: int = 1,
    modes: Sequence[str] = ("jvp", "vjp"),
    eps: float | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    seed: int = 0,
    raise_on_error: bool = True,
) -> Report:
    """Check the derivative rules of a function at a point, argument by argument and leaf by leaf.

    With `J` the derivative, `t` and `u` tangents and `c` a cotangent, it holds that

    - the value under differentiation is that of the function; `J` and its transpose are linear; the parts of `J t` for
      one leaf at a time (others symbolic zeros) add up to the whole;
    - `<J t, c> = <t, Jᵀ c>`, with the pairing `Re(sum c t)`, where both modes exist;
    - `J` and `Jᵀ` agree with central differences, and with the complex step if the function takes complex numbers;
    - `vmap` of a rule equals a loop over it, and `jit` of it the eager rule;
    - all of that for the derivative of the derivative, if `order` is 2, and so on;
    - the rules for `checkpoint`, if there are any, give the derivative of the square of the result.

    If a rule differs from plain differentiation of the function under the decorator, a note says so.

    Args:
      fun: a function decorated by `custom_jvp`, `custom_vjp` or `custom_rules`, or any other.
      args: the point: arrays and pytrees of them. Integers, and arguments in `nondiff_argnums`, stay fixed. For a value
        of a type of one's own, as an argument or a result, all is checked but differences, if its tangents are arrays.
      order: the number of times to differentiate.
      modes: "jvp", "vjp" or both. For a function with only a vjp rule "jvp" is skipped, with a note.
      eps: the largest step of the differences, relative to the larger of 1 and the argument.
      rtol, atol: tolerances of the comparisons with differences; the defaults depend on the dtypes, with a smaller
        `atol` for a function whose values are small.
      seed: the seed of the random tangents, and of the entries drawn from large leaves.
      raise_on_error: whether failures raise.

    Returns: a `Report` with `ok`, `failures` and `notes`.
    Raises: RuleCheckError, an AssertionError, with the report.
    See: Griewank and Walther, Evaluating Derivatives (2008), chapter 3, for the products.

    >>> import pullback as pb
    >>> f = pb.custom_vjp(lambda x, w: x * w["w"])
    >>> f.defvjp(lambda x, w: (x * w["w"], (x, w["w"])), lambda r, ct: (ct * r[1], {"w": 2 * ct * r[0]}))
    >>> report = pb.check_rules(f, 2., {"w": 3.}, raise_on_error=False)
    >>> print(report.ok, report.failures[0])
    False vjp, arg 1, leaf ['w']: 4.0, finite difference 2.0
    """
    known = isinstance(modes, (tuple, list, set, frozenset)) and all(mode in ("jvp", "vjp") for mode in modes)
    if not known or not modes:
        raise ValueError(f"check_rules: modes must hold 'jvp', 'vjp' or both, got {modes!r}")
    if not isinstance(order, (int, np.integer)):
        raise TypeError(f"check_rules: order must be an integer, got {described(order)}")
    if order < 1:
        raise ValueError(f"check_rules: order must be at least 1, got {order!r}")
    point = FlatFunction("check_rules", fun, args, getattr(fun, "nondiff_argnums", ()))
    report = Report(describe_function(fun), derived_modes(fun))
    if not args:
        raise TypeError(f"check_rules of {report.subject}: give the arguments at which to check it after the function")
    if not point.xs:
        raise TypeError(
            f"check_rules of {report.subject}: no argument holds a floating-point or complex array, so "
            "there is nothing to differentiate"
        )
    plain = fun.fun if isinstance(fun, custom_rules) else fun.expand if isinstance(fun, HiPrim) else None
    plain = None if plain is None else point.with_function(plain)
    checks = _Checks(report, point, np.random.default_rng(seed), eps, rtol, atol)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuleOrderWarning)
        try:
            checks.run(point, plain, tuple(dict.fromkeys(modes)), "", order)
        except TypeError as error:
            if len(args) == 1 and isinstance(args[0], tuple):
                error.add_note("check_rules(f, x, y) takes arguments one after another, and got one that is a tuple.")
            raise
        if "vjp" in modes and getattr(fun, "remat_rules", None) is not None:
            # the derivative of the square reads the value that is recomputed
            square = checkpoint(lambda *xs: [out * out for out in point(*xs)])
            checks.run(square, None, ("vjp",), "the square of the result under checkpoint", 1)
    lost = {(w.filename, w.lineno): str(w.message) for w in caught if issubclass(w.category, RuleOrderWarning)}
    report.notes += lost.values()
    for w in caught:
        if not issubclass(w.category, RuleOrderWarning):
            warnings.warn_explicit(w.message, w.category, w.filename, w.lineno)
    if raise_on_error and not report.ok:
        raise RuleCheckError(str(report))
    return report


def _push(f: Callable, xs: Sequence[Any], ts: Sequence[Any]) -> list[Array]:
    return jvp(f, tuple(xs), tuple(ts))[1]


def _pull(f: Callable, xs: Sequence[Any], cs: Sequence[Any]) -> list[Array]:
    return list(vjp(f, *xs)[1](list(cs)))


def _only(f: Callable, xs: Sequence[Any], i: int) -> Callable:
    """`f` as a function of one leaf: the tangents of the others are symbolic zeros."""
    return lambda x: f(*xs[:i], x, *xs[i + 1 :])


def _reason(error: Exception) -> str:
    text = str(error).split("\n")[0]
    return f"{type(error).__name__}: {text}"


class _Worst:
    """The entry that exceeds its tolerance by most."""

    def __init__(self) -> None:
        self.excess, self.got, self.expected, self.where = 1.0, 0j, 0j, ""

    def look(
        self, got: AnyValue, expected: AnyValue, allowed: AnyValue, describe: Callable[[tuple[int, ...]], str]
    ) -> None:
        got, expected, allowed = np.broadcast_arrays(got, expected, allowed)
        if got.size == 0:
            return
        with np.errstate(all="ignore"):
            same = (got == expected) | (np.isnan(got) & np.isnan(expected)) | np.isposinf(allowed)
            excess = np.where(same, 0.0, np.abs(got - expected) / allowed)
        excess = np.where(np.isnan(excess), np.inf, excess)
        index = tuple(int(i) for i in np.unravel_index(np.argmax(excess), excess.shape))
        if excess[index] > self.excess:
            self.excess, self.got, self.expected = excess[index], got[index], expected[index]
            self.where = describe(index)


class _Checks:
    """The checks at one point; `run` makes those of one order, and calls itself for the next."""

    def __init__(
        self,
        report: Report,
        point: FlatFunction,
        rng: np.random.Generator,
        eps: float | None,
        rtol: float | None,
        atol: float | None,
    ):
        self.report, self.point, self.rng, self.eps = report, point, rng, eps
        self.asked = rtol, atol
        self.xs, self.places = point.xs, point.places
        self.unit = 1.0

    def run(self, f: Callable, plain: Callable | None, modes: tuple[str, ...], label: str, order: int) -> None:
        xs = self.xs
        outs = f(*xs)
        if not outs:
            self.report.notes.append(f"{label or 'the function'}: no floating-point result, nothing to check")
            return
        if not all(self.point.has_differences):
            plain = None  # without its rules, a function of values of types of one's own has no derivative
        self.label = label
        self.results = list(self.point.result_paths) if not label else [str(i) for i in range(len(outs))]
        self.rounding = precision([*xs, *outs])
        self.digits = 7 if self.rounding < 1e-9 else 4 if self.rounding < 1e-4 else 2
        self.size = min(1.0, max([float(np.max(np.abs(wide(out)), initial=0.0)) for out in outs]) or 1.0)
        if not label:
            # small functions get small tolerances, but derivatives that vanish do not
            self.unit = self.size
        self.rtol, self.atol = tolerances(self.rounding, *self.asked)
        self.atol = self.unit * self.atol if self.asked[1] is None else self.atol
        # two computations through the same rule may differ by rounding only
        self.tight = 2.0 ** (14 if self.rounding < 1e-9 else 10 if self.rounding < 1e-4 else 4) * self.rounding
        single = len(outs) == 1 and outs[0].aval.size == 1
        cs = [narrow(1.0, outs[0])] if single else [random_direction(self.rng, out) for out in outs]
        ts = [random_direction(self.rng, x) for x in xs]
        alive = tuple(mode for mode in modes if self._value(f, mode, outs, ts, cs))
        if alive:
            self._differences(f, alive, cs)
        for mode in alive:
            self._linearity(f, mode, ts, cs)
            if plain is not None:
                self._autodiff(f, plain, mode, ts, cs)
            self._vmap(f, mode, ts, cs)
            self._jit(f, mode, ts, cs)
        if len(alive) == 2:
            self._adjoint(f, ts, cs)
        if order > 1:
            for mode in alive:
                derivative = (lambda *xs: _push(f, xs, ts)) if mode == "jvp" else (lambda *xs: _pull(f, xs, cs))
                self.run(derivative, None, modes, f"{mode} of {label}" if label else mode, order - 1)

    # --- lines of the report ---

    def _name(self, what: str) -> str:
        return f"{what} of {self.label}" if self.label else what

    def _number(self, value: AnyValue) -> str:
        """A value with its significant digits."""
        value = complex(value)
        if not np.isfinite(value):
            return repr(value if value.imag else value.real)
        # a part that is only the rounding error of the other one is omitted
        decimals = self.digits - 1 - int(np.floor(np.log10(abs(value) or 1.0)))
        real, imag = (float(np.round(part, decimals)) + 0.0 for part in (value.real, value.imag))
        return repr(complex(real, imag) if imag else real)

    def _result(self, j: int, index: tuple[int, ...]) -> str:
        path = self.results[j] if len(self.results) > 1 or self.results[j] not in ("", "0") else ""
        inside = f"[{', '.join(map(str, index))}]" if index else ""
        return f", result {path}{inside}" if path or inside else ""

    def _argument(self, j: int, index: tuple[int, ...]) -> str:
        return f", {self.places[j]}{_index(index)}"

    def _record_check(self, what: str, worst: _Worst, reference: str, note: bool = False) -> None:
        """Count a check, and add its line to the report if something was out of tolerance."""
        self.report.checks += not note
        if worst.excess > 1:
            line = f"{what}{worst.where}: {self._number(worst.got)}, {reference} {self._number(worst.expected)}"
            (self.report.notes if note else self.report.failures).append(line)

    def _compare(
        self,
        what: str,
        got: Sequence[Any],
        expected: Sequence[Any],
        reference: str,
        at_arguments: bool,
        rtol: float | None = None,
        note: bool = False,
    ) -> None:
        """Compare lists of arrays, leaves of the arguments or of the result, in all entries."""
        rtol = self.tight if rtol is None else rtol
        describe = self._argument if at_arguments else self._result
        worst = _Worst()
        for j, (a, b) in enumerate(zip(map(wide, got), map(wide, expected), strict=True)):
            finite = np.abs(np.concatenate([a.ravel(), b.ravel()]))
            scale = float(np.max(finite[np.isfinite(finite)], initial=0.0))
            worst.look(a, b, rtol * scale + 0.1 * self.atol, partial(describe, j))
        self._record_check(what, worst, reference, note)

    # --- the checks ---

    def _value(self, f, mode, outs, ts, cs) -> bool:
        """Return whether the rule runs at all; if so, its primal result must be that of the function."""
        try:
            if mode == "jvp":
                values, _ = jvp(f, tuple(self.xs), tuple(ts))
            else:
                values, pullback = vjp(f, *self.xs)
                pullback(list(cs))
        except Exception as error:
            if mode == "jvp" and str(error).startswith(FORWARD_REFUSED):
                self.report.notes.append(f"{self._name(mode)}: skipped, the function has a vjp rule alone")
            else:
                self.report.failures.append(f"{self._name(mode)}: raised {_reason(error)}")
            return False
        self._compare(f"{self._name(mode)}, value", values, outs, "of the function", False)
        return True

    def _apply(self, f, mode, ts, cs):
        return _push(f, self.xs, ts) if mode == "jvp" else _pull(f, self.xs, cs)

    def _linearity(self, f, mode, ts, cs) -> None:
        """`J(a t + b u) = a J t + b J u`, and likewise for the transpose; the parts of single leaves add up."""
        name, a, b = self._name(mode), 0.5, -2.0
        if mode == "vjp":
            us = [random_direction(self.rng, c) for c in cs]
            self._combine(name, partial(_pull, f, self.xs), cs, us, a, b, True)
            return
        total: list[Any] = []
        for i, place in enumerate(self.places):
            one = _only(f, self.xs, i)
            part = self._combine(
                f"{name}, {place}",
                partial(_push, one, self.xs[i : i + 1]),
                [ts[i]],
                [random_direction(self.rng, ts[i])],
                a,
                b,
                False,
            )
            total = [wide(p) for p in part] if not total else [s + wide(p) for s, p in zip(total, part, strict=True)]
        if len(ts) > 1:
            self._compare(f"{name}, all arguments at once", _push(f, self.xs, ts), total, "sum over them", False)

    def _combine(self, what, linear, ts, us, a, b, reverse):
        first, second = linear(ts), linear(us)
        mixed = linear([narrow(a * wide(t) + b * wide(u), t) for t, u in zip(ts, us, strict=True)])
        expected = [a * wide(p) + b * wide(q) for p, q in zip(first, second, strict=True)]
        self._compare(f"{what}, linearity", mixed, expected, "combined", reverse)
        return first

    def _adjoint(self, f, ts, cs) -> None:
        """`<J t, c> = <t, Jᵀ c>`, with `t` in one leaf at a time."""
        grads = _pull(f, self.xs, cs)
        for i, place in enumerate(self.places):
            pushed = _push(_only(f, self.xs, i), self.xs[i : i + 1], ts[i : i + 1])
            left, right = pair(cs, pushed), pair(grads[i : i + 1], ts[i : i + 1])
            size = max(
                sum(np.sum(np.abs(wide(c) * wide(p))) for c, p in zip(cs, pushed, strict=True)),
                np.sum(np.abs(wide(grads[i]) * wide(ts[i]))),
            )
            worst = _Worst()
            worst.look(left, right, self.tight * size + 0.1 * self.atol, lambda _: "")
            self._record_check(f"{self._name('adjoint')}, {place}, <Jt, c>", worst, "but <t, Jᵀc>")

    def _differences(self, f, modes, cs) -> None:
        for i, (x, place) in enumerate(zip(self.xs, self.places, strict=True)):
            if not self.point.has_differences[i]:
                self.report.notes.append(f"{place}: values of types of one's own have no differences")
                continue
            one = _only(f, self.xs, i)
            grad = wide(_pull(one, [x], cs)[0]) if "vjp" in modes else None
            worst = {(mode, how): _Worst() for mode in modes for how in ("finite difference", "complex step")}
            skipped: dict[str, int] = {}
            for index in self._entries(x, place):
                self._entry(one, x, index, modes, cs, grad, worst, skipped)
            for mode in modes:
                for how in ("finite difference", "complex step"):
                    # the complex step gives the same with more digits, unless only it can tell
                    if how == "finite difference" or worst[mode, "finite difference"].excess <= 1:
                        self._record_check(f"{self._name(mode)}, {place}", worst[mode, how], how)
            for why, count in skipped.items():
                self.report.notes.append(
                    f"{self.label + ', ' if self.label else ''}{place}: {why} at {count} of its "
                    "entries, so finite differences do not decide there"
                )

    def _entries(self, x: Array, place: Any) -> list[tuple[int, ...]]:
        size = x.aval.size
        chosen = np.arange(size)
        if size > _ENTRIES:
            chosen = np.sort(self.rng.choice(size, _ENTRIES, replace=False))
            self.report.notes.append(
                f"{self.label + ', ' if self.label else ''}{place}: finite differences at {_ENTRIES} of {size} entries"
            )
        return [tuple(int(k) for k in np.unravel_index(n, x.aval.shape)) for n in chosen]

    def _entry(self, one, x, index, modes, cs, grad, worst, skipped) -> None:
        """One entry of a leaf: the corresponding column of `J`, and the entry of `Jᵀ c`.

        With `<c, t> = Re(sum c t)` the latter is `<c, J e> − i <c, J(i e)>`.
        """
        at = _index(index)
        kinked, lost, slack, parts, exact = False, False, 0.0, [], None
        for unit in (1.0, 1j) if dtypes.is_complex(x.aval.dtype) else (1.0,):
            t = np.zeros(x.aval.shape, type(unit))
            t[index] = unit
            d = difference(one, [x], [t], self.eps)
            scale = max(float(np.max(np.abs(v[np.isfinite(v)]), initial=0.0)) for v in d.value)
            kinked |= any(k.any() for k in d.kink)
            lost |= any(bool(np.any(~(e <= 0.1 * max(scale, self.size)))) for e in d.error)
            slack += sum(float(np.sum(np.abs(wide(c)) * e)) for c, e in zip(cs, d.error, strict=True))
            parts.append(pair(cs, d.value))
            exact = self._exact(one, x, t, d)
            if "jvp" not in modes:
                continue
            for j, pushed in enumerate(_push(one, [x], [narrow(t, x)])):
                got, value = wide(pushed), d.value[j]
                allowed = np.where(d.kink[j] | ~np.isfinite(value), np.inf, self._allowed(got, value, d.error[j]))
                worst["jvp", "finite difference"].look(got, value, allowed, lambda k, j=j: at + self._result(j, k))
                if exact is not None:
                    worst["jvp", "complex step"].look(
                        got, exact[j], self._sharp(np.abs(exact[j])), lambda k, j=j: at + self._result(j, k)
                    )
        if kinked or lost:
            why = "a kink" if kinked else "no accurate difference"
            skipped[why] = skipped.get(why, 0) + 1
        if grad is None or kinked or not np.isfinite(slack):
            return
        expected: Any = parts[0] if len(parts) == 1 else complex(parts[0], -parts[1])
        worst["vjp", "finite difference"].look(
            grad[index], expected, self._allowed(grad[index], expected, slack), lambda _: at
        )
        if exact is not None:
            size = sum(float(np.sum(np.abs(wide(c) * e))) for c, e in zip(cs, exact, strict=True))
            worst["vjp", "complex step"].look(grad[index], pair(cs, exact), self._sharp(size), lambda _: at)

    def _allowed(self, got, expected, error):
        return self.atol + self.rtol * np.maximum(np.abs(got), np.abs(expected)) + 2 * error

    def _sharp(self, size):
        rtol, atol = self.asked
        usual = 1e-9 if self.rounding < 1e-9 else 5e-4
        return (usual if rtol is None else rtol) * size + (0.1 * self.atol if atol is None else atol)

    def _exact(self, one, x, t, d) -> list[np.ndarray] | None:
        """The derivative by the complex step, if the function is real-analytic: if differences agree with it."""
        exact = complex_step(one, [x], [t])
        if exact is None:
            return None
        agree = all(
            bool(np.all(np.abs(e - v) <= self._allowed(e, v, error))) and not k.any()
            for e, v, error, k in zip(exact, d.value, d.error, d.kink, strict=True)
        )
        return exact if agree else None

    def _autodiff(self, f, plain, mode, ts, cs) -> None:
        """Compare with differentiation of the function under the decorator: a note, since rules may differ from it."""
        try:
            expected = self._apply(plain, mode, ts, cs)
        except Exception as error:
            self.report.notes.append(f"{mode}: the function without its rules is not differentiable: {_reason(error)}")
            return
        derived, rtol = self._apply(f, mode, ts, cs), max(self.tight, self.rtol)
        self._compare(mode, derived, expected, "autodiff of the function", mode == "vjp", rtol, note=True)

    def _vmap(self, f, mode, ts, cs) -> None:
        """Check that `vmap` of the rule over points and directions is a loop over them."""
        given = cs if mode == "vjp" else ts
        points = [[narrow(wide(x) * (1 + k * 2.0**-6), x) for x in self.xs] for k in range(3)]
        directions = [given] + [[random_direction(self.rng, g) for g in given] for _ in range(2)]

        def rule(xs, ds):
            return _push(f, xs, ds) if mode == "jvp" else _pull(f, xs, ds)

        loop = [[wide(r) for r in rule(xs, ds)] for xs, ds in zip(points, directions, strict=True)]
        stacked = [
            [from_numpy(np.stack([np.asarray(leaf) for leaf in leaves])) for leaves in zip(*rows, strict=True)]
            for rows in (points, directions)
        ]
        batched = self._try(f"{self._name(mode)}, vmap", lambda: vmap(rule)(*stacked))
        if batched is None:
            return
        for k, row in enumerate(loop):
            self._compare(
                f"{self._name(mode)}, vmap, point {k}", [wide(b)[k] for b in batched], row, "in a loop", mode == "vjp"
            )

    def _jit(self, f, mode, ts, cs) -> None:
        """Check that the compiled rule gives the eager rule's result."""
        rule, given = (partial(_push, f), ts) if mode == "jvp" else (partial(_pull, f), cs)
        compiled = self._try(f"{self._name(mode)}, jit", lambda: jit(rule)(self.xs, given))
        if compiled is not None:
            self._compare(f"{self._name(mode)}, jit", compiled, self._apply(f, mode, ts, cs), "eagerly", mode == "vjp")

    def _try(self, what: str, compute: Callable[[], Any]) -> Any:
        """A result under a transformation; None, with a line in the report, if that raises."""
        try:
            return compute()
        except (ConcretizationTypeError, NonConcreteBooleanIndexError) as error:
            self.report.notes.append(f"{what}: skipped, it needs concrete values: {_reason(error)}")
        except TypeIsIncomplete as error:
            self.report.notes.append(f"{what}: skipped: {error}")
        except Exception as error:
            self.report.failures.append(f"{what}: raised {_reason(error)}")
        return None


def _index(index: tuple[int, ...]) -> str:
    return f", index {index[0] if len(index) == 1 else index}" if index else ""
