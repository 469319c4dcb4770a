"""What rules of a primitive class get and may return: masks, zeros, residuals, accumulators, logs. Derived rules."""

import warnings

import numpy as np
import pytest
from agreement import close
from refusals import raises

import pullback as pb
import pullback.numpy as pnp
from pullback import check_rules, grad, jit, jvp, lax, linear_transpose, linearize, vjp, vmap
from pullback.errors import RuleNotDefinedError, RuleOrderWarning
from pullback.experimental.hijax import (
    HiPrim,
    ShapedArray,
    Zero,
    instantiate_zeros,
    jvp_from_expand,
    jvp_from_lin,
    linearize_from_jvp,
    vjp_from_expand,
    vjp_from_jvp,
    vjp_from_lin,
)

F = ShapedArray((), "float32")
INT = ShapedArray((), "int32")
F3 = ShapedArray((3,), "float32")


def mapped(f):
    """A function of a number as one of a batch of one."""

    def run(x):
        return vmap(f)(pnp.array([x]))[0]

    return run


def plain(f):
    return f


def repeated(f, count):
    """A function applied `count` times by a scan."""

    def step(carry, _):
        return f(carry), None

    def run(x):
        return lax.scan(step, x, None, length=count)[0]

    return run


class Layer(HiPrim):
    """`{"y": scale * w @ x + b, "n": n + 1}` of `({"w": w, "b": b}, (x, n))`: pytrees, one argument with an integer."""

    in_avals = ({"w": ShapedArray((2, 3), "float32"), "b": ShapedArray((2,), "float32")}, (F3, INT))
    out_aval = {"y": ShapedArray((2,), "float32"), "n": INT}

    def __init__(self, scale, seen):
        self.params = {"scale": scale, "seen": seen}
        super().__init__()

    def expand(self, p, xn):
        return {"y": self.scale * p["w"] @ xn[0] + p["b"], "n": xn[1] + 1}

    def vjp_fwd(self, nzs_in, p, xn):
        self.seen.append(nzs_in)
        return self(p, xn), (p["w"], xn[0], "kept"), {"y": True, "n": False}

    def vjp_bwd_retval(self, res, ct):
        w, x, word = res
        assert word == "kept"
        assert type(ct["n"]) is Zero
        y = ct["y"]
        return {"w": self.scale * pnp.outer(y, x), "b": y}, (self.scale * w.T @ y, None)


PARAMETERS = {"w": pnp.arange(6.0).reshape(2, 3), "b": pnp.array([1.0, -1.0])}
XN = pnp.array([1.0, 2.0, -1.0]), 3


def test_pytrees_masks_and_integers():
    seen = []
    f = Layer(2.0, seen)

    def loss(p, xn):
        return (f(p, xn)["y"] ** 2).sum()

    def expected(p, x):
        return ((2.0 * p["w"] @ x + p["b"]) ** 2).sum()

    for transform in (plain, jit):
        got = transform(grad(loss))(PARAMETERS, XN)
        wanted = grad(expected)(PARAMETERS, XN[0])
        close(got["w"], wanted["w"]), close(got["b"], wanted["b"])
    x_bar = grad(lambda x: loss(PARAMETERS, (x, 3)))(XN[0])
    close(x_bar, grad(expected, 1)(PARAMETERS, XN[0]))
    grad(lambda w: loss({**PARAMETERS, "w": w}, XN))(PARAMETERS["w"])
    everything, first = {"w": True, "b": True}, {"w": True, "b": False}
    none = {"w": False, "b": False}
    assert seen == [(everything, (False, False))] * 2 + [(none, (True, False)), (first, (False, False))]
    check_rules(f, PARAMETERS, XN, order=2)


