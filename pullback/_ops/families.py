"""Constructors of families of primitives: the common rules of all elementwise operations.

Elementwise primitives broadcast their operands as NumPy does and take operands of one dtype; `pullback.numpy` does the
promotion of dtypes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, ConcreteArray, array_of, lift
from pullback._core.errors import InconclusiveDimensionOperation
from pullback._core.primitive import Primitive
from pullback._core.types import ShapedArray, make_aval
from pullback._core.typing import AnyValue, DTypeLike, F
from pullback._core.zeros import Zero, zero_of
from pullback._ops import shape as shape_ops
from pullback._ops.rules import zero_jvp

# the dtypes that an operation accepts: a predicate and its name in messages
ANY = (lambda dtype: True, "any dtype")
NUMBER = (lambda dtype: dtype.kind != "b", "a number")
INEXACT = (dtypes.is_inexact, "a floating-point or complex dtype")
FLOAT = (dtypes.is_float, "a floating-point dtype")
REAL = (lambda dtype: not dtypes.is_complex(dtype) and dtype.kind != "b", "a real number")
ORDERED = (lambda dtype: not dtypes.is_complex(dtype), "a real number or a bool")
COMPLEX = (dtypes.is_complex, "a complex dtype")
INTEGER = (dtypes.is_integer, "an integer dtype")
BITS = (lambda dtype: dtype.kind == "b" or dtypes.is_integer(dtype), "an integer dtype or bool")


def operands(name: str, *args: AnyValue) -> list[Array]:
    """The operands of an operation as arrays; a Python scalar takes the dtype of the array operands.

    With arrays of a lower kind it keeps its own: as an integer, 1.5 would lose its fraction.
    """
    strong = next((x.dtype for x in args if isinstance(x, Array) and not x.aval.weak_type), None)
    try:
        # a Python integer may fit the dtype of an array operand, but not the default one
        number = None if strong is None or strong.kind == "b" else strong
        lifted = [scalar_like(x, number) if number is not None and type(x) is int else lift(x) for x in args]
    except (TypeError, OverflowError) as error:
        raise type(error)(f"{name}: {error}") from None
    strong = next((x.aval.dtype for x in lifted if not x.aval.weak_type), None) if strong is None else strong
    if strong is None:
        return lifted
    return [
        scalar_like(x.value, strong)
        if x.aval.weak_type
        and type(x) is ConcreteArray
        and x.aval.ndim == 0
        and x.aval.dtype != strong
        and dtypes.join(strong, False, x.aval.dtype, True)[0] == strong
        else x
        for x in lifted
    ]


def scalar_like(value: AnyValue, dtype: np.dtype) -> Array:
    """A weakly typed scalar constant in a dtype, for use in rules."""
    try:
        return array_of(make_aval((), dtype, True), dtype.type(value))
    except InconclusiveDimensionOperation:
        return value.to_array(dtype)  # a symbolic dimension


def broadcast_shapes(name: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that operands broadcast to; ValueError names the operation and the shapes."""
    first = shapes[0]
    if all(s == first for s in shapes):
        return first
    rank = max(map(len, shapes))
    result = []
    for i in range(-rank, 0):
        lengths = {s[i] for s in shapes if len(s) >= -i} - {1}
        if len(lengths) > 1:
            raise ValueError(
                f"{name}: shapes {', '.join(map(str, shapes))} do not broadcast together: axis {i} has "
                f"lengths {' and '.join(map(str, sorted(lengths)))}"
            )
        result.append(lengths.pop() if lengths else 1)
    return tuple(result)


