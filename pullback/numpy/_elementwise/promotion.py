"""The construction of NumPy's elementwise functions from primitives: promotion of dtypes, and constructors.

Which conversions two operands need is decided once for each pair of types and remembered; an eager call on operands
seen before is a dict lookup away from its primitive.
"""

from __future__ import annotations

import functools
import operator
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar, overload

import numpy as np

from pullback._core import dtypes
from pullback._core.arguments import bind_positionally, hide_keywords, refuse_keywords, signature, with_parameters
from pullback._core.array import Array, ArrayLike, ConcreteArray, array_of, distinct, lift, scalar_array, scalar_aval
from pullback._core.config import config, process_promotion
from pullback._core.errors import described, fold
from pullback._core.primitive import Primitive
from pullback._core.trace import Tracer, context
from pullback._core.types import ShapedArray, make_aval
from pullback._core.typing import AnyValue, P, R
from pullback._ops.families import broadcast_shapes
from pullback._ops.shape import convert_element_type, convert_element_type_p, is_scalar_constant
from pullback._xla.evaluate import evaluator

PYTHON_SCALARS = frozenset({bool, int, float, complex})
# the types of elementwise functions, whose operands are passed by position, as NumPy's, or by name too
UfuncOfOne: TypeAlias = Callable[[ArrayLike], Array]
UfuncOfTwo: TypeAlias = Callable[[ArrayLike, ArrayLike], Array]
# an operand of an elementwise function: any array-like for the caller, an array for its body
Operand: TypeAlias = Any
R_co = TypeVar("R_co", covariant=True)
A_contra = TypeVar("A_contra", contravariant=True)


class _OfX(Protocol[A_contra, R_co]):
    def __call__(self, x: A_contra) -> R_co: ...


class _OfX1X2(Protocol[A_contra, R_co]):
    def __call__(self, x1: A_contra, x2: A_contra) -> R_co: ...


class _Elementwise(Protocol):
    """The public form of a body that gets arrays: a function of array-likes, with the same parameter names."""

    @overload
    def __call__(self, body: _OfX[Array, R], /) -> _OfX[ArrayLike, R]: ...
    @overload
    def __call__(self, body: _OfX1X2[Array, R], /) -> _OfX1X2[ArrayLike, R]: ...
    @overload
    def __call__(self, body: Callable[[Array], R], /) -> Callable[[ArrayLike], R]: ...
    @overload
    def __call__(self, body: Callable[[Array, Array], R], /) -> Callable[[ArrayLike, ArrayLike], R]: ...
    @overload
    def __call__(self, body: Callable[P, R], /) -> Callable[P, R]: ...


_BOOL, _INT32 = np.dtype(bool), np.dtype(np.int32)
_PLAN_LIMIT = 4096


class Domain(NamedTuple):
    """The dtype in which a function computes: `adapt` maps the promoted (dtype, weak) to it, `accepts` checks it.

    With `strong`, the result is weak only if all operands are, bools aside: an int8 and a Python float give a strong
    float32.
    """

    adapt: Callable[[np.dtype, bool], tuple[np.dtype, bool]]
    accepts: Callable[[np.dtype], bool]
    description: str
    strong: bool = False


def _same(dtype, weak):
    return dtype, weak


def _bool_to_int(dtype, weak):
    return (_INT32, weak) if dtype == _BOOL else (dtype, weak)


def _to_default_float(dtype, weak):
    return (dtype, weak) if dtypes.is_inexact(dtype) else (dtypes.canonicalize_dtype(float), False)


def _to_strong_inexact(dtype, weak):
    return dtypes.to_inexact(dtype, weak)[0], False


def _with_float_operand(dtype, weak):
    # the promotion of integers and bools with a Python float
    return dtypes.promote((dtype, weak), (dtypes.canonicalize_dtype(float), True))


def _is_real(dtype):
    return not dtypes.is_complex(dtype)


