"""Derivatives of functions that make references of their own: the same programs without references give the values."""

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax


def whole(x):
    ref = pb.new_ref(pnp.zeros(3))
    ref[...] = x * x
    return (ref[...] * x).sum()


def whole_plain(x):
    return (x * x * x).sum()


def by_index(x):
    ref = pb.new_ref(pnp.ones(3))
    ref[0] = x[0] * x[1]
    ref[1] += pnp.sin(ref[0])
    ref[0] *= x[2]
    return (ref[...] ** 2).sum()


def by_index_plain(x):
    a = x[0] * x[1]
    b = 1 + pnp.sin(a)
    return (a * x[2]) ** 2 + b**2 + 1


def by_slices(x):
    ref = pb.new_ref(x)
    ref[1:] *= ref[:2]
    ref.addupdate(x[:2], slice(0, 2))
    return pnp.prod(ref[...])


def by_slices_plain(x):
    y = pnp.concatenate([x[:1], x[1:] * x[:2]])
    return pnp.prod(y + pnp.append(x[:2], 0.0))


def by_swap(x):
    ref = pb.new_ref(x)
    before = pb.ref.swap(ref, 1, x[0] * x[2])
    return before * ref[1] * ref[2]


def by_swap_plain(x):
    return x[1] * x[0] * x[2] * x[2]


def by_arrays(x):
    ref = pb.new_ref(pnp.zeros(4))
    ref.addupdate(x, pnp.array([1, 3, 1]))
    ref[pnp.array([0, 2])] = x[:2] ** 2
    return (ref[...] ** 3).sum()


def by_arrays_plain(x):
    return (x[0] + x[2]) ** 3 + x[1] ** 3 + x[0] ** 6 + x[1] ** 6


def by_mask(x):
    ref = pb.new_ref(x)
    ref[np.array([True, False, True])] = x[:2] * x[1:]
    return (ref[...] ** 2).sum()


def by_mask_plain(x):
    return (x[0] * x[1]) ** 2 + x[1] ** 2 + (x[1] * x[2]) ** 2


def by_part(x):
    ref = pb.new_ref(pnp.zeros((2, 3)))
    row = ref.at[1]
    row[...] = x
    row.at[1:].addupdate(x[:2] ** 2)
    return (ref[...] ** 2).sum()


def by_part_plain(x):
    return x[0] ** 2 + (x[1] + x[0] ** 2) ** 2 + (x[2] + x[1] ** 2) ** 2


def in_a_loop(x):
    ref = pb.new_ref(x)

    def step(i, total):
        ref[i] = ref[(i + 1) % 3] * total
        return total + ref[i]

    total = lax.fori_loop(0, 5, lambda i, t: step(i % 3, t), 1.0)
    return total + ref[0]


def in_a_loop_plain(x):
    values, total = [x[0], x[1], x[2]], 1.0
    for i in range(5):
        values[i % 3] = values[(i + 1) % 3] * total
        total = total + values[i % 3]
    return total + values[0]


def in_a_branch(x):
    ref = pb.new_ref(x)
    lax.cond(x[0] > 0, lambda: ref.__setitem__(0, x[1] * x[2]), lambda: None)
    lax.switch(1, [lambda: None, lambda: ref.addupdate(x * x)])
    return (ref[...] ** 2).sum()


def in_a_branch_plain(x):
    return (x[1] * x[2] + x[0] ** 2) ** 2 + (x[1] + x[1] ** 2) ** 2 + (x[2] + x[2] ** 2) ** 2


def in_a_compiled_call(x):
    ref = pb.new_ref(x)

    @pb.jit
    def work(r, y):
        r[1] *= y
        return r[2] * ref_of_its_own(y)

    def ref_of_its_own(y):
        inner = pb.new_ref(y)
        inner[...] *= y
        return inner[...]

    return work(ref, x[0]) * ref[1] + work(ref, x[2])


def in_a_compiled_call_plain(x):
    first = x[2] * x[0] ** 2 * (x[1] * x[0])
    return first + x[2] * x[2] ** 2


def in_a_checkpoint(x):
    ref = pb.new_ref(x)

    @pb.checkpoint
    def work(y):
        ref[0] += pnp.sin(y)
        return ref[0] * y

    return work(x[1]) * work(x[2]) * ref[0]


def in_a_checkpoint_plain(x):
    a = x[0] + pnp.sin(x[1])
    b = a + pnp.sin(x[2])
    return a * x[1] * b * x[2] * b


def in_a_bounded_while(x):
    ref = pb.new_ref(x)

    def step(i):
        ref[0] *= x[1]
        return i + 1

    lax.while_loop(lambda i: ref[0] < 20.0, step, 0, max_steps=20)
    return ref[0]


def in_a_bounded_while_plain(x):
    y = x[0]
    while y < 20.0:
        y = y * x[1]
    return y


def in_a_bounded_while_of_arrays(x):
    return lax.while_loop(lambda y: y < 20.0, lambda y: y * x[1], x[0], max_steps=20)


def frozen(x):
    ref = pb.empty_ref(pb.typeof(x))
    ref[...] = x
    ref[1] *= ref[0]
    return (pb.freeze(ref) ** 2).sum()


def frozen_plain(x):
    return x[0] ** 2 + (x[1] * x[0]) ** 2 + x[2] ** 2


