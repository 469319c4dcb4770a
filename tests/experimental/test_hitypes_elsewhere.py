"""Values of types of one's own beside other parts of the library: Refs, Jacobians, Taylor mode, reports, threads."""

import copy
import pickle
import threading

import numpy as np
import pytest
from quantised import Quantised, QuantisedType, array, dequantise, product, product_by_vjp, quantise, scaled, weights
from wrappers import eager, jit

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.experimental.hijax import MappingSpec
from pullback.experimental.jet import jet

either = pytest.mark.parametrize("compiled", [eager, jit])


def close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=3e-5, atol=1e-5)


def loss(q, x):
    return (product(q, x) ** 2).sum()


def loss_of_arrays(d, x):
    return ((d @ x) ** 2).sum()


# ---- Refs


def double(ref):
    ref[...] = scaled(ref[...], 2.0)


def test_a_ref_holds_a_value():
    q, d = weights(3, 4)
    ref = pb.new_ref(q)
    assert str(pb.typeof(ref)) == "Ref{q8[3,4]}"
    double(ref)
    close(dequantise(ref[...]), 2 * d)
    pb.jit(double)(ref)
    close(dequantise(ref[...]), 4 * d)
    close(dequantise(q), d)
    with pytest.raises(ValueError, match=r"type f32\[3,4\] was written to the Ref of type q8\[3,4\].*its type"):
        ref[...] = d
    with pytest.raises(ValueError, match=r"type q8\[3,4\] was written to the Ref of type f32\[3,4\]"):
        pb.new_ref(d)[...] = q
    with pytest.raises(TypeError, match=r"q8\[3,4\] is no array"):
        ref[0]


@either
def test_a_ref_of_its_own_is_differentiated(compiled):
    q, _d = weights(3, 4)
    x = array(4)

    def f(q, x):
        ref = pb.new_ref(q)

        def step(i, total):
            double(ref)
            return total + product(ref[...], x).sum()

        return lax.fori_loop(0, 3, step, 0.0)

    close(compiled(pb.grad(f))(q, x), 14 * np.outer(np.ones(3), x))


def test_gradients_at_a_value_are_added_to_a_ref_of_arrays():
    q, d = weights(3, 4)
    x = array(4)
    total = pb.new_ref(pnp.ones((3, 4)))
    bound = pb.vjp(loss, q, x)[1].with_refs(total, pb.ad.DontWant())
    for _ in range(2):
        assert bound(1.0) == (pb.ad.GradRef(), pb.ad.DidntWant())
    close(total[...], 1 + 2 * pb.grad(loss_of_arrays)(d, x))
    with pytest.raises(ValueError, match=r"f32\[4\].*f32\[3,4\]"):
        pb.vjp(loss, q, x)[1].with_refs(pb.new_ref(x), pb.ad.DontWant())


# ---- other derivatives


@either
def test_jacobians(compiled):
    q, d = weights(3, 4)
    x = array(4)
    close(compiled(pb.jacrev(lambda q: product_by_vjp(q, x)))(q), pb.jacrev(lambda d: d @ x)(d))
    close(compiled(pb.jacrev(lambda x: product(quantise(pnp.outer(x, x)), x)))(x).shape, (4, 4))
    for transform in (pb.jacfwd, pb.hessian):
        with pytest.raises(TypeError, match=rf"{transform.__name__} of loss.*q8\[3,4\].*jacrev or jvp"):
            transform(loss)(q, x)


@either
def test_taylor_mode(compiled):
    q, d = weights(3, 4)
    x, t = array(4), array(4, seed=2)

    def at(x, t):
        return jet(lambda x: loss(q, x), (x,), ([t, t],))

    got = compiled(at)(x, t)
    expected = jet(lambda x: loss_of_arrays(d, x), (x,), ([t, t],))
    close(got[0], expected[0])
    for a, b in zip(got[1], expected[1], strict=True):
        close(a, b)


def test_gradient_at_a_pytree_with_values():
    q, d = weights(3, 4)
    x = array(4)

    def f(params):
        return loss(params["w"], params["x"][0])

    got = pb.grad(f)({"w": q, "x": [x]})
    close(got["w"], pb.grad(loss_of_arrays)(d, x))
    close(got["x"][0], pb.grad(loss_of_arrays, 1)(d, x))


def test_collectives_beside_values():
    q, d = weights(3, 4)
    xs = array(2, 4)
    close(pb.vmap(lambda x: lax.psum(product(q, x), "i"), axis_name="i")(xs)[0], (d @ xs.T).sum(1))