ANY = Domain(_same, lambda dtype: True, "any dtype")
NUMBER = Domain(_same, lambda dtype: dtype != _BOOL, "a number")
NUMBER_FROM_BOOL = Domain(_bool_to_int, lambda dtype: True, "a number")
REAL_FROM_BOOL = Domain(_bool_to_int, _is_real, "a real number")
INEXACT = Domain(dtypes.to_inexact, lambda dtype: True, "a number")
FLOAT = Domain(dtypes.to_inexact, dtypes.is_float, "a real number")
DEFAULT_INEXACT = Domain(_to_default_float, lambda dtype: True, "a number")
NEVER_WEAK_INEXACT = Domain(_to_strong_inexact, lambda dtype: True, "a number", strong=True)
NEVER_WEAK_FLOAT = NEVER_WEAK_INEXACT._replace(accepts=dtypes.is_float, description="a real number")
BESIDE_A_FLOAT = Domain(_with_float_operand, dtypes.is_float, "a real number")
STRONG_INEXACT, STRONG_FLOAT = INEXACT._replace(strong=True), FLOAT._replace(strong=True)
INTEGER = Domain(_same, dtypes.is_integer, "an integer dtype")
STRONG_INTEGER = INTEGER._replace(strong=True)
INTEGER_FROM_BOOL = Domain(_bool_to_int, dtypes.is_integer, "an integer dtype")
BITS = Domain(_same, lambda dtype: dtype == _BOOL or dtypes.is_integer(dtype), "an integer dtype or bool")


# --- operands ---


def as_operand(x: AnyValue, name: str, position: int | str) -> Array:
    """`lift` with an error that names the function and the argument."""
    try:
        return lift(x)
    except TypeError as error:
        hint = " Make an array of it first: pullback.numpy.asarray(...)." if isinstance(x, (list, tuple)) else ""
        raise TypeError(f"{name}: argument {position}: {error}.{hint}") from None


def operand_for(x: AnyValue, name: str, position: int | str, dtype: np.dtype) -> Array:
    """`as_operand` for a given dtype: a Python integer then need not fit the default integer dtype."""
    if type(x) is int and dtypes.is_integer(dtype):
        return constant(x, make_aval((), dtype, True))
    return as_operand(x, name, position)


def integer(name: str, argument: str, x: AnyValue) -> int:
    """An argument that must be a Python integer, or an array that is a known one."""
    try:
        return operator.index(x)
    except TypeError:
        if isinstance(x, Tracer):
            raise  # the message is complete
        raise TypeError(f"{name}: {argument} must be an integer, got {described(x)}") from None


def constant(x: AnyValue, aval: ShapedArray) -> ConcreteArray:
    """A Python scalar in a given 0-d type; integers wrap around, as NumPy's casts do."""
    try:
        return array_of(aval, aval.dtype.type(x))
    except OverflowError:
        return array_of(aval, scalar_array(x).value.astype(aval.dtype))


def cast(x: Array, dtype: np.dtype, weak: bool) -> Array:
    """`x` converted to a dtype it promotes to; a concrete scalar becomes another constant, without an equation."""
    if x.aval.dtype == dtype:
        return x
    if is_scalar_constant(x):
        return array_of(make_aval((), dtype, weak), x.value.astype(dtype))
    return convert_element_type_p.bind(x, dtype=dtype, weak_type=weak)


def strong(x: Array) -> Array:
    """`x`, its dtype no longer weak."""
    return convert_element_type(x, x.aval.dtype) if x.aval.weak_type else x


def common_dtype(name: str, domain: Domain, avals: list[ShapedArray]) -> tuple[np.dtype, bool]:
    """The (dtype, weak) that a function of operands of these types computes in."""
    dtype, weak = dtypes.promote(*[(aval.dtype, aval.weak_type) for aval in avals])
    dtype, weak = domain.adapt(dtype, weak)
    if domain.strong and weak:
        weak = all(aval.weak_type or aval.dtype == _BOOL for aval in avals)
    if not domain.accepts(dtype):
        raise TypeError(f"{name}: expected {domain.description}, got {', '.join(aval.str_short() for aval in avals)}")
    return dtype, weak


