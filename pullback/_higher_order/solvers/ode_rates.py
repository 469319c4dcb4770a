"""The right-hand sides that the derivatives of `odeint` solve, of tangents and adjoints; and on all lanes at once."""

from __future__ import annotations

from collections.abc import Sequence

from pullback._core.jaxpr import Jaxpr, eval_jaxpr
from pullback._core.lists import chosen
from pullback._core.trace import context
from pullback._ops.elementwise import neg
from pullback._ops.identity import stage_closed
from pullback._ops.shape import (
    instantiate,
)
from pullback._transforms.jvp import jvp_jaxpr
from pullback._transforms.linearize import linearize_flat
from pullback._transforms.transpose import pull
from pullback._transforms.vmap import BatchTrace, batch_jaxpr

# --- lanes: each `vmap` adds a leading axis to the times, the state, and the constants that have it ---

# marks the functions of problems that an adjoint solves in sequence: they are compiled with it, never alone
PART = "part of an adjoint"


def in_lanes(f: Jaxpr, lanes: Sequence[int], laned: Sequence[Sequence[bool]]) -> Jaxpr:
    """The function `(constants, t, y)` on all lanes at once; for each axis `laned` flags the constants that have it."""
    for size, mask in zip(lanes, laned, strict=True):
        state = (True,) * (len(f.invars) - len(mask))
        f, _ = batch_jaxpr(f, BatchTrace(context.trace, None, size), (*mask, *state), True)
    return f


def params_of(f: Jaxpr, num_consts: int, params: dict, **changed) -> dict:
    """The parameters of another problem in the same lanes."""
    same = {key: params[key] for key in ("lanes", "laned", "settings")}
    return {"f": f, "num_consts": num_consts, **same, "base": None, **changed}


def tangent_rate(f: Jaxpr, num_consts: int, active: tuple[bool, ...]) -> Jaxpr:
    """Map `(constants, their active tangents, t, y, ẏ)` to the derivatives of y and ẏ."""
    n, m = num_consts, len(f.outvars)
    derived, _ = jvp_jaxpr(f, (*active, False, *(True,) * m), True)
    invars, k = derived.invars, sum(active)
    consts, state, dots = invars[:n], invars[n : n + 1 + m], invars[n + 1 + m :]
    order = [*consts, *dots[:k], *state, *dots[k:]]
    rate = f.derive(("odeint tangent", active), lambda: Jaxpr([], order, derived.eqns, derived.outvars))
    if PART in f.cache:
        rate.cache[PART] = True
    return rate


def adjoint_rate(f: Jaxpr, num_consts: int, active: tuple[bool, ...]) -> Jaxpr:
    """Map `(constants, t, y, a, g)` to the derivatives of y, a and g."""
    n, m = num_consts, len(f.outvars)

    def rate(*args):
        xs, a = args[: n + 1 + m], args[n + 1 + m : n + 1 + 2 * m]
        outs, linear = linearize_flat(lambda *xs: eval_jaxpr(f, [], *xs), xs, (*active, False, *(True,) * m))
        cts = pull(linear, a)
        return [*outs, *(neg(instantiate(ct)) for ct in [*cts[n + 1 :], *chosen(cts[:n], active)])]

    avals = [*f.in_avals, *f.out_avals, *chosen(f.in_avals[:n], active)]
    result = f.derive(("odeint adjoint", active), lambda: stage_closed(rate, avals, "the adjoint of odeint"))
    result.cache[PART] = True
    return result
