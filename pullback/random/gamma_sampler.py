"""Gamma numbers: the primitive `random_gamma` and its derivative.

Samples come from the rejection method of Marsaglia and Tsang, "A simple method for generating gamma variables" (2000);
each element has its own key, so that it could be drawn alone. Their derivative by the parameter is that of the
quantile at fixed probability: dz/da = -(dP/da) / (dP/dz) for the distribution function P(a, z); see Figurnov, Mohamed
and Mnih, "Implicit reparameterization gradients" (2018).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from pullback._core import dtypes
from pullback._core.array import Array, lift
from pullback._core.jaxpr import Jaxpr, eval_jaxpr
from pullback._core.primitive import Primitive
from pullback._core.staging import stage
from pullback._core.types import ShapedArray
from pullback._core.zeros import Zero, zero_of
from pullback._higher_order.control.while_loop import while_loop
from pullback._ops.compare import eq, select
from pullback._ops.elementwise import log, pow, sqrt
from pullback._ops.incomplete_gamma import gamma_log_derivative
from pullback._ops.reduce import reduce_or
from pullback._ops.shape import broadcast_to, full, move_axis
from pullback._xla.evaluate import eagerly
from pullback.random.continuous import standard_exponential
from pullback.random.generators import split_keys
from pullback.random.samplers import standard_normal, unit_uniform

# --- primitives composed of other operations, traced once for each type ---


def composed(name: str, fun: Callable) -> Primitive:
    """A primitive that computes `fun(*arrays, **params)`; jaxprs show it as one equation."""
    p = Primitive(name)

    @functools.lru_cache(maxsize=256)
    def traced(avals: tuple[ShapedArray, ...], x64: bool, **params: Any) -> Jaxpr:
        closed = eagerly(stage, lambda *args: [fun(*args, **params)], [aval.strip_weak_type() for aval in avals])
        assert not closed.consts, f"{name} closes over arrays"
        return closed.jaxpr

    def jaxpr_for(operands: Any, params: dict) -> Jaxpr:
        return traced(tuple(x.aval for x in operands), dtypes.canonicalize_dtype(float).itemsize == 8, **params)

    p.abstract_eval = lambda *avals, **params: traced(
        avals, dtypes.canonicalize_dtype(float).itemsize == 8, **params
    ).out_avals[0]
    p.evaluate = lambda *args, **params: eagerly(eval_jaxpr, jaxpr_for(args, params), [], *args)[0]
    p.lower = lambda ctx, *operands, **params: ctx.call(jaxpr_for(operands, params), operands, name)[0]
    return p


def _any(x: Array) -> Array:
    return reduce_or(x, tuple(range(x.ndim)))


# --- random_gamma ---


def _parts(keys: Array, n: int) -> list[Array]:
    """`n` new keys from each key."""
    parts = split_keys(keys, (n,))
    return [parts[..., i, :] for i in range(n)]


def _draw(keys: Array, a: Array, log_space: bool) -> Array:
    shape, dtype = a.shape, a.dtype
    large = a >= 1
    # a sample for a < 1 is one for a + 1, times a power of a uniform number
    d = select(large, a, a + 1) - 1.0 / 3.0
    c = (1.0 / 3.0) / sqrt(d)

    def rejected(y: Array, v: Array, u: Array) -> Array:
        return (u >= 1 - 0.0331 * (y * y)) & (log(u) >= y * 0.5 + d * ((1 - v) + log(v)))

    def positive(carry: Any) -> Any:
        keys, x, v = carry
        again = v <= 0
        keys, drawn = _parts(keys, 2)
        new = standard_normal(drawn, (), dtype)
        return keys, select(again, new, x), select(again, 1 + new * c, v)

    def attempt(carry: Any) -> Any:
        keys, y, v, u = carry
        again = rejected(y, v, u)
        keys, for_normal, for_uniform = _parts(keys, 3)
        _, x, root = while_loop(
            lambda carry: _any(carry[2] <= 0), positive, (for_normal, full(shape, 0, dtype), full(shape, -1, dtype))
        )
        return (
            keys,
            select(again, x * x, y),
            select(again, root * root * root, v),
            select(again, unit_uniform(for_uniform, (), dtype), u),
        )

    keys, for_boost = _parts(keys, 2)
    start = (keys, full(shape, 0, dtype), full(shape, 1, dtype), full(shape, 2, dtype))
    v = while_loop(lambda carry: _any(rejected(*carry[1:])), attempt, start)[2]
    if log_space:
        power = -standard_exponential(for_boost, (), dtype)
        boost = select(large | (power == 0), full(shape, 0, dtype), power * (1 / a))
        return (log(d) + log(v)) + boost
    boost = pow(1 - unit_uniform(for_boost, (), dtype), 1 / a)
    return d * v * select(large, full(shape, 1, dtype), boost)


random_gamma_p: Primitive = composed("random_gamma", _draw)


def random_gamma(keys: Array, a: Array, log_space: bool) -> Array:
    """Gamma numbers with parameter `a` [...] (or their logarithms), each from its own key: keys [..., 2]."""
    return random_gamma_p.bind(keys, a, log_space=log_space)


def _gamma_jvp(primals, tangents, log_space):
    keys, a = primals
    z = random_gamma_p.bind(keys, a, log_space=log_space)
    t = tangents[1]
    if type(t) is Zero:
        return z, zero_of(z.aval)
    if log_space:
        return z, t * gamma_log_derivative(a, z)
    # where z underflowed its logarithm is lost, and the derivative underflows too
    derivative = z * gamma_log_derivative(a, log(z))
    return z, t * select(eq(z, lift(z.dtype.type(0))), full(z.shape, 0, z.dtype), derivative)


def _gamma_batch(trace, operands, dims, log_space):
    (keys, a), (b_keys, b_a) = operands, dims
    size = keys.shape[b_keys] if b_a is None else a.shape[b_a]
    keys = broadcast_to(keys, (size, *keys.shape)) if b_keys is None else move_axis(keys, b_keys, 0)
    a = broadcast_to(a, (size, *a.shape)) if b_a is None else move_axis(a, b_a, 0)
    return random_gamma_p.bind(keys, a, log_space=log_space), 0


random_gamma_p.jvp = _gamma_jvp
random_gamma_p.batch = _gamma_batch