def promote_operands(name: str, domain: Domain, *args: AnyValue) -> list[Array]:
    """The operands as arrays of one dtype, with their shapes checked: for functions of several primitives."""
    if len(args) == 1 and isinstance(x := args[0], Array) and type(x.aval) is ShapedArray and not x.aval.weak_type:
        dtype = x.aval.dtype  # most are of the dtype already: to find that out below takes 4 µs
        if domain.adapt(dtype, False)[0] is dtype and domain.accepts(dtype):
            return [x]
    # a Python integer takes the dtype of the array operands, whether or not it fits the default one
    lifted: list[Any] = [x if type(x) is int else as_operand(x, name, i) for i, x in enumerate(args)]
    avals = [scalar_aval(int) if type(x) is int else x.aval for x in lifted]
    dtype, weak = common_dtype(name, domain, avals)
    check_shapes(name, avals)
    if not weak:
        lifted = [
            strong(x)
            if isinstance(x, Array)
            and x.aval.weak_type
            and (domain.strong or (type(x) is ConcreteArray and not x.aval.ndim))
            else x
            for x in lifted
        ]
    return [constant(x, make_aval((), dtype, weak)) if type(x) is int else cast(x, dtype, weak) for x in lifted]


def check_shapes(name: str, avals: list[ShapedArray]) -> None:
    """Refuse shapes that do not broadcast, and different ranks where the user forbids them."""
    broadcast_shapes(name, *[aval.shape for aval in avals])
    ranks = {aval.ndim for aval in avals} - {0}
    if len(ranks) > 1:
        check_rank_promotion(name, avals)


def check_rank_promotion(name: str, avals: list[ShapedArray]) -> None:
    """Apply `config.numpy_rank_promotion` to operands of different ranks."""
    mode = config.numpy_rank_promotion
    if mode == "allow":
        return
    message = (
        f"{name}: operands of different ranks broadcast, shapes {', '.join(str(a.shape) for a in avals)}. "
        "Give them one rank with reshape or x[None, :]; the option numpy_rank_promotion asks for it."
    )
    if mode == "raise":
        raise ValueError(message)
    warnings.warn(message, UserWarning, stacklevel=3)


# --- functions of two operands that are one primitive ---


class Binary:
    """A NumPy function of two operands and the primitive it applies (possibly another one for bools).

    `plans` maps (type of x, type of y, `config.promotion`) to (primitive, conversion of x, conversion of y, whether
    ranks differ, evaluation of concrete operands); the type of a Python scalar is its class, and a conversion of None
    leaves the operand unchanged.
    """

    __slots__ = ("name", "primitive", "domain", "for_bools", "plans")

    def __init__(self, name: str, primitive: Primitive, domain: Domain, for_bools: Primitive | None = None):
        self.name = name
        self.primitive = primitive
        self.domain = domain
        self.for_bools = for_bools
        self.plans: dict[tuple, tuple] = {}

    def plan(self, key: tuple) -> tuple:
        """Make and remember the plan for a pair of types."""
        kinds = key[:2]
        avals = [kind if isinstance(kind, ShapedArray) else scalar_aval(kind) for kind in kinds]
        if self.for_bools is not None and avals[0].dtype == avals[1].dtype == _BOOL:
            primitive, dtype, weak = self.for_bools, _BOOL, False
        else:
            primitive = self.primitive
            dtype, weak = common_dtype(self.name, self.domain, avals)
        broadcast_shapes(self.name, avals[0].shape, avals[1].shape)
        mixed = avals[0].ndim != avals[1].ndim and 0 not in (avals[0].ndim, avals[1].ndim)
        if len(self.plans) > _PLAN_LIMIT:
            self.plans.clear()
        conversions = [_conversion(kind, dtype, weak) for kind in kinds]
        evaluate = evaluator.evaluation_of_two(primitive, *(_unconverted(k, dtype, weak) for k in kinds))
        result = self.plans[key] = (primitive, *conversions, mixed, evaluate)
        return result

    def check_ranks(self, key: tuple) -> None:
        """Apply the user's option for operands of different ranks."""
        check_rank_promotion(self.name, list(key[:2]))


