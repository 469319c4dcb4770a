"""The public `Primitive`: its rules are set by methods that add checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pullback._api.primitive_checks import (
    checked_abstract_eval,
    checked_batch,
    checked_impl,
    checked_jvp,
    checked_kernel,
    checked_lowering,
    checked_transpose,
)
from pullback._core import primitive as core
from pullback._core.arguments import check_callable, kind_of
from pullback._core.errors import boundary
from pullback._core.types import ShapedArray
from pullback._core.typing import AnyValue, F


class _TypesByKind(dict[Any, Any]):
    """Results of a user's typing rule, by types and parameters; the rule may distinguish between 1, 1.0 and True.

    The package's own rules do not, and are cached in a plain dict: every eager operation reads it.
    """

    __slots__ = ()

    def __getitem__(self, key):
        return super().__getitem__(_with_kinds(key))

    def __setitem__(self, key, value):
        super().__setitem__(_with_kinds(key), value)


def _with_kinds(key: tuple[Any, ...]) -> tuple[Any, ...]:
    # parameters come last; types need no distinction
    return key if not key or type(key[-1]) is ShapedArray else (key, kind_of(key))


class _AnyPrimitive(type):
    def __instancecheck__(cls, x: AnyValue) -> bool:
        return isinstance(x, core.Primitive)


class Primitive(core.Primitive, metaclass=_AnyPrimitive):
    """An operation that transformations handle as a unit, with the rules that its `def_` methods set.

    A transformation that needs a missing rule raises RuleNotDefinedError; a rule with an invalid result raises
    RuleError, which says what was expected and what was returned.

    >>> from pullback.extend.core import Primitive
    >>> double_p = Primitive("double")
    >>> _ = double_p.def_kernel(lambda x: x + x)
    >>> _ = double_p.def_abstract_eval(lambda x: x)
    >>> print(double_p.bind(2.))
    4.0
    """

    __slots__ = ()
    kernel: Callable[..., Any] | None
    evaluate: Callable[..., Any] | None
    abstract_eval: Callable[..., Any] | None
    types: dict[Any, Any]
    lower: Callable[..., Any] | None
    jvp: Callable[..., Any] | None
    transpose: Callable[..., Any] | None
    batch: Callable[..., Any] | None

    def __init__(self, name: str, multiple_results: bool = False):
        super().__init__(name, multiple_results)

    # each method returns the rule, so it serves as a decorator

    @boundary
    def def_kernel(self, kernel: F) -> F:
        """Set evaluation: `kernel(*numpy_values, **params)` returns a NumPy value or a number, or a list of them.

        TypeError if it is not callable. The shape must be that of the type rule; the dtype is converted to that of the
        type rule, from one of the same kind or a lower one.
        """
        self._check("def_kernel", kernel)
        self.kernel = checked_kernel(self, kernel)
        return kernel

    @boundary
    def def_impl(self, evaluate: F) -> F:
        """Set evaluation in terms of other operations: `evaluate(*arrays, **params)` on concrete arrays.

        TypeError if it is not callable. The result, or each in a list of them, is an array of the type given by the
        type rule, if there is one; numbers and NumPy values are accepted.
        """
        self._check("def_impl", evaluate)
        self.evaluate = checked_impl(self, evaluate)
        return evaluate

    @boundary
    def def_abstract_eval(self, rule: F) -> F:
        """Set the typing rule: `rule(*avals, **params)` returns a `ShapedArray`, or a list of them.

        TypeError if it is not callable. An object with a shape and a dtype, such as a `ShapeDtypeStruct`, is accepted.
        """
        self._check("def_abstract_eval", rule)
        self.abstract_eval = checked_abstract_eval(self, rule)
        self.types = _TypesByKind()
        return rule

    @boundary
    def def_lowering(self, rule: F) -> F:
        """Set compilation: `rule(ctx, *operands, **params)` emits StableHLO with `ctx.op(...)`.

        TypeError if it is not callable. It returns a value of the type `ctx.out_avals[0]`, or a list of values.
        """
        self._check("def_lowering", rule)
        self.lower = checked_lowering(self, rule)
        return rule

    @boundary
    def def_jvp(self, rule: F) -> F:
        """Set forward differentiation: `rule(primals, tangents, **params)` returns the result and its tangent.

        TypeError if it is not callable. The tangent has the shape and dtype of the result, or is a symbolic `Zero`;
        the tangent of an integer result counts as zero, whatever it is. In reverse mode a tangent that is not zero must
        depend on the tangents that the rule got.
        """
        self._check("def_jvp", rule)
        self.jvp = checked_jvp(self, rule)
        self.factor = None
        return rule

    @boundary
    def def_transpose(self, rule: F) -> F:
        """Set transposition: `rule(cotangent, *operands, **params)` returns a list, a cotangent (or None) per operand.

        TypeError if it is not callable. A cotangent has the shape and dtype of its operand; None and a symbolic
        `Zero` stand for zero. A cotangent for an operand with a value, in which the primitive need not be linear, is
        ignored.
        """
        self._check("def_transpose", rule)
        self.transpose = checked_transpose(self, rule)
        return rule

    @boundary
    def def_batch(self, rule: F) -> F:
        """Set vectorization: `rule(operands, dims, **params)` returns the result and its batch axis.

        TypeError if it is not callable. The batch axis, which may be counted from the end, is as long as those of the
        operands; None means that all examples share the result. Each example has the type given by the type rule.
        """
        self._check("def_batch", rule)
        self.batch = checked_batch(self, rule)
        return rule

    def _check(self, method: str, rule: Any) -> None:
        check_callable(f"{method} of the primitive '{self.name}'", rule)
