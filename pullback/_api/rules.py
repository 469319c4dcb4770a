"""`custom_rules`: a function with derivative, transpose and batching rules written by its author.

A rule is called only if its transformation is applied, runs as plain Python then, and is checked: its results must
have the structure, shapes and dtypes that the mathematics requires.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from types import EllipsisType
from typing import Any, ClassVar, Concatenate, Self, overload

from pullback._api.made_rules import sum_of_jvps
from pullback._api.reverse_rules import ReverseRules
from pullback._core.arguments import (
    argument_path,
    bind_positionally,
    canonical_argnums,
    canonical_names,
    check_leaf,
    signature,
)
from pullback._core.array import Array, ConcreteArray, lift
from pullback._core.errors import RuleError, UnexpectedTracerError, boundary, describe_function, fold, wrapping
from pullback._core.hitypes import is_own_value, registered
from pullback._core.pickling import travels_by_value
from pullback._core.primitive import discharge_refs
from pullback._core.ref_arguments import holds_refs, passed_as_they_are
from pullback._core.refs import Ref
from pullback._core.trace import Tracer, context
from pullback._core.tree import LEAF, tree_flatten
from pullback._core.tree_paths import tree_flatten_with_path
from pullback._core.typing import CallableObject, F, P, Q, R
from pullback._higher_order.custom.call import CustomCall, closing_over
from pullback._higher_order.custom.captures import CaptureSearch, traced_arguments
from pullback._higher_order.custom.labels import call_site, function_label
from pullback._higher_order.custom.order import Identity, note_call
from pullback._higher_order.custom.primitive import custom_call_p
from pullback._higher_order.custom.ruled_call import results_for_user
from pullback._higher_order.custom.signature import Layout, count_plain_parameters, positions_of
from pullback._higher_order.custom.user_remat import UserRemat
from pullback._higher_order.custom.user_rules import UserCall, recursion_message
from pullback._xla.evaluate import evaluator

_NO_KEYWORDS: dict[str, Any] = {}
_FORWARD_SOURCES = (None, "transpose", "fwd", "primal")


class custom_rules(ReverseRules, CallableObject[R, Q]):
    """A function with any subset of rules: forward by `defjvp` or `defjvps`, reverse by `defvjp`, `vmap` by `defvmap`.

    Forward-mode transformations such as `jvp` use the forward rule, reverse-mode ones such as `grad` the reverse rule;
    a linear function may have just its transpose, set by `deftranspose`. Missing rules are derived from the given ones
    if possible. `custom_jvp`, `custom_vjp` and `custom_vmap` are this class under JAX's names.

    The rules cover the arguments. With respect to traced values that the function captures, or gets by keyword, the
    function itself is differentiated; the rules may use such values freely.

    Args:
      fun: the function, of arrays or pytrees of arrays.
      nondiff_argnums, nondiff_argnames: arguments that are not arrays (functions, strings), by position or name. They
        come first among the arguments of the jvp and bwd rules.
      jvp: the source of forward mode if there is a reverse rule and no forward one. None: forward mode is an error.
        "transpose": the bwd rule is transposed (it must be linear in the cotangent). "fwd": the fwd rule is
        differentiated. "primal": the function itself is.

    Keyword-only parameters reach every rule by keyword. As a method decorator it binds `self`, which the rules get as
    a first, nondifferentiable argument.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> f = pb.custom_rules(pnp.sin)
    >>> _ = f.defjvp(lambda primals, tangents: (f(*primals), 2. * tangents[0]))
    >>> f.defvjp(lambda x: (f(x), None), lambda _, ct: (3. * ct,))
    >>> print(pb.jvp(f, (0.,), (1.,))[1], pb.grad(f)(0.))
    2.0 3.0
    """

    identity: Identity

    jvp_symbolic_zeros: bool
    bwd_role: str
    vjp_symbolic_zeros: bool
    calls: list[int]
    nondiff_argnums: tuple[int, ...]
    __own__: frozenset[str]
    __name__: str

    # the names of the methods that set a derivative, for messages
    definable: ClassVar[tuple[str, ...]] = "defjvp(rule)", "defjvps(*rules)", "defvjp(fwd, bwd)"

    @boundary
    def __init__(
        self,
        fun: Callable[Q, R],
        nondiff_argnums: int | Sequence[int] = (),
        nondiff_argnames: str | Sequence[str] = (),
        *,
        jvp: str | None = None,
    ):
        kind = type(self).__name__
        if not callable(fun):
            raise TypeError(f"{kind}: expected a function, got {fun!r}")
        self.fun = fun
        self.jvp_rule: Callable[..., Any] | None = None
        self.jvp_argnums: tuple[int, ...] | None = None
        self.jvp_symbolic_zeros = False
        self.fwd_rule: Callable[..., Any] | None = None
        self.bwd_rule: Callable[..., Any] | None = None
        self.bwd_role = "bwd rule"
        self.vjp_argnums: tuple[int, ...] | None = None
        self.vjp_symbolic_zeros = False
        self.vmap_rule: Callable[..., Any] | None = None
        self.remat_rules: UserRemat | None = None
        if jvp not in _FORWARD_SOURCES:
            raise ValueError(f"{kind}: jvp must be one of {', '.join(map(repr, _FORWARD_SOURCES))}, got {jvp!r}")
        self.forward = jvp
        self.identity = Identity()  # shared with the bound methods of objects
        self._bound = False
        self._signature = signature(fun)
        self.nondiff_argnums = (
            *canonical_argnums(kind, nondiff_argnums, what="nondiff_argnums"),
            *positions_of(self._signature, canonical_names(kind, nondiff_argnames, "nondiff_argnames"), self._label()),
        )
        self._layouts: dict[int, Layout] = {}
        self._plain_count = count_plain_parameters(self._signature)
        self._capture_search = CaptureSearch(self, [fun])
        self.__own__ = frozenset(self.__dict__)
        wrapping(fun)(self)
        if not hasattr(self, "__name__"):
            self.__name__ = type(fun).__name__ if not isinstance(fun, functools.partial) else fun.func.__name__

    def __getattr__(self, name: str) -> Any:
        # a method of another decorator of rules, which sets a rule of the function inside
        if name.startswith("def") and isinstance(self.__dict__.get("fun"), custom_rules):
            return getattr(self.fun, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __call__(self, *args: Q.args, **kwargs: Q.kwargs) -> R:
        try:
            trace = context.trace
            if trace is evaluator:
                # nothing is being differentiated, now or later: the function runs as if it were not decorated
                return self.fun(*args, **kwargs)
            keywords = _NO_KEYWORDS
            if kwargs or len(args) != self._plain_count:
                args, keywords = bind_positionally(  # type: ignore[assignment]
                    self.fun, self._signature, args, kwargs, self._label()
                )
            original = args
            for x in args:
                if type(x) is not ConcreteArray:
                    break
            else:
                if not kwargs and not self.nondiff_argnums:
                    note_call(self.identity)
                    return self.fun(*args)  # type: ignore[call-arg]  # the same as below, faster
            layout = self._layouts.get(len(args)) or self.layout(len(args))
            fixed: Sequence[Any] = ()
            traced: dict[int, str] = {}  # by identity, the arguments that hold each tracer
            if layout.nondiff:
                args, fixed = layout.split(args)  # type: ignore[assignment]
                traced = self._traced(fixed, layout.nondiff)
            leaves: Sequence[Any] = args
            for x in args:
                if not isinstance(x, Array):
                    leaves, in_tree = tree_flatten(args)
                    if registered:
                        leaves = [lift(x) if is_own_value(x) else x for x in leaves]  # one may be made of traced parts
                    break
            else:
                in_tree = layout.of_arrays
            for x in leaves:
                if isinstance(x, Tracer):
                    break
            else:
                if not traced:
                    # no rule can be needed, but the function may capture traced values
                    note_call(self.identity)
                    return self.fun(*original, **keywords)
            note_call(self.identity)
            # a bwd rule runs long after the call; other rules look up the location when they need it
            site = None if self.bwd_rule is None and self.remat_rules is None else call_site()
            refs: Sequence[Ref] = ()
            user_call = UserCall(self, layout, in_tree, fixed, keywords, site)
            try:
                if leaves is not args:
                    leaves = [x if isinstance(x, Array) else lift(x) for x in leaves]
            except TypeError:
                if not holds_refs(leaves):
                    self._refuse_leaves(args, layout)
                    raise
                # references are part of the structure, from which function and rules get them
                refs = [x for x in leaves if isinstance(x, Ref)]
                leaves, user_call.in_tree = tree_flatten(passed_as_they_are(args))
                leaves = [x if isinstance(x, Array) else lift(x) for x in leaves]
            call: CustomCall = user_call
            tracers = self._capture_search.tracers(self, [*fixed, *refs] if refs else fixed, keywords)
            if tracers:
                call = closing_over(user_call, tracers, held=[traced.get(id(x)) for x in tracers])
                leaves = [*tracers, *leaves]
            if discharge_refs[0]:
                outs = custom_call_p.bind(*leaves, call=call)
            else:
                outs = trace.process_primitive(custom_call_p, leaves, {"call": call})
            if registered:
                outs = results_for_user(outs)
            return outs[0] if user_call.out_tree is LEAF else user_call.out_tree.unflatten(outs)
        except Exception as error:
            if isinstance(error, UnexpectedTracerError) and not hasattr(error, "__notes__"):
                error.add_note(f"It was met in a call of {self._label()}.")
            if type(error) is RecursionError and (message := recursion_message(error, self)) is not None:
                raise RuleError(message) from None
            fold(error)
            raise

    def _label(self) -> str:
        return function_label(self)

    def closed_over_parts(self) -> tuple[Any, ...]:
        """The objects that may hold captured traced values: the function and its rules."""
        remat = self.remat_rules.parts() if self.remat_rules is not None else ()
        return self.fun, self.jvp_rule, self.fwd_rule, self.bwd_rule, self.vmap_rule, *remat

    def _traced(self, fixed: Sequence[Any], positions: Sequence[int]) -> dict[int, str]:
        # values held by `self` are captured
        held = [(i, x) for i, x in zip(positions, fixed, strict=True) if i > 0 or not self._bound]
        refused = self.bwd_rule is not None or self.remat_rules is not None
        return traced_arguments(self._label, self.fun, held, refused=refused)

    def _refuse_leaves(self, args: Sequence[Any], layout: Layout) -> None:
        for path, leaf in tree_flatten_with_path(tuple(args))[0]:
            where = argument_path(self.fun, layout.differentiable[path[0].idx], path[1:])
            message = f"{self._label()}: {where} (put arguments that are no arrays in nondiff_argnums)"
            check_leaf(leaf, message.__str__)

    def layout(self, count: int) -> Layout:
        """The positions of the differentiable arguments in calls with `count` positional arguments."""
        layout = self._layouts[count] = Layout(self._label(), self.nondiff_argnums, count)
        return layout

    def covered(self, argnums: Sequence[int], layout: Layout) -> tuple[int, ...]:
        """The indices, among the differentiable arguments of a call, of those that a rule covers."""
        positions = canonical_argnums(self._label(), argnums, layout.count)
        for i in positions:
            if i in layout.nondiff:
                raise ValueError(
                    f"{self._label()}: the rule's argnums={tuple(argnums)} name "
                    f"{argument_path(self.fun, i)}, which is in nondiff_argnums"
                )
        return layout.numbers(positions)

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Self: ...
    @overload
    def __get__(
        self: custom_rules[R, Concatenate[Any, P]], instance: object, owner: type | None = None
    ) -> Callable[P, R]: ...
    def __get__(self, instance: object, owner: type | None = None) -> Any:
        if instance is None:
            return self
        bound = object.__new__(type(self))
        bound.__dict__.update(self.__dict__)
        bound._bound = True
        bound._layouts = {}
        bound.nondiff_argnums = (0, *(i for i in self.nondiff_argnums if i != 0))
        return functools.partial(bound, instance)  # type: ignore[arg-type]

    def __reduce__(self) -> str | tuple[Any, ...]:
        if self._bound:
            raise TypeError(f"{self._label()}: a bound method with rules cannot be pickled; pickle its object")
        name = getattr(self, "__qualname__", self.__name__)
        if travels_by_value(self, self.__module__, name):
            return object.__new__, (type(self),), self.__dict__
        return name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {describe_function(self.fun)}>"

    # --- the rules ---

    def _set(self, argnums: Any = None, **rules: Any) -> tuple[int, ...] | None:
        for name, rule in rules.items():
            if not callable(rule):
                raise TypeError(
                    f"{self._label()}: expected a function as the {name.removesuffix('_rule')} rule, got {rule!r}"
                )
            setattr(self, name, rule)
        self._capture_search = CaptureSearch(self, self.closed_over_parts())
        return None if argnums is None else canonical_argnums(self._label(), argnums)

    @boundary
    def defjvp(self, jvp: F, symbolic_zeros: bool = False, *, argnums: int | Sequence[int] | None = None) -> F:
        """Set the forward rule `jvp(primals, tangents) -> (primal_out, tangent_out)`; returns it.

        Args:
          jvp: the rule. `primals` and `tangents` are tuples with an entry for each differentiable argument; arguments
            in `nondiff_argnums` come before them. The tangent of an integer or a bool has dtype `float0`, whose only
            value is zero: it supports no arithmetic.
          symbolic_zeros: whether a tangent that is known to vanish is passed as a `SymbolicZero`, with the attributes
            `shape` and `dtype`, in place of an array of zeros. The rule may return such objects too.
          argnums: the arguments that the rule covers, if not all; `tangents` then has an entry for each of them, and
            differentiation with respect to the others is an error that names the argument.
        """
        self.jvp_argnums = self._set(argnums, jvp_rule=jvp)
        self.jvp_symbolic_zeros = symbolic_zeros
        return jvp

    @boundary
    def defjvps(self, *jvps: Callable[..., Any] | EllipsisType | None) -> None:
        """Set a rule for each argument, `rule(tangent, primal_out, *primals) -> tangent_out`; their results are added.

        None stands for a tangent that vanishes, `...` for an argument without a rule: differentiation with respect to
        it is an error.

        >>> import pullback as pb
        >>> product = pb.custom_jvp(lambda x, y: x * y)
        >>> product.defjvps(lambda t, ans, x, y: t * y, lambda t, ans, x, y: x * t)
        >>> print(pb.grad(product, 1)(2., 3.))
        2.0
        """
        if self.nondiff_argnums:
            raise TypeError(f"{self._label()}: defjvps does not go with nondiff_argnums; use defjvp")
        for i, given in enumerate(jvps):
            if given is not None and given is not ... and not callable(given):
                raise TypeError(f"{self._label()}: defjvps expects functions, None or ..., got {given!r} as rule {i}")
        covered = [i for i, rule in enumerate(jvps) if rule is not ...]

        rule = sum_of_jvps(self, jvps, covered)
        self.defjvp(rule, argnums=None if len(covered) == len(jvps) else covered)

    @boundary
    def defvjp(
        self,
        fwd: Callable[..., Any],
        bwd: Callable[..., Any],
        symbolic_zeros: bool = False,
        optimize_remat: bool = False,
        *,
        argnums: int | Sequence[int] | None = None,
    ) -> None:
        """Set the reverse rule.

        Args:
          fwd: takes the function's arguments and returns `(primal_out, residuals)`. Residuals are a pytree of arrays
            and of anything else that `bwd` needs, such as strings.
          bwd: takes the residuals and the cotangent of the result, and returns a tuple with a cotangent for each
            differentiable argument; None is zero. Arguments in `nondiff_argnums` come before.
          symbolic_zeros: whether `fwd` gets every leaf as a `CustomVJPPrimal`, with the attributes `value` and
            `perturbed` (whether it is being differentiated), and `bwd` a `SymbolicZero` for a cotangent that vanishes.
          optimize_remat: whether `checkpoint` runs the function in the forward pass, and `fwd` in the backward pass
            alone. Otherwise it runs the part of `fwd` that gives the result, then the part that `bwd` needs: the same
            if `fwd` consists of operations that can be told apart, but not if one operation computes all.
          argnums: the arguments that the rule covers, if not all: `bwd` returns a cotangent for each of them.
        """
        self.vjp_argnums = self._set(argnums, fwd_rule=fwd, bwd_rule=bwd)
        self.bwd_role = "bwd rule"
        self.vjp_symbolic_zeros = symbolic_zeros
        if optimize_remat:
            self.remat_rules = UserRemat()
        elif self.remat_rules is not None and self.remat_rules.fwd is None:
            self.remat_rules = None

    @boundary
    def defremat(
        self,
        fwd: Callable[..., Any],
        rem: Callable[..., Any],
        bwd: Callable[..., Any],
        symbolic_zeros: bool = False,
    ) -> None:
        """Set the reverse rule under `checkpoint`: what is saved, and how the rest is recomputed from it.

        Without `checkpoint` the rule given by `defvjp` is used; if there is none, `rem` runs right after `fwd`. A
        policy that allows to save what the function returns, such as `everything_saveable`, counts as no checkpoint.

        Args:
          fwd: takes the function's arguments and returns `(primal_out, residuals)`: all that is saved, beside the
            arguments.
          rem: runs in the backward pass, takes these residuals and the arguments, and returns `(primal_out,
            residuals)`, those that `bwd` needs. The structure, shapes and dtypes of `primal_out` are checked.
          bwd: as for `defvjp`.
          symbolic_zeros: as for `defvjp`, for all three.

        >>> import pullback as pb, pullback.numpy as pnp
        >>> @pb.custom_vjp
        ... def norm(x):
        ...     return pnp.sqrt(pnp.sum(x * x))
        >>> norm.defremat(lambda x: (norm(x), None), lambda _, x: (norm(x), (x, norm(x))),
        ...               lambda res, ct: (ct * res[0] / res[1],))
        >>> print(pb.grad(pb.checkpoint(norm))(pnp.array([3., 4.])))
        [0.6 0.8]
        """
        self._set_remat(UserRemat(fwd, rem, bwd, symbolic_zeros=symbolic_zeros))

    def _set_remat(self, rules: UserRemat) -> None:
        for name, rule in zip(("fwd", "rem", "bwd"), rules.parts(), strict=True):
            if not callable(rule):
                raise TypeError(f"{self._label()}: expected a function as the {name} rule, got {rule!r}")
        self.remat_rules = rules
        self._capture_search = CaptureSearch(self, self.closed_over_parts())

    @boundary
    def deftranspose(self, transpose: F, linear_argnums: int | Sequence[int] | None = None) -> F:
        """Set the transpose of a linear function: both modes of its derivative follow, to any order; returns it.

        Args:
          transpose: `transpose(others, ct)` returns a tuple with a cotangent for each linear argument. `others` is the
            tuple of the arguments in which the function is not linear, `ct` like its result.
          linear_argnums: the arguments in which the function is linear; all of them if left out.

        >>> import pullback as pb, pullback.numpy as pnp
        >>> double = pb.custom_rules(lambda x: 2. * x)
        >>> _ = double.deftranspose(lambda others, ct: (print("transposed") or 2. * ct,))
        >>> print(pb.grad(lambda x: double(x) ** 2)(3.))
        transposed
        24.0
        """
        if self.nondiff_argnums:
            raise TypeError(
                f"{self._label()}: deftranspose does not go with nondiff_argnums; leave such arguments "
                "out of linear_argnums"
            )
        if not callable(transpose):
            raise TypeError(f"{self._label()}: expected a function as the transpose, got {transpose!r}")
        chosen = (
            None if linear_argnums is None else canonical_argnums(self._label(), linear_argnums, what="linear_argnums")
        )

        def linear(count):
            return tuple(range(count)) if chosen is None else canonical_argnums(self._label(), chosen, count)

        def others(args):
            return tuple(a for i, a in enumerate(args) if i not in linear(len(args)))

        def at(rest, moving):
            places = linear(len(rest) + len(moving))
            mine, kept = iter(moving), iter(rest)
            return [next(mine) if i in places else next(kept) for i in range(len(rest) + len(moving))]

        def jvp(primals, tangents, **keywords):
            return self(*primals, **keywords), self(*at(others(primals), tangents), **keywords)

        # the transpose is linear in the cotangent, and its transpose is the function
        back = custom_rules(transpose)
        back.defjvp(
            lambda primals, tangents, **keywords: (
                back(*primals, **keywords),
                back(primals[0], tangents[0], **keywords),
            ),
            argnums=1,
        )
        back.defvjp(
            lambda rest, ct, **keywords: (back(rest, ct, **keywords), rest),
            lambda rest, cts, **keywords: (self(*at(rest, cts), **keywords),),
            argnums=1,
        )
        if self.jvp_rule is None:
            self.defjvp(jvp, argnums=chosen)
        if self.fwd_rule is None:
            self.defvjp(lambda *args, **keywords: (self(*args, **keywords), others(args)), back, argnums=chosen)
            self.bwd_role = "transpose"
        return transpose

    @boundary
    def defvmap(self, rule: F) -> F:
        """Set the rule for `vmap`, `rule(axis_size, in_batched, *args) -> (out, out_batched)`; returns it.

        `in_batched` is a list with an entry for each argument, of the argument's structure, with a bool for each leaf:
        True if the leaf has a (leading) batch axis in `args`. `out_batched` does the same for the result; one bool
        covers all.
        """
        self._set(vmap_rule=rule)
        return rule
