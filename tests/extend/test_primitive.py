"""Primitives of the user's own, with every rule: the fused multiply-add of JAX's guide to primitives, and others."""

from functools import partial

import numpy as np
import pytest
from agreement import all_close
from wrappers import eager, forward, in_vmap

import pullback as pb
import pullback.numpy as pnp
from pullback import errors, lax
from pullback.core import check_jaxpr
from pullback.extend.core import Primitive, ShapedArray, Zero, instantiate, is_linear

f32 = np.float32
X = np.array([0.3, -0.7, 1.1], f32)


def make_multiply_add():
    """`x * y + z` with all its rules."""
    p = Primitive("multiply_add")

    @p.def_kernel
    def kernel(x, y, z):
        return np.asarray(x * y + z)

    @p.def_abstract_eval
    def typing(x, y, z):
        if not x.shape == y.shape == z.shape:
            raise TypeError(f"multiply_add: expected equal shapes, got {x.shape}, {y.shape}, {z.shape}")
        return ShapedArray(x.shape, x.dtype)

    @p.def_lowering
    def lowering(ctx, x, y, z):
        return ctx.op("stablehlo.add", [ctx.op("stablehlo.multiply", [x, y]), z])

    @p.def_jvp
    def jvp(primals, tangents):
        x, y, z = primals
        x_dot, y_dot, z_dot = tangents
        out = p.bind(x, y, z)
        if all(type(t) is Zero for t in tangents):
            return out, Zero.of(out.aval)
        x_dot, y_dot, z_dot = map(instantiate, (x_dot, y_dot, z_dot))
        return out, p.bind(x_dot, y, p.bind(x, y_dot, z_dot))

    @p.def_transpose
    def transpose(ct, x, y, z):
        # linear in z, and in one of the factors
        assert not (is_linear(x) and is_linear(y))
        zeros = pnp.zeros_like(ct)
        return [
            p.bind(ct, y, zeros) if is_linear(x) else None,
            p.bind(x, ct, zeros) if is_linear(y) else None,
            ct if is_linear(z) else None,
        ]

    @p.def_batch
    def batch(operands, dims):
        size = next(x.shape[d] for x, d in zip(operands, dims, strict=True) if d is not None)
        moved = [
            pnp.moveaxis(x, d, 0) if d is not None else pnp.broadcast_to(x, (size, *x.shape))
            for x, d in zip(operands, dims, strict=True)
        ]
        return p.bind(*moved), 0

    return p


multiply_add_p = make_multiply_add()


def square_add(a, b):
    return multiply_add_p.bind(a, a, b)


def plain(a, b):
    return a * a + b


def each_way(f, sum_):
    def loss(a, b):
        return sum_(f(a, b))

    def loop(a, b):
        return sum_(lax.scan(lambda c, _: (f(c, b), None), a, None, length=2)[0])

    def choice(a, b):
        return sum_(lax.cond(sum_(a) > 0, f, lambda a, b: b, a, b))

    def run(a, b):
        out = [
            f(a, b),
            pb.jit(f)(a, b),
            pb.jvp(f, (a, b), (b, a)),
            pb.vmap(f)(a, b),
            pb.vmap(f, (0, None))(a, b[0]),
            pb.vmap(f, (None, 0))(a[0], b),
        ]
        for g in (loss, pb.jit(loss), loop, choice):
            out += [
                pb.grad(g, (0, 1))(a, b),
                pb.jit(pb.grad(g))(a, b),
                pb.hessian(g)(a, b),
                pb.vmap(pb.grad(g, (0, 1)))(pnp.stack([a, b]), pnp.stack([b, a])),
                pb.linearize(g, a, b)[1](a, b),
            ]
        out.append(pb.linear_transpose(lambda z: f(pnp.zeros(3), 3 * z), f32(0) * a)(b))
        return out

    return run


def test_every_transformation():
    a, b = X, X[::-1] * 2
    all_close(each_way(square_add, pnp.sum)(a, b), each_way(plain, pnp.sum)(a, b), 10)


def test_jaxpr():
    closed = pb.make_jaxpr(square_add)(2.0, 10.0)
    assert str(closed) == "{ lambda ; a:f32[] b:f32[]. let c:f32[] = multiply_add a a b in (c,) }"
    for f in (pb.grad(square_add), pb.jit(pb.grad(square_add)), pb.grad(pb.grad(square_add))):
        check_jaxpr(pb.make_jaxpr(f)(2.0, 10.0))