def elementwise_type(
    name: str, accepts: tuple[Callable, str], out_dtype: Callable | None = None, arity: int = 2
) -> Callable:
    """The typing rule: `arity` operands of equal dtypes, with shapes that broadcast; the result is weak if all are."""
    predicate, description = accepts

    def abstract_eval(*avals: ShapedArray, **params: Any) -> ShapedArray:
        if len(avals) != arity:
            raise TypeError(f"{name}: expected {arity} operand{'s' * (arity > 1)}, got {len(avals)}")
        first = avals[0]
        dtype = first.dtype
        for aval in avals:
            if aval.dtype != dtype:
                raise TypeError(
                    f"{name}: operands must have one dtype, got "
                    f"{', '.join(a.str_short() for a in avals)}. Convert one with .astype(), or use the "
                    "function of pullback.numpy, which promotes."
                )
        if not predicate(dtype):
            raise TypeError(f"{name}: expected {description}, got {first.str_short()}")
        weak = all(aval.weak_type for aval in avals)
        shape = broadcast_shapes(name, *[aval.shape for aval in avals]) if len(avals) > 1 else first.shape
        return make_aval(shape, out_dtype(dtype) if out_dtype else dtype, weak)

    abstract_eval.accepts = description  # type: ignore[attr-defined]
    return abstract_eval


def to_bool(dtype: np.dtype) -> np.dtype:
    return _bool


_bool = np.dtype(bool)


def elementwise_batch(p: Primitive) -> Callable:
    """The batching rule: batch axes go first, and every batched operand gets the full rank, so that axes align."""

    def batch(trace, args, dims, **params):
        first = next(d for d in dims if d is not None)
        shape = next(x.aval.shape for x, d in zip(args, dims, strict=True) if d is not None)
        if all(
            (x.aval.ndim == 0 if d is None else d == first and x.aval.shape == shape)
            for x, d in zip(args, dims, strict=True)
        ):
            return p.bind(*args, **params), first
        rank = max(x.aval.ndim - (d is not None) for x, d in zip(args, dims, strict=True))
        aligned = []
        for x, d in zip(args, dims, strict=True):
            if d is not None:
                x = shape_ops.move_axis(x, d, 0)
                size, *rest = x.aval.shape
                x = shape_ops.reshape(x, (size, *(1,) * (rank - len(rest)), *rest))
            aligned.append(x)
        return p.bind(*aligned, **params), 0

    return batch


def elementwise_lower(op: str | Callable) -> Callable:
    """The lowering: operands broadcast to the result's shape, then one operation (or those that a function emits)."""

    def lower(ctx, *args, **params):
        out = ctx.out_avals[0]
        stretched = [ctx.broadcast(x, out.shape) for x in args]
        if callable(op):
            return op(ctx, *stretched, **params)
        return ctx.op(op, stretched, out)

    return lower


def elementwise(
    name: str,
    kernel: Callable | None,
    op: str | Callable,
    accepts=NUMBER,
    out_dtype: Callable | None = None,
    arity: int = 2,
) -> Primitive:
    """An elementwise primitive without derivative rules yet."""
    p = Primitive(name)
    p.kernel = kernel
    p.has(elementwise=kernel is not None)
    p.abstract_eval = elementwise_type(name, accepts, out_dtype, arity)
    p.lower = elementwise_lower(op)
    p.batch = elementwise_batch(p)
    return p


def unary(
    name: str,
    kernel: Callable | None,
    op: str | Callable,
    tangent: Callable | None,
    accepts=INEXACT,
    out_dtype: Callable | None = None,
) -> Primitive:
    """An elementwise primitive of one operand. `tangent(t, x, y)`: its derivative times `t`; None: locally constant.

    A tangent made by `elementwise.times` gives the primitive the rule `factor` as well.
    """
    p = elementwise(name, kernel, op, accepts, out_dtype, 1)
    if tangent is None:
        zero_jvp(p)
        return p

    def jvp(primals, tangents, **params):
        (x,), (t,) = primals, tangents
        y = p.bind(x, **params)
        return y, zero_of(y.aval) if type(t) is Zero else tangent(t, x, y, **params)

    p.jvp = jvp
    p.factor = getattr(tangent, "factor", None)
    return p


