"""Gradients that go to Refs: `with_refs`, Refs as arguments of `vjp`, and what stays as it was."""

import threading
import tracemalloc

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback._ops.dot import dot_general_p
from pullback.ad import DidntWant, DontWant, GradRef, GradValue, NullAccum, RefAccum, ValAccum
from pullback.experimental.hijax import HiPrim

X = np.array([1.0, 2.0, 3.0], np.float32)
W = np.array([0.5, -1.0, 2.0], np.float32)


def product(x, w):
    return (pnp.sin(x) * w).sum()


DX, DW = np.cos(X) * W, np.sin(X)


def test_destinations():
    ref = pb.new_ref(pnp.full(3, 100.0))
    _, f_vjp = pb.vjp(product, X, W)
    bound = f_vjp.with_refs(GradValue(), ref)
    for k in (1, 2):
        dx, dw = bound(1.0)
        np.testing.assert_allclose(dx, DX, rtol=1e-6)
        assert dw == GradRef()
        np.testing.assert_allclose(ref[...], 100 + k * DW, rtol=1e-6)
    # the object it came from is unchanged
    np.testing.assert_allclose(f_vjp(1.0)[1], DW, rtol=1e-6)
    np.testing.assert_allclose(ref[...], 100 + 2 * DW, rtol=1e-6)
    assert f_vjp.with_refs(DontWant(), ref)(1.0) == (DidntWant(), GradRef())
    assert (repr(GradRef()), repr(DidntWant()), repr(DontWant())) == ("GradRef()", "DidntWant()", "DontWant()")
    assert GradRef() != DidntWant()
    assert hash(GradRef()) == hash(GradRef())


def test_one_ref_gets_the_sum():
    ref = pb.new_ref(pnp.zeros(3))
    assert pb.vjp(product, X, W)[1].with_refs(ref, ref)(1.0) == (GradRef(), GradRef())
    np.testing.assert_allclose(ref[...], DX + DW, rtol=1e-6)


def test_the_same_array_twice():
    refs = pb.new_ref(pnp.zeros(3)), pb.new_ref(pnp.zeros(3))
    x = pnp.asarray(X)
    pb.vjp(product, x, x)[1].with_refs(*refs)(1.0)
    np.testing.assert_allclose(refs[0][...], np.cos(X) * X, rtol=1e-6)
    np.testing.assert_allclose(refs[1][...], DW, rtol=1e-6)


def test_pytrees_parts_and_zero_sizes():
    def f(params, n):
        return (params["w"] * 2.0).sum() + params["empty"].sum() * n

    params = {"w": X, "empty": np.zeros((0, 2), np.float32)}
    rows = pb.new_ref(pnp.zeros((2, 3)))
    refs = {"w": rows.at[1], "empty": pb.new_ref(pnp.zeros((0, 2)))}
    out = pb.vjp(f, params, 3)[1].with_refs(refs, GradValue())(1.0)
    assert out[0] == {"w": GradRef(), "empty": GradRef()}
    assert out[1].dtype == pb.float0
    np.testing.assert_array_equal(rows[...], [[0, 0, 0], [2, 2, 2]])


def test_a_table_is_added_to_in_place():
    table = np.ones((1000, 4), np.float32)
    ref = pb.new_ref(pnp.zeros((1000, 4)))
    ref[0, 0] = 0.0
    data = ref.cell.content.value
    for i in range(3):
        _, f_vjp = pb.vjp(lambda t, i=i: t[np.array([i, 7])].sum() + t[i, 1] + t[2:4].sum(), table)
        f_vjp.with_refs(ref)(1.0)
    assert ref.cell.content.value is data
    expected = np.zeros((1000, 4))
    for i in range(3):
        expected[[i, 7]] += 1
        expected[i, 1] += 1
        expected[2:4] += 1
    np.testing.assert_array_equal(ref[...], expected)