def test_values_of_the_guide():
    assert float(square_add(2.0, 10.0)) == 14
    assert float(pb.jit(square_add)(2.0, 10.0)) == 14
    assert [float(v) for v in pb.jvp(square_add, (2.0, 10.0), (1.0, 1.0))] == [14, 5]
    assert [float(v) for v in pb.grad(square_add, (0, 1))(2.0, 10.0)] == [4, 1]
    all_close(pb.vmap(square_add)(np.array([2, 3], f32), np.array([10, 20], f32)), np.array([14, 29], f32))


def test_typing_rule_speaks_to_the_user():
    with pytest.raises(TypeError, match="multiply_add: expected equal shapes"):
        multiply_add_p.bind(X, X, 1.0)


# ---- parameters, and several results


def make_sum_and_difference():
    p = Primitive("sum_and_difference", multiple_results=True)
    p.def_kernel(lambda x, y, scale: (x + y * scale, x - y * scale))
    p.def_abstract_eval(lambda x, y, scale: [ShapedArray(x.shape, x.dtype)] * 2)

    @p.def_lowering
    def lowering(ctx, x, y, scale):
        y = ctx.op("stablehlo.multiply", [y, ctx.full_like(y, scale)])
        return [ctx.op("stablehlo.add", [x, y]), ctx.op("stablehlo.subtract", [x, y])]

    @p.def_jvp
    def jvp(primals, tangents, scale):
        return p.bind(*primals, scale=scale), p.bind(*map(instantiate, tangents), scale=scale)

    @p.def_transpose
    def transpose(cts, x, y, scale):
        s, d = map(instantiate, cts)
        return [s + d if is_linear(x) else None, (s - d) * scale if is_linear(y) else None]

    @p.def_batch
    def batch(operands, dims, scale):
        size = next(x.shape[d] for x, d in zip(operands, dims, strict=True) if d is not None)
        moved = [
            pnp.moveaxis(x, d, 0) if d is not None else pnp.broadcast_to(x, (size, *x.shape))
            for x, d in zip(operands, dims, strict=True)
        ]
        return p.bind(*moved, scale=scale), [0, 0]

    return p


sum_and_difference_p = make_sum_and_difference()


def test_several_results_and_a_parameter():
    def f(a, b):
        s, d = sum_and_difference_p.bind(pnp.sin(a), b, scale=3.0)
        return s * d

    def g(a, b):
        return (pnp.sin(a) + b * 3) * (pnp.sin(a) - b * 3)

    def run(f):
        def loss(a, b):
            return pnp.sum(f(a, b))

        def only_one(a, b):
            return pnp.sum(lax.scan(lambda c, _: (f(c, b), c), a, None, length=2)[1])

        return [
            pb.jit(f)(X, X),
            pb.jvp(f, (X, X), (X, X)),
            pb.grad(loss, (0, 1))(X, X * 2),
            pb.hessian(loss)(X, X),
            pb.vmap(f, (0, None))(X, X[0]),
            pb.vmap(pb.grad(loss))(X, X),
            pb.grad(only_one, (0, 1))(X, X * 2),
            pb.grad(pb.jit(loss), (0, 1))(X, X * 2),
        ]

    all_close(run(f), run(g), 10)
    check_jaxpr(pb.make_jaxpr(pb.grad(lambda a: pnp.sum(f(a, a))))(X))


def test_evaluation_in_terms_of_other_operations():
    p = Primitive("hypotenuse")
    p.def_impl(lambda x, y: pnp.sqrt(x * x + y * y))
    p.def_abstract_eval(lambda x, y: x)
    assert float(p.bind(3.0, 4.0)) == 5


def test_evaluation_by_compiling_the_lowering():
    p = Primitive("negated")
    p.def_abstract_eval(lambda x: x)
    p.def_lowering(lambda ctx, x: ctx.op("stablehlo.negate", [x]))
    all_close(p.bind(X), -X)
    all_close(pb.jit(p.bind)(X), -X)


