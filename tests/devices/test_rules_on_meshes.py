"""Custom rules inside and around `shard_map` and sharded `jit`: rules with collectives, checked on the mesh."""

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.implicit import odeint

P = pb.P
AUTO = pb.sharding.AxisType.Auto
R = np.random.RandomState(1)
X = R.randn(8, 4).astype(np.float32)
W = (R.randn(4, 6) * 0.3).astype(np.float32)
MESH = pb.make_mesh((4, 2), ("x", "y"), axis_types=(AUTO, AUTO))


def close(a, b, tolerance=1e-4):
    for u, v in zip(pb.tree.leaves(a), pb.tree.leaves(b), strict=True):
        np.testing.assert_allclose(np.asarray(u), np.asarray(v), rtol=tolerance, atol=tolerance)


@pb.custom_jvp
def log1pexp(x):
    return pnp.logaddexp(x, 0.0)


@log1pexp.defjvp
def _(primals, tangents):
    ((x,), (t,)) = primals, tangents
    return log1pexp(x), t * pb.nn.sigmoid(x)


def test_a_jvp_rule_inside():
    def loss(x, w):
        f = pb.shard_map(lambda x, w: lax.psum(log1pexp(x @ w), "x"), mesh=MESH, in_specs=(P("x"), P()), out_specs=P())
        return (f(x, w) ** 2).sum()

    def plain(x, w):
        return (log1pexp(x @ w).reshape(4, 2, 6).sum(0) ** 2).sum()

    close(pb.jit(pb.grad(loss, (0, 1)))(X, W), pb.grad(plain, (0, 1))(X, W))
    ours = pb.jvp(loss, (X, W), (X, W))
    close(ours, pb.jvp(plain, (X, W), (X, W)))
    close(pb.jit(pb.hessian(loss, 1))(X, W), pb.hessian(plain, 1)(X, W), 1e-3)


# --- a layer whose weights are divided: the two functions that a tensor-parallel model is made of ---


@pb.custom_vjp
def to_each(x):
    """One value as a value of each device: its cotangents are summed."""
    return x


to_each.defvjp(lambda x: (x, None), lambda _, ct: (lax.psum(ct, "y"),))


@pb.custom_vjp
def summed(x):
    """The sum over devices: its cotangent goes to each."""
    return lax.psum(x, "y")


summed.defvjp(lambda x: (lax.psum(x, "y"), None), lambda _, ct: (ct,))


def layer(x, w, v):
    return summed(pnp.tanh(to_each(x) @ w) @ v)


def plain_layer(x, w, v):
    return pnp.tanh(x @ w) @ v


def test_a_tensor_parallel_layer_by_rules():
    # the loss is computed by each device, of its examples
    def loss(x, w, v):
        return (layer(x, w, v) ** 2).sum()

    def gradients(x, w, v):
        dx, dw, dv = pb.grad(loss, (0, 1, 2))(x, w, v)
        return dx, lax.psum(dw, "x"), lax.psum(dv, "x")

    specs = (P("x"), P(None, "y"), P("y"))
    f = pb.shard_map(gradients, mesh=MESH, in_specs=specs, out_specs=specs, check_vma=False)

    def plain(x, w, v):
        return (plain_layer(x, w, v) ** 2).sum()

    args = (X, W, W.T.copy())
    close(pb.jit(f)(*args), pb.grad(plain, (0, 1, 2))(*args))


