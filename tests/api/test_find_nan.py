"""`find_nan`: the operation, the line, the pass, the rule and the step of the loop that made a NaN."""

import inspect

import numpy as np
import pytest
from wrappers import eager, grad_of_jit, in_cond, jit_of_grad

import pullback as pb
import pullback.numpy as pnp
from pullback import debug_nans, lax
from pullback.debug import find_nan


def line_of(text):
    """The number of the line of this file that ends with a mark."""
    lines = inspect.getsource(inspect.getmodule(line_of)).splitlines()
    (number,) = [i for i, line in enumerate(lines, 1) if line.endswith(f"# {text}")]
    return number


def makes_nan(x):
    y = x * 2.0
    z = pnp.log(y)  # the log
    return pnp.sum(z)


X = np.array([1.0, -1.0, 2.0], np.float32)


def beside_jit_of_jit(f):
    return lambda x: pb.jit(pb.jit(f))(x) + 1.0


def vmap(f):
    return lambda x: pb.vmap(f)(x[None])


def jvp_of_jit(f):
    return lambda x: pb.jvp(pb.jit(f), (x,), (x,))


def grad_of_checkpoint(f):
    return pb.grad(pb.checkpoint(f))


@pytest.mark.parametrize(
    "transform",
    [
        eager,
        pb.jit,
        beside_jit_of_jit,
        pb.grad,
        jit_of_grad,
        grad_of_jit,
        vmap,
        jvp_of_jit,
        pb.hessian,
        grad_of_checkpoint,
    ],
)
def test_the_forward_pass(transform):
    run = transform(makes_nan)
    report = find_nan(run)(X)
    assert report
    birth = report.birth
    assert birth.made
    assert birth.primitive == "log"
    assert birth.location.line == line_of("the log")
    assert birth.location.function == "makes_nan"
    assert not birth.backward
    assert birth.count == 1
    assert birth.index[-1] == 1
    text = str(report)
    assert "'log' made a nan" in text
    assert "z = pnp.log(y)  # the log" in text
    assert "1 of 3 nan" in text
    assert "-2.0 at [" in text
    plain = run(X)
    for got, want in zip(pb.tree_util.tree_leaves(report.value), pb.tree_util.tree_leaves(plain), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5)


def masked(x):
    z = pnp.sqrt(x)  # the sqrt
    return pnp.sum(pnp.where(x > 0, z, 0.0))


def grad_of_cond(f):
    return pb.grad(in_cond(f))


def vmap_of_grad(f):
    return vmap(pb.grad(f))


def vmap_of_jit_of_grad(f):
    return vmap(jit_of_grad(f))


def jit_of_a_pullback(f):
    def run(x):
        _, f_vjp = pb.vjp(f, x)
        return pb.jit(lambda f, ct: f(ct))(f_vjp, 1.0)

    return run


@pytest.mark.parametrize(
    "transform", [pb.grad, jit_of_grad, grad_of_jit, grad_of_cond, vmap_of_grad, vmap_of_jit_of_grad, jit_of_a_pullback]
)
def test_the_backward_pass(transform):
    report = find_nan(transform(masked))(np.array([4.0, 0.0], np.float32))
    birth = report.birth
    assert birth.backward
    assert birth.location is None
    assert birth.forward.line == line_of("the sqrt")
    assert birth.forward.function == "masked"
    assert "in the backward pass, of the derivative of" in str(report)
    assert report.results


def test_the_step_of_a_loop():
    def body(c, _):
        c = c - 1.0
        return c, pnp.sqrt(c)  # the body

    def loop(c):
        return lax.scan(body, c, None, length=4)[1].sum()

    for run in (loop, pb.jit(loop), pb.grad(loop), pb.jit(pb.grad(loop))):
        birth = find_nan(run)(2.5).birth
        assert birth.steps == ["step 2 of a scan of 4"]
        assert birth.location.line == line_of("the body")
    # backwards, the step whose derivative it is
    for run in (pb.grad(lambda x: 0.0 * loop(x)), pb.jit(pb.grad(lambda x: 0.0 * loop(x)))):
        birth = find_nan(run)(4.0).birth
        assert birth.backward
        assert birth.steps == ["step 3 of a scan of 4"]
        assert birth.forward.line == line_of("the body")

    def outer(c):
        return lax.fori_loop(0, 2, lambda i, c: c + lax.scan(body, c, None, length=2)[0], c)

    assert find_nan(outer)(1.5).birth.steps == ["step 1 of a scan of 2", "step 0 of a scan of 2"]

    def until(c):
        def body(c):
            return c[0] - 1.0, c[1] + pnp.log(c[0])

        return lax.while_loop(lambda c: c[0] > -1.0, body, (c, 0.0))[1]

    for run in (until, pb.jit(until)):
        assert find_nan(run)(1.5).birth.steps == ["step 2 of a while_loop"]


@pb.custom_vjp
def f(x):
    return x * x