def test_the_backward_rule_does_not_run_for_a_result_without_derivative():
    f = Layer(2.0, [])
    assert grad(lambda b: f({**PARAMETERS, "b": b}, XN)["n"] * 1.0)(PARAMETERS["b"]).tolist() == [0.0, 0.0]

    class Pair(HiPrim):
        in_avals, out_aval, params = (F,), (F, F), {}

        def expand(self, x):
            return 2.0 * x, 3.0 * x

        def vjp_fwd(self, nzs_in, x):
            return self(x), None, (True, False)

        def vjp_bwd_retval(self, res, ct):
            assert type(ct[1]) is Zero
            assert type(ct[0]) is not Zero
            return (2.0 * ct[0],)

    g = Pair()
    for transform in (plain, jit, mapped):
        assert transform(grad(lambda x: g(x)[1]))(1.0) == 0.0  # the rule, which would fail, is not run
        assert transform(grad(lambda x: g(x)[0] + g(x)[1]))(1.0) == 2.0


def test_symbolic_zeros_of_results_that_nobody_reads():
    class Two(HiPrim):
        in_avals, out_aval, params = (F3, F3), (F3, {"s": F}), {}

        def expand(self, x, y):
            return x * y, {"s": y.sum()}

        def vjp_fwd(self, nzs_in, x, y):
            return self(x, y), (x, y)

        def vjp_bwd_retval(self, res, ct):
            seen.append((type(ct[0]) is Zero, type(ct[1]["s"]) is Zero))
            product, total = instantiate_zeros(ct)
            return product * res[1], product * res[0] + total["s"]

    seen = []
    x, y = pnp.arange(3.0), pnp.ones(3)
    close(grad(lambda y: Two()(x, y)[0].sum())(y), x)
    close(grad(lambda y: Two()(x, y)[1]["s"])(y), np.ones(3, "float32"))
    close(grad(lambda y: Two()(x, y)[1]["s"] + Two()(x, y)[0][1])(y), np.array([1, 2, 1], "float32"))
    assert seen[:2] == [(False, True), (True, False)]
    grad(lambda y: y.sum() + lax.stop_gradient(Two()(x, y)[0]).sum())(y)
    assert len(seen) == 4


def accumulating(rule, avals=(F, F)):
    class Product(HiPrim):
        in_avals, out_aval, params = avals, F, {}

        def expand(self, x, y):
            return x * y

        def vjp_fwd(self, nzs_in, x, y):
            return self(x, y), (x, y)

        vjp_bwd = rule

    return Product()


def test_accumulators():
    kinds = []

    def vjp_bwd(self, res, ct, x, y):
        kinds.append((type(x).__name__, type(y).__name__))
        x.accum(ct)
        x.accum(ct * (res[1] - 1))
        x.accum(None)
        x.accum(Zero(F))
        if type(y) is not pb.ad.NullAccum:
            y.accum(ct * res[0])

    f = accumulating(vjp_bwd)
    assert grad(f)(2.0, 3.0) == 3.0
    assert jit(grad(f, 1))(2.0, 3.0) == 2.0
    assert kinds == [("ValAccum", "NullAccum"), ("NullAccum", "ValAccum")]
    close(vmap(grad(f), (0, None))(pnp.arange(2.0), 3.0), np.array([3, 3], "float32"))
    assert grad(grad(f), 1)(2.0, 3.0) == 1.0
    assert grad(lambda x: f(x, x) + f(x, 1.0))(2.0) == 5.0
    assert grad(pb.checkpoint(lambda x: f(f(x, 2.0), x)))(3.0) == 12.0
    check_rules(f, 2.0, 3.0, order=2)


def test_an_accumulator_that_nothing_is_added_to():
    f = accumulating(lambda self, res, ct, x, y: y.accum(ct * res[0]))
    assert grad(f)(2.0, 3.0) == 0.0
    assert grad(f, 1)(2.0, 3.0) == 2.0