def test_rules_that_are_checked_on_the_mesh():
    @pb.custom_vjp
    def mean_layer(x, w):
        return lax.pmean(pnp.sin(x) @ w, "x")

    def fwd(x, w):
        return mean_layer(x, w), (x, w)

    def bwd(saved, ct):
        x, w = saved
        share = ct / lax.axis_size("x")
        return pnp.cos(x) * (share @ w.T), lax.psum(pnp.sin(x).T @ share, "x")

    mean_layer.defvjp(fwd, bwd)
    f = pb.shard_map(mean_layer, mesh=MESH, in_specs=(P("x"), P()), out_specs=P())
    pb.check_rules(f, X, W)

    def wrong(saved, ct):
        x, w = saved
        share = ct / lax.axis_size("x")
        return pnp.cos(x) * (share @ w.T), 2 * lax.psum(pnp.sin(x).T @ share, "x")

    @pb.custom_vjp
    def wrong_layer(x, w):
        return lax.pmean(pnp.sin(x) @ w, "x")

    wrong_layer.defvjp(lambda x, w: (wrong_layer(x, w), (x, w)), wrong)
    g = pb.shard_map(wrong_layer, mesh=MESH, in_specs=(P("x"), P()), out_specs=P())
    with pytest.raises(AssertionError):
        pb.check_rules(g, X, W)


# --- attention over a ring: each device has a part of the queries, and of the keys and values, which travel ---


def ring(x):
    n = lax.axis_size("x")
    return lax.ppermute(x, "x", [(i, (i + 1) % n) for i in range(n)])


def ring_forward(q, k, v):
    def step(state, _):
        k, v, top, total, out = state
        scores = q @ k.T
        new = pnp.maximum(top, scores.max(1))
        weights = pnp.exp(scores - new[:, None])
        shrink = pnp.exp(top - new)
        return (ring(k), ring(v), new, total * shrink + weights.sum(1), out * shrink[:, None] + weights @ v), None

    n = q.shape[0]
    start = (k, v, pnp.full(n, -pnp.inf, q.dtype), pnp.zeros(n, q.dtype), pnp.zeros((n, v.shape[1]), q.dtype))
    (_, _, top, total, out), _ = lax.scan(step, start, None, length=lax.axis_size("x"))
    return out / total[:, None], top + pnp.log(total)


@pb.custom_vjp
def ring_attention(q, k, v):
    return ring_forward(q, k, v)[0]


def ring_fwd(q, k, v):
    out, log_total = ring_forward(q, k, v)
    return out, (q, k, v, out, log_total)


def ring_bwd(saved, ct):
    q, k, v, out, log_total = saved
    inner = (ct * out).sum(1)

    def step(state, _):
        k, v, dk, dv, dq = state
        weights = pnp.exp(q @ k.T - log_total[:, None])
        dscores = weights * (ct @ v.T - inner[:, None])
        moved = ring(k), ring(v), ring(dk + dscores.T @ q), ring(dv + weights.T @ ct)
        return (*moved, dq + dscores @ k), None

    zeros = pnp.zeros_like
    (_, _, dk, dv, dq), _ = lax.scan(step, (k, v, zeros(k), zeros(v), zeros(q)), None, length=lax.axis_size("x"))
    return dq, dk, dv


ring_attention.defvjp(ring_fwd, ring_bwd)


def attention(q, k, v):
    return pb.nn.softmax(q @ k.T, axis=1) @ v


def on_ring(*args):
    return pb.shard_map(ring_attention, mesh=MESH, in_specs=(P("x"),) * 3, out_specs=P("x"))(*args)


def test_ring_attention():
    q, k, v = (R.randn(8, 5).astype(np.float32) for _ in range(3))
    close(pb.jit(on_ring)(q, k, v), attention(q, k, v))

    def loss(f):
        def of(q, k, v):
            return (f(q, k, v) ** 2).sum()

        return of

    gradients = pb.jit(pb.grad(loss(on_ring), (0, 1, 2)))(q, k, v)
    close(gradients, pb.grad(loss(attention), (0, 1, 2))(q, k, v), 1e-3)
    # two heads
    heads = [np.stack([x, x[::-1]]) for x in (q, k, v)]
    close(pb.jit(pb.vmap(on_ring))(*heads), pb.vmap(attention)(*heads))
    batched = pb.jit(pb.vmap(pb.grad(loss(on_ring))))(*heads)
    close(batched, pb.vmap(pb.grad(loss(attention)))(*heads), 1e-3)


