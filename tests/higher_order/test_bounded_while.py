"""while_loop with max_steps: reverse mode to any order, against the unrolled loop and JAX's scan; memory and steps."""

from functools import partial

import jax
import numpy as np
import pytest
from agreement import all_close
from transformations import agree
from wrappers import EAGER_AND_JIT, eager, forward

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.core import check_jaxpr
from pullback.test_util import check_grads

f32 = np.float32
X = np.array([0.3, -0.7, 1.1], f32)


def while_loop(lib, cond, body, init, max_steps):
    """The loop; in JAX a scan over all steps, of which those after the end keep the carry."""
    if lib.t is pb:
        return lax.while_loop(cond, body, init, max_steps=max_steps)

    def step(carry, _):
        return lib.lax.cond(cond(carry), body, lambda c: c, carry), None

    return lib.lax.scan(step, jax.tree.map(lib.np.asarray, init), None, max_steps)[0]


def growing(max_steps):
    """Carries floats and a counter, closes over a value in both functions; it needs 9 steps from X, a = 1.2."""

    def make(lib):
        def fun(x, a):
            bound = 6 * a

            def goes_on(c):
                return (c["x"] * c["x"]).sum() < bound * a

            def step(c):
                x, rate = c["x"], c["rate"]
                return {"x": x * a + 0.1 * lib.lax.sin(x * rate), "rate": rate * 0.95, "n": c["n"] + 1}

            return while_loop(lib, goes_on, step, {"x": x * a, "rate": a, "n": 0}, max_steps)

        return fun

    return make


@pytest.mark.parametrize("max_steps", [0, 3, 40])
def test_every_transformation(max_steps):
    agree(growing(max_steps), X, f32(1.2), scale=100)


def unrolled(cond, body, carry, max_steps):
    for _ in range(max_steps):
        if not cond(carry):
            break
        carry = body(carry)
    return carry


def bounded(cond, body, carry, max_steps):
    return lax.while_loop(cond, body, carry, max_steps=max_steps)


def newton(loop, a):
    """The square root by Newton's method, and the number of steps."""

    def is_far(c):
        return pnp.abs(c[0] * c[0] - a) > 1e-4 * a

    def step(c):
        return 0.5 * (c[0] + a / c[0]), c[1] + 1

    return loop(is_far, step, (a, 0), 50)


def sqrt(a):
    return newton(bounded, a)[0]


def unrolled_sqrt(a):
    return newton(unrolled, a)[0]


def grad_of_grad(f):
    return pb.grad(pb.grad(f))


def grad_of_jvp(f):
    return pb.grad(forward(f))


ARGUMENTS = np.array([1.0, 2.0, 30.0, 700.0], f32)


@pytest.mark.parametrize("wrap", EAGER_AND_JIT)
def test_equals_the_unrolled_loop(wrap):
    ours = wrap(partial(newton, bounded))
    for a in map(pnp.float32, ARGUMENTS):
        root, steps = ours(a)
        expected, expected_steps = newton(unrolled, a)
        all_close(root, expected)
        assert int(steps) == expected_steps


@pytest.mark.parametrize("wrap", EAGER_AND_JIT)
@pytest.mark.parametrize("derivative", [pb.grad, grad_of_grad, pb.hessian, pb.jacfwd, pb.jacrev, grad_of_jvp])
def test_derivatives_equal_those_of_the_unrolled_loop(derivative, wrap):
    ours, plain = wrap(derivative(sqrt)), derivative(unrolled_sqrt)
    for a in map(pnp.float32, ARGUMENTS):
        all_close(ours(a), plain(a), 10)


