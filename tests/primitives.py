"""Primitives of the tests' own: their rules are right but for those that a test puts in their place."""

from refusals import raises

import pullback.numpy as pnp
from pullback import errors
from pullback.extend.core import Primitive, instantiate

METHODS = {
    "kernel": "def_kernel",
    "impl": "def_impl",
    "type": "def_abstract_eval",
    "lowering": "def_lowering",
    "jvp": "def_jvp",
    "transpose": "def_transpose",
    "batch": "def_batch",
}


def with_rules(p, right, rules):
    """The primitive with the right rules, of which some are replaced, or left out where they are None."""
    for which, rule in {**right, **rules}.items():
        if rule is not None:
            getattr(p, METHODS[which])(rule)
    return p


def twice(**rules):
    """x + x."""
    p = Primitive("twice")

    def kernel(x):
        return x + x

    def typing(x):
        return x

    def lowering(ctx, x):
        return ctx.op("stablehlo.add", [x, x])

    def jvp(primals, tangents):
        return p.bind(*primals), p.bind(instantiate(tangents[0]))

    def transpose(ct, x):
        return [p.bind(ct)]

    def batch(operands, dims):
        return p.bind(*operands), dims[0]

    return with_rules(
        p,
        {"kernel": kernel, "type": typing, "lowering": lowering, "jvp": jvp, "transpose": transpose, "batch": batch},
        rules,
    )


def both(**rules):
    """(x + y, x - y)."""
    p = Primitive("both", multiple_results=True)

    def kernel(x, y):
        return [x + y, x - y]

    def typing(x, y):
        return [x, x]

    def lowering(ctx, x, y):
        return [ctx.op("stablehlo.add", [x, y]), ctx.op("stablehlo.subtract", [x, y])]

    def jvp(primals, tangents):
        return p.bind(*primals), p.bind(*map(instantiate, tangents))

    def transpose(cts, x, y):
        return p.bind(*map(instantiate, cts))

    def batch(operands, dims):
        return p.bind(*operands), dims[0]

    return with_rules(
        p,
        {"kernel": kernel, "type": typing, "lowering": lowering, "jvp": jvp, "transpose": transpose, "batch": batch},
        rules,
    )


def total(p):
    """The sum of the first result of a primitive, as a function of its operands."""

    def fun(*args):
        out = p.bind(*args)
        return pnp.sum(out[0] if p.multiple_results else out)

    return fun


def refused(*parts, error=errors.RuleError):
    return raises(error, *parts)
