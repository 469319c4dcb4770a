"""The checks that the `def_` methods of a user's primitive put around its rules.

Each function here takes the primitive and a rule and returns the rule that is stored: it converts numbers and NumPy
data to the form that transformations expect, and raises RuleError, with the rule's name and location, for invalid
results. The package's own primitives set their rules directly. Checks apply no primitive, so they need no
transformation.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback._analysis.linearity import not_linear
from pullback._analysis.uniform import vanishes
from pullback._core import dtypes, numpy_state
from pullback._core.arguments import described_result
from pullback._core.array import Array, ConcreteArray, array_of, is_array_like, lift
from pullback._core.errors import RuleError, describe_function, standing_for
from pullback._core.primitive import Primitive
from pullback._core.trace import context, is_linear
from pullback._core.types import ShapedArray, make_aval, matches
from pullback._core.typing import AnyValue
from pullback._core.zeros import Zero, zero_of

Place = Callable[[], str]


def _place(what: str, primitive: Primitive, rule: Callable) -> Place:
    return lambda: f"{what} {describe_function(rule)} of '{primitive.name}'"


def _some(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _results(primitive: Primitive, value: AnyValue, count: int | None, what: str, place: Place) -> Sequence[Any]:
    """The per-result parts of a rule's return value, `count` of them if that is known."""
    if not primitive.multiple_results:
        return [value]
    if not isinstance(value, (list, tuple)):
        raise RuleError(
            f"{place()} must return its {what}s in a list or a tuple, since '{primitive.name}' was made "
            f"with multiple_results=True, got {described_result(value)}"
        )
    if count is not None and len(value) != count:
        raise RuleError(f"{place()} must return {_some(count, what)}, one for each result, got {len(value)}")
    return value


def _pair(value: AnyValue, expected: str, place: Place) -> tuple[Any, Any]:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise RuleError(f"{place()} must return a pair {expected}, got {described_result(value)}")
    return value[0], value[1]


def _array(x: AnyValue, what: str, place: Place) -> Array:
    """The return value of a rule as an array."""
    if isinstance(x, Array):
        return x
    if not is_array_like(x):
        hint = (
            " A primitive with several results is made with multiple_results=True."
            if isinstance(x, (list, tuple))
            else ""
        )
        raise RuleError(f"{place()} must return an array or a number as the {what}, got {described_result(x)}.{hint}")
    try:
        return lift(x)
    except (TypeError, OverflowError) as error:
        raise RuleError(f"{place()} must return an array or a number as the {what}: {error}") from None


def _fitted(x: AnyValue, expected: ShapedArray, what: str, why: str, place: Place) -> Array:
    """The return value of a rule as an array of the type `expected`; a Python number takes the dtype."""
    if isinstance(x, Array) and x.aval is expected:
        return x
    x = _array(x, what, place)
    got = x.aval
    if matches(expected, got):
        return x
    if (
        got.weak_type
        and got.shape == expected.shape
        and type(x) is ConcreteArray
        and (dtypes.promote((expected.dtype, False), (got.dtype, True))[0] == expected.dtype)
    ):
        with numpy_state.silenced():
            return array_of(expected, np.asarray(x.value).astype(expected.dtype))
    raise RuleError(
        f"{place()} must return a {what} of {why}: expected {expected.str_short()}, got {got.str_short()}. "
        + ("Convert it with .astype." if got.shape == expected.shape else "Check its shape.")
    )


def _types(primitive: Primitive, avals: Sequence[ShapedArray], params: dict) -> list[ShapedArray] | None:
    """The types of the results, if there is a type rule."""
    if primitive.abstract_eval is None:
        return None
    result = primitive.infer(tuple(avals), params)
    return result if primitive.multiple_results else [result]


def _count(types: Sequence[ShapedArray] | None) -> int | None:
    return None if types is None else len(types)


# --- types ---


def checked_abstract_eval(primitive: Primitive, rule: Callable) -> Callable:
    """A type rule that returns `ShapedArray`s; any object with a shape and a dtype may give the type."""
    place = _place("the type rule", primitive, rule)

    @standing_for(rule)
    def abstract_eval(*avals, **params):
        result = rule(*avals, **params)
        types = [_as_type(x, place) for x in _results(primitive, result, None, "type", place)]
        return types if primitive.multiple_results else types[0]

    return abstract_eval


