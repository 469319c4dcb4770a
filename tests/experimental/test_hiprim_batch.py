"""Batching rules of primitive classes, the helpers for them, and values that a class captures."""

import numpy as np
import pytest
from agreement import close
from refusals import raises

import pullback as pb
import pullback.numpy as pnp
from pullback import grad, jit, jvp, vmap
from pullback.errors import RuleError, RuleOrderWarning
from pullback.experimental.hijax import AxisData, HiPrim, ShapedArray, Zero, bdims_at_front, unmap_avals, vmap_rule

F = ShapedArray((), "float32")
XS = np.array([0.5, -1.0, 2.0], "float32")


class Scaled(HiPrim):
    """`factor * x * y`, batched by an instance for the larger types; `seen` collects what `batch` gets."""

    def __init__(self, x, y, factor, seen=None):
        self.in_avals, self.out_aval = (x, y), x
        self.params = {"factor": factor, "_seen": seen}
        super().__init__()

    def expand(self, x, y):
        return self.factor * x * y

    def vjp_fwd(self, nzs_in, x, y):
        return self(x, y), (x, y)

    def vjp_bwd_retval(self, res, ct):
        if self._seen is not None:
            self._seen.append(("bwd", ct.shape))
        return self.factor * ct * res[1], self.factor * ct * res[0]

    def batch(self, axis_data, args, dims):
        if self._seen is not None:
            self._seen.append((axis_data.name, axis_data.size, dims))
        args = bdims_at_front(axis_data, args, dims)
        return Scaled(*unmap_avals(axis_data, self.in_avals, 0), self.factor, self._seen)(*args), 0


def test_a_batch_rule_replaces_the_call():
    seen = []
    f = Scaled(F, F, 2.0, seen)
    close(vmap(f, (0, None), axis_name="i")(XS, 3.0), 6 * XS)
    close(jit(vmap(f))(XS, XS), 2 * XS * XS)
    assert seen == [("i", 3, (0, None)), (None, 3, (0, 0))]
    assert str(pb.make_jaxpr(vmap(f))(XS, XS)).count("= Scaled[factor=2.0] a b") == 1


def test_derivatives_of_a_batch_are_those_of_the_larger_instance():
    seen = []
    f = Scaled(F, F, 2.0, seen)
    close(grad(lambda x: vmap(f)(x, XS).sum())(XS), 2 * XS)
    assert seen == [(None, 3, (0, 0)), ("bwd", (3,))]
    close(vmap(grad(f))(XS, XS), 2 * XS)
    close(jit(vmap(grad(f, 1), (0, None)))(XS, 1.0), 2 * XS)
    close(grad(lambda y: vmap(f, (0, None))(XS, y).sum())(1.0), 2 * XS.sum())
    close(vmap(vmap(f, (None, 0)), (0, None))(XS, XS), 2 * XS[:, None] * XS)
    close(jvp(vmap(f), (XS, XS), (XS, XS))[1], 4 * XS * XS)


def test_other_axes_and_results_without_one():
    class Summed(HiPrim):
        in_avals, out_aval, params = (ShapedArray((2,), "float32"), F), (F, {"y": F}), {}

        def expand(self, x, y):
            return x.sum(), {"y": y}

        def batch(self, axis_data, args, dims):
            assert dims == (-1 % 2, None)
            return (args[0].sum(1 - dims[0]), {"y": args[1]}), (-1, {"y": None})

    x = np.arange(6, dtype="float32").reshape(2, 3)
    total, rest = vmap(Summed(), (1, None), (0, {"y": None}))(x, 4.0)
    close(total, x.sum(0)), close(rest["y"], np.float32(4))


def test_the_axes_of_batch_dim_rule():
    class Vector(HiPrim):
        in_avals, out_aval, params = (ShapedArray((2,), "float32"),), ShapedArray((2,), "float32"), {}

        def expand(self, x):
            return 2.0 * x

        def batch_dim_rule(self, axis_data, dims):
            return dims[0]

    x = np.arange(6, dtype="float32").reshape(2, 3)
    for axis in (0, 1):
        close(vmap(Vector(), axis, axis)(x if axis else x.T), 2 * (x if axis else x.T))
    assert "transpose" not in str(pb.make_jaxpr(vmap(Vector(), 0, 0))(x.T))


BATCHES = [
    (lambda self, axis, x, d: x[0], ["must return a pair (out, out_dims), got an array"]),
    (lambda self, axis, x, d: (x[0], None), ["declares without a batch axis: expected f32[], got f32[3]"]),
    (lambda self, axis, x, d: (x[0], 5), ["returned the batch axis 5 for a result of type f32[]"]),
    (lambda self, axis, x, d: (x[0], 0.5), ["the batch axis of the result as an int, or None", "got 0.5"]),
    (lambda self, axis, x, d: (x[0], True), ["the batch axis of the result as an int, or None"]),
    (lambda self, axis, x, d: (pnp.zeros(5), 0), ["axis 0, of length 3: expected f32[3], got f32[5]"]),
    (lambda self, axis, x, d: (x[0], (0, 0)), ["must return the batch axis for the whole result", "(0, 0)"]),
    (lambda self, axis, x, d: ((x[0],), 0), ["must return a result with the structure of out_aval"]),
    (lambda self, axis, x, d: (x[0].astype("int32"), 0), ["expected f32[3], got i32[3]"]),
    (lambda self, axis: 1, ["is called as rule(axis_data, args, dims), but:"]),
]


