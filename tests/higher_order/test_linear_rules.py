"""Rules must be linear in tangents: what is not is refused, by name, and what vanishes is known to vanish."""
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import implicit, lax
from pullback._analysis import uniform
from pullback.errors import RuleError, RuleNotDefinedError

X = np.float32([1., 2., 3.])
WRAPS = {"eager": lambda f: f, "jit": pb.jit}


def with_rule(rule):
    f = pb.custom_jvp(lambda x: 2 * x)
    f.defjvp(lambda p, t: (f(*p), rule(p[0], t[0])))
    return lambda x: f(x).sum()


AFFINE = {
    "t + 1": lambda p, t: t + 1.,
    "p - t": lambda p, t: p - t,
    "where": lambda p, t: pnp.where(p > 1, t, 1.),
    "set": lambda p, t: t.at[0].set(5.),
    "add": lambda p, t: t.at[pnp.array([0])].add(5.),
    "scattered into ones": lambda p, t: pnp.ones(3).at[1].set(t[0]),
    "concatenate": lambda p, t: pnp.concatenate([t[:1], pnp.ones(2)]),
    "pad": lambda p, t: pnp.pad(t[:1], (0, 2), constant_values=3.),
    "jit": lambda p, t: pb.jit(lambda t: t + 1.)(t),
    "scan": lambda p, t: lax.scan(lambda c, _: (c + 1., None), t, None, 2)[0],
    "carry of ones": lambda p, t: lax.scan(lambda c, _: (c + t, None), pnp.ones(3), None, 2)[0],
    "cond": lambda p, t: lax.cond(p[0] > 0, lambda t: t + 1., lambda t: t, t),
    "a branch of ones": lambda p, t: lax.cond(p[0] > 0, lambda t: t, lambda t: pnp.ones_like(t), t),
    "a branch of ones in a scan": lambda p, t: lax.scan(
        lambda c, _: (lax.cond(p[0] > 0, lambda c: c, lambda c: pnp.ones_like(c), c), None), t, None, 2)[0],
    "a carry that leaves zero": lambda p, t: lax.scan(lambda c, d: (c + 1., d + c), 0., t)[1],
    "carries that change places": lambda p, t: lax.fori_loop(
        0, 3, lambda i, c: (c[1], c[0] + 1, c[2] + c[0]), (pnp.zeros(3), pnp.zeros(3), t))[2],
    "constant": lambda p, t: pnp.ones_like(t)}


@pytest.mark.parametrize("mode", WRAPS)
@pytest.mark.parametrize("name", AFFINE)
def test_what_adds_to_a_tangent_is_named(name, mode):
    with pytest.raises(RuleError, match=r"(?s)jvp rule of custom_jvp function .*tangent output that"):
        WRAPS[mode](pb.grad(with_rule(AFFINE[name])))(X)


LINEAR = {
    "where": (lambda p, t: pnp.where(p > 1, t, 0.), [0, 1, 1]),
    "set": (lambda p, t: t.at[0].set(0.), [0, 1, 1]),
    "scattered": (lambda p, t: pnp.zeros(3).at[1].set(t[0]), [1, 0, 0]),
    "concatenate": (lambda p, t: pnp.concatenate([t[:1], pnp.zeros(2)]), [1, 0, 0]),
    "pad": (lambda p, t: pnp.pad(t[:1], (0, 2)), [1, 0, 0]),
    "sum": (lambda p, t: t + 0. + p * t, [2, 3, 4]),
    "carry of zeros": (lambda p, t: lax.scan(lambda c, _: (c + t, None), pnp.zeros(3), None, 2)[0], [2, 2, 2]),
    "nan": (lambda p, t: pnp.where(p > 0, t / p, pnp.nan), [1, 1 / 2, np.float32(1) / 3]),
    "a branch of zeros": (lambda p, t: lax.cond(p[0] > 0, lambda t: t, lambda t: pnp.zeros_like(t), t), [1, 1, 1]),
    "not used": (lambda p, t: (t + 1., t)[1], [1, 1, 1])}


@pytest.mark.parametrize("mode", WRAPS)
@pytest.mark.parametrize("name", LINEAR)
def test_zeros_may_be_put_beside_tangents(name, mode):
    rule, expected = LINEAR[name]
    np.testing.assert_array_equal(WRAPS[mode](pb.grad(with_rule(rule)))(X), expected)


