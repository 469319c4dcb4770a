"""Equality of instances of primitive classes, what equal instances share, and how jaxprs and reports show them."""

import copy
import gc
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from agreement import close
from refusals import raises

import pullback as pb
import pullback.numpy as pnp
from pullback import check_rules, grad, jit, lax, make_jaxpr, vjp
from pullback.errors import RuleCheckError
from pullback.experimental.hijax import HiPrim, ShapedArray, VJPHiPrimitive

F = ShapedArray((), "float32")
EXPANDED = []


class Scaled(HiPrim):
    def __init__(self, **params):
        self.in_avals, self.out_aval, self.params = (F,), F, params
        super().__init__()

    def expand(self, x):
        EXPANDED.append(self)
        return pnp.asarray(self.k) * x


class Rescaled(Scaled):
    """A subclass, which is another operation."""


@pytest.fixture(autouse=True)
def _count():
    EXPANDED.clear()


def test_equal_are_class_params_and_types():
    assert Scaled(k=2.0, m=1) == Scaled(m=1, k=2.0)
    assert hash(Scaled(k=2.0, m=1)) == hash(Scaled(m=1, k=2.0))
    assert Scaled(k=2.0) != Scaled(k=3.0)
    assert Scaled(k=2.0) != Rescaled(k=2.0)
    assert Scaled(k=2.0) != Scaled(k=2)
    assert Scaled(k=True) != Scaled(k=1)
    assert Scaled(k=0.0) != Scaled(k=-0.0)
    assert Scaled(k=(1, 2)) == Scaled(k=(1, 2))
    assert Scaled(k=2.0) != 2.0

    wide = Scaled(k=2.0)
    wide.in_avals = wide.out_aval = ShapedArray((3,), "float32")
    wide.in_avals = (wide.out_aval,)
    HiPrim.__init__(wide)
    assert wide != Scaled(k=2.0)


@pytest.mark.parametrize("k", [[2.0], {"a": 2.0}, np.array(2.0, "float32"), pnp.array(2.0)])
def test_params_that_have_no_hash_are_compared_by_identity(k):
    f, g = Scaled(k=k, n=1), Scaled(k=k, n=1)
    assert f == f
    assert f != g
    assert {f: 1}[f] == 1
    if isinstance(k, (list, dict)):
        return
    close(f(3.0), np.float32(6)), close(jit(f)(3.0), np.float32(6)), close(jit(grad(f))(3.0), np.float32(2))


def test_equal_instances_share_programs():
    assert jit(Scaled(k=2.0))(3.0) == 6.0
    assert jit(Scaled(k=2.0))(4.0) == 8.0
    assert len(EXPANDED) == 1
    assert jit(Scaled(k=3.0))(4.0) == 12.0
    assert jit(Scaled(k=2))(4.0) == 8.0
    assert len(EXPANDED) == 3


def test_equal_instances_make_equal_jaxprs():
    def loss(x):
        f = Rescaled(k=2.0)
        return lax.scan(lambda c, _: (f(c), None), x, None, length=100_000)[0]

    with pb.debug.counters() as counts:
        loss(1.0)
    assert counts["compiles"] > 0
    with pb.debug.counters() as counts:
        loss(1.0)
    assert counts["compiles"] == 0


def test_instances_are_freed_with_what_was_compiled_of_them():
    f = Scaled(k=11.0)
    jit(f)(1.0), jit(grad(f))(1.0), grad(f)(1.0), make_jaxpr(f)(1.0)
    there = weakref.ref(f)
    EXPANDED.clear()
    del f
    gc.collect()
    assert there() is None


def test_copies():
    f = Scaled(k=2.0)
    f(1.0), hash(f)
    for g in (copy.copy(f), copy.deepcopy(f), pickle.loads(pickle.dumps(f))):
        assert g == f
        assert g(3.0) == 6.0
    held = Scaled(k=[2.0])
    hash(held)
    assert copy.copy(held) != held


def test_the_vjp_of_an_instance_is_pickled():
    _, f_vjp = vjp(lambda x: Tripled()(x) * 5.0, 1.0)
    copied = pickle.loads(pickle.dumps(f_vjp))
    assert float(copied(1.0)[0]) == float(f_vjp(1.0)[0]) == 10.0


