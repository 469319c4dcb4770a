"""`external`: a decorator that turns a NumPy or SciPy function into one of this library, with derivatives."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from pullback import numpy as pnp
from pullback._api.callbacks import check_vmap_method, declared_types
from pullback._api.rules import custom_rules
from pullback._core import dtypes
from pullback._core.arguments import (
    argument_path,
    bind_positionally,
    canonical_argnums,
    check_callable,
    flatten_result,
    signature,
)
from pullback._core.array import Array, ConcreteArray, is_array_like, lift
from pullback._core.errors import boundary, describe_function, function_name, wrapping
from pullback._core.lists import filled, merged
from pullback._core.trace import context
from pullback._core.tree import PyTreeDef, tree_flatten, tree_unflatten
from pullback._core.types import ShapeDtypeStruct
from pullback._core.typing import AnyValue, PyTree
from pullback._core.zeros import Zero, zero_of
from pullback._higher_order.bodies import check_same_structure, check_same_types
from pullback._higher_order.custom.order import note_call
from pullback._higher_order.host.callback import HostFunction, pure_callback_p
from pullback._ops.shape import convert_element_type, reshape
from pullback._xla.evaluate import evaluator


@boundary
def external(
    fun: Callable | None = None,
    *,
    result: PyTree = None,
    elementwise: bool = False,
    vmap_method: str | None = None,
    nondiff_argnums: int | Sequence[int] = (),
) -> Any:
    """Make a function of NumPy arrays one that can be compiled, vectorized and, given a rule, differentiated.

    Eagerly the function is called directly, with NumPy arrays; compiled code calls it on the host. Its derivative is
    set by one of these:

    - `f.defderivative(fun)`: a host function that returns the value and the derivative from one call. Both modes.
    - `f.defhostvjp(fun)`, `f.defhostjvp(fun)`: a host function from a cotangent, or from tangents.
    - `f.defjvp`, `f.defjvps`, `f.defvjp`: rules as for `custom_rules`, of this library's functions, `f` among them. To
      any order.

    Args:
      fun: the function, of NumPy arrays or pytrees of them, which it must not modify, without side effects. Without it,
        returns a decorator.
      result: the type of its result: a pytree of `ShapeDtypeStruct`s, or a function from the types of the arguments
        to it. None: like the first argument that is not in `nondiff_argnums`, or, if `elementwise`, an array of the
        arguments' common shape and floating-point type.
      elementwise: whether the function works entry by entry on arrays that broadcast, as NumPy's ufuncs do.
        Derivatives then have one number for each entry of the result.
      vmap_method: the behaviour under `vmap`, see `pure_callback`; by default "sequential", or one call if
        `elementwise`.
      nondiff_argnums: positions of arguments that are not arrays (functions, strings).

    Keyword-only parameters reach the function and every rule by keyword; rules do not cover them. As a method decorator
    it makes `self` an argument of `nondiff_argnums`.

    Raises: TypeError if the arguments do not match the signature, and naming the leaf if the result is not as
    declared; any exception of the function.

    >>> import math
    >>> import pullback as pb, pullback.numpy as pnp
    >>> @pb.external(elementwise=True)
    ... def erf(x):
    ...     return np.vectorize(math.erf)(x)
    >>> @erf.defderivative
    ... def erf_and_derivative(x):
    ...     return np.vectorize(math.erf)(x), 2 / np.sqrt(np.pi) * np.exp(-x ** 2)
    >>> print(f"{erf(1.):.5f} {pb.jit(pb.grad(erf))(1.):.5f}", pb.vmap(pb.grad(erf))(pnp.array([0., 1.])).round(4))
    0.84270 0.41511 [1.1284 0.4151]
    """
    settings: dict[str, Any] = {
        "result": result,
        "elementwise": elementwise,
        "vmap_method": vmap_method,
        "nondiff_argnums": nondiff_argnums,
    }
    if fun is None:
        return functools.partial(external, **settings)
    check_callable("external", fun)
    check_vmap_method("external", vmap_method)
    return External(fun, **settings)


class _OnHost:
    """A function or rule that calls `fun` on the host for its `carrier`; a method has one for each copy of that."""

    __own__ = ("carrier", "body", "fun")

    def __init__(self, carrier: External, body: Callable, fun: Callable):
        wrapping(fun)(self)
        self.__name__ = function_name(fun)
        self.carrier = carrier
        self.body = body
        self.fun = fun

    def __call__(self, *args, **keywords):
        return self.body(self.carrier, self.fun, *args, **keywords)

    def closed_over_parts(self) -> tuple[Any, ...]:
        """The objects that may hold captured traced values."""
        return (self.fun,)


class External(custom_rules):
    """A function on the host, with rules. Made by `external`."""

    definable: ClassVar[tuple[str, ...]] = "defderivative(derivative, argnums)", "defhostjvp(rule)", "defhostvjp(rule)"

    def __init__(
        self,
        fun: Callable,
        result: PyTree,
        elementwise: bool,
        vmap_method: str | None,
        nondiff_argnums: int | Sequence[int],
    ):
        self.host = fun
        self.result = result
        self.elementwise = elementwise
        self.vmap_method = vmap_method or ("expand_dims" if elementwise else "sequential")
        run = _OnHost(self, External._run, fun)
        if isinstance(fun, np.ufunc):
            # ufunc settings (out, where, dtype, ...) are not supported
            names = [inspect.Parameter(f"x{i + 1}", inspect.Parameter.POSITIONAL_ONLY) for i in range(fun.nin)]
            run.__signature__ = inspect.Signature(names)  # type: ignore[attr-defined]
        super().__init__(run, nondiff_argnums)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        if instance is None:
            return self
        method: Any = super().__get__(instance, owner)
        bound = method.func
        for name in ("fun", "jvp_rule", "fwd_rule", "bwd_rule"):
            rule = getattr(bound, name)
            if isinstance(rule, _OnHost):
                setattr(bound, name, _OnHost(bound, rule.body, rule.fun))
        return method

    # --- the call on the host ---

    def _run(self, fun: Callable, *args: PyTree, **keywords: Any) -> Any:
        """The function itself."""
        given: Sequence[Any] = args
        if keywords or len(args) != self._plain_count:
            given, keywords = bind_positionally(self.fun, self._signature, args, keywords, self._label())
        avals, tree = declared_types("external", fun, self._result_type(given, keywords))
        given, keywords = self._aligned(given, keywords)
        return self._call("external", fun, fun, tree, avals, given, keywords)

    def _diff_positions(self, count: int) -> Sequence[int]:
        """The positions of the arguments of a call that are not in nondiff_argnums."""
        return self.layout(count).differentiable

    def _aligned(self, args: Sequence[Any], keywords: dict[str, Any]) -> tuple[Sequence[Any], dict[str, Any]]:
        """Arguments of an elementwise function with one number of axes, so that a batch axis can be put in front."""
        if not self.elementwise or context.trace is evaluator:
            return args, keywords
        leaves, tree = tree_flatten((tuple(args), keywords))
        xs = [lift(x) if is_array_like(x) else x for x in leaves]
        ndim = max((x.ndim for x in xs if isinstance(x, Array)), default=0)
        return tree_unflatten(
            tree, [reshape(x, (1,) * (ndim - x.ndim) + x.shape) if isinstance(x, Array) else x for x in xs]
        )

    def _result_type(self, args: Sequence[Any], keywords: dict[str, Any]) -> Any:
        if self.result is not None and not callable(self.result):
            return self.result
        types, types_by_name = _structs((tuple(args), keywords))
        if self.result is not None:
            return self.result(*types, **types_by_name)
        moving = self._diff_positions(len(args)) if self.nondiff_argnums else range(len(args))
        if self.elementwise:
            named = [t for t in tree_flatten(types_by_name)[0] if isinstance(t, ShapeDtypeStruct)]
            return self._common_type([*tree_flatten([types[i] for i in moving])[0], *named])
        if not moving:
            raise TypeError(
                f"{self._label()}: the type of the result is that of the first argument unless it is "
                "given, and there is no positional argument. Pass result=."
            )
        return types[moving[0]]

    def _common_type(self, types: Sequence[Any]) -> ShapeDtypeStruct:
        if not types or not all(isinstance(t, ShapeDtypeStruct) for t in types):
            raise TypeError(
                f"{self._label()}: an elementwise function takes arrays alone, got {list(types)!r}. Pass "
                "result= for another kind of function."
            )
        try:
            shape = np.broadcast_shapes(*[t.shape for t in types])
        except ValueError:
            raise ValueError(
                f"{self._label()}: arguments of shapes {', '.join(str(t.shape) for t in types)} do not broadcast"
            ) from None
        dtype, weak = dtypes.promote(*[(t.dtype, t.weak_type) for t in types])
        return ShapeDtypeStruct(shape, dtypes.to_inexact(dtype, weak)[0])

    def _call(
        self,
        what: str,
        user_fun: Callable,
        fun: Callable,
        out_tree: PyTreeDef,
        out_avals: Sequence[Any],
        args: Sequence[Any],
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call `fun` on the host; leaves that are not arrays are passed unchanged."""
        leaves, in_tree = tree_flatten((tuple(args), kwargs or {}))
        arrays = [is_array_like(x) for x in leaves]
        fixed = [None if a else x for x, a in zip(leaves, arrays, strict=True)]

        def flat(*values):
            everything = filled(arrays, values, fixed)
            inner_args, inner_kwargs = tree_unflatten(in_tree, everything)
            return fun(*inner_args, **inner_kwargs)

        function = HostFunction(flat, out_tree, out_avals, what, user_fun)
        operands = [x if type(x) is ConcreteArray else lift(x) for x, a in zip(leaves, arrays, strict=True) if a]
        outs = pure_callback_p.bind(*operands, function=function, vmap_method=self.vmap_method)
        return tree_unflatten(out_tree, outs)

    # --- derivatives on the host ---

    def _merged(self, fixed: Sequence[Any], primals: Sequence[Any]) -> list[Any]:
        """All arguments in order, from the nondifferentiable ones, which rules get first, and the others."""
        count = len(fixed) + len(primals)
        moving = self._diff_positions(count)
        return merged([i in moving for i in range(count)], primals, fixed)

    def defderivative(self, fun: Callable, argnums: int | Sequence[int] | None = None) -> Callable:
        """Set the derivative: `fun(*args)`, on the host, returns `(value, derivative)` from one call; returns it.

        The derivative by an argument, which must be one array, has the structure of the result. If the result has shape
        `s` and the argument shape `t` it has shape `(*s, *t)`, as from `jacfwd`; if the function is elementwise,
        shape `s`. Results of an integer type have None in their place.

        Args:
          fun: the host function. If it is itself made by `external` and has a derivative, so has the derivative.
          argnums: the positions of the arguments it gives derivatives by. An int: `derivative` is that by the one
            argument; a sequence: a tuple of them. None: all arguments, a tuple unless there is only one, with
            None for those of an integer type. Differentiation by another argument is an error.

        >>> import numpy as np
        >>> import pullback as pb
        >>> solve = pb.external(lambda a: np.cbrt(a))
        >>> _ = solve.defderivative(lambda a: (np.cbrt(a), 1 / (3 * np.cbrt(a) ** 2)))
        >>> print(solve(8.), pb.grad(solve)(8.))
        2.0 0.083333336
        """
        check_callable("defderivative", fun)
        single = argnums is not None and np.ndim(argnums) == 0
        chosen = None if argnums is None else canonical_argnums(self._label(), argnums)

        def rule(carrier, fun, *given, **keywords):
            *fixed, primals, tangents = given
            args = carrier._merged(fixed, primals)
            count = len(args)
            by = carrier._diff_positions(count) if chosen is None else canonical_argnums(self._label(), chosen, count)
            value, derivatives = carrier._value_and_derivatives(
                fun, args, keywords, by, single or (chosen is None and len(by) == 1)
            )
            return value, carrier._push(value, derivatives, tangents)

        self.defjvp(_OnHost(self, rule, fun), symbolic_zeros=True, argnums=chosen)
        return fun

    def _value_and_derivatives(
        self, fun: Callable, args: Sequence[Any], keywords: dict[str, Any], by: Sequence[int], bare: bool
    ) -> tuple[Any, list[Any]]:
        """The value, and for each argument in `by` the derivative, leaf by leaf of the result, None if absent."""
        what = f"the derivative of {describe_function(self.host)}"
        _check_keywords(fun, args, keywords)
        avals, tree = declared_types("external", self.host, self._result_type(args, keywords))
        for i in by:
            if not is_array_like(args[i]):
                raise TypeError(
                    f"{what}: {argument_path(self.host, i)} must be one array for defderivative, got "
                    f"{tree_flatten(args[i])[1]}. Use defjvp or defvjp for arguments that are pytrees."
                )
        xs = [lift(args[i]) for i in by]
        types = [
            [
                None
                if not (dtypes.is_inexact(x.dtype) and dtypes.is_inexact(a.dtype))
                else ShapeDtypeStruct(a.shape if self.elementwise else (*a.shape, *x.shape), a.dtype)
                for a in avals
            ]
            for x in xs
        ]
        parts = tuple(tree_unflatten(tree, column) if any(t is not None for t in column) else None for column in types)
        value_type = tree_unflatten(tree, [ShapeDtypeStruct(a.shape, a.dtype) for a in avals])
        out_avals, out_tree = declared_types("external", fun, (value_type, parts[0] if bare else parts))
        aligned, keywords = self._aligned(args, keywords)
        if isinstance(fun, External):
            # the value that it returns has a rule of its own, so that all orders of derivatives are available
            note_call(self.identity)
            result = fun(*aligned, **keywords)
            outs, got_tree = flatten_result("defderivative", fun.host, result)
            must = f"{fun.__name__}, {what}, must return the value and the derivative"
            check_same_structure("defderivative", must, out_tree, got_tree, "")
            check_same_types("defderivative", must, out_tree, out_avals, [o.aval for o in outs], "")
        else:
            host = _fill_constants(fun, [a.dtype for a in out_avals[len(avals) :]]) if self.elementwise else fun
            result = self._call(what, fun, host, out_tree, out_avals, aligned, keywords)
        value, derivatives = result
        columns = [derivatives] if bare else list(derivatives)
        return value, [
            [None] * len(avals) if column is None else _where_present(tree_flatten(column)[0], mask)
            for column, mask in zip(columns, types, strict=True)
        ]

    def _push(self, value: AnyValue, derivatives: Sequence[Sequence[Any]], tangents: Sequence[Any]) -> Any:
        """The tangents of the results along tangents of the arguments."""
        leaves, tree = tree_flatten(value)
        touts: list[Any] = []
        for k, out in enumerate(map(lift, leaves)):
            total: Any = None
            for column, t in zip(derivatives, tangents, strict=True):
                if column[k] is None or type(t) is Zero:
                    continue
                product = column[k] * t if self.elementwise or t.ndim == 0 else pnp.tensordot(column[k], t, t.ndim)
                total = product if total is None else total + product
            touts.append(zero_of(out.aval) if total is None else convert_element_type(total, out.dtype))
        return tree_unflatten(tree, touts)

    def defhostjvp(self, fun: Callable) -> Callable:
        """Set the forward rule on the host: `fun(tangents, result, *args)` returns the tangent of the result.

        `tangents` is a tuple with an entry for each argument that is not in `nondiff_argnums`. The tangent of the
        result has its structure, shapes and dtypes, with None for leaves of an integer type. Forward mode only:
        reverse mode needs `defhostvjp` or `defvjp` as well. Returns `fun`.

        >>> import numpy as np
        >>> import pullback as pb
        >>> index = pb.ShapeDtypeStruct((), "int32")
        >>> f = pb.external(lambda x: (np.sort(x), np.argmax(x)), result=lambda x: (x, index))
        >>> _ = f.defhostjvp(lambda tangents, y, x: (tangents[0][np.argsort(x)], None))
        >>> print(pb.jacfwd(lambda x: f(x)[0][0])(np.float32([3., 1., 2.])))
        [0. 1. 0.]
        """
        check_callable("defhostjvp", fun)

        def rule(carrier, fun, *given, **keywords):
            *fixed, primals, tangents = given
            args = carrier._merged(fixed, primals)
            out = carrier(*args, **keywords)
            leaves, tree = tree_flatten(out)
            touts = carrier._on_host(
                f"the jvp rule of {describe_function(carrier.host)}", fun, out, (tuple(tangents), out, *args), keywords
            )
            return out, tree_unflatten(
                tree, [zero_of(lift(x).aval) if t is None else t for x, t in zip(leaves, touts, strict=True)]
            )

        self.defjvp(_OnHost(self, rule, fun))
        return fun

    def defhostvjp(self, fun: Callable) -> Callable:
        """Set the reverse rule on the host: `fun(cotangent, result, *args)` returns a cotangent for each argument.

        A tuple of them, or that of the only argument (those in `nondiff_argnums` do not count). The cotangent of an
        argument has its structure, shapes and dtypes, with None for leaves of an integer type. Returns `fun`.

        >>> import numpy as np
        >>> import pullback as pb
        >>> f = pb.external(lambda x: np.sort(x))
        >>> _ = f.defhostvjp(lambda ct, y, x: ct[np.argsort(np.argsort(x))])
        >>> print(pb.grad(lambda x: f(x)[0])(np.float32([3., 1., 2.])))
        [0. 1. 0.]
        """
        check_callable("defhostvjp", fun)

        def fwd(carrier, fun, *args, **keywords):
            out = carrier(*args, **keywords)
            return out, (tuple(args[i] for i in carrier._diff_positions(len(args))), out)

        def bwd(carrier, fun, *given, **keywords):
            *fixed, (primals, out), ct = given
            args = carrier._merged(fixed, primals)
            targets = primals if len(primals) != 1 else primals[0]
            cts = carrier._on_host(
                f"the vjp rule of {describe_function(carrier.host)}", fun, targets, (ct, out, *args), keywords
            )
            return tree_unflatten(tree_flatten(primals)[1], cts)

        self.defvjp(_OnHost(self, fwd, fun), _OnHost(self, bwd, fun))
        return fun

    def _on_host(self, what: str, fun: Callable, like: Any, args: Sequence[Any], keywords: dict[str, Any]) -> list[Any]:
        """The leaves of a (co)tangent of `like`, computed by a host function; None if there is no derivative."""
        _check_keywords(fun, args, keywords)
        leaves, tree = tree_flatten(like)
        structs = [_struct(x) if dtypes.is_inexact(lift(x).dtype) else None for x in leaves]
        out_avals, out_tree = declared_types(what, fun, tree_unflatten(tree, structs))
        result = self._call(what, fun, fun, out_tree, out_avals, args, keywords)
        return _where_present(tree_flatten(result)[0], structs)