def test_symbolic_zeros_and_perturbed_flags():
    q, _d = weights(3, 4)
    seen = []

    @pb.custom_vjp
    def f(q, x):
        return dequantise(q) @ x

    def fwd(q, x):
        seen.append((type(q.value), q.perturbed, x.perturbed))
        return f(q.value, x.value), (q.value, x.value)

    f.defvjp(fwd, lambda saved, ct: (pnp.outer(ct, saved[1]), None), symbolic_zeros=True)
    close(pb.jit(pb.grad(lambda q: f(q, pnp.ones(4)).sum()))(q), np.ones((3, 4)))
    assert seen == [(Quantised, True, False)]


def test_nondifferentiable_arguments_and_closures():
    q, d = weights(3, 4)
    x = array(4)

    def make(q):
        @pb.custom_jvp
        def f(x):
            return product(q, x)

        f.defjvp(lambda primals, tangents: (f(*primals), product(q, tangents[0])))
        return f

    @pb.jit
    def gradient(q, x):
        return pb.grad(lambda x: make(q)(x).sum())(x)

    close(gradient(q, x), d.sum(0))


# ---- around programs


def test_debug_nans_runs_operation_by_operation():
    q, d = weights(3, 4)
    x = array(4)
    with pb.debug_nans():
        close(pb.jit(pb.grad(loss))(q, x), pb.grad(loss_of_arrays)(d, x))
        with pytest.raises(FloatingPointError):
            pb.jit(lambda q: pnp.log(dequantise(q)))(q)


def test_copies_and_pickles():
    q, d = weights(3, 4)
    close(dequantise(pickle.loads(pickle.dumps(q))), d)
    pullback = copy.deepcopy(pb.vjp(loss, q, array(4))[1])
    close(pullback(1.0)[0], pb.grad(loss_of_arrays)(d, array(4)))
    assert pickle.loads(pickle.dumps(QuantisedType((3, 4)))) == QuantisedType((3, 4))


def test_threads():
    q, d = weights(3, 4)
    x, results = array(4), []

    def work():
        results.append(pb.jit(pb.grad(lambda q: loss(q, x)))(q))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        close(result, pb.grad(loss_of_arrays)(d, x))
    assert len(results) == 4


def test_reports_know_values(capsys):
    q, _ = weights(3, 4)
    pb.ad_checkpoint.print_saved_residuals(product_by_vjp, q, array(4))
    assert "q8[3,4]" in capsys.readouterr().out
    assert "q8[3,4]" in repr(pb.vjp(loss, q, array(4))[1])


# ---- other rules


@either
def test_vmap_rules_get_values(compiled):
    q, d = weights(3, 4)
    stack, stacked = weights(5, 3, 4)
    x, xs = array(4), array(5, 4)
    seen = []

    @pb.custom_batching.custom_vmap
    def f(q, x):
        return dequantise(q) @ x

    @f.def_vmap
    def _(size, batched, q, x):
        seen.append((size, batched, type(q)))
        return (dequantise(q) @ x if batched[0] else x @ dequantise(q).T), True

    close(compiled(pb.vmap(f, (MappingSpec(), None), axis_size=5))(stack, x), stacked @ x)
    close(compiled(pb.vmap(f, (None, 0)))(q, xs), xs @ d.T)
    assert seen == [(5, [True, False], Quantised), (5, [False, True], Quantised)]


@either
def test_transpose_and_remat_rules(compiled):
    q, d = weights(3, 4)
    x = array(4)

    @pb.custom_rules
    def linear(q, x):
        return dequantise(q) @ x

    linear.deftranspose(lambda others, ct: (dequantise(others[0]).T @ ct,), linear_argnums=1)
    close(compiled(pb.hessian(lambda x: (linear(q, x) ** 2).sum()))(x), 2 * d.T @ d)

    @pb.custom_vjp
    def f(q, x):
        return dequantise(q) @ x

    def bwd(saved, ct):
        return pnp.outer(ct, saved[1]), dequantise(saved[0]).T @ ct

    f.defvjp(lambda q, x: (f(q, x), (q, x)), bwd)
    f.defremat(lambda q, x: (f(q, x), (q, x)), lambda saved, q, x: (f(q, x), (q, x)), bwd)
    close(compiled(pb.grad(pb.checkpoint(lambda q: f(q, x).sum())))(q), np.outer(np.ones(3), x))


@pytest.mark.parametrize("policy", ["everything_saveable", "nothing_saveable", "dots_saveable"])
def test_policies_of_checkpoint(policy):
    q, d = weights(3, 4)
    x = array(4)
    f = pb.checkpoint(lambda q: loss(quantise(dequantise(q)), x), policy=getattr(pb.checkpoint_policies, policy))
    close(pb.jit(pb.grad(f))(q), pb.grad(loss_of_arrays)(d, x))