def test_equal_parameters_of_different_kinds_are_told_apart():
    """1, 1.0 and True are equal, and so are 0.0 and -0.0, alone and in tuples."""
    kinds = {bool: 7.0, int: 2.0, float: 3.0, np.float32: 5.0}

    def number(by):
        value = by[0] if isinstance(by, tuple) else by
        return float(np.copysign(kinds[type(value)], value.real)) * float(np.copysign(1.0, value.imag))

    p = Primitive("scale_by")
    p.def_abstract_eval(lambda x, *, by: ShapedArray(x.shape, np.int32 if isinstance(by, int) else x.dtype))
    p.def_lowering(
        lambda ctx, x, *, by: ctx.constant(
            number(by), ShapedArray(x.aval.shape, np.int32 if isinstance(by, int) else x.aval.dtype)
        )
    )
    q = Primitive("with_a_kernel")
    q.def_abstract_eval(lambda x, *, by: ShapedArray((int(kinds[type(by[0])]),), x.dtype))
    q.def_kernel(lambda x, *, by: np.zeros(int(kinds[type(by[0])]), x.dtype))
    x = pnp.ones(())
    parameters = [1, 1.0, True, 0.0, -0.0, f32(0), f32(-0.0), (0.0,), (-0.0,), (0,), (False,)]
    for _ in range(2):
        assert [float(p.bind(x, by=by)) for by in parameters] == [number(by) for by in parameters]
        assert p.bind(x, by=1).dtype == np.int32
        assert p.bind(x, by=1.0).dtype == np.float32
        assert [q.bind(x, by=(v,)).shape for v in (1, True, 1.0)] == [(2,), (7,), (3,)]
    compiled = pb.jit(lambda x, n: x / n, static_argnums=1)
    signs = [float(compiled(1.0, z)) for z in (f32(0.0), f32(-0.0), np.float64(0.0), np.float64(-0.0))]
    assert signs == [np.inf, -np.inf] * 2


def test_linear_functions_with_equal_parameters_of_different_kinds_are_not_equal():
    p = Primitive("times_sign")

    def sign(by):
        return np.copysign(1.0, by)

    @p.def_jvp
    def jvp(primals, tangents, *, by):
        return p.bind(*primals, by=by), p.bind(instantiate(tangents[0]), by=by)

    @p.def_lowering
    def lowering(ctx, x, *, by):
        return ctx.op("stablehlo.multiply", [x, ctx.constant(sign(by), x.aval)])

    p.def_kernel(lambda x, *, by: x * np.asarray(sign(by), x.dtype))
    p.def_abstract_eval(lambda x, *, by: x)
    p.def_transpose(lambda ct, x, *, by: [p.bind(ct, by=by)])
    apply = pb.jit(lambda f, ct: f(ct)[0])

    def slope(by):
        return float(apply(pb.vjp(partial(p.bind, by=by), 1.0)[1], 1.0))

    assert [slope(by) for by in (0.0, -0.0)] == [1.0, -1.0]


# ---- rules that are missing


def bare(*rules):
    p = Primitive("bare")
    if "kernel" in rules:
        p.def_kernel(lambda x: x)
    if "type" in rules:
        p.def_abstract_eval(lambda x: x)
    if "jvp" in rules:
        p.def_jvp(lambda primals, tangents: (p.bind(*primals), p.bind(instantiate(tangents[0]))))
    return p.bind


def grad_of_a_loop(f):
    def step(c, _):
        return f(c), None

    return pb.grad(lambda x: lax.scan(step, x, None, length=2)[0])


@pytest.mark.parametrize(
    ("transform", "rules", "message"),
    [
        (eager, [], "no type rule.*def_abstract_eval"),
        (eager, ["type"], "no lowering rule.*def_lowering"),
        (pb.jit, ["type", "kernel"], r"no lowering rule.*def_lowering.*test_primitive"),
        (forward, ["type", "kernel"], "no jvp rule.*def_jvp"),
        (pb.grad, ["type", "kernel"], "no jvp rule.*def_jvp"),
        (in_vmap, ["type", "kernel"], "no batching rule.*def_batch"),
        (pb.grad, ["type", "kernel", "jvp"], "no transpose rule.*def_transpose"),
        (grad_of_a_loop, ["type", "kernel"], "no jvp rule.*def_jvp"),
    ],
)
def test_missing_rules_say_which_and_how(transform, rules, message):
    with pytest.raises(errors.RuleNotDefinedError, match=rf"'bare' has {message}"):
        transform(bare(*rules))(1.0)


def test_transposition_with_too_few_cotangents():
    p = Primitive("short")
    p.def_kernel(lambda x, y: x + y)
    p.def_abstract_eval(lambda x, y: x)
    p.def_jvp(lambda primals, tangents: (p.bind(*primals), p.bind(*map(instantiate, tangents))))
    p.def_transpose(lambda ct, x, y: [ct])
    with pytest.raises(errors.RuleError, match=r"transpose rule .* of 'short' .* each of 2 operands, got 1"):
        pb.grad(p.bind)(1.0, 2.0)
