"""A primitive class with any of its rules works in every mode, and calls the rules that it should."""

import itertools

import numpy as np
import pytest
from agreement import close
from primitive_classes import JAX, OURS, product

import pullback as pb
import pullback.numpy as pnp
from pullback import check_rules, grad, jit, jvp, lax, linearize, vmap

XS, YS = np.array([0.3, -1.2, 2.0], "float32"), np.array([1.5, 0.5, -2.0], "float32")
SETS = {
    "expand alone": (),
    "vjp": ("vjp_fwd", "vjp_bwd_retval"),
    "accumulators": ("vjp_fwd", "vjp_bwd"),
    "jvp": ("jvp",),
    "lin": ("lin", "linearized"),
    "all": ("jvp", "lin", "linearized", "vjp_fwd", "vjp_bwd_retval"),
}


def by_rules(x, y):
    return 3 * np.sin(x) * y, 3 * np.cos(x) * y, 3 * np.sin(x)


@pytest.fixture(params=SETS, name="rules")
def _rules(request):
    return SETS[request.param]


def test_value_and_both_modes(rules):
    f, _ = product(OURS, *rules)
    value, by_x, by_y = by_rules(XS[0], YS[0])
    close(f(XS[0], YS[0]), value)
    close(jit(f)(XS[0], YS[0]), value)
    for transform in (lambda g: g, jit):
        gx, gy = transform(grad(f, (0, 1)))(XS[0], YS[0])
        close(gx, by_x), close(gy, by_y)
        out, dot = transform(lambda x, y: jvp(f, (x, y), (1.0, 2.0)))(XS[0], YS[0])
        close(out, value), close(dot, by_x + 2 * by_y)
    out, push = linearize(f, XS[0], YS[0])
    close(push(1.0, 2.0), by_x + 2 * by_y)


def test_second_order(rules):
    f, _ = product(OURS, *rules)
    x, y = XS[0], YS[0]
    close(grad(grad(f))(x, y), -3 * np.sin(x) * y)
    close(grad(grad(f), 1)(x, y), 3 * np.cos(x))
    close(jvp(grad(f, 1), (x, y), (1.0, 1.0))[1], 3 * np.cos(x))
    close(grad(lambda x: jvp(f, (x, y), (1.0, 0.0))[1])(x), -3 * np.sin(x) * y)
    close(jit(grad(grad(grad(f))))(x, y), -3 * np.cos(x) * y)


def test_batches(rules):
    f, _ = product(OURS, *rules)
    value, by_x, by_y = by_rules(XS, YS)
    close(vmap(f)(XS, YS), value)
    close(vmap(grad(f))(XS, YS), by_x)
    close(jit(vmap(grad(f, 1)))(XS, YS), by_y)
    close(vmap(lambda x: jvp(f, (x, 2.0), (1.0, 0.0))[1])(XS), 6 * np.cos(XS))
    close(grad(lambda y: vmap(f, (0, None))(XS, y).sum())(YS[0]), by_y.sum())
    close(vmap(vmap(f, (None, 0)), (0, None))(XS, YS), 3 * np.sin(XS)[:, None] * YS)


def in_scan(f):
    def scanned(x, y):
        return lax.scan(lambda c, _: (f(c, y), None), x, None, length=3)[0]

    return scanned


def in_cond(f):
    def chosen(x, y):
        return lax.cond(y > 1, f, lambda x, y: x, x, y)

    return chosen


def in_while(f):
    def repeated(x, y):
        return lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, f(s[1], y)), (0, x), max_steps=4)[1]

    return repeated


def in_checkpoint(f):
    return pb.checkpoint(lambda x, y: f(f(x, y), y))


@pytest.mark.parametrize("wrapper", [in_scan, in_cond, in_while, in_checkpoint])
def test_inside_of_other_primitives(rules, wrapper):
    f, _ = product(OURS, *rules)

    def plain(x, y):
        return 3.0 * pnp.sin(x) * y

    for argnum, second in itertools.product((0, 1), (False, True)):
        ours, expected = (grad(wrapper(g), argnum) for g in (f, plain))
        if second:
            ours, expected = grad(ours, 1), grad(expected, 1)
        close(ours(XS[0], YS[0]), expected(XS[0], YS[0]), 10)
        close(jit(ours)(XS[0], YS[0]), expected(XS[0], YS[0]), 10)
        close(vmap(ours)(XS, YS), vmap(expected)(XS, YS), 10)


