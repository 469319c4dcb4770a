"""while_loop with max_steps: reverse mode to any order, against the unrolled loop and JAX's scan; memory and steps."""

import jax
import numpy as np
import pytest
from agreement import all_close
from transformations import agree

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


def newton(loop, max_steps=50):
    """The square root by Newton's method, and the number of steps."""
    def fun(a):
        return loop(lambda c: pnp.abs(c[0] * c[0] - a) > 1e-4 * a,
                    lambda c: (0.5 * (c[0] + a / c[0]), c[1] + 1), (a, 0), max_steps)

    return fun


@pytest.mark.parametrize("transform", [lambda f: f, pb.jit], ids=["eager", "jit"])
def test_equals_the_unrolled_loop(transform):
    ours = newton(lambda c, b, x, n: lax.while_loop(c, b, x, max_steps=n))
    plain = newton(unrolled)
    for a in map(pnp.float32, (1.0, 2.0, 30.0, 700.0)):
        all_close(transform(ours)(a)[0], plain(a)[0])
        assert int(transform(ours)(a)[1]) == plain(a)[1]
        for derivative in (pb.grad, lambda f: pb.grad(pb.grad(f)), pb.hessian, pb.jacfwd, pb.jacrev,
                           lambda f: pb.grad(lambda x: pb.jvp(f, (x,), (1.0,))[1])):
            all_close(transform(derivative(lambda a: ours(a)[0]))(a), derivative(lambda a: plain(a)[0])(a), 10)


@pytest.mark.parametrize("transform", [lambda f: f, pb.jit], ids=["eager", "jit"])
def test_batches_of_different_lengths(transform):
    ours = newton(lambda c, b, x, n: lax.while_loop(c, b, x, max_steps=n))
    a = np.array([1.0, 2.0, 30.0, 700.0], f32)
    roots, steps = transform(pb.vmap(ours))(a)
    assert len(set(steps.tolist())) == 4
    all_close([roots, steps], [np.stack(part) for part in zip(*map(ours, a), strict=True)])

    def first(a):
        return ours(a)[0]

    gradients = np.stack([pb.grad(first)(x) for x in a])
    seconds = np.stack([pb.grad(pb.grad(first))(x) for x in a])
    all_close(transform(pb.vmap(pb.grad(first)))(a), gradients)
    all_close(transform(pb.grad(lambda a: pb.vmap(first)(a).sum()))(a), gradients)
    all_close(transform(pb.vmap(pb.hessian(first)))(a), seconds, 10)
    all_close(transform(pb.grad(lambda a: pb.grad(lambda a: pb.vmap(first)(a).sum())(a).sum()))(a), seconds, 10)
    all_close(transform(pb.grad(lambda a: pb.vmap(pb.grad(first))(a).sum()))(a), seconds, 10)


def singular(x, slope):
    """The sum of slope √(x - i) over the i below x: one step more would divide by zero in the derivative."""
    def step(c):
        return c[0] - 1, c[1] + slope * pnp.sqrt(c[0])

    return lax.while_loop(lambda c: c[0] > 0, step, (x, 0.0 * x), max_steps=16)[1]


@pytest.mark.parametrize("transform", [lambda f: f, pb.jit], ids=["eager", "jit"])
def test_a_body_that_is_singular_where_the_loop_has_ended(transform):
    xs, slopes = np.array([0.0, 1.0, 3.0, 5.0], f32), np.array([1.0, -2.0, 0.5, 3.0], f32)
    below = [np.arange(x, 0, -1) for x in xs]
    first = np.array([s * (0.5 / np.sqrt(r)).sum() for s, r in zip(slopes, below, strict=True)], f32)
    by_slope = np.array([np.sqrt(r).sum() for r in below], f32)
    second = np.array([-s * (0.25 * r**-1.5).sum() for s, r in zip(slopes, below, strict=True)], f32)
    batched = pb.vmap(singular)
    both = (0, 1)
    all_close([np.stack(part) for part in zip(*(transform(pb.grad(singular, both))(x, s)
                                                for x, s in zip(xs, slopes, strict=True)), strict=True)],
              [first, by_slope])
    all_close(transform(pb.vmap(pb.grad(singular, both)))(xs, slopes), [first, by_slope])
    all_close(transform(pb.grad(lambda x, s: batched(x, s).sum(), both))(xs, slopes), [first, by_slope])
    all_close(transform(pb.vmap(pb.grad(pb.grad(singular))))(xs, slopes), second)
    all_close(transform(pb.vmap(pb.hessian(singular)))(xs, slopes), second)
    all_close(transform(pb.grad(lambda x: pb.vmap(pb.grad(singular))(x, slopes).sum()))(xs), second)
    all_close(transform(pb.grad(lambda x: pb.grad(lambda x: batched(x, slopes).sum())(x).sum()))(xs), second)