def f_fwd(x):
    return x * x, x


def f_bwd(x, ct):
    bad = pnp.log(-x)  # in the rule
    return (ct * bad,)


f.defvjp(f_fwd, f_bwd)


def grad_of_two_steps(f):
    def step(c, _):
        return f(c), None

    return pb.grad(lambda x: lax.scan(step, x, None, 2)[0])


@pytest.mark.parametrize("transform", [pb.grad, jit_of_grad, grad_of_jit, vmap_of_grad, grad_of_two_steps])
def test_a_custom_rule_is_named(transform):
    birth = find_nan(transform(f))(pnp.float32(2.0)).birth
    assert birth.primitive == "log"
    assert birth.backward
    assert birth.location.line == line_of("in the rule")
    assert birth.rule.startswith("the bwd rule f_bwd (defined at")
    assert "of custom_vjp function f (defined at" in birth.rule


def test_a_jvp_rule_is_named():
    @pb.custom_jvp
    def g(x):
        return x * x

    @g.defjvp
    def g_jvp(primals, tangents):
        (x,), (t,) = primals, tangents
        return g(x), pnp.log(-x) * t

    for run in (lambda x: pb.jvp(g, (x,), (1.0,)), pb.grad(g), pb.jit(pb.grad(g))):
        birth = find_nan(run)(2.0).birth
        assert birth.location.function == "g_jvp"
        assert birth.rule.startswith("the jvp rule g_jvp (defined at")
        assert not birth.backward


def test_arguments_and_constants():
    report = find_nan(lambda p: p["w"] * 2.0)({"w": pnp.array([1.0, np.nan])})
    assert report.arguments == ["argument 'p', leaf ['w']: float32[2], 1 of 2 nan, the first at [1]"]
    assert not report.birth.made
    assert "was given a nan that no operation made" in str(report)
    report = find_nan(lambda x, y: x * y)(1.0, y=pnp.float32(np.nan))
    assert report.arguments == ["argument 'y': float32[], nan"]
    table = pnp.array([1.0, np.nan])
    report = find_nan(lambda x: x * table)(2.0)
    assert report.arguments == []
    assert not report.birth.made
    assert report.birth.operands[1].startswith("float32[2], 1 of 2 nan")


def test_what_numpy_made_is_told():
    g = pb.custom_vjp(lambda x: x * x)
    g.defvjp(lambda x: (x * x, None), lambda _, ct: (pnp.asarray(np.full((), np.nan, np.float32)),))
    report = find_nan(pb.grad(g))(2.0)
    assert report
    assert report.birth is None
    assert report.results == ["it: float32[], nan"]
    assert "NumPy made it" in str(report)
    report = find_nan(pb.grad(lambda x: g(3.0 * x)))(2.0)
    assert not report.birth.made
    assert report.birth.backward
    assert "NumPy made it" in str(report)


def test_nothing_to_find():
    report = find_nan(pb.jit(pb.grad(lambda x: x**2)))(3.0)
    assert not report
    assert report.birth is None
    assert float(report.value) == 6.0
    assert "no nan" in str(report)


def test_what_is_masked_is_told():
    report = find_nan(lambda x: pnp.where(x > 0, pnp.log(x), 0.0))(-1.0)
    assert report.birth.primitive == "log"
    assert report.results == []
    assert "did not reach it" in str(report)


def test_infinities_on_demand():
    def reciprocal(x):
        return 1.0 / x

    assert not find_nan(reciprocal)(pnp.float32(0.0))
    report = find_nan(reciprocal, infs=True)(pnp.float32(0.0))
    assert report.birth.kind == "inf"
    assert "'div' made an inf" in str(report)


def test_several_places_in_order():
    def two(x):
        a = pnp.log(x)
        return a, pnp.sqrt(x)

    report = find_nan(two)(-1.0)
    assert [birth.primitive for birth in report.births] == ["log", "sqrt"]
    # one for each place, not for each time
    report = find_nan(lambda x: [pnp.log(x) for _ in range(3)])(-1.0)
    assert len(report.births) == 1


def test_half_precision():
    assert find_nan(pnp.log)(pnp.asarray(-1.0, "bfloat16")).birth.primitive == "log"


def test_where_nothing_has_a_value_it_refuses():
    with pytest.raises(TypeError, match=r"find_nan of .* was called while another function is traced"):
        pb.jit(lambda x: find_nan(pnp.log)(x).value)(1.0)


def test_debug_nans_says_the_same():
    run = pb.jit(pb.grad(masked))
    x = np.array([4.0, 0.0], np.float32)
    report = find_nan(run)(x)
    with debug_nans(), pytest.raises(FloatingPointError) as caught:
        run(x)
    assert str(caught.value) == f"{report.birth.headline} (debug_nans is on)"
    assert caught.value.__notes__ == ["\n".join(report.birth.details)]
    assert np.isnan(np.asarray(run(x))).any()