def test_the_checker_of_rules_accepts_them(rules):
    f, _ = product(OURS, *rules, shape=(2,))
    check_rules(f, pnp.asarray(XS[:2]), pnp.asarray(YS[:2]), order=2)


@pytest.mark.parametrize("name", ["vjp", "accumulators", "all"])
def test_reverse_mode_calls_the_same_rules_as_jax(name):
    rules = SETS[name]
    seen = []
    for library in (OURS, JAX):
        f, ran = product(library, *(r for r in rules if r not in ("lin", "linearized")), "batch_dim_rule")
        grad_of = library.core.grad
        results = [
            grad_of(f)(0.3, 1.5),
            grad_of(f, (0, 1))(0.3, 1.5),
            grad_of(lambda x, f=f: f(x, 2.0) + f(1.0, 2.0))(0.3),
            library.core.jit(grad_of(f, 1))(0.3, 1.5),
        ]
        seen.append(([r for r in ran if r != ("vjp_fwd", (False, False))], results))
    assert seen[0][0] == seen[1][0]
    for ours, theirs in zip(pb.tree.leaves(seen[0][1]), pb.tree.leaves(seen[1][1]), strict=True):
        close(ours, theirs)


@pytest.mark.parametrize("name", ["jvp", "lin"])
def test_forward_mode_calls_the_same_rules_as_jax(name):
    seen = []
    for library in (OURS, JAX):
        f, ran = product(library, *SETS[name])
        core = library.core
        if name == "jvp":
            results = [
                core.jvp(f, (0.3, 1.5), (1.0, 2.0)),
                core.jvp(lambda y, f=f: f(0.3, y) * f(1.0, 2.0), (1.5,), (2.0,)),
                core.jit(lambda x, f=f, jvp=core.jvp: jvp(f, (x, 1.5), (1.0, 2.0)))(0.3),
            ]
        else:
            pairs = [core.linearize(f, 0.3, 1.5), core.linearize(lambda y, f=f: f(0.3, y), 1.5)]
            results = [pairs[0][0], pairs[0][1](1.0, 2.0), pairs[1][0], pairs[1][1](2.0)]
        seen.append((ran, results))
    assert seen[0][0] == seen[1][0]
    for ours, theirs in zip(pb.tree.leaves(seen[0][1]), pb.tree.leaves(seen[1][1]), strict=True):
        close(ours, theirs)


def test_a_result_that_does_not_depend_on_the_mapped_argument():
    """Where all examples share a result, its cotangent counts once."""

    def vjp_bwd(self, res, ct, x, y):
        x.accum(pnp.zeros(()))
        y.accum(3.0 * ct)

    class Second(OURS.Base):
        in_avals, out_aval, params = (pb.typeof(1.0),) * 2, pb.typeof(1.0), {}

        def expand(self, x, y):
            return 3.0 * y

        def vjp_fwd(self, nzs_in, x, y):
            return self(x, y), None

    Second.vjp_bwd = vjp_bwd

    def loss(y):
        return vmap(Second(), (0, None), None)(XS, y) * 6.0

    assert grad(loss)(2.0) == jit(grad(loss))(2.0) == 18.0
    assert grad(lambda y: vmap(Second(), (0, None))(XS, y).sum())(2.0) == 9.0


def test_no_rule_runs_where_nothing_is_differentiated():
    f, ran = product(OURS, "vjp_fwd", "vjp_bwd_retval", "jvp")
    f(1.0, 2.0)
    jit(f)(1.0, 2.0)
    vmap(f)(XS, YS)
    grad(lambda z: z * f(1.0, 2.0))(1.0)
    grad(lambda z: z * f(lax.stop_gradient(z), 2.0))(1.0)
    jit(grad(lambda z, x: z * f(x, 2.0)))(1.0, 2.0)
    assert ran == []