@pytest.mark.parametrize("wrap", EAGER_AND_JIT)
def test_batches_of_different_lengths(wrap):
    ours = partial(newton, bounded)
    roots, steps = wrap(pb.vmap(ours))(ARGUMENTS)
    assert len(set(steps.tolist())) == 4
    all_close([roots, steps], [np.stack(part) for part in zip(*map(ours, ARGUMENTS), strict=True)])

    def sum_of_roots(a):
        return pb.vmap(sqrt)(a).sum()

    def sum_of_gradients(a):
        return pb.vmap(pb.grad(sqrt))(a).sum()

    def sum_of_the_gradient(a):
        return pb.grad(sum_of_roots)(a).sum()

    gradients = np.stack([pb.grad(sqrt)(x) for x in ARGUMENTS])
    seconds = np.stack([grad_of_grad(sqrt)(x) for x in ARGUMENTS])
    all_close(wrap(pb.vmap(pb.grad(sqrt)))(ARGUMENTS), gradients)
    all_close(wrap(pb.grad(sum_of_roots))(ARGUMENTS), gradients)
    all_close(wrap(pb.vmap(pb.hessian(sqrt)))(ARGUMENTS), seconds, 10)
    all_close(wrap(pb.grad(sum_of_the_gradient))(ARGUMENTS), seconds, 10)
    all_close(wrap(pb.grad(sum_of_gradients))(ARGUMENTS), seconds, 10)


def singular(x, slope):
    """The sum of slope √(x - i) over the i below x: one step more would divide by zero in the derivative."""

    def step(c):
        return c[0] - 1, c[1] + slope * pnp.sqrt(c[0])

    return lax.while_loop(lambda c: c[0] > 0, step, (x, 0.0 * x), max_steps=16)[1]


@pytest.mark.parametrize("wrap", EAGER_AND_JIT)
def test_a_body_that_is_singular_where_the_loop_has_ended(wrap):
    xs, slopes = np.array([0.0, 1.0, 3.0, 5.0], f32), np.array([1.0, -2.0, 0.5, 3.0], f32)
    below = [np.arange(x, 0, -1) for x in xs]
    first = np.array([s * (0.5 / np.sqrt(r)).sum() for s, r in zip(slopes, below, strict=True)], f32)
    by_slope = np.array([np.sqrt(r).sum() for r in below], f32)
    second = np.array([-s * (0.25 * r**-1.5).sum() for s, r in zip(slopes, below, strict=True)], f32)

    def total(x, slopes):
        return pb.vmap(singular)(x, slopes).sum()

    def sum_of_gradients(x):
        return pb.vmap(pb.grad(singular))(x, slopes).sum()

    def sum_of_the_gradient(x):
        return pb.grad(total)(x, slopes).sum()

    both = (0, 1)
    one_by_one = [wrap(pb.grad(singular, both))(x, s) for x, s in zip(xs, slopes, strict=True)]
    all_close([np.stack(part) for part in zip(*one_by_one, strict=True)], [first, by_slope])
    all_close(wrap(pb.vmap(pb.grad(singular, both)))(xs, slopes), [first, by_slope])
    all_close(wrap(pb.grad(total, both))(xs, slopes), [first, by_slope])
    all_close(wrap(pb.vmap(grad_of_grad(singular)))(xs, slopes), second)
    all_close(wrap(pb.vmap(pb.hessian(singular)))(xs, slopes), second)
    all_close(wrap(pb.grad(sum_of_gradients))(xs), second)
    all_close(wrap(pb.grad(sum_of_the_gradient))(xs), second)


def test_shared_weights_closed_over_and_a_batch():
    w = np.random.default_rng(0).standard_normal((3, 3)).astype(f32) / 3
    xs = np.stack([X, -2 * X, 3 * X])

    def one(loop, w, x):
        return loop(lambda x: (x * x).sum() > 0.1, lambda x: lax.sin(w @ x), x, 20).sum()

    ours = partial(one, bounded)
    expected = pb.grad(lambda w: sum(one(unrolled, w, x) for x in map(pnp.asarray, xs)))(w)
    all_close(pb.grad(lambda w: pb.vmap(ours, (None, 0))(w, xs).sum())(w), expected)
    all_close(pb.jit(pb.vmap(pb.grad(ours), (None, 0)))(w, xs).sum(0), expected)
    check_grads(ours, (w, X), order=2, modes=("fwd", "rev"))


