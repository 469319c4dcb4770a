"""The two libraries, with what a program needs beyond their common names."""

from types import SimpleNamespace

import jax
import jax.custom_batching
import jax.custom_derivatives
import jax.numpy
import jax.scipy.special
import numpy

import pullback
import pullback.core
import pullback.custom_batching
import pullback.custom_derivatives
import pullback.lax
import pullback.numpy
import pullback.scipy.special
from fuzz.classes import as_class


def dense(t, x):
    """A tangent or cotangent as an array, also if it is a symbolic zero."""
    if not isinstance(x, t.custom_derivatives.SymbolicZero):
        return x
    return numpy.zeros(x.shape, x.dtype) if x.dtype == jax.dtypes.float0 else t.numpy.zeros(x.shape, x.dtype)


def bounded_while(test, step, start, bound):
    """JAX's `while_loop` has no bound, and no reverse mode: the last of its steps do nothing."""

    def one(state, _):
        return jax.lax.cond(test(state), step, lambda s: s, state), None

    return jax.lax.scan(one, start, None, length=bound)[0]


PULLBACK = SimpleNamespace(
    t=pullback,
    np=pullback.numpy,
    lax=pullback.lax,
    host=numpy.array,
    dense=lambda x: dense(pullback, x),
    as_class=as_class,
    eval_jaxpr=lambda closed, *args: pullback.core.eval_jaxpr(closed.jaxpr, closed.consts, *args),
    bounded_while=lambda test, step, start, bound: pullback.lax.while_loop(test, step, start, max_steps=bound),
)
JAX = SimpleNamespace(
    t=jax,
    np=jax.numpy,
    lax=jax.lax,
    host=numpy.array,
    dense=lambda x: dense(jax, x),
    bounded_while=bounded_while,
    eval_jaxpr=lambda closed, *args: jax.core.eval_jaxpr(closed.jaxpr, closed.consts, *args),
)
