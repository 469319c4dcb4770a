"""References among the arguments of a primitive class: written by `expand`, and by rules, in the backward pass."""

import pytest
from refusals import raises

import pullback as pb
import pullback.numpy as pnp
from pullback import grad, jit, jvp, lax, vjp
from pullback.experimental.hijax import HiPrim, ShapedArray

F = ShapedArray((), "float32")
REF = pb.typeof(pb.new_ref(pnp.zeros(())))


class Stashing(HiPrim):
    """The identity, which stores the cotangent that reaches it; `seen` collects the masks."""

    in_avals, out_aval = (F, {"ref": REF}), F

    def __init__(self, seen=None):
        self.params = {"_seen": seen}
        super().__init__()

    def expand(self, x, holder):
        return 1.0 * x

    def vjp_fwd(self, nzs_in, x, holder):
        if self._seen is not None:
            self._seen.append(nzs_in)
        return self(x, holder), holder["ref"]

    def vjp_bwd_retval(self, ref, ct):
        ref[...] += ct
        return ct, None


def test_a_backward_rule_stores_a_cotangent():
    seen = []
    f, ref = Stashing(seen), pb.new_ref(pnp.zeros(()))

    def loss(x, r):
        return 3.0 * f(x * x, {"ref": r})

    assert grad(loss)(2.0, ref) == 12.0
    assert float(ref[...]) == 3.0
    assert jit(lambda x: grad(loss)(x, ref))(2.0) == 12.0
    assert float(ref[...]) == 6.0
    assert jit(lambda x, r: grad(loss)(x, r))(2.0, ref) == 12.0
    assert float(ref[...]) == 9.0
    assert seen == [(True, {"ref": False})] * 3


def test_accumulators_tangents_and_axes_beside_a_reference():
    class Doubled(HiPrim):
        in_avals, out_aval, params = (F, REF), F, {}

        def expand(self, x, r):
            return 2.0 * x

        def vjp_fwd(self, nzs_in, x, r):
            return self(x, r), r

        def vjp_bwd(self, r, ct, x_accum, r_accum):
            assert isinstance(r_accum, pb.ad.NullAccum)
            r[...] = ct
            x_accum.accum(2.0 * ct)

    class Forward(HiPrim):
        in_avals, out_aval, params = (F, REF), F, {}

        def expand(self, x, r):
            return 2.0 * x

        def jvp(self, primals, tangents):
            assert tangents[1] is None
            return self(*primals), 2.0 * tangents[0]

    ref = pb.new_ref(pnp.zeros(()))
    assert grad(Doubled())(1.0, ref) == 2.0
    assert float(ref[...]) == 1.0
    assert jvp(lambda x: Forward()(x, ref), (1.0,), (3.0,))[1] == 6.0
    assert grad(Forward())(1.0, ref) == 2.0


class Counting(HiPrim):
    """`x` with the number of the call added; it counts the calls in a reference."""

    in_avals, out_aval, params = (F, REF), F, {}

    def expand(self, x, count):
        count[...] += 1.0
        return x + count[...]


def test_expand_writes_eagerly_compiled_and_in_loops():
    f, count = Counting(), pb.new_ref(pnp.zeros(()))
    assert f(10.0, count) == 11.0
    assert jit(f)(10.0, count) == 12.0
    assert float(count[...]) == 2.0
    jit(lambda x: (f(x, count), x)[1])(1.0)  # the result is not used, the write is
    assert float(count[...]) == 3.0
    total, _ = lax.scan(lambda c, _: (f(c, count), None), 0.0, None, length=3)
    assert (float(total), float(count[...])) == (4.0 + 5.0 + 6.0, 6.0)


def test_a_reference_of_another_type():
    for run in (Counting(), jit(Counting())):
        with raises(TypeError, "Counting: argument 'count'", "expected Ref{f32[]}, got Ref{f32[3]}"):
            run(1.0, pb.new_ref(pnp.zeros(3)))
        with raises(TypeError, "Counting: argument 'count'", "expected Ref{f32[]}, got"):
            run(1.0, 2.0)


def test_a_rule_that_fails_leaves_what_it_has_not_written():
    class Failing(HiPrim):
        in_avals, out_aval, params = (F, REF), F, {}

        def expand(self, x, r):
            return x

        def vjp_fwd(self, nzs_in, x, r):
            return self(x, r), r

        def vjp_bwd_retval(self, r, ct):
            raise ValueError("no gradient today")

    ref = pb.new_ref(pnp.array(5.0))
    _, f_vjp = vjp(lambda x: Failing()(x, ref), 1.0)
    with pytest.raises(ValueError, match="no gradient today"):
        f_vjp(1.0)
    assert float(ref[...]) == 5.0
