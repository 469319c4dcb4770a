"""Primitives as classes: an operation whose methods are its evaluation and its rules."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from types import FunctionType
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn
from weakref import WeakValueDictionary

from pullback._core.arguments import kind_of, signature
from pullback._core.errors import RuleError, RuleNotDefinedError, UnexpectedTracerError, boundary, fold, is_internal
from pullback._core.printing import format_params
from pullback._core.refs import Ref
from pullback._core.trace import Trace, Tracer, call_with, context
from pullback._core.typing import AnyValue, PyTree
from pullback._higher_order.custom.call import CustomCall, closing_over
from pullback._higher_order.custom.captures import CaptureSearch, is_opaque
from pullback._higher_order.custom.class_call import AxisData, ClassCall, recursion_message
from pullback._higher_order.custom.class_checks import Declared
from pullback._higher_order.custom.class_remat import RematTrace
from pullback._higher_order.custom.class_rules import RULES, RuleSet, derived, missing, of_one_argument, rules_of
from pullback._higher_order.custom.labels import call_site
from pullback._higher_order.custom.order import Identity, note_call
from pullback._higher_order.custom.primitive import custom_call_p
from pullback._higher_order.custom.ruled_call import results_for_user
from pullback._xla.evaluate import evaluator


class _OfClass:
    """What a class defines: its rules, where its methods may hold traced values, and what makes it unusable, if so.

    `identity` is what `order` knows the class by.
    """

    __slots__ = ("methods", "rules", "search", "problem", "identity")

    def __init__(self, cls: type[HiPrim], methods: Sequence[Any], identity: Identity):
        self.methods = methods
        self.identity = identity
        self.rules = rules_of(cls, HiPrim)
        self.problem = missing(cls, self.rules)
        own = [rule for rule in methods if isinstance(rule, FunctionType) and not is_internal(rule.__code__)]
        self.search = CaptureSearch(cls, own)

    @staticmethod
    def of(cls: type[HiPrim]) -> _OfClass:
        """That of a class, looked up again if methods have been set since."""
        methods = [getattr(cls, name) for name in ("expand", "linear_argnums", *RULES)]
        known = cls.__dict__.get("_hiprim_class")
        if known is None or known.methods != methods:
            known = cls._hiprim_class = _OfClass(cls, methods, Identity() if known is None else known.identity)
        return known


class _OfInstance:
    """What an instance declares: its types and rules, the params that may hold traced values.

    It is `self_contained` if neither they nor the methods can.
    """

    __slots__ = ("declared", "rules", "held", "search", "self_contained", "identity")

    def __init__(self, instance: HiPrim):
        cls = type(instance)
        of_class = _OfClass.of(cls)
        for name in ("in_avals", "out_aval", "params"):
            if not hasattr(instance, name):
                raise AttributeError(
                    f"{cls.__name__} needs {name}: set in_avals, out_aval and params, in __init__ before "
                    "super().__init__(), or in the class body"
                )
        if of_class.problem is not None:
            raise RuleNotDefinedError(of_class.problem)
        rules, params = of_class.rules, instance.params
        if cls._hiprim_older and rules.defined >= {"vjp_bwd", "vjp_bwd_retval"}:
            raise TypeError(
                f"{cls.__name__} defines vjp_bwd and vjp_bwd_retval: VJPHiPrimitive takes one of them (HiPrim takes "
                "vjp_bwd)"
            )
        if not isinstance(params, dict):
            raise TypeError(f"{cls.__name__}.params must be a dict, got {params!r}")
        for name, value in params.items():
            if name in _RESERVED:
                raise ValueError(f"{cls.__name__}: a param must not have the name {name!r}, which has another meaning")
            object.__setattr__(instance, name, value)  # a frozen dataclass may be a primitive too
        declared = Declared.of(cls.__name__, instance.in_avals, instance.out_aval)
        self.declared: Declared = declared
        self.rules: RuleSet = (
            rules if "transpose" not in rules.defined or declared.count > 1 else of_one_argument(rules)
        )
        self.held: tuple[Any, ...] = tuple([value for value in params.values() if not is_opaque(type(value))])
        self.search: CaptureSearch = of_class.search
        self.self_contained: bool = not (self.held or self.search.cells or self.search.always)
        self.identity: Identity = of_class.identity

    @staticmethod
    def of(instance: HiPrim) -> _OfInstance:
        """That of an instance, made at the first call if its constructor has not."""
        made = instance._hiprim
        if made is None:
            made = instance.__dict__["_hiprim"] = _OfInstance(instance)
        return made


class HiPrim:
    """An operation of one's own with the rules of its transformations: a class of which instances are called.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> from pullback.experimental.hijax import HiPrim
    >>> class Scaled(HiPrim):
    ...     def __init__(self, aval, factor):
    ...         self.in_avals = (aval,)
    ...         self.out_aval = aval
    ...         self.params = dict(factor=factor)
    ...         super().__init__()
    ...     def expand(self, x):
    ...         return self.factor * x
    ...     def vjp_fwd(self, nzs_in, x):
    ...         return self(x), None
    ...     def vjp_bwd_retval(self, res, ct):
    ...         return (self.factor * ct,)
    >>> double = Scaled(pb.typeof(1.), factor=2.)
    >>> print(double(3.), pb.grad(double)(3.), pb.jvp(double, (3.,), (1.,))[1])
    6.0 2.0 2.0
    """

    in_avals: tuple[PyTree, ...]
    out_aval: PyTree
    params: dict[str, Any]
    linear_argnums: ClassVar[Sequence[int] | None] = None
    # all that a class or an instance has besides methods of the author's begins like this
    _hiprim_class: ClassVar[_OfClass]
    _hiprim: _OfInstance | None = None
    # whether dce and remat have the parameters that JAX 0.10.2 gives them
    _hiprim_older: ClassVar[bool] = False

    @boundary
    def __init_subclass__(cls, **keywords: AnyValue) -> None:
        super().__init_subclass__(**keywords)
        _OfClass.of(cls)

    @boundary
    def __init__(self) -> None:
        self.__dict__["_hiprim"] = _OfInstance(self)

    def __hiprim__(self) -> _OfInstance:
        return _OfInstance.of(self)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """A param."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            made = self._hiprim or _OfInstance.of(self)
            declared = made.declared
            if kwargs:
                args = _bound(self, args, kwargs)
            refs: Sequence[Ref] = ()
            if declared.takes_refs:
                declared, args, refs = declared.with_refs(self, args)  # type: ignore[assignment]
            leaves = declared.fitted(self, args)
            trace = context.trace
            if trace is evaluator:
                result = self.expand(*(leaves if declared.plain else declared.in_tree.unflatten(leaves)))
            else:
                note_call(made.identity)
                for x in leaves:
                    if isinstance(x, Tracer):
                        outs = results_for_user(_bind(self, made, leaves, declared, refs))
                        return outs[0] if declared.single else declared.out_tree.unflatten(outs)
                given = leaves if declared.plain else declared.in_tree.unflatten(leaves)
                result = _without_rules(self, made, trace, given)
            outs = declared.results(self, result)
            return outs[0] if declared.single else declared.out_tree.unflatten(outs)
        except Exception as error:
            if type(error) is RecursionError and (message := recursion_message(error, self)) is not None:
                raise RuleError(message) from None
            fold(error)
            raise

    @boundary
    def derived(self) -> dict[str, str]:
        """From what forward mode, reverse mode and `vmap` are derived, where the class has no rule for them."""
        return derived(_OfInstance.of(self).rules)

    # --- equality ---

    @functools.cached_property
    def _hiprim_key(self) -> Any:
        """What equal instances have in common; the instance itself if a param cannot be hashed."""
        declared = _OfInstance.of(self).declared
        try:
            key = type(self), frozenset((name, v, kind_of(v)) for name, v in self.params.items()), declared.key()
            hash(key)
        except TypeError:
            return id(self)
        return key

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, HiPrim) and self._hiprim_key == other._hiprim_key)

    def __hash__(self) -> int:
        return hash(self._hiprim_key)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_hiprim", "_hiprim_key")}

    def __first_equal__(self) -> HiPrim:
        """The first of the instances equal to this one: what is derived from one serves all."""
        return _first_instances.setdefault(self._hiprim_key, self)

    def pp_params(self) -> dict[str, Any]:
        """The params that jaxprs show."""
        return {name: value for name, value in self.params.items() if not name.startswith("_")}

    def __repr__(self) -> str:
        shown = self.pp_params() if hasattr(self, "params") else {}
        return type(self).__name__ + format_params(shown)

    # --- rules ---

    def expand(self, *args: Any, **kwargs: Any) -> Any:
        """The result, of the type `out_aval`, computed by other operations. Every class has it."""
        _refuse(self, "expand", "it says what the primitive computes")

    def vjp_fwd(self, nzs_in: Any, /, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The forward pass of reverse mode: `(out, residuals)`, and further `nzs_out`, structured residuals.

        `nzs_in` has a bool for each leaf of the arguments: whether it is differentiated. `nzs_out` flags the parts of
        the result that have a derivative, `True` for all.
        """
        _refuse(self, "vjp_fwd", _DERIVED)

    def vjp_bwd_retval(self, res: Any, ct: Any, /) -> tuple[Any, ...]:
        """The backward pass: a tuple with the cotangent of each argument, None for zero, from that of the result."""
        _refuse(self, "vjp_bwd_retval", _DERIVED)

    @boundary
    def vjp_bwd_retval_logs(self, res: Any, ct: Any, /) -> tuple[tuple[Any, ...], dict[str, Any] | None]:
        """The backward pass with a dict of values to log: `(cotangents, logs)`."""
        _refuse(self, "vjp_bwd_retval_logs", _DERIVED)

    @boundary
    def vjp_bwd(self, res: Any, ct: Any, /, *accums: Any, **kwargs: Any) -> dict[str, Any] | None:
        """The backward pass into accumulators, one for each leaf of the arguments: `accum.accum(cotangent)` adds.

        Structured residuals come between `res` and `ct`. The result is None, or a dict of values to log.
        """
        _refuse(self, "vjp_bwd", _DERIVED)

    @boundary
    def jvp(self, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
        """The result and its tangent, linear in `tangents`, of which those that vanish are symbolic zeros."""
        _refuse(self, "jvp", _DERIVED)

    @boundary
    def lin(self, nzs_in: Any, /, *primals: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The first half of `jvp`: `(out, residuals)`, and a third, `nzs_out`; see `linearized`."""
        _refuse(self, "lin", _DERIVED)

    @boundary
    def linearized(self, residuals: Any, /, *tangents: Any, **kwargs: Any) -> Any:
        """The second half of `jvp`: the tangent of the result, from the residuals of `lin`."""
        _refuse(self, "linearized", _DERIVED)

    @boundary
    def transpose(self, ct: Any, /, *accums_or_values: Any, **kwargs: Any) -> None:
        """The transpose with respect to the arguments for which there is an accumulator in place of a value."""
        _refuse(self, "transpose", _DERIVED)

    @boundary
    def batch(self, axis_data: AxisData, args: tuple[Any, ...], dims: tuple[Any, ...]) -> tuple[Any, Any]:
        """The results for a batch of arguments, and their batch axes; `dims` says where arguments have theirs, or None.

        Usually the result of an instance for the larger types.
        """
        _refuse(self, "batch", "vmap follows expand without it")

    @boundary
    def batch_dim_rule(self, axis_data: AxisData, dims: tuple[Any, ...], /) -> Any:
        """The batch axes of the results, from those of the arguments."""
        _refuse(self, "batch_dim_rule", "the batch axis is the first one without it")

    @boundary
    def dce(self, used_outs: Any, *live_ins: Any, **kwargs: Any) -> tuple[Any, Any, Any]:
        """Of an application of which some results are used: `(used_ins, kept_outs, instance)`.

        `used_outs` flags the results that are used; the instance takes the leaves of the arguments that are flagged in
        `used_ins`, and computes those of the results flagged in `kept_outs`, in order. `live_ins`, which
        `VJPHiPrimitive` leaves out, flags the arguments.
        """
        _refuse(self, "dce", "it is kept whole without it")

    @boundary
    def remat(self, trace: RematTrace, /, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The primitive under `checkpoint` where it is differentiated: `(out, residuals, rem)`.

        The residuals are kept; in the backward pass `rem(residuals, *args)` gives the result again, and is
        differentiated. `trace.policy` is the policy of the checkpoint. In a `VJPHiPrimitive`, `remat(policy, *args)`
        returns `(out, rem)`, and `rem(*args)` is called.
        """
        _refuse(self, "remat", "it runs again without it")


_DERIVED = "transform the instance, as in pullback.jvp(instance, ...), which derives it from the other rules"


def _refuse(instance: HiPrim, rule: str, why: str) -> NoReturn:
    """Refuse the call of a rule that a class does not define."""
    raise RuleNotDefinedError(f"{type(instance).__name__} defines no {rule}: {why}")


# --- calls ---


def _bind(
    instance: HiPrim, made: _OfInstance, leaves: Sequence[Any], declared: Declared, refs: Sequence[Ref]
) -> Sequence[Any]:
    """The leaves of the result under a transformation of some argument, which finds the rules."""
    rules = made.rules
    # a bwd rule runs long after the call; other rules look up the location when they need it
    call: CustomCall = ClassCall(instance, declared, rules, call_site() if rules.reverse == "vjp" else None)
    if refs or not made.self_contained:
        tracers = made.search.tracers(instance, [*made.held, *refs], {})
        if tracers:
            return custom_call_p.bind(*tracers, *leaves, call=closing_over(call, tracers))
    return custom_call_p.bind(*leaves, call=call)


def _without_rules(instance: HiPrim, made: _OfInstance, trace: Trace, args: Sequence[Any]) -> Any:
    """The result where no argument is traced; what the methods capture may be."""
    if made.self_contained and trace.transparent and not context.axis_sizes:
        try:
            return call_with(evaluator, instance.expand, *args)
        except UnexpectedTracerError:
            pass  # it reads a traced value from a global
    return instance.expand(*args)


def _bound(instance: HiPrim, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """The arguments of a call, with those by keyword in their places."""
    sig = signature(instance.expand)
    if sig is None:
        raise TypeError(f"{instance}: expand takes no keyword arguments")
    try:
        bound = sig.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{instance}: {error}") from None
    if bound.kwargs:
        raise TypeError(f"{instance}: the argument {next(iter(bound.kwargs))!r} is keyword-only in expand")
    return bound.args


# by what equal instances have in common
_first_instances: WeakValueDictionary[Any, HiPrim] = WeakValueDictionary()

_RESERVED = frozenset(name for name in (*dir(HiPrim), *RULES, "in_avals", "out_aval", "params"))


class VJPHiPrimitive(HiPrim):
    """`HiPrim` under the name that JAX 0.10.2 gives it.

    >>> from pullback.experimental.hijax import HiPrim, VJPHiPrimitive
    >>> issubclass(VJPHiPrimitive, HiPrim)
    True
    """

    _hiprim_older = True