# made of primal values, and zero whatever these are
ZEROS = {
    "zeros_like": pnp.zeros_like,
    "full_like": lambda x: pnp.full_like(x, 0.),
    "0 * x": lambda x: 0 * x,
    "stop_gradient": lambda x: lax.stop_gradient(pnp.zeros_like(x)),
    "jit": pb.jit(pnp.zeros_like),
    "jit of 0 * x": pb.jit(lambda x: 0 * x),
    "checkpoint": pb.checkpoint(pnp.zeros_like),
    "custom_jvp": pb.custom_jvp(pnp.zeros_like),
    "cond": lambda x: lax.cond(x[0] > 0, pnp.zeros_like, lambda x: 0. * x, x),
    "scan": lambda x: lax.scan(lambda c, y: (0.5 * c, c), 0., x)[1],
    "maximum": lambda x: pnp.maximum(pnp.zeros_like(x), 0),
    "max": lambda x: pnp.max(pnp.zeros_like(x)),
    "abs": lambda x: abs(pnp.zeros_like(x)),
    "square": lambda x: pnp.zeros_like(x) ** 2,
    "sort": lambda x: pnp.sort(pnp.zeros_like(x)),
    "sin": lambda x: pnp.sin(pnp.zeros_like(x)),
    "ones - 1": lambda x: pnp.ones_like(x) - 1,
    "reshape": lambda x: pnp.zeros((1, 3)).reshape(3).astype(x.dtype)}


@pytest.mark.parametrize("name", ZEROS)
def test_zeros_are_known_where_they_are_traced(name):
    g = pb.grad(with_rule(lambda p, t: 2 * t + ZEROS[name](p)))
    np.testing.assert_array_equal(pb.jit(g)(X), [2, 2, 2])
    np.testing.assert_array_equal(pb.vmap(g)(X[None]), [[2, 2, 2]])


def test_the_equations_of_a_trace_are_looked_at_once(monkeypatch):
    looked_at = []
    learn = uniform._learn
    monkeypatch.setattr(uniform, "_learn", lambda eqn, values: (looked_at.append(eqn), learn(eqn, values)))
    f = pb.custom_jvp(pnp.sin)
    f.defjvp(lambda p, t: (f(*p), pnp.where(p[0] > 0, t[0] * pnp.cos(p[0]), 0 * p[0])))

    def chain(x):
        for _ in range(50):
            x = f(x)
        return x

    jaxpr = pb.make_jaxpr(pb.grad(chain))(1.)
    assert len(jaxpr.eqns) < len(looked_at) < 10 * len(jaxpr.eqns)


CHOICES = {
    "mask": lambda p, t: pnp.where(t > 0, t, 0.),
    "branch": lambda p, t: lax.cond(t[0] > 0, lambda t: t, lambda t: 2 * t, t),
    "position": lambda p, t: p * t[pnp.argmax(t)],
    "integer": lambda p, t: t.astype(int).astype(float)}


@pytest.mark.parametrize("mode", WRAPS)
@pytest.mark.parametrize("name", CHOICES)
def test_choices_by_tangents_are_named(name, mode):
    with pytest.raises((TypeError, RuleNotDefinedError), match=r"(?s)must be linear"):
        WRAPS[mode](pb.grad(with_rule(CHOICES[name])))(X)


@pytest.mark.parametrize("fun", [lambda x: x + 1., lambda x: 1., lambda x: pnp.stack([x, pnp.float32(1.)])[1],
                                 lambda x: x.astype(int).astype(float)])
def test_linear_transpose_refuses_what_is_not_linear(fun):
    with pytest.raises(TypeError, match="linear"):
        pb.linear_transpose(fun, 1.)(pnp.ones(()))


def test_linear_transpose_of_what_vanishes():
    assert [float(c) for c in pb.linear_transpose(lambda x: (0 * x, pnp.zeros(())), 1.)((1., 1.))] == [0.]


# --- what depends on arguments that stand still has no tangent, also where it is traced ---

TIMES_TANGENT = {
    "mul": lambda p, t: pnp.cos(p) * t,
    "div": lambda p, t: t / p,
    "where": lambda p, t: pnp.where(p > 0, t * p, 2 * t),
    "jit": lambda p, t: pb.jit(lambda t: pnp.cos(p) * t)(t),
    "scan": lambda p, t: lax.scan(lambda c, _: (c * p, None), t, None, 3)[0],
    "cond": lambda p, t: lax.cond(p > 0, lambda t: t * p, lambda t: 2 * t, t),
    "jvp": lambda p, t: pb.jvp(pnp.sin, (p,), (t,))[1],
    "linearize": lambda p, t: pb.linearize(pnp.sin, p)[1](t),
    "sum": lambda p, t: (t * pnp.ones(3) * p).sum()}


@pytest.mark.parametrize("name", TIMES_TANGENT)
def test_a_result_of_what_stands_still(name):
    rule = TIMES_TANGENT[name]
    f = pb.custom_jvp(lambda x, s: (pnp.sin(x), pnp.sin(s)))
    f.defjvp(lambda p, t: (f(*p), (rule(p[0], t[0]), rule(p[1], t[1]))))
    covers_one = pb.custom_rules(lambda x, s: x * s)
    covers_one.defjvp(lambda p, t: (covers_one(*p), t[0] * p[1]), argnums=0)

    def loss(x, s):
        return covers_one(*f(x, s))

    expected = float(rule(pnp.float32(0.3), pnp.float32(1.))) * np.sin(0.4)
    for g in (pb.grad(loss), pb.jit(pb.grad(loss)), pb.grad(pb.jit(loss)), pb.grad(pb.checkpoint(loss)),
              pb.jacfwd(loss)):
        np.testing.assert_allclose(g(0.3, 0.4), expected, rtol=1e-5)


