"""The rule by which a scan asks a policy of `checkpoint` which values of its body are saved."""

from __future__ import annotations

from collections.abc import Sequence

from pullback._core.jaxpr import Equation, Jaxpr, Var
from pullback._core.lists import chosen, cut, fixed_point
from pullback._transforms.vmap import with_leading


def save(eqn: Equation, missing: Sequence[bool], saving):
    """The loop that stacks the values the policy saves in its body, and the one that recomputes the rest from these."""
    params = eqn.params
    n, m, length = params["num_consts"], params["num_carry"], params["length"]
    body = saving.flat(params["jaxpr"])
    consts, carry, xs = cut(body.invars, n, m)
    kept = saving.kept(body)
    whole = [k and type(v) is Var and v in kept for k, v in zip(missing, body.outvars, strict=True)]
    again = [k and not w for k, w in zip(missing, whole, strict=True)]
    saved = chosen(eqn.outvars, whole)
    if not any(again):
        return eqn, saved, None
    # a part of the carry is recomputed, step by step, if any recomputed value reads it
    moving = tuple(again[:m])
    changing = [v for v, out in zip(carry, body.outvars[:m], strict=True) if v is not out]

    def split(moving):
        return saving.split(body, [*chosen(body.outvars[:m], moving), *chosen(body.outvars[m:], again[m:])], changing)

    def read(part, moving):
        atoms = [*(v for e in part.again for v in e.invars), *chosen(body.outvars, (*moving, *again[m:]))]
        return {v for v in atoms if type(v) is Var} - set(part.saved)

    moving = fixed_point(lambda moving: tuple(v in read(split(moving), moving) for v in carry), moving)
    part = split(moving)
    live = read(part, moving)
    stacks = [
        next((outer for outer, v in zip(eqn.outvars[m:], body.outvars[m:], strict=True) if v is inner), None)
        for inner in part.saved
    ]
    more = [
        (inner, Var(with_leading(inner.aval, length)))
        for inner, stack in zip(part.saved, stacks, strict=True)
        if stack is None
    ]
    new = dict(more)
    first = eqn.replace(
        outvars=[*eqn.outvars, *new.values()],
        params={**params, "jaxpr": Jaxpr([], body.invars, part.first, [*body.outvars, *new])},
    )
    stacked = [new[inner] if stack is None else stack for inner, stack in zip(part.saved, stacks, strict=True)]
    given_consts, given_carry, given_xs = cut(eqn.invars, n, m)
    c_read, x_read = [v in live for v in consts], [v in live for v in xs]
    # a saved part of the carry is read from the saved values
    inner_carry = [Var(v.aval) if v in part.saved else v for v in chosen(carry, moving)]
    repeated = eqn.replace(
        invars=[*chosen(given_consts, c_read), *chosen(given_carry, moving), *chosen(given_xs, x_read), *stacked],
        outvars=[
            *(
                v if a else Var(v.aval)
                for v, a in zip(chosen(eqn.outvars[:m], moving), chosen(again[:m], moving), strict=True)
            ),
            *chosen(eqn.outvars[m:], again[m:]),
        ],
        params={
            **params,
            "num_consts": sum(c_read),
            "num_carry": sum(moving),
            "jaxpr": Jaxpr(
                [],
                [*chosen(consts, c_read), *inner_carry, *chosen(xs, x_read), *part.saved],
                part.again,
                [*chosen(body.outvars[:m], moving), *chosen(body.outvars[m:], again[m:])],
            ),
        },
    )
    return first, list(dict.fromkeys([*saved, *stacked])), repeated