def test_accumulators_of_a_table_share_one_buffer():
    class Row(HiPrim):
        def __init__(self, table, index):
            self.in_avals, self.out_aval, self.params = (table,), ShapedArray(table.shape[1:], "float32"), {"i": index}
            super().__init__()

        def expand(self, table):
            return table[self.i]

        def vjp_fwd(self, nzs_in, table):
            return self(table), None

        def vjp_bwd(self, res, ct, table):
            _, pull = vjp(lambda t: t[self.i], pnp.zeros(table.shape))
            table.accum(*pull(ct))

    table = pnp.arange(12.0).reshape(4, 3)

    def loss(t):
        return sum(Row(pb.typeof(table), i)(t).sum() for i in (0, 2, 2))

    expected = np.zeros((4, 3), "float32")
    expected[0], expected[2] = 1, 2
    close(grad(loss)(table), expected)
    close(jit(grad(loss))(table), expected)


def logged(name):
    class Square(HiPrim):
        in_avals, out_aval, params = (F,), F, {}

        def expand(self, x):
            return x * x

        def vjp_fwd(self, nzs_in, x):
            return self(x), x

        if name == "vjp_bwd":

            def vjp_bwd(self, x, ct, accum):
                accum.accum(2.0 * x * ct)
                return {"seen": ct}

        else:

            def vjp_bwd_retval_logs(self, x, ct):
                return (2.0 * x * ct,), {"seen": ct}

    return Square()


@pytest.mark.parametrize("name", ["vjp_bwd", "vjp_bwd_retval_logs"])
def test_logs_of_the_backward_pass(name):
    f = logged(name)
    assert grad(f)(3.0) == 6.0
    _, f_vjp = vjp(lambda x: f(5.0 * x), 1.0)
    cotangents, logs = f_vjp.with_logs(2.0)
    assert float(cotangents[0]) == 100.0
    assert float(logs["seen"]) == 2.0
    assert jit(grad(f))(3.0) == 6.0


def test_structured_residuals_come_before_the_cotangent():
    class Scaled(HiPrim):
        in_avals, out_aval, params = (F3,), F3, {}

        def expand(self, x):
            return x * x

        def vjp_fwd(self, nzs_in, x):
            return self(x), None, True, {"x": x, "note": "squared"}

        def vjp_bwd(self, res, structured, ct, accum):
            assert res is None
            assert structured["note"] == "squared"
            accum.accum(2 * structured["x"] * ct)

    f, x = Scaled(), pnp.arange(3.0)
    for transform in (plain, jit, pb.checkpoint):
        close(transform(grad(lambda x: f(x).sum()))(x), 2 * np.arange(3, dtype="float32"))
    (shown,) = vjp(f, x)[1].structured_residuals
    assert shown["note"] == "squared"
    close(shown["x"], np.arange(3, dtype="float32"))


def test_python_values_among_the_residuals():
    class Chosen(HiPrim):
        in_avals, out_aval, params = (F,), F, {}

        def expand(self, x):
            return x * x

        def vjp_fwd(self, nzs_in, x):
            return self(x), {"x": x, "flag": True, "n": 2, "f": pnp.sin, "none": None}

        def vjp_bwd_retval(self, res, ct):
            assert res["f"] is pnp.sin
            assert res["none"] is None
            return (res["n"] * res["x"] * ct if res["flag"] else None,)

    f = Chosen()
    assert grad(f)(3.0) == jit(grad(f))(3.0) == 6.0
    assert grad(repeated(f, 2))(2.0) == 32.0
    assert grad(lambda x: lax.cond(x > 0, f, f, x))(3.0) == 6.0


def test_zero_size_and_integer_arguments():
    empty, integer = ShapedArray((0, 2), "float32"), ShapedArray((2,), "int32")

    class Sum(HiPrim):
        in_avals, out_aval, params = (empty, integer, ShapedArray((), "bool")), ShapedArray((2,), "float32"), {}

        def expand(self, x, n, flag):
            return pnp.where(flag, x.sum(0) + n, 0.0)

        def vjp_fwd(self, nzs_in, x, n, flag):
            assert nzs_in == (True, False, False)
            return self(x, n, flag), None

        def vjp_bwd_retval(self, res, ct):
            return pnp.zeros((0, 2)), None, None

    f, x, n = Sum(), pnp.zeros((0, 2)), pnp.array([1, 2])
    assert f(x, n, True).tolist() == [1.0, 2.0]
    for transform in (plain, jit):
        assert transform(grad(lambda x: f(x, n, True).sum()))(x).shape == (0, 2)
        assert vmap(transform(grad(lambda x: f(x, n, True).sum())))(pnp.zeros((3, 0, 2))).shape == (3, 0, 2)