def test_shared_weights_closed_over_and_a_batch():
    w = np.random.default_rng(0).standard_normal((3, 3)).astype(f32) / 3
    xs = np.stack([X, -2 * X, 3 * X])

    def one(loop, w, x):
        return loop(lambda x: (x * x).sum() > 0.1, lambda x: lax.sin(w @ x), x, 20).sum()

    def ours(w, x):
        return one(lambda c, b, x, n: lax.while_loop(c, b, x, max_steps=n), w, x)

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

    def ours(x, key):
        return fun(lambda c, b, x, n: lax.while_loop(c, b, x, max_steps=n), x, key)

    key = pb.random.PRNGKey(0)
    expected = pb.value_and_grad(lambda x: fun(unrolled, x, key))(f32(2))
    for transform in (lambda f: f, pb.jit):
        all_close(transform(pb.value_and_grad(ours))(f32(2), key), expected)


def test_a_body_that_works_along_the_batch_sees_all_examples():
    """Examples that have stopped take part in the sum with the value they stopped at, as without a bound."""
    def fun(bound):
        def one(x):
            return lax.while_loop(lambda c: c < 4, lambda c: c + 0.1 * c * lax.psum(c, "i"), x, max_steps=bound)

        return pb.vmap(one, axis_name="i")

    def plain(xs):
        for _ in range(12):
            xs = pnp.where(xs < 4, xs + 0.1 * xs * xs.sum(), xs)
        return xs

    xs = np.array([1.0, 2.0, 3.5, 5.0], f32)
    all_close(fun(12)(xs), plain(xs))
    all_close(fun(None)(xs), plain(xs))
    for weights in (np.ones(4, f32), np.array([1.0, -2.0, 0.5, 3.0], f32)):
        all_close(pb.grad(lambda x, w=weights: (w * fun(12)(x)).sum())(xs),
                  pb.grad(lambda x, w=weights: (w * plain(x)).sum())(xs))


def test_linear_transpose():
    def fun(x):
        return lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, 2 * c[1]), (0, x), max_steps=5)[1]

    transposed, = pb.linear_transpose(fun, X)(X)
    all_close(transposed, 8 * X)


def test_the_bound_ends_the_loop():
    def fun(x, n):
        return lax.while_loop(lambda c: True, lambda c: 2 * c, x, max_steps=n)

    for n in (0, 1, 2, 7, 100):
        for transform in (lambda f: f, lambda f: pb.jit(f, static_argnums=1)):
            assert float(transform(fun)(1.0, n)) == 2.0 ** n
            assert float(transform(pb.grad(fun))(1.0, n)) == 2.0 ** n
    np.testing.assert_array_equal(pb.vmap(lambda x: fun(x, 3))(X), 8 * X)


# --- memory and work ---


def long_loop(max_steps, stop):
    def fun(w, x):
        return lax.while_loop(lambda c: c[1] < stop, lambda c: (pnp.tanh(c[0] @ w), c[1] + 1), (x, 0),
                              max_steps=max_steps)[0].sum()

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