# --- gradients that are compressed before they are summed, with the error carried on ---


def test_a_sum_of_gradients_with_error_feedback():
    def compressed(x):
        scale = lax.pmax(pnp.abs(x).max(), "x") / 7
        return pnp.round(x / scale) * scale

    def step(w, x, error):
        def loss(w):
            return (pnp.tanh(x @ w) ** 2).sum()

        g = pb.grad(loss)(lax.pvary(w, "x")) + error[0]
        sent = compressed(g)
        return lax.psum(sent, "x"), (g - sent)[None]

    f = pb.jit(
        pb.shard_map(step, mesh=pb.make_mesh((8,), ("x",)), in_specs=(P(), P("x"), P("x")), out_specs=(P(), P("x")))
    )

    def plain(w, x):
        return (pnp.tanh(x @ w) ** 2).sum()

    exact = np.asarray(pb.grad(plain)(W, X))
    error, sent = np.zeros((8, *W.shape), np.float32), np.zeros_like(W)
    for i in range(1, 9):
        total, error = f(W, X, error)
        sent = sent + np.asarray(total)
        # what was sent so far is what was due, but for the errors that are carried
        np.testing.assert_allclose(sent + np.asarray(error).sum(0), i * exact, rtol=1e-4, atol=1e-4)


# --- around: a rule whose function and whose bwd run on the mesh ---


def test_a_rule_around():
    @pb.custom_vjp
    def f(x, w):
        return pb.shard_map(lambda x, w: pnp.sin(x @ w), mesh=MESH, in_specs=(P("x"), P()), out_specs=P("x"))(x, w)

    def bwd(saved, ct):
        x, w = saved

        def parts(x, w, ct):
            inner = ct * pnp.cos(x @ w)
            return inner @ w.T, lax.psum(x.T @ inner, "x")

        return pb.shard_map(parts, mesh=MESH, in_specs=(P("x"), P(), P("x")), out_specs=(P("x"), P()))(x, w, ct)

    f.defvjp(lambda x, w: (f(x, w), (x, w)), bwd)

    def loss(g):
        def of(x, w):
            return (g(x, w) ** 2).sum()

        return of

    plain = pb.grad(loss(lambda x, w: pnp.sin(x @ w)), (0, 1))(X, W)
    placed = pb.device_put(X, pb.NamedSharding(MESH, P("x")))
    close(pb.jit(pb.grad(loss(f), (0, 1)))(placed, W), plain)
    close(pb.grad(loss(f), (0, 1))(placed, W), plain)
    pb.check_rules(f, X, W)


# --- solvers on sharded states ---


def test_solvers_on_placed_arrays():
    place = pb.NamedSharding(MESH, P("x"))
    b = pb.device_put(X[:, 0], place)
    a = pb.device_put((X @ X.T + 9 * np.eye(8)).astype(np.float32), place)

    def solved(a, b):
        return pb.scipy.sparse.linalg.cg(lambda v: a @ v, b, tol=1e-6)[0]

    def loss(a, b):
        return (solved(a, b) ** 2).sum()

    def plain(a, b):
        return (pnp.linalg.solve(a, b) ** 2).sum()

    close(pb.jit(pb.grad(loss, (0, 1)))(a, b), pb.grad(plain, (0, 1))(np.asarray(a), np.asarray(b)), 2e-3)

    def final(k, y):
        return odeint(lambda y, t, k: -k * y, y, pnp.array([0.0, 1.0]), k)[-1]

    def at_end(k, y):
        return (final(k, y) ** 2).sum()

    dk, dy = pb.jit(pb.grad(at_end, (0, 1)))(np.float32(0.5), b)
    decay = np.exp(-1.0)
    close(dk, -2 * (np.asarray(b) ** 2).sum() * decay, 1e-3)
    close(dy, 2 * np.asarray(b) * decay, 1e-3)
