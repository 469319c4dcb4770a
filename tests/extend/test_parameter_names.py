"""What a user calls the parameters of a primitive means nothing to anything but its own rules."""
from __future__ import annotations

import numpy as np
import pytest

import pullback as pb
from pullback import lax
from pullback.core import ClosedJaxpr, Jaxpr

NAMES = ["note", "jaxpr", "branches", "call", "num_carry", "num_consts", "length", "cond_jaxpr", "body_jaxpr",
         "differentiated"]


class Counter:
    """An object that looks like a call of a custom function."""

    calls = None
    fun = staticmethod(abs)


def noted() -> list:
    traced = pb.make_jaxpr(lambda x: 0. * x)(1.)
    return [traced.jaxpr, traced, (traced.jaxpr,), "text", 7, Counter()]


def keeping(name: str, note: object):
    """The identity as a primitive with one parameter."""
    p = pb.extend.core.Primitive("keep")
    p.def_kernel(lambda x, **kw: x)
    p.def_abstract_eval(lambda x, **kw: x)
    p.def_lowering(lambda c, x, **kw: x)
    p.def_jvp(lambda primals, tangents, **kw: (p.bind(*primals, **kw), p.bind(*tangents, **kw)))
    p.def_transpose(lambda ct, x, **kw: [p.bind(ct, **kw)])
    p.def_batch(lambda xs, dims, **kw: (p.bind(*xs, **kw), dims[0]))

    def keep(x):
        return p.bind(x, **{name: note})

    return keep


@pytest.mark.parametrize("which", range(6), ids=["jaxpr", "closed", "tuple", "text", "number", "object"])
@pytest.mark.parametrize("name", NAMES)
def test_names_of_parameters(name, which):
    note = noted()[which]
    assert isinstance(note, (Jaxpr, ClosedJaxpr, tuple, str, int, Counter))
    keep = keeping(name, note)
    f = pb.custom_jvp(lambda x, y: (x * 1., x * 1.))
    f.defjvp(lambda ps, ts: (f(*ps), (ts[0] + 0. * ts[1], keep(ts[0]))))

    def tangent(x, t):
        return pb.jvp(lambda x: f(x, 3.), (x,), (t,))[1][1]

    def loop(x):
        return lax.scan(lambda c, _: (keep(c) * 2, None), x, None, length=3)[0]

    def branch(x):
        return lax.cond(x > 0, keep, lambda x: x, x)

    for wrap in (lambda f: f, pb.jit):
        assert float(wrap(tangent)(1., 1.)) == 1
        assert float(wrap(pb.grad(lambda x: f(x, 3.)[1]))(1.)) == 1
        assert float(wrap(pb.grad(loop))(1.)) == 8
        assert float(wrap(pb.grad(branch))(1.)) == 1
        np.testing.assert_array_equal(np.asarray(wrap(pb.vmap(pb.grad(branch)))(np.ones(2, "float32"))), [1, 1])
    assert float(pb.grad(pb.checkpoint(keep))(1.)) == 1