def nary(
    name: str,
    kernel: Callable | None,
    op: str | Callable,
    *tangents: Callable | None,
    add: Callable,
    accepts=NUMBER,
    out_dtype: Callable | None = None,
) -> Primitive:
    """An elementwise primitive of several operands, with a rule `tangent(t, y, *primals)` for each (or None).

    A tangent of a smaller shape, because its operand was broadcast, is broadcast to the result's shape.
    """
    p = elementwise(name, kernel, op, accepts, out_dtype, len(tangents))

    def jvp(primals, ts, **params):
        y = p.bind(*primals, **params)
        total: Any = None
        for rule, t in zip(tangents, ts, strict=True):
            if rule is not None and type(t) is not Zero:
                part = rule(t, y, *primals, **params)
                total = part if total is None else add(total, part)
        if total is None:
            return y, zero_of(y.aval)
        return y, shape_ops.broadcast_to(total, y.aval.shape)

    p.jvp = jvp
    return p


def cheap(*primitives: Primitive) -> None:
    """Give primitives the trait `cheap`."""
    for p in primitives:
        p.has(cheap=True)


def scipy_kernel(name: str, dtype: DTypeLike | None = np.float32) -> Callable:
    """The kernel of a function of `scipy.special`; dtypes narrower than `dtype` are computed in it."""
    width = np.dtype(dtype).itemsize

    def kernel(*args):
        from scipy import special

        if args[0].dtype.itemsize < width:
            args = tuple(x.astype(dtype) for x in args)
        return getattr(special, name)(*args)

    return kernel


# --- public functions: one application of a primitive, and a docstring that states its types ---


class UnaryFunction(Protocol):
    """A function of one operand, elementwise."""

    def __call__(self, x: ArrayLike) -> Array:
        """The result has the shape of the operand."""


class BinaryFunction(Protocol):
    """A function of two operands that broadcast, elementwise."""

    def __call__(self, x: ArrayLike, y: ArrayLike) -> Array:
        """The result has the common shape of the operands."""


def function_of_one(
    module: str, p: Primitive, says: str, argument: str, result: str, *, name: str = "", gives: str = "that dtype"
) -> UnaryFunction:
    """The public function that applies `p`; its docstring consists of `says`, its types and errors, and an example."""

    def function(x: ArrayLike) -> Array:
        return p.bind(x)

    accepts = p.abstract_eval.accepts  # type: ignore[union-attr]
    return public(
        function,
        module,
        name or p.name,
        f"""{says}

    `x`: any shape; {accepts}. The result has its shape and {gives}. TypeError for other dtypes.
""",
        argument,
        result,
    )


def function_of_two(
    module: str, p: Primitive, says: str, arguments: str, result: str, *, name: str = "", gives: str = "that dtype"
) -> BinaryFunction:
    """The public function of two operands that applies `p`, as `function_of_one`."""
    named = name or p.name

    def function(x: ArrayLike, y: ArrayLike) -> Array:
        if isinstance(x, Array) and isinstance(y, Array) and x.aval.dtype is y.aval.dtype:
            return p.bind(x, y)
        return p.bind(*operands(named, x, y))

    accepts = p.abstract_eval.accepts  # type: ignore[union-attr]
    return public(
        function,
        module,
        name or p.name,
        f"""{says}

    `x`, `y`: shapes that broadcast; {accepts}, the same for both (a Python scalar takes that of an array beside it).
    The result has the common shape and {gives}. TypeError for other dtypes or two of them, ValueError for shapes that
    do not broadcast.
""",
        arguments,
        result,
    )


def public(function: F, module: str, name: str, text: str, arguments: str, result: str) -> F:
    function.__name__ = function.__qualname__ = name
    function.__module__ = module
    function.__doc__ = f"""{text}
    >>> from pullback import lax
    >>> print(lax.{name}({arguments}))
    {result}
    """
    return function