def test_memory_of_one_gradient():
    layers, n = 8, 200
    params = [pnp.ones((n, n)) * 0.001 for _ in range(layers)]
    refs = [pb.new_ref(pnp.zeros((n, n))) for _ in range(layers)]

    def loss(params):
        x = pnp.ones((2, n))
        for w in params:
            x = pnp.sin(x @ w)
        return x.sum()

    _, f_vjp = pb.vjp(loss, params)
    bound = f_vjp.with_refs(refs)
    bound(1.0)
    tracemalloc.start()
    bound(1.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5 * n * n * 4  # the cotangent of a layer or two, but not of all
    for ref, expected in zip(refs, pb.grad(loss)(params), strict=True):
        np.testing.assert_allclose(ref[...], 2 * expected, rtol=1e-5)


def test_what_is_not_wanted_is_not_computed(monkeypatch):
    calls = []
    kernel = dot_general_p.kernel
    monkeypatch.setattr(dot_general_p, "kernel", lambda *args, **params: calls.append(1) or kernel(*args, **params))
    x, w, v = (np.ones((2, 2), np.float32) for _ in range(3))

    def f(x, w, v):
        return (pnp.tanh(x @ w) @ v).sum()

    _, f_vjp = pb.vjp(f, x, w, v)
    for entries, count in (((GradValue(),) * 3, 4), ((GradValue(), DontWant(), DontWant()), 2)):
        calls.clear()
        f_vjp.with_refs(*entries)(1.0)
        assert len(calls) == count
    calls.clear()
    f_vjp.with_refs(DontWant(), DontWant(), GradValue())(1.0)
    assert len(calls) == 1
    calls.clear()
    f_vjp.with_refs(DontWant(), DontWant(), DontWant())(1.0)
    pb.grad(lambda x: f(x, w, v))(x)
    assert len(calls) == 4  # two forwards, and a cotangent for each product


@pytest.mark.parametrize("wrap", ["jit", "checkpoint", "scan", "cond"])
def test_what_is_not_wanted_is_not_computed_inside_functions(wrap):
    def inner(x, w):
        return pnp.sin(x @ w)

    def f(x, w):
        if wrap == "scan":
            return lax.scan(lambda c, _: (inner(c, w), None), x, None, length=3)[0].sum()
        if wrap == "cond":
            return lax.cond(x[0, 0] > 0, inner, lambda x, w: x @ w @ w, x, w).sum()
        return getattr(pb, wrap)(inner)(x, w).sum()

    def backward(x, w, *entries):
        return pb.vjp(f, x, w)[1].with_refs(*entries)(1.0)[0]

    def products(*entries):
        def run(x, w):
            return backward(x, w, *entries)

        return str(pb.make_jaxpr(run)(np.ones((2, 2), np.float32), np.ones((2, 2), np.float32))).count("dot_general[")

    # a product of two matrices has two cotangents
    for_all, for_x = products(GradValue(), GradValue()), products(GradValue(), DontWant())
    assert for_x < for_all


def test_compiled_calls():
    ref = pb.new_ref(pnp.zeros(3))

    @pb.jit
    def step(x, w, total):
        return pb.vjp(product, x, w)[1].with_refs(GradValue(), total)(1.0)

    for k in (1, 2):
        dx, placeholder = step(X, W, ref)
        assert placeholder == GradRef()
        np.testing.assert_allclose(dx, DX, rtol=1e-6)
        np.testing.assert_allclose(ref[...], k * DW, rtol=1e-6)

    @pb.jit
    def closed(x, w):
        pb.vjp(product, x, w)[1].with_refs(DontWant(), ref)(1.0)

    closed(X, W)
    np.testing.assert_allclose(ref[...], 3 * DW, rtol=1e-6)
    # the object itself is an argument
    bound = pb.vjp(product, X, W)[1].with_refs(DontWant(), ref)
    assert pb.jit(lambda f_vjp: f_vjp(2.0))(bound) == (DidntWant(), GradRef())
    np.testing.assert_allclose(ref[...], 5 * DW, rtol=1e-6)


def test_loops_and_batches():
    ref = pb.new_ref(pnp.zeros(3))

    def body(carry, x):
        pb.vjp(product, x, W)[1].with_refs(DontWant(), ref)(1.0)
        return carry, None

    xs = np.stack([X, 2 * X])
    lax.scan(body, 0.0, xs)
    expected = np.sin(xs).sum(0)
    np.testing.assert_allclose(ref[...], expected, rtol=1e-6)

    @pb.jit
    def loop(total):
        def step(state):
            pb.vjp(product, pnp.asarray(xs)[state], W)[1].with_refs(DontWant(), total)(1.0)
            return state + 1

        lax.while_loop(lambda state: state < 2, step, 0)

    loop(ref)
    np.testing.assert_allclose(ref[...], 2 * expected, rtol=1e-6)
    rows = pb.new_ref(pnp.zeros((2, 3)))
    pb.vmap(lambda x, r: pb.vjp(product, x, W)[1].with_refs(DontWant(), r)(1.0))(xs, rows)
    np.testing.assert_allclose(rows[...], np.sin(xs), rtol=1e-6)


def test_inside_another_gradient():
    ref = pb.new_ref(pnp.zeros(3))

    def f(x):
        pb.vjp(product, X, W)[1].with_refs(DontWant(), ref)(1.0)
        return (x**2).sum()

    np.testing.assert_allclose(pb.grad(f)(X), 2 * X)
    np.testing.assert_allclose(ref[...], DW, rtol=1e-6)

    def g(x):
        total = pb.new_ref(pnp.zeros(3))
        pb.vjp(product, x, W)[1].with_refs(DontWant(), total)(1.0)
        return total[...].sum()

    np.testing.assert_allclose(pb.grad(g)(X), np.cos(X), rtol=1e-6)
    before = np.array(ref[...])
    with pytest.raises(ValueError, match="outside of that transformation"):
        pb.grad(lambda x: pb.vjp(product, x, W)[1].with_refs(DontWant(), ref)(1.0) and x.sum())(X)
    np.testing.assert_array_equal(ref[...], before)


def test_a_rule_that_fails_leaves_refs_as_they_were():
    @pb.custom_vjp
    def fragile(x):
        return x

    def bwd(_, ct):
        raise RuntimeError("not today")

    fragile.defvjp(lambda x: (x, None), bwd)
    refs = pb.new_ref(pnp.ones(3)), pb.new_ref(pnp.ones(3))
    _, f_vjp = pb.vjp(lambda x, w: (fragile(x) * w[0] * w).sum(), X, W)
    for call in (f_vjp.with_refs(*refs), pb.jit(lambda ct: f_vjp.with_refs(*refs)(ct))):
        with pytest.raises(RuntimeError, match="not today"):
            call(1.0)
        for ref in refs:
            np.testing.assert_array_equal(ref[...], np.ones(3))


def test_accumulators_that_rules_get():
    kinds = []

    class Scaled(HiPrim):
        def __init__(self, aval):
            self.in_avals = (aval, aval, pb.typeof(1))
            self.out_aval = aval
            self.params = {}
            super().__init__()

        def expand(self, x, y, n):
            return x * y * n

        def vjp_fwd(self, nzs_in, x, y, n):
            return self(x, y, n), (x, y, n)

        def vjp_bwd(self, res, ct, *accums):
            x, y, n = res
            kinds.append([type(accum) for accum in accums])
            accums[0].accum(ct * y * n)
            accums[1].accum(ct * x * n)
            accums[1].accum(None)

    def f(x, y):
        return Scaled(pb.typeof(x))(x, y, 2)

    x = pnp.asarray(X)
    refs = [pb.new_ref(pnp.zeros(3)) for _ in range(2)]
    pb.vjp(f, x, x)[1].with_refs(*refs)(pnp.ones(3))
    pb.vjp(f, x, x)[1].with_refs(GradValue(), DontWant())(pnp.ones(3))
    pb.grad(lambda x: f(x, x).sum())(x)
    assert [[issubclass(kind, RefAccum) for kind in kinds[0]], kinds[1:]] == [
        [True, True, False],
        [[ValAccum, NullAccum, NullAccum], [ValAccum, ValAccum, NullAccum]],
    ]
    for ref in refs:
        np.testing.assert_allclose(ref[...], 2 * X)


def test_wrong_entries():
    _, f_vjp = pb.vjp(product, X, W)
    value, ref = GradValue(), pb.new_ref(pnp.zeros(3))
    for entries in ((value,), (value, value, value), (value, None), (value, [ref]), ({"a": value}, ref)):
        with pytest.raises(ValueError, match=r"the entries .* must have the structure"):
            f_vjp.with_refs(*entries)
    for entry, got in ((W, "ndarray"), (GradValue, "GradValue"), (1.0, "1.0")):
        with pytest.raises(TypeError, match=f"the entry of argument 'w' must be a Ref, .*got .*({got})"):
            f_vjp.with_refs(value, entry)
    for wrong in (pb.new_ref(pnp.zeros(2)), pb.new_ref(pnp.zeros(3, "float16")), pb.new_ref(pnp.zeros(3, "int32"))):
        with pytest.raises(ValueError, match=r"the entry of argument 'w': a Ref of type .* of type f32\[3\]"):
            f_vjp.with_refs(value, wrong)
    with pytest.raises(TypeError, match=r"argument 'n' is a Ref, but a value of type i32\[\] has no derivative"):
        pb.vjp(lambda x, n: x * n, 1.0, 2)[1].with_refs(value, pb.new_ref(0))


# --- Refs as arguments ---


def reading(ref, x):
    y = ref[...] * x
    ref[...] = 5.0 * y
    return (ref[...] * y).sum()


def test_the_gradient_with_respect_to_what_a_ref_holds():
    ref, x = pb.new_ref(pnp.asarray(X)), pnp.float32(2.0)
    y, f_vjp = pb.vjp(reading, ref, x)
    np.testing.assert_allclose(y, (5 * (X * 2) ** 2).sum())
    np.testing.assert_allclose(ref[...], 10 * X)
    total = pb.new_ref(pnp.full(3, 100.0))
    out = f_vjp.with_refs(total, GradValue())(1.0)
    np.testing.assert_allclose(total[...], 100 + 40 * X)
    assert out[0] == GradRef()
    np.testing.assert_allclose(out[1], 20 * (X**2).sum(), rtol=1e-6)
    with pytest.raises(ValueError, match=r"argument 'ref' is a Ref, whose gradient goes to another one.*with_refs"):
        f_vjp(1.0)
    assert f_vjp.with_refs(DontWant(), DontWant())(1.0) == (DidntWant(), DidntWant())


def test_one_ref_as_two_arguments():
    ref = pb.new_ref(3.0)

    def f(a, b):
        a[...] = a[...] * 2.0
        return a[...] * b[...]

    y, f_vjp = pb.vjp(f, ref, ref)
    assert float(y) == 36.0
    total = pb.new_ref(0.0)
    f_vjp.with_refs(total, total)(1.0)
    assert float(total[...]) == 24.0


def test_the_tangent_of_a_ref_is_a_ref():
    def f(ref, x):
        y = ref[...] * x
        ref[...] = 2.0 * y
        return y.sum()

    ref, tangent = pb.new_ref(pnp.asarray(X)), pb.new_ref(pnp.ones(3))
    y, t = pb.jvp(f, (ref, 2.0), (tangent, 1.0))
    np.testing.assert_allclose([y, t], [2 * X.sum(), 2 * 3 + X.sum()])
    np.testing.assert_allclose(ref[...], 4 * X)
    np.testing.assert_allclose(tangent[...], 2 * (2 + X))
    # what is written last may be a constant, whose tangent is zero
    pb.jvp(lambda ref: ref.__setitem__(..., pnp.ones(3)) or ref[...], (ref,), (tangent,))
    np.testing.assert_array_equal(tangent[...], np.zeros(3))
    with pytest.raises(TypeError, match=r"must have one structure|a Ref is not an array"):
        pb.jvp(lambda x: x, (1.0,), (tangent,))


def test_grad_refuses_refs():
    for transform in (pb.grad, pb.value_and_grad):
        with pytest.raises(TypeError, match=r"argument 'ref' is a Ref.*with_refs"):
            transform(reading)(pb.new_ref(pnp.asarray(X)), 1.0)
    # other arguments may be Refs
    ref = pb.new_ref(pnp.asarray(X))
    np.testing.assert_allclose(pb.grad(lambda x, r: (r[...] * x).sum())(2.0, ref), X.sum())


def test_threads():
    _, f_vjp = pb.vjp(product, X, W)
    refs = [pb.new_ref(pnp.zeros(3)) for _ in range(8)]

    def work(ref):
        bound = f_vjp.with_refs(DontWant(), ref)
        for _ in range(50):
            bound(1.0)

    threads = [threading.Thread(target=work, args=(ref,)) for ref in refs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for ref in refs:
        np.testing.assert_allclose(ref[...], 50 * DW, rtol=1e-5)
