"""`custom_jvp` and `custom_vjp`: functions with derivative rules that their author wrote.

A rule is called only where differentiation is applied, runs as plain Python there, and is checked: its results must
have the structure, shapes and dtypes that the mathematics asks for.
"""
from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

from pullback._core.arguments import argument_path, bind_positionally, canonical_argnums, check_leaf, signature
from pullback._core.array import lift
from pullback._core.errors import UnexpectedTracerError, describe_function, fold
from pullback._core.trace import Tracer, call_with, context
from pullback._core.tree import tree_flatten, tree_unflatten
from pullback._core.tree_paths import tree_flatten_with_path
from pullback._core.zeros import Zero
from pullback._higher_order.custom_rules import custom_call_p
from pullback._higher_order.flat_rules import FlatCall
from pullback._ops.elementwise import add
from pullback._ops.shape import zeros_like_aval
from pullback._xla.evaluate import evaluator, only_evaluates

__all__ = ["custom_jvp", "custom_rules", "custom_vjp"]


_FORWARD_SOURCES = (None, "transpose", "fwd", "primal")


class custom_rules:
    """A function with any subset of derivative rules: forward by `defjvp` or `defjvps`, reverse by `defvjp`.

    `jvp` and its kin use the forward rule, `grad` and its kin the reverse rule; what is not given is derived from the
    other where that is possible. `custom_jvp` and `custom_vjp` are this class under JAX's names.

    Args:
      fun: the function, of arrays or pytrees of arrays.
      nondiff_argnums: positions of arguments that are no arrays (functions, strings). They come first among the
        arguments of the jvp and bwd rules.
      jvp: where forward mode comes from if there is a reverse rule and no forward one. None: forward mode is refused.
        "transpose": the bwd rule is transposed (it must be linear in the cotangent). "fwd": the fwd rule is
        differentiated. "primal": the function itself is.

    As a method decorator it binds `self`, which the rules then get as a first, nondifferentiable argument.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> f = pb.custom_rules(pnp.sin)
    >>> _ = f.defjvp(lambda primals, tangents: (f(*primals), 2. * tangents[0]))
    >>> f.defvjp(lambda x: (f(x), None), lambda _, ct: (3. * ct,))
    >>> print(pb.jvp(f, (0.,), (1.,))[1], pb.grad(f)(0.))
    2.0 3.0
    """

    def __init__(self, fun: Callable, nondiff_argnums: int | Sequence[int] = (), *, jvp: str | None = None):
        kind = type(self).__name__
        if not callable(fun):
            raise TypeError(f"{kind}: expected a function, got {fun!r}")
        functools.update_wrapper(self, fun, updated=())
        if not hasattr(self, "__name__"):
            self.__name__ = type(fun).__name__ if not isinstance(fun, functools.partial) else fun.func.__name__
        self.fun = fun
        self.nondiff_argnums = canonical_argnums(kind, nondiff_argnums, what="nondiff_argnums")
        self.jvp_rule: Callable | None = None
        self.fwd_rule: Callable | None = None
        self.bwd_rule: Callable | None = None
        if jvp not in _FORWARD_SOURCES:
            raise ValueError(f"{kind}: jvp must be one of {', '.join(map(repr, _FORWARD_SOURCES))}, got {jvp!r}")
        self.forward = jvp
        self._signature = signature(fun)
        self._plain_count = self._count_plain_parameters()
        self._self_contained = isinstance(fun, FunctionType) and fun.__closure__ is None

    def _count_plain_parameters(self) -> int | None:
        """The number of arguments of a call that needs no binding, or None where every call does."""
        if self._signature is None:
            return None
        parameters = self._signature.parameters.values()
        if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD, p.KEYWORD_ONLY) for p in parameters):
            return None
        return len(parameters)

    def __call__(self, *args, **kwargs):
        try:
            if context.trace is evaluator:
                # nothing is being differentiated, nor can it be later: the function runs as if it were not decorated
                return self.fun(*args, **kwargs)
            if kwargs or len(args) != self._plain_count:
                args, rest = bind_positionally(self.fun, self._signature, args, kwargs, self._label())
                if rest:
                    raise TypeError(f"{self._label()}: the arguments {sorted(rest)} can only be given by keyword, so "
                                    "they cannot be mapped to positions for the rules. Make them positional.")
            original = args
            count, nondiff = len(args), self.nondiff_argnums
            fixed: Sequence[Any] = ()
            if nondiff:
                nondiff = canonical_argnums(self._label(), nondiff, count, "nondiff_argnums")
                fixed = [args[i] for i in nondiff]
                self._refuse_tracers(fixed, nondiff)
                args = tuple([a for i, a in enumerate(args) if i not in nondiff])
            leaves, in_tree = tree_flatten(args)
            for x in leaves:
                if isinstance(x, Tracer):
                    break
            else:
                if self._self_contained and not fixed and not context.axis_sizes and only_evaluates():
                    return call_with(evaluator, self.fun, *original)
                # no rule can be asked for, but the function may close over traced values
                return self.fun(*original)
            flat = FlatCall(self, in_tree, fixed, nondiff, count)
            try:
                leaves = [lift(x) for x in leaves]
            except TypeError:
                self._refuse_leaves(args, flat)
                raise
            outs = custom_call_p.bind(*leaves, call=flat)
            return tree_unflatten(flat.out_tree, outs)
        except Exception as error:
            fold(error)
            raise

    def _label(self) -> str:
        return f"{type(self).__name__} function {describe_function(self.fun)}"

    def _refuse_tracers(self, fixed: Sequence[Any], positions: Sequence[int]) -> None:
        for value, i in zip(fixed, positions, strict=True):
            for path, leaf in tree_flatten_with_path(value)[0]:
                if isinstance(leaf, Tracer):
                    raise UnexpectedTracerError(
                        f"{self._label()}: {argument_path(self.fun, i, path)} is in nondiff_argnums, but holds a value "
                        f"traced by {leaf.owner.describe()}. nondiff_argnums is for what is no array: functions, "
                        "strings, static settings. Make the argument an ordinary one; a rule may return "
                        "None (or zeros) for it.")

    def _refuse_leaves(self, args: Sequence[Any], flat: FlatCall) -> None:
        for path, leaf in tree_flatten_with_path(tuple(args))[0]:
            where = argument_path(self.fun, flat.position(path[0].idx), path[1:])
            message = f"{self._label()}: {where} (put arguments that are no arrays in nondiff_argnums)"
            check_leaf(leaf, message.__str__)

    def __get__(self, instance, owner=None):
        if instance is None:
            return self
        bound = copy.copy(self)
        bound.nondiff_argnums = (0, *(i for i in self.nondiff_argnums if i != 0))
        return functools.partial(bound, instance)

    def __repr__(self):
        return f"<{type(self).__name__} {describe_function(self.fun)}>"

    def defjvp(self, jvp: Callable) -> Callable:
        """Set the forward rule `jvp(primals, tangents) -> (primal_out, tangent_out)`; returns it.

        `primals` and `tangents` are tuples with an entry for each differentiable argument; arguments in
        `nondiff_argnums` come before them.
        """
        self.jvp_rule = jvp
        return jvp

    def defjvps(self, *jvps: Callable | None) -> None:
        """Set a rule for each argument, `rule(tangent, primal_out, *primals) -> tangent_out`; their results are added.

        None stands for a tangent that vanishes.

        >>> import pullback as pb
        >>> product = pb.custom_jvp(lambda x, y: x * y)
        >>> product.defjvps(lambda t, ans, x, y: t * y, lambda t, ans, x, y: x * t)
        >>> print(pb.grad(product, 1)(2., 3.))
        2.0
        """
        if self.nondiff_argnums:
            raise TypeError(f"{self._label()}: defjvps does not go with nondiff_argnums; use defjvp")

        def sum_of_jvps(primals, tangents):
            if len(jvps) != len(primals):
                raise TypeError(f"{self._label()}: defjvps was given {len(jvps)} rules for {len(primals)} arguments. "
                                "Give one for each, None where the tangent vanishes.")
            out = self(*primals)
            parts = [rule(t, out, *primals) for rule, t in zip(jvps, tangents, strict=True) if rule is not None]
            leaves, tree = tree_flatten(out)
            total: Any = [Zero(lift(x).aval.to_tangent_aval()) for x in leaves] if not parts else None
            for part in parts:
                part_leaves, part_tree = tree_flatten(part)
                if part_tree != tree:
                    raise TypeError(f"{self._label()}: a rule given to defjvps returned {part_tree}, expected the "
                                    f"structure of the function's result, {tree}")
                total = part_leaves if total is None else [add(a, b) for a, b in zip(total, part_leaves, strict=True)]
            return out, tree_unflatten(tree, [zeros_like_aval(t.aval) if type(t) is Zero else t for t in total])

        self.jvp_rule = functools.wraps(self.fun, updated=())(sum_of_jvps)

    def defvjp(self, fwd: Callable, bwd: Callable) -> None:
        """Set the reverse rule.

        `fwd` takes the function's arguments and returns `(primal_out, residuals)`. `bwd` takes the residuals and the
        cotangent of the result, and returns a tuple with a cotangent for each differentiable argument; None is zero.
        """
        self.fwd_rule = fwd
        self.bwd_rule = bwd