PROGRAMS = [
    (whole, whole_plain),
    (by_index, by_index_plain),
    (by_slices, by_slices_plain),
    (by_swap, by_swap_plain),
    (by_arrays, by_arrays_plain),
    (by_mask, by_mask_plain),
    (by_part, by_part_plain),
    (in_a_loop, in_a_loop_plain),
    (in_a_branch, in_a_branch_plain),
    (in_a_compiled_call, in_a_compiled_call_plain),
    (in_a_checkpoint, in_a_checkpoint_plain),
    (in_a_bounded_while, in_a_bounded_while_plain),
    (frozen, frozen_plain),
]
X = pnp.array([1.5, 1.25, 0.5])


def hessian_by_reverse(f):
    return pb.jacrev(pb.grad(f))


def directional(f):
    return lambda x: pb.jvp(f, (x,), (pnp.array([1.0, -2.0, 0.5]),))


def linearized(f):
    return lambda x: pb.linearize(f, x)[1](pnp.array([1.0, -2.0, 0.5]))


def batch(f):
    return lambda x: pb.vmap(f)(pnp.stack([x, 1.1 * x, x + 0.25]))


def batch_of_gradients(f):
    return batch(pb.grad(f))


def gradient_of_batch(f):
    return pb.grad(lambda x: batch(f)(x).sum())


def same(f):
    return f


TRANSFORMATIONS = [
    same,
    pb.value_and_grad,
    pb.jacfwd,
    directional,
    linearized,
    pb.hessian,
    hessian_by_reverse,
    batch,
    batch_of_gradients,
    gradient_of_batch,
]


@pytest.mark.parametrize("transformation", TRANSFORMATIONS, ids=lambda t: t.__name__)
@pytest.mark.parametrize(("program", "plain"), PROGRAMS, ids=lambda f: f.__name__)
def test_derivatives_are_those_without_references(program, plain, transformation):
    if program is in_a_bounded_while and "batch" in transformation.__name__:
        plain = in_a_bounded_while_of_arrays
    expected = transformation(plain)(X)
    found = transformation(program)(X)
    for a, b in zip(pb.tree.leaves(found), pb.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize(("program", "plain"), PROGRAMS, ids=lambda f: f.__name__)
def test_compiled_gradients_are_those_without_references(program, plain):
    for transformation in (pb.value_and_grad, pb.jacfwd):
        expected = transformation(plain)(X)
        found = pb.jit(transformation(program))(X)
        inside = transformation(pb.jit(program))(X)
        for a, b, c in zip(*map(pb.tree.leaves, (found, expected, inside)), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5)
            np.testing.assert_allclose(c, b, rtol=2e-5, atol=1e-5)


def test_a_reference_returned_as_aux_holds_the_value():
    def f(x):
        ref = pb.new_ref(x)
        ref[...] *= 2.0
        return ref[...] ** 2, {"ref": ref}

    gradient, aux = pb.grad(f, has_aux=True)(3.0)
    assert gradient == 24
    assert aux["ref"][...] == 6
    aux["ref"][...] += 1.0
    assert aux["ref"][...] == 7


def refused(message, action, *args):
    with pytest.raises(ValueError, match=message):
        action(*args)


def test_what_is_differentiated_is_not_written_outside():
    outer = pb.new_ref(pnp.zeros(2))

    def setting(x):
        outer[0] = x * x
        return x

    def adding(x):
        outer.addupdate(x, 0)
        return x

    def swapping(x):
        return pb.ref.swap(outer, 0, x)

    def passed(x, ref):
        ref[1] = 2 * x
        return x

    def looping(x):
        return lax.fori_loop(0, 2, lambda i, y: (outer.__setitem__(i, y), y)[1], x)

    message = "was written to the Ref of type .* made at .*its derivative would be lost.*stop_gradient"
    for f in (setting, adding, swapping, looping, pb.jit(setting), pb.checkpoint(setting)):
        refused(message, pb.grad(f), 1.0)
        refused(message, pb.jacfwd(f), 1.0)
        refused(message, pb.jit(pb.grad(f)), 1.0)
    refused(message, pb.grad(passed), 1.0, outer)
    refused(message, pb.grad(pb.jit(passed)), 1.0, outer)
    np.testing.assert_array_equal(outer[...], [0, 0])


def test_constants_are_written_outside_and_read_as_constants():
    outer, passed = pb.new_ref(2.0), pb.new_ref(pnp.zeros(2))

    def f(x, ref):
        ref[0] = 5.0
        ref.addupdate(lax.stop_gradient(x), 1)
        ref[1] += lax.stop_gradient(x) * 2
        return x * outer[...] * ref[0]

    for transform in (pb.grad, pb.jacfwd, lambda f: pb.jit(pb.grad(f)), lambda f: pb.grad(pb.jit(f))):
        passed[...] = pnp.zeros(2)
        assert transform(f)(3.0, passed) == 10
        np.testing.assert_array_equal(passed[...], [5, 9])


def test_a_nested_gradient_of_a_reference_of_the_outer_function():
    def f(x):
        ref = pb.new_ref(x)

        def inner(y):
            return ref[...] * y**2

        ref[...] *= pb.grad(inner)(x)
        return ref[...]

    assert f(3.0) == 3 * 2 * 3 * 3
    assert pb.grad(f)(3.0) == 54
