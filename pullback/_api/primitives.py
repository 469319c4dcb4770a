"""`Primitive` as users make it: its rules are set by methods, which put checks around them."""
from __future__ import annotations

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
    """What a typing rule of a user said, by types and parameters; it may make a difference between 1, 1.0 and True.

    The package's own rules make none, and are remembered in a plain dict: every eager operation looks there.
    """

    __slots__ = ()

    def __getitem__(self, key):
        return super().__getitem__(_with_kinds(key))

    def __setitem__(self, key, value):
        super().__setitem__(_with_kinds(key), value)


def _with_kinds(key: tuple[Any, ...]) -> tuple[Any, ...]:
    # parameters come last; types alone need no telling apart
    return key if not key or type(key[-1]) is ShapedArray else (key, kind_of(key))


class _AnyPrimitive(type):
    def __instancecheck__(cls, x: AnyValue) -> bool:
        return isinstance(x, core.Primitive)


class Primitive(core.Primitive, metaclass=_AnyPrimitive):
    """An operation that every transformation meets as a whole, with the rules that its `def_` methods set.

    A transformation that needs a rule which was not set raises RuleNotDefinedError; a rule that returns what it may not
    raises RuleError, which says what was expected and what came.

    >>> from pullback.extend.core import Primitive
    >>> double_p = Primitive("double")
    >>> _ = double_p.def_kernel(lambda x: x + x)
    >>> _ = double_p.def_abstract_eval(lambda x: x)
    >>> print(double_p.bind(2.))
    4.0
    """

    __slots__ = ()

    def __init__(self, name: str, multiple_results: bool = False):
        super().__init__(name, multiple_results)

    # each method returns the rule, so it serves as a decorator

    @boundary
    def def_kernel(self, kernel: F) -> F:
        """Set evaluation: `kernel(*numpy_values, **params)` returns a NumPy value or a number, or a list of them.

        TypeError for what is no function. The shape must be the one that the type rule says; the dtype is converted
        to its, from one of the same kind or a lower one.
        """
        self._check("def_kernel", kernel)
        self.kernel = checked_kernel(self, kernel)
        return kernel

    @boundary
    def def_impl(self, evaluate: F) -> F:
        """Set evaluation in terms of other operations: `evaluate(*arrays, **params)` on concrete arrays.

        TypeError for what is no function. The result, or each in a list of them, is an array of the type that the type
        rule says, if there is one; numbers and NumPy values serve.
        """
        self._check("def_impl", evaluate)
        self.evaluate = checked_impl(self, evaluate)
        return evaluate

    @boundary
    def def_abstract_eval(self, rule: F) -> F:
        """Set the typing rule: `rule(*avals, **params)` returns a `ShapedArray`, or a list of them.

        TypeError for what is no function. What has a shape and a dtype, as a `ShapeDtypeStruct`, serves.
        """
        self._check("def_abstract_eval", rule)
        self.abstract_eval = checked_abstract_eval(self, rule)
        self.types = _TypesByKind()
        return rule

    @boundary
    def def_lowering(self, rule: F) -> F:
        """Set compilation: `rule(ctx, *operands, **params)` emits StableHLO with `ctx.op(...)`.

        TypeError for what is no function. It returns a value of the type `ctx.out_avals[0]`, or a list of values.
        """
        self._check("def_lowering", rule)
        self.lower = checked_lowering(self, rule)
        return rule

    @boundary
    def def_jvp(self, rule: F) -> F:
        """Set forward differentiation: `rule(primals, tangents, **params)` returns the result and its tangent.

        TypeError for what is no function. The tangent has the shape and dtype of the result, or is a symbolic `Zero`;
        that of an integer result is taken for zero, whatever it is. In reverse mode a tangent that is not zero must
        depend on the tangents that the rule got.
        """
        self._check("def_jvp", rule)
        self.jvp = checked_jvp(self, rule)
        return rule

    @boundary
    def def_transpose(self, rule: F) -> F:
        """Set transposition: `rule(cotangent, *operands, **params)` returns a list, a cotangent (or None) per operand.

        TypeError for what is no function. A cotangent has the shape and dtype of its operand; None and a symbolic
        `Zero` stand for zero. One for an operand that has a value, which the primitive need not be linear in, is
        ignored.
        """
        self._check("def_transpose", rule)
        self.transpose = checked_transpose(self, rule)
        return rule

    @boundary
    def def_batch(self, rule: F) -> F:
        """Set vectorization: `rule(operands, dims, **params)` returns the result and its batch axis.

        TypeError for what is no function. The batch axis, which may be counted from the end, is as long as those of the
        operands; None says that all examples share the result. Each example is of the type that the type rule says.
        """
        self._check("def_batch", rule)
        self.batch = checked_batch(self, rule)
        return rule

    def _check(self, method: str, rule: Any) -> None:
        check_callable(f"{method} of the primitive '{self.name}'", rule)