class custom_jvp(custom_rules):
    """A function with a forward-mode rule; reverse mode follows by transposing it.

    Args:
      fun: the function, of arrays or pytrees of arrays.
      nondiff_argnums: positions of arguments that are no arrays (functions, strings). They come first among the
        arguments of the rule.

    The rule is given by `defjvp`, or argument by argument by `defjvps`. It must be linear in the tangents.
    Keyword arguments and defaults are mapped to positions through the function's signature.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> @pb.custom_jvp
    ... def log1pexp(x):
    ...     return pnp.log(1. + pnp.exp(x))
    >>> @log1pexp.defjvp
    ... def log1pexp_jvp(primals, tangents):
    ...     (x,), (t,) = primals, tangents
    ...     return log1pexp(x), (1 - 1 / (1 + pnp.exp(x))) * t
    >>> print(pb.grad(log1pexp)(100.))
    1.0
    """


class custom_vjp(custom_rules):
    """A function with a reverse-mode rule. Forward mode is refused unless `jvp` says where it comes from.

    Args:
      fun: the function, of arrays or pytrees of arrays.
      nondiff_argnums: positions of arguments that are no arrays (functions, strings). `fwd` takes them where `fun`
        does; they come first among the arguments of `bwd`.
      jvp: where forward mode comes from: None, "transpose", "fwd" or "primal", see `custom_rules`.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> @pb.custom_vjp
    ... def clip_gradient(lo, hi, x):
    ...     return x
    >>> clip_gradient.defvjp(lambda lo, hi, x: (x, (lo, hi)),
    ...                      lambda res, g: (None, None, pnp.clip(g, *res)))
    >>> print(pb.grad(lambda x: clip_gradient(-1., 1., x) * 5.)(2.))
    1.0
    """
