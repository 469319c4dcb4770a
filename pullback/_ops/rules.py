"""Rules shared by families of primitives, independent of particular ones."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from pullback._core.primitive import OTHER, Primitive
from pullback._core.zeros import Zero, zero_of


def linear_jvp(p: Primitive) -> None:
    """Give a primitive of one operand the jvp rule of a linear map: itself, applied to the tangent."""

    def jvp(primals, tangents, **params):
        (x,), (t,) = primals, tangents
        y = p.bind(x, **params)
        return y, zero_of(y.aval) if type(t) is Zero else p.bind(t, **params)

    p.jvp = jvp


def zero_jvp(p: Primitive) -> None:
    """Give a primitive the jvp rule of a locally constant function: a symbolic zero."""

    def jvp(primals, tangents, **params):
        y = p.bind(*primals, **params)
        return (y, [zero_of(z.aval) for z in y]) if p.multiple_results else (y, zero_of(y.aval))

    p.jvp = jvp


def no_derivative(name: str, argument: str) -> Callable:
    """The tangent rule of an operand without derivative here: it raises NotImplementedError with an explanation."""

    def refuse(t, y, *primals):
        raise NotImplementedError(
            f"{name} has no derivative with respect to {argument}: differentiate with respect to "
            "the other argument only, or stop_gradient this one"
        )

    return refuse


def keeps_type(p: Primitive) -> None:
    """Set the typing rule: the result has the type of the first operand."""
    p.abstract_eval = lambda x, *_, **params: x


def per_operand_jvp(p: Primitive, add: Callable, *tangent_rules: Callable | None) -> None:
    """Set a jvp rule as a sum over operands: `rule(t, y, *primals, **params)`, None for a locally constant operand."""

    def jvp(primals, tangents, **params):
        y = p.bind(*primals, **params)
        total: Any = None
        for rule, t in zip(tangent_rules, tangents, strict=True):
            if rule is not None and type(t) is not Zero:
                part = rule(t, y, *primals, **params)
                total = part if total is None else add(total, part)
        return y, zero_of(y.aval) if total is None else total

    p.jvp = jvp


def bilinear(p: Primitive, add: Callable, scale: Callable) -> None:
    """Set the rules of a product. `scale(n, x)` is n times x, for Leibniz' rule of the derivatives of x(t) y(t)."""
    p.has(bilinear=True)
    p.factor = OTHER

    def jvp(primals, tangents, **params):
        (x, y), (t, u) = primals, tangents
        z = p.bind(x, y, **params)
        if type(u) is Zero:
            return z, zero_of(z.aval) if type(t) is Zero else p.bind(t, y, **params)
        second = p.bind(x, u, **params)
        return z, second if type(t) is Zero else add(p.bind(t, y, **params), second)

    def taylor(primals, series, **params):
        x, y = ([primal, *(terms or ())] for primal, terms in zip(primals, series, strict=True))
        out = []
        for k in range(max(len(x), len(y))):
            # a constant has only the first term
            parts = [
                scale(math.comb(k, j), p.bind(x[j], y[k - j], **params))
                for j in range(k + 1)
                if j < len(x) and k - j < len(y)
            ]
            out.append(functools.reduce(add, parts))
        return out[0], out[1:]

    p.jvp = jvp
    p.taylor = taylor


def quotient_taylor(p: Primitive, product: Primitive, add: Callable, neg: Callable, scale: Callable) -> None:
    """Set the Taylor rule of a quotient z: by Leibniz' rule, its product with y has the series of x."""

    def taylor(primals, series):
        (x, y), (xs, ys) = primals, series
        z = [p.bind(x, y)]
        for k in range(1, 1 + len(xs or ys)):
            parts = (
                [neg(scale(math.comb(k, j), product.bind(ys[j - 1], z[k - j]))) for j in range(1, k + 1)] if ys else []
            )
            z.append(p.bind(functools.reduce(add, parts if xs is None else [xs[k - 1], *parts]), y))
        return z[0], z[1:]

    p.taylor = taylor