def test_integers_keys_bools_and_narrow_floats_in_the_carry():
    def fun(loop, x, key):
        def step(c):
            key, x, flag, half = c
            key, use = pb.random.split(key)
            return key, x * pb.random.uniform(use) + x * x * 0.1, ~flag, half * x.astype(half.dtype)

        init = (key, x, np.bool_(False), x.astype(pnp.bfloat16))
        _, y, flag, half = loop(lambda c: c[1] > 0.2, step, init, 12)
        return y + flag * y + half.astype(f32)

    key = pb.random.PRNGKey(0)
    expected = pb.value_and_grad(lambda x: fun(unrolled, x, key))(f32(2))
    for wrap in EAGER_AND_JIT:
        all_close(wrap(pb.value_and_grad(partial(fun, bounded)))(f32(2), key), expected)


def test_a_body_that_works_along_the_batch_sees_all_examples():
    """Examples that have stopped take part in the sum with the value they stopped at, as without a bound."""

    def below_four(c):
        return c < 4

    def step(c):
        return c + 0.1 * c * lax.psum(c, "i")

    def fun(bound):
        return pb.vmap(lambda x: lax.while_loop(below_four, step, x, max_steps=bound), axis_name="i")

    def plain(xs):
        for _ in range(12):
            xs = pnp.where(xs < 4, xs + 0.1 * xs * xs.sum(), xs)
        return xs

    xs = np.array([1.0, 2.0, 3.5, 5.0], f32)
    all_close(fun(12)(xs), plain(xs))
    all_close(fun(None)(xs), plain(xs))

    def gradient(f, weights):
        return pb.grad(lambda x: (weights * f(x)).sum())(xs)

    for weights in (np.ones(4, f32), np.array([1.0, -2.0, 0.5, 3.0], f32)):
        all_close(gradient(fun(12), weights), gradient(plain, weights))


def test_linear_transpose():
    def body(c):
        return c[0] + 1, 2 * c[1]

    def fun(x):
        return lax.while_loop(lambda c: c[0] < 3, body, (0, x), max_steps=5)[1]

    (transposed,) = pb.linear_transpose(fun, X)(X)
    all_close(transposed, 8 * X)


@pytest.mark.parametrize("wrap", [eager, partial(pb.jit, static_argnums=1)], ids=["eager", "jit"])
@pytest.mark.parametrize("n", [0, 1, 2, 7, 100])
def test_the_bound_ends_the_loop(n, wrap):
    def fun(x, n):
        return lax.while_loop(lambda c: True, lambda c: 2 * c, x, max_steps=n)

    assert float(wrap(fun)(1.0, n)) == 2.0**n
    assert float(wrap(pb.grad(fun))(1.0, n)) == 2.0**n
    np.testing.assert_array_equal(pb.vmap(fun, (0, None))(X, n), f32(2.0**n) * X)


# --- memory and work ---


def long_loop(max_steps, stop):
    def fun(w, x):
        def step(c):
            return pnp.tanh(c[0] @ w), c[1] + 1

        return lax.while_loop(lambda c: c[1] < stop, step, (x, 0), max_steps=max_steps)[0].sum()

    return fun


W, Y = np.eye(16, dtype=f32), np.ones((16, 16), f32)


