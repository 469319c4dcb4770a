"""Primitive classes that take references: gradients plumbed out of the backward pass, effects of `expand`, types."""

import numpy as np
import pytest
from ref_wrappers import WRAPPERS

import pullback as pb
import pullback.numpy as pnp
from pullback.experimental.hijax import HiPrim


class Stash(HiPrim):
    """The identity of its second argument; the first gets the gradient."""

    def __init__(self, ref, x):
        self.in_avals = pb.typeof(ref), pb.typeof(x)
        self.out_aval = pb.typeof(x)
        self.params = {}
        super().__init__()

    def expand(self, ref, x):
        return x

    def vjp_fwd(self, nonzero, ref, x):
        return self(ref, x), ref

    def vjp_bwd_retval(self, ref, ct):
        ref[...] = ct
        return None, ct


class Counter(HiPrim):
    """The identity; its argument, a reference, counts the calls."""

    def __init__(self, ref, x):
        self.in_avals = pb.typeof(ref), pb.typeof(x)
        self.out_aval = pb.typeof(x)
        self.params = {}
        super().__init__()

    def expand(self, ref, x):
        ref[...] += 1
        return x


@pytest.mark.parametrize("wrapper", WRAPPERS, ids=lambda f: f.__name__)
def test_primitive_classes_take_references(wrapper):
    def f(x, ref):
        return pnp.sin(Stash(ref, x)(ref, x))

    def g(x, ref):
        Counter(ref, x)(ref, x)
        return x

    x = pnp.float32(1.0)
    for derivative in (pb.grad(wrapper(f)), pb.jit(pb.grad(wrapper(f)))):
        ref = pb.new_ref(pnp.float32(0.0))
        np.testing.assert_allclose(derivative(x, ref), np.cos(1.0), rtol=1e-6)
        np.testing.assert_allclose(ref[...], np.cos(1.0), rtol=1e-6)
    count = pb.new_ref(0)
    wrapper(g)(x, count)
    pb.jit(wrapper(g))(x, count)
    assert count[...] == 2


def test_primitive_classes_check_references():
    ref, x = pb.new_ref(pnp.zeros(2)), pnp.float32(1.0)
    stash = Stash(pb.new_ref(x), x)
    with pytest.raises(TypeError, match=r"expected Ref\{f32\[\]\}, got Ref\{f32\[2\]\}"):
        stash(ref, x)
    with pytest.raises(TypeError, match=r"expected Ref\{f32\[\]\}, got an array"):
        stash(x, x)