def with_rules(**rules):
    members = {"in_avals": (F,), "out_aval": F, "params": {}, "expand": lambda self, x: 2.0 * x, **rules}
    return type("P", (HiPrim,), members)()


@pytest.mark.parametrize(("rule", "words"), BATCHES)
def test_results_of_batch(rule, words):
    for run in (vmap(with_rules(batch=rule)), jit(vmap(with_rules(batch=rule)))):
        with raises(RuleError, "the rule batch, <lambda> (defined at", "of the primitive P", *words):
            run(XS)


@pytest.mark.parametrize(
    ("dims", "words"),
    [
        (None, "returned None as the batch axis of a result that has one"),
        (1, "returned the batch axis 1 for a result of type f32[]"),
        ((0,), "must return the batch axis for the whole result"),
    ],
)
def test_results_of_batch_dim_rule(dims, words):
    with raises(RuleError, "the rule batch_dim_rule, <lambda> (defined at", words):
        vmap(with_rules(batch_dim_rule=lambda self, axis_data, _: dims))(XS)


def test_a_batch_rule_that_loses_the_derivative_rules_warns_when_it_is_differentiated():
    def batch(self, axis_data, args, dims):
        return 2.0 * args[0], dims[0]

    def vjp_bwd_retval(self, res, ct):
        return (3.0 * ct,)

    f = with_rules(batch=batch, vjp_fwd=lambda self, nzs_in, x: (self(x), None), vjp_bwd_retval=vjp_bwd_retval)
    close(vmap(grad(f))(XS), np.full(3, 3, "float32"))
    with pytest.warns(RuleOrderWarning, match="batch rule batch"):
        grad(lambda x: vmap(f)(x).sum())(XS)


def test_helpers():
    axis = AxisData(None, 3)
    x = pnp.arange(6.0).reshape(2, 3)
    moved = bdims_at_front(axis, ({"a": x}, 1.0), ({"a": -1}, None))
    close(moved[0]["a"], np.asarray(x).T), close(moved[1], np.ones(3, "float32"))
    assert unmap_avals(axis, (F, {"a": ShapedArray((2,), "int32")}), (None, 1)) == (
        F,
        {"a": ShapedArray((2, 3), "int32")},
    )
    with raises(ValueError, "bdims_at_front: the axes do not match the structure of the arguments"):
        bdims_at_front(axis, (x, x), (0, 0, 0))


def test_vmap_of_a_function_with_symbolic_zeros():
    def f(x, t):
        assert x.shape == t.shape == (2,)
        return pnp.sin(x), t, {"n": pnp.ones(())}

    x = pnp.arange(6.0).reshape(2, 3)
    zero = Zero(ShapedArray((2, 3), "float32"))
    out, t, rest = vmap_rule(AxisData(None, 3), f, (1, 1), (0, 1, 0))(x, zero)
    close(out, np.sin(np.asarray(x).T))
    assert type(t) is Zero
    assert t.shape == (2, 3)
    close(rest["n"], np.ones(3, "float32"))
    with raises(ValueError, "vmap_rule: out_axes is None for a result that differs among the examples"):
        vmap_rule(AxisData(None, 3), lambda x: x, 1, None)(x)


# --- captured values ---


def scale_by(k):
    """An instance whose methods refer to `k` without it being among its params."""

    class Captured(HiPrim):
        in_avals, out_aval, params = (F,), F, {}

        def expand(self, x):
            return k * x

        def vjp_fwd(self, nzs_in, x):
            return self(x), None

        def vjp_bwd_retval(self, res, ct):
            return (3.0 * k * ct,)  # three times too large, so that it can be told from the derivative of expand

    return Captured()


class Param(HiPrim):
    in_avals, out_aval = (F,), F

    def __init__(self, k):
        self.params = {"k": k}
        super().__init__()

    def expand(self, x):
        return self.k * x

    def vjp_fwd(self, nzs_in, x):
        return self(x), None

    def vjp_bwd_retval(self, res, ct):
        return (3.0 * self.k * ct,)


@pytest.mark.parametrize("make", [scale_by, Param])
def test_traced_values_in_methods_and_params(make):
    def slope(k):
        return grad(make(k))(5.0)

    assert slope(2.0) == jit(slope)(2.0) == 6.0
    close(vmap(slope)(XS), 3 * XS)
    assert grad(slope)(2.0) == 3.0
    assert grad(lambda k: make(k)(5.0))(2.0) == 5.0  # by expand: the rule is for the argument
    assert grad(lambda k: make(k)(k))(2.0) == 2.0 + 6.0
    close(vmap(lambda k, x: make(k)(x))(XS, XS), XS * XS)

    def square(k, x):
        return make(k)(x) ** 2

    close(jit(vmap(lambda k: grad(square, 1)(k, 1.0)))(XS), 6 * XS * XS)