# --- transposes ---


class Doubled(HiPrim):
    in_avals, out_aval, params = (F,), F, {}

    def expand(self, x):
        return 2.0 * x

    def transpose(self, ct, x):
        x.accum(2.0 * ct)


def test_a_transpose_rule_makes_a_function_of_one_argument_linear():
    f = Doubled()
    assert f.derived() == {
        "jvp": "expand, which is linear as it has a transpose rule",
        "vjp": "transpose",
        "vmap": "expand and the rules, batched alike",
    }
    assert grad(f)(3.0) == jit(grad(f))(3.0) == 2.0
    assert jvp(f, (3.0,), (4.0,))[1] == 8.0
    assert float(linear_transpose(f, 1.0)(3.0)[0]) == 6.0
    assert float(jit(linear_transpose(f, 1.0))(3.0)[0]) == 6.0
    close(vmap(grad(f))(pnp.ones(2)), np.array([2, 2], "float32"))
    assert grad(repeated(f, 3))(1.0) == 8.0
    check_rules(f, 1.0, order=2)


def test_linear_arguments_that_are_named():
    class Scaled(HiPrim):
        in_avals, out_aval, params, linear_argnums = (F, F), F, {}, (1,)

        def expand(self, x, y):
            return pnp.sin(x) * y

        def transpose(self, ct, x, y):
            y.accum(pnp.sin(x) * ct)

    f = Scaled()
    close(grad(f, 1)(0.5, 3.0), np.sin(np.float32(0.5)))
    close(linear_transpose(lambda y: f(0.5, y), 1.0)(2.0)[0], 2 * np.sin(np.float32(0.5)))
    for run in (lambda: grad(f)(0.5, 3.0), lambda: jvp(f, (0.5, 3.0), (1.0, 0.0))):
        with raises(RuleNotDefinedError, "no derivative with respect to argument 'x'", "linear_argnums=(1,)"):
            run()


def test_a_transpose_rule_serves_a_jvp_rule():
    ran = []

    class Product(HiPrim):
        in_avals, out_aval, params = (F, F), F, {}

        def expand(self, x, y):
            return x * y

        def jvp(self, primals, tangents):
            (x, y), (a, b) = primals, map(instantiate_zeros, tangents)
            return self(x, y), self(a, y) + self(x, b)

        def transpose(self, ct, x, y):
            ran.append("x" if isinstance(x, pb.ad.ValAccum) else "y")
            if isinstance(x, pb.ad.ValAccum):
                x.accum(self(ct, y))
            else:
                y.accum(self(x, ct))

    f = Product()
    assert [float(g) for g in grad(f, (0, 1))(2.0, 3.0)] == [3.0, 2.0]
    assert ran == ["y", "x"]
    assert jit(grad(grad(f), 1))(2.0, 3.0) == 1.0
    check_rules(f, 2.0, 3.0, order=2)


# --- derived rules by name ---


def cubed(**rules):
    members = {"in_avals": (F,), "out_aval": F, "params": {}, "expand": lambda self, x: x * x * x, **rules}
    return type("Cubed", (HiPrim,), members)


def cubed_jvp(self, primals, tangents):
    (x,), (t,) = primals, tangents
    return self(x), 10.0 * x * x * t  # wrong, so that it can be told from expand


def cubed_lin(self, nzs_in, x):
    return self(x), 20.0 * x * x


def cubed_linearized(self, res, t):
    return res * t