def _as_type(x: AnyValue, place: Place) -> ShapedArray:
    aval = x if isinstance(x, ShapedArray) else getattr(x, "aval", None)
    try:
        if isinstance(aval, ShapedArray):
            dtypes.canonicalize_dtype(aval.dtype)  # refuses dtypes that arrays cannot have
            return make_aval(aval.shape, aval.dtype, aval.weak_type)  # without a placement
        if isinstance(getattr(x, "shape", None), (tuple, list)) and hasattr(x, "dtype"):
            return ShapedArray(tuple(x.shape), dtypes.canonicalize_dtype(x.dtype), getattr(x, "weak_type", False))
    except (TypeError, ValueError) as error:
        raise RuleError(f"{place()} returned a type that no array can have: {error}") from None
    hint = (
        " A primitive with several results is made with multiple_results=True." if isinstance(x, (list, tuple)) else ""
    )
    raise RuleError(
        f"{place()} must return the type of the result, such as ShapedArray(shape, dtype), got "
        f"{described_result(x)}.{hint}"
    )


# --- evaluation ---


def checked_kernel(primitive: Primitive, rule: Callable) -> Callable:
    """A kernel that returns NumPy values of the shapes, and the kinds of dtypes, of the type rule."""
    place = _place("the kernel", primitive, rule)

    @standing_for(rule)
    def kernel(*values, **params):
        result = rule(*values, **params)
        try:
            expected = _types(primitive, [make_aval(v.shape, v.dtype) for v in values], params)
        except Exception:
            expected = None  # values carry no weak type, on which the type rule depends
        outs = _results(primitive, result, _count(expected), "result", place)
        outs = [_numpy_value(x, place) for x in outs]
        for x, aval in zip(outs, expected or (), strict=expected is not None):
            if x.shape != aval.shape or (x.dtype != aval.dtype and _rank(x.dtype) > _rank(aval.dtype)):
                raise RuleError(
                    f"{place()} must return a value of the shape and kind of dtype that the type rule "
                    f"says: expected {aval.str_short()}, got {described_result(np.asarray(x))}"
                )
        return outs if primitive.multiple_results else outs[0]

    return kernel


def _numpy_value(x: AnyValue, place: Place) -> Any:
    if type(x) is np.ndarray or isinstance(x, np.generic):
        return x
    x = _array(x, "result", place)
    if type(x) is not ConcreteArray:
        raise RuleError(
            f"{place()} must return a NumPy value, got {x!r}. What is computed by pullback's own "
            "functions is set with def_impl."
        )
    return x.value


def _rank(dtype: np.dtype) -> int:
    """The position of a dtype's kind in the order bool, integer, real, complex."""
    kinds = (dtypes.is_bool, dtypes.is_integer, dtypes.is_float, dtypes.is_complex)
    return next((i for i, has in enumerate(kinds) if has(dtype)), len(kinds))


def checked_impl(primitive: Primitive, rule: Callable) -> Callable:
    """An evaluation by other operations that returns arrays of the types of the type rule."""
    place = _place("the implementation", primitive, rule)

    @standing_for(rule)
    def evaluate(*args, **params):
        result = rule(*args, **params)
        expected = _types(primitive, [a.aval for a in args], params)
        outs = _results(primitive, result, _count(expected), "result", place)
        if expected is None:
            outs = [_array(x, "result", place) for x in outs]
        else:
            outs = [
                _of_type(_fitted(x, aval, "result", "the type that the type rule says", place), aval)
                for x, aval in zip(outs, expected, strict=True)
            ]
        return outs if primitive.multiple_results else outs[0]

    return evaluate


def _of_type(x: Array, aval: ShapedArray) -> Array:
    """An array with the weak type that a traced one would have."""
    return array_of(aval, x.value) if type(x) is ConcreteArray and x.aval is not aval else x