def test_jaxprs_show_class_and_params():
    text = str(make_jaxpr(lambda x: Scaled(k=2.0, _hidden=3, f=pnp.sin)(x))(1.0))
    assert "b:f32[] = Scaled[k=2.0 f=sin] a" in text
    assert "_hidden" not in text
    assert repr(Scaled(k=2.0, f=pnp.sin)) == str(Scaled(k=2.0, f=pnp.sin)) == "Scaled[k=2.0 f=sin]"
    assert "= Plain a" in str(make_jaxpr(Plain())(1.0))
    assert "= Shown[times=4] a" in str(make_jaxpr(Shown(k=2.0))(1.0))


class Plain(VJPHiPrimitive):
    in_avals, out_aval, params = (F,), F, {}

    def expand(self, x):
        return x


class Shown(Scaled):
    def pp_params(self):
        return {"times": 4}


class Tripled(Plain):
    def expand(self, x):
        return 3.0 * x

    def vjp_fwd(self, nzs_in, x):
        return self(x), None

    def vjp_bwd_retval(self, res, ct):
        return (2.0 * ct,)


def test_a_report_says_what_is_derived_from_what():
    with pytest.raises(RuleCheckError) as info:
        check_rules(Tripled(), 1.0)
    lines = str(info.value).split("\n")
    assert lines[0].startswith("check_rules of Tripled: ")
    assert "  vjp, arg 0: 2.0, finite difference 3.0" in lines
    assert "  jvp is derived from vjp_bwd_retval, transposed" in lines
    assert "  vmap is derived from expand and the rules, batched alike" in lines
    assert check_rules(Plain(), 1.0).derived == {
        "jvp": "expand, differentiated",
        "vjp": "expand, differentiated",
        "vmap": "expand and the rules, batched alike",
    }


def test_a_report_of_a_decorated_function_does_too():
    f = pb.custom_jvp(pnp.sin)
    f.defjvp(lambda primals, tangents: (f(*primals), pnp.cos(primals[0]) * tangents[0]))
    assert "  vjp is derived from the jvp rule, transposed" in str(check_rules(f, 1.0)).split("\n")
    g = pb.custom_vjp(pnp.sin, jvp="transpose")
    g.defvjp(lambda x: (g(x), x), lambda x, ct: (pnp.cos(x) * ct,))
    assert "  jvp is derived from the bwd rule, transposed" in str(check_rules(g, 1.0)).split("\n")


def test_threads_share_an_instance():
    class Lazy(HiPrim):
        """Declared at its first call, which several threads make at once."""

        def __init__(self):
            self.in_avals, self.out_aval, self.params = (F,), F, {"k": 3.0}

        def expand(self, x):
            return self.k * x

        def vjp_fwd(self, nzs_in, x):
            return self(x), x

        def vjp_bwd_retval(self, x, ct):
            return (self.k * ct,)

    def work(f, x):
        return float(f(x)), float(grad(f)(x)), float(jit(grad(f))(x)), float(vjp(f, x)[1](2.0)[0])

    with ThreadPoolExecutor(8) as threads:
        for _ in range(10):
            f = Lazy()
            results = list(threads.map(lambda n, f=f: work(f, float(n)), range(16)))
            assert results == [(3.0 * n, 3.0, 3.0, 6.0) for n in range(16)]


def test_a_subclass_inherits_rules():
    class Again(Tripled):
        def vjp_bwd_retval(self, res, ct):
            return (5.0 * ct,)

    class Without(Tripled):
        vjp_fwd, vjp_bwd_retval = HiPrim.vjp_fwd, HiPrim.vjp_bwd_retval

    assert grad(Tripled())(1.0) == 2.0
    assert grad(Again())(1.0) == 5.0
    assert grad(Without())(1.0) == 3.0


def test_rules_may_be_set_after_the_class():
    class Late(Plain):
        pass

    assert grad(Late())(1.0) == 1.0
    Late.jvp = lambda self, primals, tangents: (self(*primals), 7.0 * tangents[0])
    assert grad(Late())(1.0) == 7.0
    with raises(TypeError, "Late"):
        Late()("a")