LIN, LINEARIZED = linearize_from_jvp
FWD_LIN, BWD_LIN = vjp_from_lin
FWD_JVP, BWD_JVP = vjp_from_jvp
FWD_EXPAND, BWD_EXPAND = vjp_from_expand
JVP = {"jvp": cubed_jvp}
BY_LIN = {"lin": cubed_lin, "linearized": cubed_linearized}
CASES = [
    ({**JVP, "lin": LIN, "linearized": LINEARIZED}, 40.0, 40.0),
    ({**JVP, "lin": LIN, "linearized": LINEARIZED, "vjp_fwd": FWD_LIN, "vjp_bwd_retval": BWD_LIN}, 40.0, 40.0),
    ({**JVP, **BY_LIN}, 40.0, 80.0),
    ({**JVP, **BY_LIN, "vjp_fwd": FWD_JVP, "vjp_bwd_retval": BWD_JVP}, 40.0, 40.0),
    ({**JVP, **BY_LIN, "vjp_fwd": FWD_EXPAND, "vjp_bwd_retval": BWD_EXPAND}, 40.0, 12.0),
    ({**BY_LIN, "jvp": jvp_from_lin}, 80.0, 80.0),
    ({**BY_LIN, "jvp": jvp_from_expand}, 12.0, 80.0),
]


@pytest.mark.parametrize(("rules", "forward", "reverse"), CASES)
def test_the_source_of_each_mode(rules, forward, reverse):
    f = cubed(**rules)()
    for transform in (plain, jit, mapped):
        assert transform(lambda x: jvp(f, (x,), (1.0,))[1])(2.0) == forward
        assert transform(grad(f))(2.0) == reverse
    assert linearize(f, 2.0)[1](1.0) == reverse


def test_derived_rules_can_be_called():
    f = cubed(**JVP, lin=LIN, linearized=LINEARIZED, vjp_fwd=FWD_LIN, vjp_bwd_retval=BWD_LIN)()
    out, residuals = f.lin((True,), 2.0)
    assert (out, f.linearized(residuals, 1.0), f.linearized(residuals, Zero(F))) == (8.0, 40.0, 0.0)
    out, residuals = f.vjp_fwd((True,), 2.0)
    assert (out, float(f.vjp_bwd_retval(residuals, 1.0)[0])) == (8.0, 40.0)
    g = cubed(**BY_LIN, jvp=jvp_from_lin)()
    assert g.jvp((2.0,), (1.0,))[1] == 80.0


def test_derivations_that_lead_nowhere():
    with raises(TypeError, "Cubed derives jvp from lin from jvp, in a circle: write one of these rules out"):
        cubed(jvp=jvp_from_lin, lin=LIN, linearized=LINEARIZED)
    with raises(TypeError, "Cubed.vjp_fwd is the pair of rules vjp_from_lin: unpack it", "vjp_fwd, vjp_bwd_retval ="):
        cubed(vjp_fwd=vjp_from_lin)
    with raises(RuleNotDefinedError, "Cubed derives jvp from lin, which it does not define"):
        cubed(jvp=jvp_from_lin)()
    with raises(RuleNotDefinedError, "Cubed derives vjp_fwd from jvp, which it does not define"):
        cubed(vjp_fwd=FWD_JVP, vjp_bwd_retval=BWD_JVP)()


# --- the next order ---


def test_a_rule_that_computes_its_result_without_the_primitive_warns_when_it_is_differentiated():
    def lost(self, nzs_in, x):
        return x * x * x, x

    def kept(self, nzs_in, x):
        return self(x), x

    def vjp_bwd_retval(self, x, ct):
        return (10.0 * x * ct,)

    def second(f):
        return grad(grad(lambda x: f(x) ** 2))(2.0)

    with pytest.warns(RuleOrderWarning, match="vjp_fwd"):
        assert second(cubed(vjp_fwd=lost, vjp_bwd_retval=vjp_bwd_retval)()) == 640.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert second(cubed(vjp_fwd=kept, vjp_bwd_retval=vjp_bwd_retval)()) == 960.0
        assert grad(cubed(vjp_fwd=lost, vjp_bwd_retval=vjp_bwd_retval)())(2.0) == 20.0