def checked_lowering(primitive: Primitive, rule: Callable) -> Callable:
    """A lowering rule that emits values of the types of the equation's results."""
    place = _place("the lowering rule", primitive, rule)

    @standing_for(rule)
    def lower(ctx, /, *operands, **params):
        expected = [*ctx.out_avals]
        result = rule(ctx, *operands, **params)
        outs = _results(primitive, result, len(expected), "value", place)
        for x, aval in zip(outs, expected, strict=True):
            got = getattr(x, "aval", None)
            if got is None or not isinstance(getattr(x, "name", None), str):
                raise RuleError(
                    f"{place()} must return what ctx.op(...) gives, of type {aval.str_short()}, got "
                    f"{described_result(x)}. A number is emitted with "
                    "ctx.constant(number, ctx.out_avals[0])."
                )
            if not matches(aval, got):
                raise RuleError(
                    f"{place()} must emit values of the types in ctx.out_avals: expected "
                    f"{aval.str_short()}, got {got.str_short()}. Say the type of an operation that changes "
                    "it: ctx.op(name, operands, out_type)."
                )
        return result

    return lower


# --- derivatives ---


def checked_jvp(primitive: Primitive, rule: Callable, adds_zeros: bool = False) -> Callable:
    """A jvp rule that gets arrays, and returns arrays and tangents of matching types, linear in the tangents it got.

    `adds_zeros`: a term that depends on no tangent is taken to be zero, as the operation applied to an array of zeros
    is; by default such a term is refused unless it is known to vanish.
    """
    place = _place("the jvp rule", primitive, rule)
    many = primitive.multiple_results
    pair = "(results, tangents of the results)" if many else "(result, tangent of the result)"

    @standing_for(rule)
    def jvp(primals, tangents, /, **params):
        primals = tuple([x if isinstance(x, Array) else lift(x) for x in primals])
        tangents = tuple(tangents)
        # tangents on a tape, whose records show what is done with them
        linear = any(map(is_linear, tangents))
        records: Sequence[Any] = getattr(context.trace, "records", ()) if linear else ()
        begin = len(records)
        out, tangent = _pair(rule(primals, tangents, **params), pair, place)
        expected = _types(primitive, [x.aval for x in primals], params)
        outs = _results(primitive, out, _count(expected), "result", place)
        touts = _results(primitive, tangent, len(outs), "tangent", place)
        if expected is None:
            outs = [_array(x, "result", place) for x in outs]
        else:
            outs = [
                _fitted(x, aval, "result", "the type that the type rule says", place)
                for x, aval in zip(outs, expected, strict=True)
            ]
        touts = [_tangent(t, x.aval, place) for t, x in zip(touts, outs, strict=True)]
        if linear:
            for t in touts:
                if type(t) is not Zero and not is_linear(t) and not vanishes(t):
                    raise RuleError(
                        f"{place()} returned a tangent that does not depend on the tangents it got, {t!r}: "
                        "a tangent must be linear in them, so that it can be transposed. Use "
                        "Zero.of(out.aval) for one that vanishes."
                    )
            culprit = None if adds_zeros else not_linear(records[begin:], touts)
            if culprit is not None:
                raise RuleError(
                    f"{place()} returned a tangent that is not linear in the tangents it got: "
                    f"'{culprit.name}' puts together what depends on them and what does not. Leave out "
                    "what does not vanish with them."
                )
        return (outs, touts) if many else (outs[0], touts[0])

    return jvp


def _tangent(t: AnyValue, primal: ShapedArray, place: Place) -> Any:
    """The tangent of a result; for an integer result the symbolic zero, whatever the rule returned."""
    expected = primal.to_tangent_aval()
    if type(t) is Zero:
        if t.shape != expected.shape:
            raise RuleError(
                f"{place()} must return a tangent of the shape and dtype of its result: expected "
                f"{expected.str_short()}, got {t!r}. Zero.of(out.aval) is the zero at a result."
            )
        return zero_of(primal)
    if t is None:
        raise RuleError(
            f"{place()} must return a tangent of type {expected.str_short()} for a result of type "
            f"{primal.str_short()}, got None. Use Zero.of(out.aval) for one that vanishes."
        )
    if expected.dtype == dtypes.float0 and is_array_like(t):
        return zero_of(primal)
    return _fitted(t, expected, "tangent", "the shape and dtype of its result", place)