def _check_keywords(fun: Callable, args: Sequence[Any], keywords: dict[str, Any]) -> None:
    """Refuse keyword arguments that a host function does not take, before it is called; the caller names the rule."""
    sig = signature(fun) if keywords else None
    if sig is not None:
        try:
            sig.bind(*args, **keywords)
        except TypeError as error:
            raise TypeError(str(error)) from None


def _fill_constants(fun: Callable, dtypes_of_derivatives: Sequence[np.dtype]) -> Callable:
    """An elementwise function's value and derivatives, with constant derivatives filled to full shape.

    Derivatives of other shapes are left unchanged, for the check against the declared types to report.
    """

    def host(*args, **keywords):
        result = fun(*args, **keywords)
        if not isinstance(result, (tuple, list)) or len(result) != 2:
            return result
        leaves, tree = tree_flatten(result[1])
        if len(leaves) != len(dtypes_of_derivatives):
            return result
        shape = np.broadcast_shapes(*_shapes(tree_flatten((args, keywords))[0]))
        return result[0], tree_unflatten(
            tree, [_filled_to(shape, d, dtype) for d, dtype in zip(leaves, dtypes_of_derivatives, strict=True)]
        )

    return host


def _shapes(leaves: Iterable[Any]) -> list[tuple[int, ...]]:
    return [np.shape(x) for x in leaves if is_array_like(x)]


def _filled_to(shape: tuple[int, ...], derivative: Any, dtype: np.dtype) -> Any:
    if not is_array_like(derivative) or np.shape(derivative) == shape:
        return derivative
    if type(derivative) in (bool, int, float):
        return np.full(shape, derivative, dtype)
    try:
        return np.broadcast_to(derivative, shape)
    except ValueError:
        return derivative


def _struct(x: AnyValue) -> ShapeDtypeStruct:
    aval = lift(x).aval
    return ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type)


def _structs(tree: PyTree) -> Any:
    """The types of the arrays in a tree; leaves that are not arrays stay unchanged."""
    leaves, treedef = tree_flatten(tree)
    return tree_unflatten(treedef, [_struct(x) if is_array_like(x) else x for x in leaves])


def _where_present(values: Sequence[Any], mask: Sequence[Any]) -> list[Any]:
    return filled([m is not None for m in mask], values, [None] * len(mask))