def test_what_is_kept_grows_like_the_square_root():
    def kept(n):
        _, pull = pb.vjp(long_loop(n, 5), W, Y)
        return sum(leaf.size for leaf in pb.tree.leaves(pull))

    # a carry for each of √n segments, and the weights
    assert [kept(n) // Y.size for n in (16, 64, 256, 1024)] == [4 + 1, 8 + 1, 16 + 1, 32 + 1]
    assert kept(100_000) // Y.size <= 2 * round(100_000 ** (1 / 3)) + 1


def test_memory_of_the_compiled_gradient():
    def temp(n):
        return pb.jit(pb.grad(long_loop(n, n))).lower(W, Y).compile().memory_analysis().temp_size_in_bytes

    sizes = [temp(n) for n in (64, 256, 1024)]
    # a few carries for each of 8, 16, 32 segments and steps; 64 times the steps would be 64 times the memory
    assert sizes[2] < 5 * sizes[0]
    assert sizes[2] < 5 * 32 * Y.nbytes


def test_steps_that_are_not_done_are_not_computed():
    done = []

    def body(c):
        pb.debug.callback(lambda: done.append(1))
        return pnp.sin(c[0]), c[1] + 1

    def fun(x):
        return lax.while_loop(lambda c: c[1] < 5, body, (x, 0), max_steps=10_000)[0]

    pb.grad(fun)(1.0)
    assert len(done) == 5


def grad_of_vmap(f):
    return pb.grad(lambda x: pb.vmap(f)(x).sum())


def vmap_of_grad(f):
    return pb.vmap(pb.grad(f))


@pytest.mark.parametrize("transform", [grad_of_vmap, vmap_of_grad])
def test_steps_that_no_example_does_are_not_computed(transform):
    """What would be selected away is skipped too: 2,000 steps would take very long to interpret."""
    calls = []

    @pb.custom_jvp
    def sin(x):
        return lax.sin(x)

    @sin.defjvp
    def rule(primals, tangents):
        calls.append(1)
        return sin(*primals), lax.cos(*primals) * tangents[0]

    def step(c):
        return sin(c[0]), c[1] + 1

    def counted(x):
        return lax.while_loop(lambda c: c[0] > x / 2, step, (x, 0), max_steps=2_000)[0]

    transform(counted)(X + 1)
    assert 1 <= len(calls) <= 4


def along_itself(f):
    return lambda x: pb.jvp(f, (x,), (x,))[1]


@pytest.mark.parametrize("derivative", [eager, pb.grad, along_itself])
def test_a_batch_of_none(derivative):
    @derivative
    def f(x):
        return lax.while_loop(lambda c: c < 1, lambda c: c + 1.0, x, max_steps=3)

    for run in (pb.vmap(f), pb.jit(pb.vmap(f)), pb.vmap(pb.jit(f))):
        assert run(pnp.zeros(0)).shape == (0,)


# --- errors ---


def endless_zero(max_steps):
    """The loop that never leaves zero, but for its bound."""
    return lax.while_loop(lambda x: x < 1, lambda x: x, 0.0, max_steps=max_steps)


def test_max_steps_is_checked():
    with pytest.raises(ValueError, match=r"while_loop: max_steps must be at least 0 .* got -1"):
        endless_zero(-1)
    for bad in (1.5, "3", True):
        with pytest.raises(TypeError, match="while_loop: max_steps must be an integer that is known when"):
            endless_zero(bad)
    with pytest.raises(TypeError, match="belongs into cond_fun"):
        pb.jit(endless_zero)(3)


def test_without_a_bound_reverse_mode_says_what_to_do():
    def fun(x):
        return lax.while_loop(lambda x: x < 10, lambda x: 2 * x, x)

    with pytest.raises(ValueError, match=r"while_loop\(..., max_steps=N\)"):
        pb.grad(fun)(1.0)


def test_jaxprs_are_well_formed_and_one_equation_where_nothing_is_reversed():
    fun = partial(newton, bounded)
    for f, x in ((fun, 1.0), (pb.vmap(fun), np.ones(2, f32)), (along_itself(sqrt), 1.0)):
        closed = pb.make_jaxpr(f)(x)
        check_jaxpr(closed)
        assert sum(eqn.primitive.name == "while" for eqn in closed.jaxpr.eqns) == 1
        assert "scan" not in str(closed)
    check_jaxpr(pb.make_jaxpr(pb.hessian(sqrt))(2.0))


def test_a_rule_by_jvp_where_the_body_returns_a_constant():
    """The tangent that a step replaces by zero is linear in the tangents; one that it adds a number to is not."""

    def body(c):
        return c[0] + 1, pnp.full((), 0.5, "float32")

    def constant(x):
        return lax.while_loop(lambda c: c[0] < 2, body, (0, x), max_steps=2)[1]

    call = pb.custom_jvp(lambda h, x: h(x), nondiff_argnums=(0,))

    @call.defjvp
    def rule(h, primals, tangents):
        return pb.jvp(h, primals, tangents)

    fun = partial(call, constant)
    assert pb.grad(fun)(1.0) == 0
    assert pb.jvp(fun, (1.0,), (1.0,)) == (0.5, 0)

    @pb.custom_jvp
    def shifted(x):
        return x

    @shifted.defjvp
    def shifted_rule(primals, tangents):
        return primals[0], lax.while_loop(lambda t: False, lambda t: t + 1, tangents[0], max_steps=3)

    with pytest.raises(pb.errors.RuleError, match="not linear in the tangent inputs: 'add'"):
        pb.grad(shifted)(1.0)