def checked_transpose(primitive: Primitive, rule: Callable) -> Callable:
    """A transpose rule that returns a cotangent, or None, per operand; those of operands with a value are dropped."""
    place = _place("the transpose rule", primitive, rule)

    @standing_for(rule)
    def transpose(cotangent, /, *operands, **params):
        parts = rule(cotangent, *operands, **params)
        if not isinstance(parts, (list, tuple)) or len(parts) != len(operands):
            got = len(parts) if isinstance(parts, (list, tuple)) else described_result(parts)
            raise RuleError(
                f"{place()} must return a cotangent (or None) for each of "
                f"{_some(len(operands), 'operand')}, got {got}. Return them in a list: "
                f"[{', '.join(['ct' if is_linear(x) else 'None' for x in operands])}]"
            )
        return [_cotangent(part, x, i, place) for i, (part, x) in enumerate(zip(parts, operands, strict=True))]

    return transpose


def _cotangent(part: AnyValue, operand: Any, i: int, place: Place) -> Any:
    if part is None or (type(part) is Zero and not is_linear(operand)):
        return None
    what = f"cotangent of operand {i}"
    if not is_linear(operand):
        _array(part, what, place)
        return None
    if type(part) is Zero:
        if part.shape != operand.aval.shape:
            raise RuleError(
                f"{place()} must return a {what} of the operand's shape and dtype: expected "
                f"{operand.aval.str_short()}, got {part!r}. Use None for one that vanishes."
            )
        return part
    return _fitted(part, operand.aval, what, "the operand's shape and dtype", place)


# --- vectorization ---


def checked_batch(primitive: Primitive, rule: Callable) -> Callable:
    """A batching rule that returns arrays with one example of the result per example of the operands, and the axes."""
    place = _place("the batching rule", primitive, rule)
    many = primitive.multiple_results
    pair = "(results, their batch axes)" if many else "(result, its batch axis)"

    @standing_for(rule)
    def batch(trace, operands, dims, /, **params):
        out, out_dims = _pair(rule(operands, dims, **params), pair, place)
        avals = [x.aval if d is None else _example(x.aval, d) for x, d in zip(operands, dims, strict=True)]
        expected = _types(primitive, avals, params)
        outs = _results(primitive, out, _count(expected), "result", place)
        if not many or not isinstance(out_dims, (list, tuple)):
            out_dims = [out_dims] * len(outs)
        out_dims = _results(primitive, out_dims, len(outs), "batch dim", place) if many else out_dims
        size = next((x.aval.shape[d] for x, d in zip(operands, dims, strict=True) if d is not None), None)
        batched = [
            _batched(x, d, size, None if expected is None else expected[i], place)
            for i, (x, d) in enumerate(zip(outs, out_dims, strict=True))
        ]
        xs, axes = [x for x, _ in batched], [d for _, d in batched]
        return (xs, axes) if many else (xs[0], axes[0])

    return batch


def _example(aval: ShapedArray, d: int) -> ShapedArray:
    return make_aval(aval.shape[:d] + aval.shape[d + 1 :], aval.dtype, aval.weak_type)


def _batched(
    x: AnyValue, dim: Any, size: int | None, example: ShapedArray | None, place: Place
) -> tuple[Array, int | None]:
    """A result, and its batch axis counted from the front."""
    if dim is None:
        if example is not None:
            return _fitted(x, example, "result without batch axis", "the type that the type rule says", place), None
        return _array(x, "result", place), None
    x = _array(x, "result", place)
    aval, rank = x.aval, x.aval.ndim
    try:
        at = operator.index(dim)
    except TypeError:
        raise RuleError(
            f"{place()} must return the batch axis as an int, or None where there is none, got {described_result(dim)}"
        ) from None
    if not -rank <= at < rank:
        raise RuleError(
            f"{place()} returned the batch axis {at}, which is out of range for its result of type {aval.str_short()}"
        )
    at %= rank
    if size is not None and aval.shape[at] != size:
        raise RuleError(
            f"{place()} must return a result with the {_some(size, 'example')} of the batch along its "
            f"batch axis: axis {at} of {aval.str_short()} has length {aval.shape[at]}. Return the axis "
            "that holds the examples, or None where all share the result."
        )
    if example is not None and not matches(example, _example(aval, at)):
        full = make_aval((*example.shape[:at], aval.shape[at], *example.shape[at:]), example.dtype)
        raise RuleError(
            f"{place()} must return examples of the type that the type rule says: expected "
            f"{full.str_short()} with the batch axis {at}, got {aval.str_short()}"
        )
    return x, at