def _unconverted(kind: ShapedArray | type, dtype: np.dtype, weak: bool) -> ShapedArray | None:
    """The type of an operand as the primitive gets it, unless it is an array that is converted."""
    if isinstance(kind, ShapedArray):
        return kind if kind.dtype == dtype else None
    return make_aval((), dtype, weak)


def _conversion(kind: ShapedArray | type, dtype: np.dtype, weak: bool) -> Callable | None:
    if isinstance(kind, ShapedArray):
        return None if kind.dtype == dtype else functools.partial(cast, dtype=dtype, weak=weak)
    aval = make_aval((), dtype, weak)
    known: dict[Any, ConcreteArray] = {}

    def scalar(x):
        # programs use the same few constants again and again; zeros are left out, since 0. == -0.
        array = known.get(x)
        if array is None:
            array = constant(x, aval)
            if x and len(known) < 256:
                known[x] = array
        return array

    return scalar


# the functions whose signatures show the keywords of ufuncs, as in JAX; they are refused in all of them
UFUNCS = frozenset("add bitwise_and bitwise_or bitwise_xor maximum minimum multiply negative subtract".split())


@overload
def binary(
    name: str, primitive: Primitive, domain: Domain, doc: str, for_bools: Primitive | None = None, module: str = ...
) -> UfuncOfTwo: ...
@overload
def binary(
    name: str,
    primitive: Primitive,
    domain: Domain,
    doc: str,
    for_bools: Primitive | None = None,
    module: str = ...,
    *,
    parameters: str,
) -> Any: ...
def binary(
    name: str,
    primitive: Primitive,
    domain: Domain,
    doc: str,
    for_bools: Primitive | None = None,
    module: str = "pullback.numpy._elementwise.arithmetic",
    parameters: str = "",
) -> Callable[..., Array]:
    """The public function of two operands that is one primitive on promoted operands; its `ufunc` is the `Binary`.

    `parameters`: the names by which the operands may also be passed.
    """
    ufunc = Binary(name, primitive, domain, for_bools)
    plans = ufunc.plans

    def function(x, y, /, *, out=None, where=None):
        a: Any
        b: Any
        try:
            if out is not where:
                refuse_keywords(name, out, where)
            if isinstance(x, Array):
                a = x.aval
            elif (a := type(x)) not in PYTHON_SCALARS:
                x = as_operand(x, name, 0)
                a = x.aval
            if isinstance(y, Array):
                b = y.aval
            elif (b := type(y)) not in PYTHON_SCALARS:
                y = as_operand(y, name, 1)
                b = y.aval
            key = (a, b, process_promotion[0] or config.promotion)
            op, to_x, to_y, mixed, evaluate = plans.get(key) or ufunc.plan(key)
            if to_x is not None:
                x = to_x(x)
            if to_y is not None:
                y = to_y(y)
            if mixed:
                ufunc.check_ranks(key)
            trace = context.trace
            if trace.transparent and type(x) is ConcreteArray and type(y) is ConcreteArray:
                return evaluate(x, y)
            return trace.process_primitive(op, (x, y), {})
        except Exception as error:
            if name in ("equal", "not_equal") and hasattr(x, "of_words") and hasattr(y, "of_words"):
                return x == y if name == "equal" else x != y
            fold(error)
            raise

    function.ufunc = ufunc  # type: ignore[attr-defined]
    if parameters:
        with_parameters(function, parameters)
    if name not in UFUNCS:
        hide_keywords(function)
    return named(function, name, _with_types(doc, domain, 2, bools=for_bools is not None), module)


# --- functions of one operand that are one primitive ---