@pytest.mark.parametrize("order", ["grad", "grad of vmap", "vmap of grad"])
def test_steps_that_are_not_done_are_not_computed(order):
    done = []

    def body(c):
        pb.debug.callback(lambda: done.append(1))
        return pnp.sin(c[0]), c[1] + 1

    def fun(x):
        return lax.while_loop(lambda c: c[1] < 5, body, (x, 0), max_steps=10_000)[0]

    if order == "grad":
        pb.grad(fun)(1.0)
        assert len(done) == 5
        return
    # what would be selected away under vmap is skipped too: 10,000 steps would take very long to interpret
    calls = []

    @pb.custom_jvp
    def sin(x):
        return lax.sin(x)

    @sin.defjvp
    def rule(primals, tangents):
        calls.append(1)
        return sin(*primals), lax.cos(*primals) * tangents[0]

    def counted(x):
        return lax.while_loop(lambda c: c[0] > x / 2, lambda c: (sin(c[0]), c[1] + 1), (x, 0), max_steps=2_000)[0]

    if order == "grad of vmap":
        pb.grad(lambda x: pb.vmap(counted)(x).sum())(X + 1)
    else:
        pb.vmap(pb.grad(counted))(X + 1)
    assert len(calls) <= 4


def test_a_batch_of_none():
    def fun(x):
        return lax.while_loop(lambda c: c < 1, lambda c: c + 1.0, x, max_steps=3)

    for f in (fun, pb.grad(fun), lambda x: pb.jvp(fun, (x,), (x,))[1]):
        for run in (pb.vmap(f), pb.jit(pb.vmap(f)), pb.vmap(pb.jit(f))):
            assert run(pnp.zeros(0)).shape == (0,)


# --- errors ---


def test_max_steps_is_checked():
    with pytest.raises(ValueError, match=r"while_loop: max_steps must be at least 0 .* got -1"):
        lax.while_loop(lambda x: x < 1, lambda x: x, 0.0, max_steps=-1)
    for bad in (1.5, "3", True):
        with pytest.raises(TypeError, match="while_loop: max_steps must be an integer that is known when"):
            lax.while_loop(lambda x: x < 1, lambda x: x, 0.0, max_steps=bad)
    with pytest.raises(TypeError, match="belongs into cond_fun"):
        pb.jit(lambda n: lax.while_loop(lambda x: x < 1, lambda x: x, 0.0, max_steps=n))(3)


def test_without_a_bound_reverse_mode_says_what_to_do():
    with pytest.raises(ValueError, match=r"while_loop\(..., max_steps=N\)"):
        pb.grad(lambda x: lax.while_loop(lambda x: x < 10, lambda x: 2 * x, x))(1.0)


def test_jaxprs_are_well_formed_and_one_equation_where_nothing_is_reversed():
    fun = newton(lambda c, b, x, n: lax.while_loop(c, b, x, max_steps=n))
    for f, x in ((fun, 1.0), (pb.vmap(fun), np.ones(2, f32)), (lambda x: pb.jvp(lambda x: fun(x)[0], (x,), (x,)), 1.0)):
        closed = pb.make_jaxpr(f)(x)
        check_jaxpr(closed)
        assert sum(eqn.primitive.name == "while" for eqn in closed.jaxpr.eqns) == 1
        assert "scan" not in str(closed)
    check_jaxpr(pb.make_jaxpr(pb.hessian(lambda x: fun(x)[0]))(2.0))


def test_a_rule_by_jvp_where_the_body_returns_a_constant():
    """The tangent that a step replaces by zero is linear in the tangents; one that it adds a number to is not."""
    def constant(x):
        return lax.while_loop(lambda c: c[0] < 2, lambda c: (c[0] + 1, pnp.full((), 0.5, "float32")), (0, x),
                              max_steps=2)[1]

    rule = pb.custom_jvp(lambda h, x: h(x), nondiff_argnums=(0,))
    rule.defjvp(lambda h, primals, tangents: pb.jvp(h, primals, tangents))
    assert pb.grad(lambda x: rule(constant, x))(1.) == 0
    assert pb.jvp(lambda x: rule(constant, x), (1.,), (1.,)) == (0.5, 0)

    @pb.custom_jvp
    def shifted(x):
        return x

    @shifted.defjvp
    def shifted_rule(primals, tangents):
        return primals[0], lax.while_loop(lambda t: False, lambda t: t + 1, tangents[0], max_steps=3)

    with pytest.raises(pb.errors.RuleError, match="not linear in the tangent inputs: 'add'"):
        pb.grad(shifted)(1.)
