"""Types whose tangents are of types of one's own: zeros and sums come from `vspace_zero` and `vspace_add`.

A `Pair` stands for two arrays, with the tangents that these have: programs agree with the same ones on tuples.
"""

import dataclasses
from typing import Any

import numpy as np
import pytest
from quantised import array
from wrappers import eager, jit

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.experimental.hijax import HiType, MappingSpec, ShapedArray, register_hitype

FRONT = MappingSpec()
either = pytest.mark.parametrize("compiled", [eager, jit])


@dataclasses.dataclass(frozen=True)
class PairType(HiType):
    shape: tuple[int, ...]

    def lo_ty(self):
        return [ShapedArray(self.shape, "float32")] * 2

    def lower_val(self, value):
        return [value.a, value.b]

    def raise_val(self, a, b):
        return Pair(a, b)

    def to_tangent_aval(self):
        return self

    def vspace_zero(self):
        return Pair(pnp.zeros(self.shape), pnp.zeros(self.shape))

    def vspace_add(self, x, y):
        return Pair(x.a + y.a, x.b + y.b)

    def dec_rank(self, size, spec):
        return PairType(self.shape[1:])

    def inc_rank(self, size, spec):
        return PairType((size, *self.shape))


@dataclasses.dataclass(frozen=True)
class Pair:
    a: Any
    b: Any


register_hitype(Pair, lambda value: PairType(value.a.shape))


@pb.custom_rules
def times(x, y):
    """Elementwise, in both parts."""
    return Pair(x.a * y.a, x.b * y.b)


times.defjvps(lambda t, out, x, y: times(t, y), lambda t, out, x, y: times(x, t))
times.defvjp(lambda x, y: (times(x, y), (x, y)), lambda saved, ct: (times(ct, saved[1]), times(saved[0], ct)))


@pb.custom_rules
def swapped(x):
    """A linear function."""
    return Pair(x.b, x.a)


swapped.defjvps(lambda t, out, x: swapped(t))
swapped.defvjp(lambda x: (swapped(x), None), lambda _, ct: (swapped(ct),))


@pb.custom_rules
def pair(a, b):
    return Pair(a, b)


pair.defvjp(lambda a, b: (pair(a, b), None), lambda _, ct: (ct.a, ct.b))
pair.defjvp(lambda primals, tangents: (pair(*primals), pair(*tangents)))


@pb.custom_rules
def total(x):
    return (x.a + 2 * x.b).sum()


# at the second order rules are differentiated: they make values by functions with rules, and read types, not parts
total.defjvps(lambda t, out, x: total(t))
total.defvjp(
    lambda x: (total(x), pb.typeof(x).shape), lambda shape, ct: (pair(ct * pnp.ones(shape), 2 * ct * pnp.ones(shape)),)
)


def f(x, y):
    """x twice, y once: cotangents of x add up."""
    return total(times(times(x, swapped(x)), y))


def f_of_tuples(x, y):
    a, b = x[0] * x[1] * y[0], x[1] * x[0] * y[1]
    return (a + 2 * b).sum()


def data(*shape):
    numbers = [array(*shape, seed=i) for i in range(4)]
    return Pair(*numbers[:2]), Pair(*numbers[2:]), tuple(numbers[:2]), tuple(numbers[2:])


