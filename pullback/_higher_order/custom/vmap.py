"""Custom rules under `vmap`: the function and each of its rules, batched in the same way or by a vmap rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pullback._core.array import lift
from pullback._core.flat_function import WithAux
from pullback._core.lists import chosen, filled
from pullback._core.primitive import Primitive
from pullback._core.types import ShapedArray, is_trivial
from pullback._core.typing import AnyValue
from pullback._core.zeros import Zero, nonzero, zero_of
from pullback._higher_order.custom.call import CustomCall, DerivedCall, RematRules, replaced
from pullback._ops.families import scalar_like
from pullback._ops.own_types import entry, stack_entries, sum_of_entries
from pullback._ops.shape import broadcast_in_dim, instantiate
from pullback._ops.slicing import pad
from pullback._transforms.jvp import jvp_flat
from pullback._transforms.vmap import BatchTrace, batch_flat, moved, repeated, without_leading


class BatchedCall:
    """The function and rules of a `CustomCall` under `vmap`; results and their tangents have the batch axis in front.

    A result that depends on no batched operand is `shared` by the examples and has no batch axis: its value, tangent
    and cotangent are those of the first example. The first of function and rules to run decides which results are
    shared.
    """

    def __init__(self, inner: CustomCall, dims: tuple, trace: BatchTrace):
        self.inner = inner
        self.dims = dims
        self.size = trace.size
        self.axis_name = trace.axis_name
        self.shared: list[bool] | None = None

    def call(self) -> DerivedCall:
        """The batched function with its batched rules."""
        inner = self.inner
        return replaced(
            inner,
            fun=self.fun_by_rule if inner.vmap else self.fun,
            jvp=self.jvp if inner.jvp else None,
            fwd=self.fwd if inner.fwd else None,
            bwd=self.bwd if inner.bwd else None,
            vmap=None,
            linearize=self.linearize if inner.linearize else None,
            batch=None,
            remat=self.remat(),
            transpose=None,
            rules_key=inner.rules_key and ("vmap", inner.rules_key, self.dims, self.size, self.axis_name),
        )

    def run(self, fun, values, dims):
        return batch_flat(fun, values, dims, self.size, self.axis_name)

    def out_dims(self) -> list[int | None]:
        """The batch axes of the results, once the function or a rule has run."""
        return [None if s else 0 for s in self.shared or ()]

    def results(self, values: Sequence[Any], dims: Sequence[int | None]) -> list[Any]:
        """The results with their batch axis in front, the shared ones without."""
        if self.shared is None:
            self.shared = [d is None for d in dims]
        return [self.leaving(v, d, s) for v, d, s in zip(values, dims, self.shared, strict=True)]

    def leaving(self, value: AnyValue, dim: int | None, shared: bool) -> Any:
        """A result, or its tangent, with the batch axis in front, or without one if it is shared."""
        if dim is None:
            return lift(value) if shared else repeated(value, self.size)
        return entry(value, 0, dim) if shared else moved(lift(value), dim, 0)

    def fun(self, *values):
        outs, dims, _ = self.run(self.inner.fun, values, self.dims)
        return self.results(outs, dims)

    def fun_by_rule(self, *values):
        given = [v if d is None else moved(lift(v), d, 0) for v, d in zip(values, self.dims, strict=True)]
        result = self.inner.vmap(self.size, [d is not None for d in self.dims], given)
        if result is None:
            return self.fun(*values)
        outs, batched = result
        return self.results(outs, [0 if b else None for b in batched])

    def jvp(self, primals, tangents):
        return self.by_jvp(self.inner.jvp, primals, tangents)

    def linearize(self, primals, tangents):
        return self.by_jvp(self.inner.linearize, primals, tangents)

    def by_jvp(self, inner, primals, tangents):
        n = len(primals)
        where = [i for i, t in enumerate(tangents) if type(t) is not Zero]

        @WithAux
        def rule(*args):
            inner_primals = args[:n]
            inner_tangents = [zero_of(lift(p).aval) for p in inner_primals]
            for i, t in zip(where, args[n:], strict=True):
                inner_tangents[i] = t
            outs, touts = inner(list(inner_primals), inner_tangents)
            moving, present = nonzero(touts)
            return [*outs, *moving], present

        results, dims, _ = self.run(
            rule, [*primals, *(tangents[i] for i in where)], [*self.dims, *(self.dims[i] for i in where)]
        )
        m = len(rule.aux)
        outs, rest = self.results(results[:m], dims[:m]), iter(zip(results[m:], dims[m:], strict=True))
        return outs, [
            self.leaving(*next(rest), s) if p else zero_of(out.aval)
            for out, p, s in zip(outs, rule.aux, self.shared or (), strict=True)
        ]

    def fwd(self, primals, active):
        return self.saving(lambda xs: self.inner.fwd(xs, active), primals, self.dims)

    def saving(self, rule, values, dims):
        """Results and residuals of a rule that returns `(outs, residuals, static)`, batched."""

        @WithAux
        def flat(*args):
            outs, residuals, static = rule(args)
            return [*outs, *residuals], (len(outs), static)

        results, out_dims, _ = self.run(flat, values, dims)
        n, static = flat.aux
        outs = self.results(results[:n], out_dims[:n])
        return outs, [lift(r) for r in results[n:]], (static, tuple(out_dims[n:]))

    def bwd(self, static, residuals, cts):
        return self.cotangents(self.inner.bwd, static, residuals, cts)

    def cotangents(self, bwd, static, residuals, cts):
        """The cotangents of the arguments by a bwd rule, batched."""
        inner_static, residual_dims = static
        where = [i for i, ct in enumerate(cts) if type(ct) is not Zero]
        shared = self.shared or [False] * len(cts)

        @WithAux
        def rule(*args):
            inner_cts = [
                Zero(ct.aval if s else without_leading(ct.aval)) if type(ct) is Zero else None
                for ct, s in zip(cts, shared, strict=True)
            ]
            for i, ct in zip(where, args[len(residuals) :], strict=True):
                inner_cts[i] = ct
            return nonzero(bwd(inner_static, args[: len(residuals)], inner_cts))

        given = [self.of_first(cts[i]) if shared[i] else cts[i] for i in where]
        results, dims, trace = self.run(rule, [*residuals, *given], [*residual_dims, *(0 for _ in where)])
        parts = iter(zip(results, dims, strict=True))
        cts_in: list[Any] = []
        for present, dim in zip(rule.aux, self.dims, strict=True):
            if not present:
                cts_in.append(None)
                continue
            value, d = next(parts)
            if dim is not None:
                cts_in.append(trace.materialize(value, d, dim))
            else:
                # the cotangent of an argument that all examples share is the sum of theirs
                cts_in.append(sum_of_entries(trace.materialize(value, d)))
        return cts_in

    def remat(self) -> RematRules | None:
        """The rules under `checkpoint`, batched like those without."""
        inner = self.inner.remat
        if inner is None or inner.fwd is None:
            return inner

        def fwd(policy, primals, active):
            return self.saving(lambda xs: inner.fwd(policy, xs, active), primals, self.dims)

        def rem(static, residuals, primals, active):
            inner_static, dims = static
            n = len(residuals)

            def rule(xs):
                return inner.rem(inner_static, xs[:n], xs[n:], active)

            return self.saving(rule, [*residuals, *primals], [*dims, *self.dims])

        def bwd(static, residuals, cts):
            return self.cotangents(inner.bwd, static, residuals, cts)

        return RematRules(fwd, rem, bwd, inner.by_policy)

    def of_first(self, ct: AnyValue) -> Any:
        """The cotangent of a shared result as a batched one: that of the first example, then zeros."""
        if self.size == 0:
            raise ValueError(
                f"vmap of {self.inner.label} over an axis of length 0: there is no example that the "
                "derivative of a result without a batch axis could be computed for"
            )
        if type(ct.aval) is not ShapedArray:
            zeros = [instantiate(Zero(ct.aval))] * (self.size - 1)
            return stack_entries([ct, *zeros], ct.aval)
        shape = ct.aval.shape
        row = broadcast_in_dim(ct, (1, *shape), range(1, len(shape) + 1))
        return pad(row, scalar_like(0, ct.aval.dtype), [(0, self.size - 1, 0), *((0, 0, 0) for _ in shape)])


def jvp_with_batching_rule(primitive: Primitive, call: CustomCall, primals: Sequence[Any], tangents: Sequence[Any]):
    """Forward mode of a function whose only rule is for `vmap`: its derivative has the derivative of that rule.

    Thus `vmap` of the derivative is the derivative of the vmap rule.
    """
    m = len(primals)
    where = [i for i, t in enumerate(tangents) if type(t) is not Zero]

    @WithAux
    def results(fun, xs, moving):
        dots: list[Any] = [zero_of(lift(x).aval) for x in xs]
        for i, t in zip(where, moving, strict=True):
            dots[i] = t
        outs, touts = jvp_flat(fun, xs, dots)
        moves = [not is_trivial(t.aval) for t in touts]
        return [*outs, *(instantiate(t) for t, m in zip(touts, moves, strict=True) if m)], moves

    def vmap(size, batched, operands):
        captured = len(call.captured)
        if any(batched[:captured]) or any(batched[m + k] for k, i in enumerate(where) if i < captured):
            return None
        # a value is batched where its tangent is
        xs, moving, flags = list(operands[:m]), list(operands[m:]), list(batched[:m])
        for k, i in enumerate(where):
            if batched[m + k] and not flags[i]:
                xs[i], flags[i] = repeated(xs[i], size), True
            elif flags[i] and not batched[m + k]:
                moving[k] = repeated(moving[k], size)

        @WithAux
        def rule(*values):
            return call.vmap(size, flags, list(values))

        flat = results(rule, xs, moving)
        return flat, [*rule.aux, *chosen(rule.aux, results.aux)]

    def fun(*operands):
        return results(call.fun, operands[:m], operands[m:])

    derived = DerivedCall(fun, call.name, call.label, vmap=vmap)
    flat = primitive.bind(*primals, *(tangents[i] for i in where), call=derived)
    moves = results.aux
    outs = flat[: len(moves)]
    return outs, filled(moves, flat[len(moves) :], [zero_of(out.aval) for out in outs])
