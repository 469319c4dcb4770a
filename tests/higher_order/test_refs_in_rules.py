"""References in functions with rules: gradients plumbed out of the backward pass, and what forward rules write."""

import numpy as np
import pytest
from ref_wrappers import WRAPPERS

import pullback as pb
import pullback.numpy as pnp
from pullback import lax


@pb.custom_vjp
def stash(ref, x):
    """The identity; the reference gets the gradient that arrives here."""
    return x


def stash_fwd(ref, x):
    return stash(ref, x), ref


def stash_bwd(ref, ct):
    ref[...] = ct
    return None, ct


stash.defvjp(stash_fwd, stash_bwd)


@pb.custom_vjp
def gather(x, ref):
    """The identity; gradients that arrive here are added up."""
    return x


def gather_fwd(x, ref):
    return gather(x, ref), {"ref": ref, "scale": 1.0}


def gather_bwd(residuals, ct):
    residuals["ref"][...] += residuals["scale"] * ct
    return ct, None


gather.defvjp(gather_fwd, gather_bwd)


def gradient(f):
    return pb.grad(f)


def compiled_gradient(f):
    return pb.jit(pb.grad(f))


def by_vjp(f):
    def pulled(x, ref):
        y, pull = pb.vjp(lambda x: f(x, ref), x)
        return pull(pnp.ones_like(y))[0]

    return pulled


@pytest.mark.parametrize("derivative", [gradient, compiled_gradient, by_vjp], ids=lambda f: f.__name__)
@pytest.mark.parametrize("wrapper", WRAPPERS, ids=lambda f: f.__name__)
def test_a_gradient_is_plumbed_out(wrapper, derivative):
    def f(x, ref):
        return pnp.sin(stash(ref, x * x))

    ref = pb.new_ref(0.0)
    for x in (1.0, 2.0):
        np.testing.assert_allclose(derivative(wrapper(f))(x, ref), 2 * x * np.cos(x * x), rtol=1e-5)
        np.testing.assert_allclose(ref[...], np.cos(x * x), rtol=1e-5)


@pytest.mark.parametrize("derivative", [gradient, compiled_gradient, by_vjp], ids=lambda f: f.__name__)
@pytest.mark.parametrize("wrapper", WRAPPERS, ids=lambda f: f.__name__)
def test_gradients_add_up_where_the_reference_is_closed_over(wrapper, derivative):
    total = pb.new_ref(0.0)

    def f(x, _):
        def step(y, _):
            return pnp.sin(gather(y, total)), None

        return lax.scan(step, x, None, length=3)[0] + gather(x, total) ** 2

    expected, ct, values = 0.0, 1.0, [1.0]
    for _ in range(2):
        values.append(np.sin(values[-1]))
    for y in reversed(values):
        ct *= np.cos(y)
        expected += ct
    expected += 2.0
    for count in (1, 2):
        derivative(wrapper(f))(1.0, pb.new_ref(0.0))
        np.testing.assert_allclose(total[...], count * expected, rtol=1e-5)


def test_each_step_has_its_entry():
    def f(x, entries):
        return lax.scan(lambda y, entry: (pnp.sin(stash(entry, y)), None), x, entries)[0]

    expected, ct = [], 1.0
    for y in (np.sin(np.sin(1.0)), np.sin(1.0), 1.0):
        ct *= np.cos(y)
        expected.insert(0, ct)
    for derivative in (pb.grad(f), pb.jit(pb.grad(f)), pb.grad(pb.jit(f)), pb.grad(pb.checkpoint(f))):
        entries = pb.new_ref(pnp.zeros(3))
        np.testing.assert_allclose(derivative(1.0, entries), ct, rtol=1e-5)
        np.testing.assert_allclose(entries[...], expected, rtol=1e-5)


def test_a_part_is_passed():
    entries = pb.new_ref(pnp.zeros((2, 2)))

    def f(x):
        return (stash(entries.at[1], x) ** 2).sum()

    for derivative in (pb.grad(f), pb.jit(pb.grad(f)), pb.grad(pb.jit(f))):
        entries[...] = pnp.zeros((2, 2))
        derivative(pnp.array([1.0, 2.0]))
        np.testing.assert_array_equal(entries[...], [[0, 0], [2, 4]])


def test_nothing_is_written_without_a_backward_pass():
    ref = pb.new_ref(7.0)

    def f(x):
        return stash(ref, x) ** 2

    for run in (f, pb.jit(f), pb.checkpoint(f)):
        assert run(3.0) == 9
        value, pull = pb.vjp(run, 3.0)
        assert value == 9
        assert ref[...] == 7
    pull(1.0)
    assert ref[...] == 6


def test_a_pullback_may_be_called_again_and_through_jit():
    ref = pb.new_ref(0.0)
    _, pull = pb.vjp(lambda x: gather(x, ref) ** 2, 3.0)
    pull(1.0)
    pull(10.0)
    assert ref[...] == 66
    pb.jit(lambda p: p(1.0))(pull)
    assert ref[...] == 72