def of_a_root(a):
    return lax.custom_root(lambda y: y + 0.25 * pnp.sin(y) - a, pnp.zeros_like(a),
                           lambda f, y: lax.fori_loop(0, 30, lambda i, z: z - f(z), y),
                           lambda g, y: y / g(pnp.ones_like(y)))


def of_eigenvectors(a):
    return pnp.linalg.eigh(pnp.array([[1., 0.3], [0.3, 2.]]) * a)[1].sum()


BY_FORWARD_MODE = {
    "custom_root": of_a_root,
    "custom_linear_solve": lambda a: lax.custom_linear_solve(lambda v: 3 * v, a, lambda f, b: b / 3, symmetric=True),
    "fixed_point": lambda a: implicit.fixed_point(lambda y, a: 0.25 * pnp.sin(y) + a, 0 * a, a),
    "linear_solve": lambda a: implicit.linear_solve(lambda v: 3 * v, a),
    "odeint": lambda a: implicit.odeint(lambda y, t, a: -y * a, 1., pnp.array([0., 1.]), a)[-1],
    "while": lambda a: lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] * pnp.cos(s[1])), (0, a))[1],
    "bounded while": lambda a: lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] * pnp.cos(s[1])), (0, a),
                                              max_steps=5)[1],
    "fori_loop": lambda a: lax.fori_loop(0, (a * 6).astype(int), lambda i, s: pnp.sin(s), a),
    "eigh": of_eigenvectors}


@pytest.mark.parametrize("name", BY_FORWARD_MODE)
def test_a_rule_by_forward_mode_of_what_stands_still(name):
    def f(x, s):
        return pnp.sin(x), BY_FORWARD_MODE[name](s)

    g = pb.custom_jvp(f)
    g.defjvp(lambda p, t: pb.jvp(f, p, t))

    def loss(x):
        y, z = g(x, pnp.float32(0.5))
        return y * z

    expected = np.cos(0.3) * float(BY_FORWARD_MODE[name](pnp.float32(0.5)))
    for gradient in (pb.grad(loss), pb.jit(pb.grad(loss)), pb.checkpoint(pb.grad(loss)), pb.grad(pb.jit(loss))):
        np.testing.assert_allclose(gradient(0.3), expected, rtol=1e-5)
    batched = pb.jit(pb.vmap(pb.grad(loss)))(np.float32([0.3, 0.3]))
    np.testing.assert_allclose(batched, [expected] * 2, rtol=1e-5)


@pytest.mark.parametrize("mode", WRAPS)
def test_zeros_of_integers_may_be_handed_on(mode):
    def both(x):
        return 2 * x, x > 0

    f, g = pb.custom_vjp(both), pb.custom_jvp(lambda x, i: x * i)
    f.defvjp(lambda x: pb.vjp(both, x), lambda pullback, ct: pullback(ct))
    g.defjvp(lambda p, t: pb.jvp(lambda x, i: x * i, p, t))
    assert float(WRAPS[mode](pb.grad(lambda x: f(x)[0]))(1.)) == 2
    assert float(WRAPS[mode](pb.grad(g))(1., 3)) == 3
    with pytest.raises(TypeError, match="float0"):
        pb.jvp(g, (1., 3), (1., 1.))


# --- forward mode of loops in loops, transposed ---

XS = pnp.arange(1., 3.)
OUTER = {
    "scan": lambda body, s: lax.scan(lambda t, w: (body(t, w), None), s, XS)[0],
    "while": lambda body, s: lax.while_loop(lambda c: c[1] < 2, lambda c: (body(c[0], XS[c[1]]), c[1] + 1), (s, 0),
                                            max_steps=3)[0]}
INNER = {
    "scan": lambda u, w: lax.scan(lambda u, v: (pnp.sin(u * w), None), u, XS)[0],
    "map": lambda u, w: lax.map(lambda v: pnp.sin(u * w * v), XS).sum(),
    "while": lambda u, w: lax.while_loop(lambda c: c[1] < 2, lambda c: (pnp.sin(c[0] * w), c[1] + 1), (u, 0),
                                         max_steps=3)[0],
    "cond": lambda u, w: lax.cond(w > 1.5, lambda u: pnp.sin(u * w), lambda u: u * w * u, u)}


@pytest.mark.parametrize("outer", OUTER)
@pytest.mark.parametrize("inner", INNER)
def test_a_rule_by_forward_mode_of_nested_loops(inner, outer):
    def f(s):
        return OUTER[outer](INNER[inner], s)

    g = pb.custom_jvp(f)
    g.defjvp(lambda p, t: (g(*p), pb.jvp(f, p, t)[1]))
    expected = pb.grad(f)(0.4)
    np.testing.assert_allclose(pb.grad(g)(0.4), expected, rtol=1e-5)
    transposed, = pb.linear_transpose(lambda t: pb.jvp(f, (0.4,), (t,))[1], 1.)(1.)
    np.testing.assert_allclose(transposed, expected, rtol=1e-5)