def close(got, expected):
    assert isinstance(got, Pair)
    np.testing.assert_allclose(got.a, expected[0], rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(got.b, expected[1], rtol=2e-5, atol=1e-6)


@either
def test_reverse_mode(compiled):
    x, y, u, v = data(3)
    got, expected = compiled(pb.grad(f, (0, 1)))(x, y), pb.grad(f_of_tuples, (0, 1))(u, v)
    close(got[0], expected[0])
    close(got[1], expected[1])


@either
def test_an_unused_argument_has_the_zero_of_its_type(compiled):
    x, y, _, _ = data(3)
    close(compiled(pb.grad(lambda x, y: total(y), (0, 1)))(x, y)[0], (np.zeros(3), np.zeros(3)))


@either
def test_forward_mode(compiled):
    x, y, u, v = data(3)
    got = compiled(lambda x, y: pb.jvp(f, (x, y), (y, x))[1])(x, y)
    np.testing.assert_allclose(got, pb.jvp(f_of_tuples, (u, v), (v, u))[1], rtol=1e-5)
    out, dot = compiled(lambda x, y: pb.jvp(times, (x, x), (y, y)))(x, y)
    close(out, (u[0] ** 2, u[1] ** 2))
    close(dot, (2 * u[0] * v[0], 2 * u[1] * v[1]))


@either
def test_vjp_takes_a_cotangent_of_the_type(compiled):
    x, y, u, v = data(3)
    close(compiled(lambda x, y: pb.vjp(times, x, y)[1](y)[0])(x, y), (v[0] ** 2, v[1] ** 2))
    with pytest.raises(TypeError, match=r"have the type PairType\(shape=\(3,\)\).*got PairType\(shape=\(2,\)\)"):
        pb.vjp(lambda x: times(x, y), x)[1](data(2)[0])
    with pytest.raises(ValueError, match=r"have the type PairType\(shape=\(3,\)\).*got f32\[3\]"):
        pb.vjp(lambda x: times(x, y), x)[1](u[0])


@either
@pytest.mark.parametrize("order", ["forward over reverse", "reverse over reverse", "reverse over forward"])
def test_second_derivatives(compiled, order):
    x, y, u, v = data(3)

    def second(f, x, y):
        gradient = pb.grad(f)
        if order == "forward over reverse":
            return pb.jvp(lambda x: gradient(x, y), (x,), (y,))[1]
        if order == "reverse over reverse":
            return pb.vjp(lambda x: gradient(x, y), x)[1](y)[0]

        def slope(x):
            return pb.jvp(f, (x, y), (y, zero(y)))[1]

        return pb.grad(slope)(x)

    def zero(y):
        return tuple(map(pnp.zeros_like, y)) if isinstance(y, tuple) else pb.typeof(y).vspace_zero()

    close(compiled(lambda x, y: second(f, x, y))(x, y), second(f_of_tuples, u, v))


@either
def test_linear_functions_on_tangents_are_transposed_by_their_rule(compiled):
    """A jvp rule alone: in reverse mode its tangents are recorded, and `swapped` and `times` are transposed."""
    x, y, u, v = data(3)

    @pb.custom_jvp
    def g(x, y):
        return times(swapped(x), y)

    @g.defjvp
    def _(primals, tangents):
        (x, y), (x_dot, _) = primals, tangents
        return g(x, y), times(y, swapped(x_dot))

    close(compiled(pb.grad(lambda x: total(g(x, y))))(x), pb.grad(lambda u: (u[1] * v[0] + 2 * u[0] * v[1]).sum())(u))
    close(compiled(lambda x, t: pb.linearize(g, x, y)[1](t, y))(x, x), (u[1] * v[0], u[0] * v[1]))


@either
def test_vmap(compiled):
    x, y, u, v = data(4, 3)
    mapped = pb.vmap(pb.grad(f, (0, 1)), (FRONT, FRONT), FRONT, axis_size=4)
    got, expected = compiled(mapped)(x, y), pb.vmap(pb.grad(f_of_tuples, (0, 1)))(u, v)
    close(got[0], expected[0])
    close(got[1], expected[1])
    one, other = data(3)[0], data(3)[2]
    # the cotangent of a shared argument is the sum of those of the examples
    got = compiled(pb.grad(lambda one: pb.vmap(f, (None, FRONT), axis_size=4)(one, y).sum()))(one)
    close(got, pb.grad(lambda other: pb.vmap(f_of_tuples, (None, 0))(other, v).sum())(other))


@either
def test_loops(compiled):
    x, y, u, v = data(3)
    xs, _, us, _ = data(4, 3)

    def loop(x, xs):
        last, ys = lax.scan(lambda c, x: (times(swapped(c), x), total(c)), x, xs)
        return total(last) + ys.sum()

    def loop_of_tuples(u, us):
        last, ys = lax.scan(lambda c, x: ((c[1] * x[0], c[0] * x[1]), (c[0] + 2 * c[1]).sum()), u, us)
        return (last[0] + 2 * last[1]).sum() + ys.sum()

    got, expected = compiled(pb.grad(loop, (0, 1)))(x, xs), pb.grad(loop_of_tuples, (0, 1))(u, us)
    close(got[0], expected[0])
    close(got[1], expected[1])

    def closed_over(y, x):
        return total(lax.fori_loop(0, 3, lambda i, c: times(c, y), x))

    close(compiled(pb.grad(closed_over))(y, x), pb.grad(lambda v: (u[0] * v[0] ** 3 + 2 * u[1] * v[1] ** 3).sum())(v))


@either
@pytest.mark.parametrize("flag", [True, False])
def test_branches(compiled, flag):
    x, y, u, v = data(3)

    def choice(x, y):
        return total(lax.cond(flag, lambda x, y: times(x, y), lambda x, y: swapped(x), x, y))

    expected = (v[0], 2 * v[1]) if flag else (2 * np.ones(3), np.ones(3))
    got = compiled(pb.grad(choice, (0, 1)))(x, y)
    close(got[0], expected)
    close(got[1], (u[0], 2 * u[1]) if flag else (np.zeros(3), np.zeros(3)))


@either
def test_between_arrays_and_values(compiled):
    a, b = array(3), array(3, seed=2)

    def f(a, b):
        return total(times(pair(a, b), pair(b, a)))

    for mode in (pb.grad, pb.jacfwd):
        got = compiled(mode(f, (0, 1)))(a, b)
        np.testing.assert_allclose(got[0], 3 * b, rtol=1e-6)
        np.testing.assert_allclose(got[1], 3 * a, rtol=1e-6)


def test_missing_operations_of_tangents():
    x, y, _, _ = data(3)

    class Bare(PairType):
        vspace_add = HiType.vspace_add
        vspace_zero = HiType.vspace_zero

    class BarePair(Pair):
        aval = None

    del BarePair.aval
    cls = dataclasses.make_dataclass("BarePair", ["a", "b"])
    register_hitype(cls, lambda value: Bare(value.a.shape))

    @pb.custom_vjp
    def first(x):
        return x.a

    first.defvjp(lambda x: (first(x), x), lambda x, ct: (cls(ct, ct),))
    with pytest.raises(NotImplementedError, match=r"sums of tangents need the method vspace_add"):
        pb.grad(lambda x: (first(x) * first(x)).sum())(cls(x.a, x.b))
    with pytest.raises(NotImplementedError, match=r"zero tangents need the method vspace_zero"):
        pb.grad(lambda x, y: first(y).sum())(cls(x.a, x.b), cls(y.a, y.b))