def test_a_batch_of_gradients():
    def f(x, ref):
        return pnp.sin(stash(ref, x))

    refs, xs = pb.new_ref(pnp.zeros(3)), pnp.arange(3.0)
    for derivative in (pb.vmap(pb.grad(f)), pb.jit(pb.vmap(pb.grad(f))), pb.vmap(pb.jit(pb.grad(f)))):
        refs[...] = pnp.zeros(3)
        derivative(xs, refs)
        np.testing.assert_allclose(refs[...], np.cos(xs), rtol=1e-6)
    one = pb.new_ref(0.0)
    with pytest.raises(ValueError, match="all examples would write to it at once"):
        pb.vmap(pb.grad(f), (0, None))(xs, one)
    with pytest.raises(ValueError, match="all examples would write to it at once"):
        pb.grad(lambda xs: pb.vmap(f, (0, None))(xs, one).sum())(xs)
    assert one[...] == 0


def test_a_gradient_that_is_differentiated_is_not_written():
    ref = pb.new_ref(0.0)

    def f(x):
        return stash(ref, x) ** 3

    with pytest.raises(ValueError, match="its derivative would be lost"):
        pb.grad(pb.grad(f))(2.0)
    assert ref[...] == 0


def test_second_derivatives_beside_what_is_written_without_derivative():
    ref = pb.new_ref(0.0)

    @pb.custom_vjp
    def f(x):
        return x**3

    def bwd(x, ct):
        ref[...] += lax.stop_gradient(ct)
        return (3 * x**2 * ct,)

    f.defvjp(lambda x: (f(x), x), bwd)
    for derivative in (pb.grad(pb.grad(f)), pb.jit(pb.grad(pb.grad(f))), pb.hessian(lambda x: f(x))):
        if derivative is not pb.hessian:
            ref[...] = 0.0
        np.testing.assert_allclose(pb.grad(pb.grad(f))(2.0), 12, rtol=1e-6)
        assert ref[...] != 0


def counted():
    """A function whose function and rules count their runs in a reference that they close over."""
    runs = pb.new_ref(pnp.zeros(3, int))

    @pb.custom_vjp
    def f(x):
        runs[0] += 1
        return pnp.sin(x)

    def fwd(x):
        runs[0] += 1
        return pnp.sin(x), x

    def bwd(x, ct):
        runs[1] += 1
        return (pnp.cos(x) * ct,)

    f.defvjp(fwd, bwd)
    return f, runs


@pytest.mark.parametrize("wrapper", WRAPPERS, ids=lambda f: f.__name__)
def test_forward_rules_write_once(wrapper):
    """Under `checkpoint` too: what is recomputed are values; a write to a reference happens the first time only."""
    f, runs = counted()

    def program(x, _):
        return f(x) * 2.0

    wrapped = wrapper(program)
    assert np.isclose(wrapped(1.0, None), 2 * np.sin(1.0))
    np.testing.assert_array_equal(runs[...], [1, 0, 0])
    np.testing.assert_allclose(pb.grad(wrapped)(1.0, None), 2 * np.cos(1.0), rtol=1e-6)
    np.testing.assert_array_equal(runs[...], [2, 1, 0])
    np.testing.assert_allclose(pb.jit(pb.grad(wrapped))(1.0, None), 2 * np.cos(1.0), rtol=1e-6)
    np.testing.assert_array_equal(runs[...], [3, 2, 0])


def test_a_forward_rule_reads_what_the_loop_has_written():
    """The rule runs when the loop is differentiated, and finds what the reference holds in that step."""
    scale = pb.new_ref(1.0)

    @pb.custom_vjp
    def f(x, ref):
        return x * ref[...]

    def fwd(x, ref):
        return x * ref[...], ref[...]

    f.defvjp(fwd, lambda s, ct: (s * ct, None))

    def program(x, ref):
        def step(c, _):
            ref[...] += 1.0
            return f(c, ref), None

        return lax.scan(step, x, None, length=3)[0]

    for run in (program, pb.jit(program), pb.checkpoint(program)):
        for derivative, arguments in ((pb.value_and_grad(run), 1), (pb.jit(pb.value_and_grad(run)), 1)):
            scale[...] = 1.0
            value, gradient = derivative(1.0, scale)
            assert arguments == 1
            assert (value, gradient, scale[...]) == (24, 24, 4)