@overload
def unary(
    name: str,
    primitive: Primitive,
    domain: Domain,
    doc: str,
    unchanged: Callable[[np.dtype], bool] | None = None,
    module: str = ...,
) -> UfuncOfOne: ...
@overload
def unary(
    name: str,
    primitive: Primitive,
    domain: Domain,
    doc: str,
    unchanged: Callable[[np.dtype], bool] | None = None,
    module: str = ...,
    *,
    parameters: str,
) -> Any: ...
def unary(
    name: str,
    primitive: Primitive,
    domain: Domain,
    doc: str,
    unchanged: Callable[[np.dtype], bool] | None = None,
    module: str = "pullback.numpy._elementwise.arithmetic",
    parameters: str = "",
) -> Callable[..., Array]:
    """The public function of one operand that applies one primitive; `unchanged` dtypes are returned as they are.

    `parameters`: the name by which the operand may also be passed.
    """
    # the evaluation of operands whose types need no conversion
    known: dict[ShapedArray, Callable[[ConcreteArray], Array]] = {}

    def adapt(x):
        x = as_operand(x, name, 0)
        aval = x.aval
        if unchanged is not None and unchanged(aval.dtype):
            return x, True
        dtype, weak = common_dtype(name, domain, [aval])
        if dtype == aval.dtype and len(known) < _PLAN_LIMIT:
            known[aval] = evaluator.evaluation_of_one(primitive, aval)
        return cast(x, dtype, weak), False

    def function(x, /, *, out=None, where=None):
        try:
            if out is not where:
                refuse_keywords(name, out, where)
            evaluate = known.get(x.aval) if isinstance(x, Array) else None
            trace = context.trace
            if evaluate is None:
                operand, done = adapt(x)
                if done:
                    return distinct(operand, x)
                x = operand
            elif trace.transparent and type(x) is ConcreteArray:
                return evaluate(x)
            return trace.process_primitive(primitive, (x,), {})
        except Exception as error:
            fold(error)
            raise

    if parameters:
        with_parameters(function, parameters)
    if name not in UFUNCS:
        hide_keywords(function)
    doc = _with_types(doc, domain, 1, bools=unchanged is not None, converted=unchanged is None)
    return named(function, name, doc, module)


# --- functions of several primitives ---


def elementwise(domain: Domain) -> _Elementwise:
    """Decorate a function of operands: its body gets arrays of one dtype in `domain`."""

    def decorate(body):
        # `help` shows the types that the caller may pass
        body.__annotations__.update(dict.fromkeys(body.__annotations__.keys() - {"return"}, "ArrayLike"))
        name, sig = body.__name__, signature(body)

        @functools.wraps(body)
        def function(*args, **kwargs):
            try:
                if kwargs:
                    args, others = bind_positionally(body, sig, args, kwargs, name)
                    refuse_keywords(name, others.get("out"), others.get("where"))
                return body(*promote_operands(name, domain, *args))
            except Exception as error:
                fold(error)
                raise

        if body.__doc__:
            function.__doc__ = _with_types(body.__doc__, domain, body.__code__.co_argcount)
        return function

    return decorate


def _with_types(doc: str, domain: Domain, operands: int, bools: bool = False, converted: bool = True) -> str:
    """A docstring with the shapes and dtypes that the function accepts inserted before the example."""
    accepted = "" if domain is ANY else f" {domain.description}{' or bools' * bools}, else TypeError"
    if operands == 1:
        note = f"Any shape;{accepted or ' any dtype; TypeError for what is no array or number'}."
    else:
        note = f"The shapes broadcast, else ValueError; the dtypes are promoted to one{':' * bool(accepted)}{accepted}."
    text, mark, example = doc.partition(">>>")
    margin = text[len(text.rstrip(" ")) :]
    if converted and domain.adapt in (dtypes.to_inexact, _to_strong_inexact, _with_float_operand):
        note += f"\n{margin}Integers and bools are computed in floating point."
    return f"{text.rstrip()}\n\n{margin}{note}\n\n{margin}{mark}{example}"


def named(function: Callable, name: str, doc: str, module: str) -> Callable:
    """Give a function made by a constructor its name, docstring and home."""
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    function.__module__ = module
    return function
