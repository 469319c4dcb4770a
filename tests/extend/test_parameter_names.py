"""What a user calls the parameters of a primitive means nothing to anything but its own rules."""

from __future__ import annotations

import numpy as np
import pytest
from wrappers import EAGER_AND_JIT

import pullback as pb
from pullback import lax
from pullback.core import ClosedJaxpr, Jaxpr

NAMES = [
    "note",
    "jaxpr",
    "branches",
    "call",
    "num_carry",
    "num_consts",
    "length",
    "cond_jaxpr",
    "body_jaxpr",
    "differentiated",
    "trace",
    "primitive",
    "args",
    "operands",
    "dims",
    "primals",
    "tangents",
    "cotangent",
    "values",
    "avals",
    "rule",
    "fun",
    "params",
    "self",
    "ctx",
]


class Counter:
    """An object that looks like a call of a custom function."""

    calls = None
    fun = staticmethod(abs)


def noted() -> list:
    traced = pb.make_jaxpr(lambda x: 0.0 * x)(1.0)
    return [traced.jaxpr, traced, (traced.jaxpr,), "text", 7, Counter()]


def keeping(name: str, note: object):
    """The identity as a primitive with one parameter."""
    p = pb.extend.core.Primitive("keep")

    def identity(x, /, **parameters):
        return x

    @p.def_jvp
    def jvp(primals, tangents, /, **parameters):
        return p.bind(*primals, **parameters), p.bind(*tangents, **parameters)

    @p.def_batch
    def batch(operands, dims, /, **parameters):
        return p.bind(*operands, **parameters), dims[0]

    p.def_kernel(identity)
    p.def_abstract_eval(identity)
    p.def_lowering(lambda ctx, x, /, **parameters: x)
    p.def_transpose(lambda ct, x, /, **parameters: [p.bind(ct, **parameters)])

    def keep(x):
        return p.bind(x, **{name: note})

    return keep


@pytest.mark.parametrize("which", range(6), ids=["jaxpr", "closed", "tuple", "text", "number", "object"])
@pytest.mark.parametrize("name", NAMES)
def test_names_of_parameters(name, which):
    note = noted()[which]
    assert isinstance(note, (Jaxpr, ClosedJaxpr, tuple, str, int, Counter))
    keep = keeping(name, note)
    f = pb.custom_jvp(lambda x, y: (x * 1.0, x * 1.0))

    @f.defjvp
    def f_jvp(primals, tangents):
        dx, dy = tangents
        return f(*primals), (dx + 0.0 * dy, keep(dx))

    def second(x):
        return f(x, 3.0)[1]

    def tangent(x, t):
        return pb.jvp(second, (x,), (t,))[1]

    def loop(x):
        return lax.scan(lambda c, _: (keep(c) * 2, None), x, None, length=3)[0]

    def branch(x):
        return lax.cond(x > 0, keep, lambda x: x, x)

    for wrap in EAGER_AND_JIT:
        assert float(wrap(tangent)(1.0, 1.0)) == 1
        assert float(wrap(pb.grad(second))(1.0)) == 1
        assert float(wrap(pb.grad(loop))(1.0)) == 8
        assert float(wrap(pb.grad(branch))(1.0)) == 1
        np.testing.assert_array_equal(np.asarray(wrap(pb.vmap(pb.grad(branch)))(np.ones(2, "float32"))), [1, 1])
    assert float(pb.grad(pb.checkpoint(keep))(1.0)) == 1