def test_a_local_reference_in_a_function_with_rules():
    @pb.custom_jvp
    def f(x):
        ref = pb.new_ref(x)
        ref[...] *= x
        return ref[...]

    @f.defjvp
    def rule(primals, tangents):
        ref = pb.new_ref(tangents[0])
        ref[...] *= 2 * primals[0]
        return f(*primals), ref[...]

    for derivative in (pb.grad(f), pb.jacfwd(f), pb.jit(pb.grad(f)), pb.grad(pb.jit(f)), pb.grad(pb.checkpoint(f))):
        assert derivative(3.0) == 6
    np.testing.assert_array_equal(pb.vmap(pb.grad(f))(pnp.arange(3.0)), [0, 2, 4])


def test_a_jvp_rule_reads_a_reference_of_the_differentiated_function():
    def program(x):
        ref = pb.new_ref(x)
        ref[...] *= 2.0

        @pb.custom_jvp
        def f(y):
            return y * ref[...]

        @f.defjvp
        def rule(primals, tangents):
            return f(*primals), tangents[0] * ref[...]

        return f(x) * ref[...]

    for derivative in (pb.grad(program), pb.jacfwd(program), pb.jit(pb.grad(program))):
        assert derivative(3.0) == 3 * 4 * 3.0**2
    assert pb.grad(pb.grad(program))(3.0) == 6 * 4 * 3.0


@pytest.mark.parametrize("wrapper", WRAPPERS, ids=lambda f: f.__name__)
def test_a_reference_of_the_differentiated_function_is_not_written_by_rules(wrapper):
    @pb.custom_vjp
    def f(y, ref):
        ref[...] = y
        return y

    f.defvjp(lambda y, ref: (f(y, ref), None), lambda _, ct: (ct, None))

    def program(x):
        ref = pb.new_ref(x)
        return wrapper(f)(x, ref) * ref[...]

    assert program(3.0) == 9
    for derivative in (pb.grad(program), pb.jit(pb.grad(program)), pb.grad(pb.jit(program))):
        with pytest.raises(ValueError, match="written to by a function with rules, or by a rule"):
            derivative(3.0)


@pytest.mark.parametrize("wrapper", WRAPPERS, ids=lambda f: f.__name__)
def test_what_a_function_with_rules_writes_outside_of_the_differentiated_function(wrapper):
    @pb.custom_vjp
    def f(y, ref):
        ref[...] += y
        return 2 * y

    def fwd(y, ref):
        ref[...] += y
        return 2 * y, None

    f.defvjp(fwd, lambda _, ct: (2 * ct, None))
    seen = pb.new_ref(0.0)
    for derivative in (pb.grad(wrapper(f)), pb.jit(pb.grad(wrapper(f))), pb.grad(pb.jit(wrapper(f)))):
        assert derivative(3.0, seen) == 2
    assert seen[...] == 9

    def inside(x):
        ref = pb.new_ref(0.0)
        gradient = pb.grad(wrapper(f))(x, ref)
        return gradient, ref[...]

    assert pb.jit(inside)(3.0) == inside(3.0) == (2, 3)


def test_a_backward_rule_that_raises_leaves_references_as_they_were():
    total = pb.new_ref(pnp.zeros(3))
    add = pb.jit(lambda ref, ct: ref.addupdate(ct, 0))
    add(total, 0.0)

    @pb.custom_vjp
    def f(x):
        return x

    def bwd(_, ct):
        add(total, ct)
        if len(seen) > 2:
            raise RuntimeError("stopped")
        seen.append(1)
        total.addupdate(ct, 1)
        total[...] += 1.0
        return (ct,)

    f.defvjp(lambda x: (x, None), bwd)

    def program(x):
        return f(f(f(f(x))))

    for derivative in (pb.grad(program), pb.jit(pb.grad(program)), lambda x: pb.vjp(program, x)[1](1.0)):
        seen = []
        with pytest.raises(RuntimeError, match="stopped"):
            derivative(1.0)
        assert len(seen) == 3
        np.testing.assert_array_equal(total[...], [0, 0, 0])
    seen = []
    pb.grad(lambda x: f(f(x)))(1.0)
    np.testing.assert_array_equal(total[...], [4, 4, 2])


def test_custom_gradient():
    ref = pb.new_ref(0.0)

    @pb.custom_gradient
    def g(x):
        def pull(ct):
            ref[...] += ct
            return 2 * x * ct

        return x**2, pull

    assert pb.grad(g)(3.0) == 6
    assert pb.jit(pb.grad(g))(3.0) == 6
    assert ref[...] == 2


def test_rules_for_vmap_read_and_keep_what_is_the_same_for_all():
    scale = pb.new_ref(2.0)

    @pb.custom_batching.custom_vmap
    def f(x):
        return x * scale[...]

    @f.def_vmap
    def rule(size, batched, x):
        return 10 * x * scale[...], batched[0]

    xs = pnp.arange(3.0)
    for run in (pb.vmap(f), pb.jit(pb.vmap(f)), pb.vmap(pb.jit(f)), pb.vmap(pb.checkpoint(f))):
        np.testing.assert_array_equal(run(xs), 20 * xs)
    assert pb.jit(f)(1.0) == 2
