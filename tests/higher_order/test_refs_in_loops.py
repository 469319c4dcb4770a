"""References in scan, fori_loop, while_loop and map: closed over, as inputs, made inside; refusals."""

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.experimental.ode import odeint


def eagerly(f):
    return f


@pytest.fixture(params=[eagerly, pb.jit], ids=["eager", "compiled"])
def run(request):
    return request.param


def test_a_scan_reads_and_writes_a_reference_outside(run):
    total, seen = pb.new_ref(0.0), pb.new_ref(pnp.zeros(4))

    def step(carry, x):
        total[...] += x
        seen[carry] = total[...]
        return carry + 1, 2 * total[...]

    count, sums = run(lambda xs: lax.scan(step, 0, xs))(pnp.arange(4.0))
    np.testing.assert_array_equal(sums, [0, 2, 6, 12])
    np.testing.assert_array_equal(seen[...], [0, 1, 3, 6])
    assert (count, total[...]) == (4, 6)


def test_a_scan_of_no_steps_leaves_it_as_it_was(run):
    total = pb.new_ref(3.0)

    def step(c, _):
        total.addupdate(1.0)
        return c, None

    run(lambda: lax.scan(step, 0, None, length=0))()
    assert total[...] == 3


def test_a_long_scan_is_handed_to_the_compiler():
    total = pb.new_ref(0)
    lax.fori_loop(0, 100_000, lambda i, c: (total.addupdate(i % 3), c)[1], 0)
    assert total[...] == sum(i % 3 for i in range(100_000))


def test_inputs_of_a_scan_may_be_references_whose_entries_are_written(run):
    values, more = pb.new_ref(pnp.arange(6.0).reshape(3, 2)), pb.new_ref(pnp.arange(3))

    def step(carry, x):
        scale, (row, n) = x
        row[1] = scale * row[0]
        row.addupdate(pnp.ones(2))
        n[...] += 10
        return carry + n[...], row[...]

    total, rows = run(lambda s: lax.scan(step, 0, (s, [values, more]), reverse=True))(pnp.array([1.0, 2.0, 3.0]))
    expected = np.array([[1, 1], [3, 5], [5, 13]])
    np.testing.assert_array_equal(values[...], expected)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(more[...], [10, 11, 12])
    assert total == 33


def count(c, entry):
    entry[...] = c
    return c + 1.0, None


def test_a_reference_alone_gives_the_number_of_steps(run):
    ref = pb.new_ref(pnp.zeros(3))
    run(lambda: lax.scan(count, 0.0, ref))()
    np.testing.assert_array_equal(ref[...], [0, 1, 2])
    with pytest.raises(ValueError, match="leading axes must have one length"):
        lax.scan(lambda c, x: (c, None), 0.0, (ref, pnp.zeros(2)))
    with pytest.raises(ValueError, match="is a scalar"):
        lax.scan(lambda c, x: (c, None), 0.0, pb.new_ref(1.0))


def test_a_part_is_an_input_too(run):
    ref = pb.new_ref(pnp.zeros((2, 3)))
    run(lambda: lax.scan(count, 1.0, ref.at[1]))()
    np.testing.assert_array_equal(ref[...], [[0, 0, 0], [1, 2, 3]])


def test_map_runs_in_order_and_writes(run):
    log, rows = pb.new_ref(pnp.zeros(3)), pb.new_ref(pnp.zeros(3))

    def entry(x):
        i, row = x
        log[...] = pnp.roll(log[...], 1)
        log[0] = 1.0 * i
        row[...] = log[1]
        return row[...]

    out = run(lambda: lax.map(entry, (pnp.arange(3), rows)))()
    np.testing.assert_array_equal(log[...], [2, 1, 0])
    np.testing.assert_array_equal(out, [0, 0, 1])
    np.testing.assert_array_equal(rows[...], out)


def test_the_decorator_of_loops_that_jax_documents(run):
    """JAX's page on references makes a decorator `foreach` of scan; so can ours be written."""

    def for_each(*inputs):
        def loop(body):
            return lax.scan(lambda _, entries: (None, body(*entries)), None, inputs)[1]

        return loop

    def program(xs, ys):
        total = pb.new_ref(0.0)

        @for_each(xs, ys)
        def products(x, y):
            total[...] += x * y
            return x * y

        return total[...], products

    dot, products = run(program)(pnp.array([1.0, 2.0]), pnp.array([3.0, 4.0]))
    assert dot == 11
    np.testing.assert_array_equal(products, [3, 8])
    gradient = pb.grad(lambda xs: program(xs, pnp.array([3.0, 4.0]))[0] ** 2)(pnp.array([1.0, 2.0]))
    np.testing.assert_array_equal(gradient, [66, 88])


def test_a_while_loop_writes_and_its_condition_reads(run):
    steps, value = pb.new_ref(0), pb.new_ref(1.0)

    def more(x):
        return (value[...] < 50.0) & (x < 100)

    def step(x):
        steps[...] += 1
        value[...] *= 3.0
        return x + 1

    assert run(lambda: lax.while_loop(more, step, 0))() == 4
    assert (steps[...], value[...]) == (4, 81)
    assert run(lambda: lax.while_loop(more, step, 0))() == 0
    assert steps[...] == 4


def test_a_while_loop_that_only_reads(run):
    limit = pb.new_ref(10)

    def program():
        return lax.while_loop(lambda i: i < limit[...], lambda i: i + limit[...] // 5, 0)

    assert run(program)() == 10
    limit[...] = 20
    assert run(program)() == 20


def test_a_loop_with_traced_bounds_writes(run):
    ref = pb.new_ref(pnp.zeros(5))

    def step(i, c):
        ref[i] = c
        return c + 1

    run(lambda n: lax.fori_loop(1, n, step, 1.0))(4)
    np.testing.assert_array_equal(ref[...], [0, 1, 2, 3, 0])


def test_traced_indices_are_clamped(run):
    ref = pb.new_ref(pnp.arange(3.0))

    def program(i):
        before = ref[i]
        ref[i] = 10.0
        ref.addupdate(1.0, i)
        return before

    for i, place in ((5, 2), (-1, 2), (-9, 0), (1, 1)):
        ref[...] = pnp.arange(3.0)
        before = pb.jit(program)(i)
        expected = np.arange(3.0)
        assert before == expected[place]
        expected[place] = 11
        np.testing.assert_array_equal(ref[...], expected)


def test_loops_in_loops(run):
    counts = pb.new_ref(pnp.zeros((2, 3), int))

    def outer(i, c):
        def inner(j, d):
            counts[i, j] += 1 + i * 3 + j
            lax.cond(counts[i, j] > 4, lambda: counts.addupdate(100, (i, j)), lambda: None)
            return d

        return lax.fori_loop(0, 3, inner, c)

    run(lambda: lax.fori_loop(0, 2, outer, 0))()
    np.testing.assert_array_equal(counts[...], [[1, 2, 3], [4, 105, 106]])


def test_a_reference_made_in_the_body_is_new_in_each_step(run):
    def step(c, x):
        local = pb.new_ref(x)
        local[...] *= 2.0
        return c + local[...], local[...]

    total, doubled = run(lambda xs: lax.scan(step, 0.0, xs))(pnp.arange(3.0))
    assert total == 6
    np.testing.assert_array_equal(doubled, [0, 2, 4])


def test_gradients_through_a_loop_over_entries_of_a_reference():
    def program(x):
        ref = pb.new_ref(x)

        def step(c, r):
            r[...] *= c
            return c + r[...], None

        last, _ = lax.scan(step, 1.0, ref)
        return last * ref[...].sum()

    def plain(x):
        c, entries = 1.0, []
        for i in range(3):
            entries.append(x[i] * c)
            c = c + entries[-1]
        return c * sum(entries)

    x = pnp.array([0.5, -1.5, 2.0])
    for derivative in (pb.grad, pb.jacfwd, pb.hessian, lambda f: pb.jacrev(pb.grad(f)), lambda f: pb.jit(pb.grad(f))):
        np.testing.assert_allclose(derivative(program)(x), derivative(plain)(x), rtol=1e-5, atol=1e-5)


def test_batches_of_loops():
    def program(x, n):
        ref = pb.new_ref(x)

        def step(i):
            ref[...] *= 2.0
            return i + 1

        steps = lax.while_loop(lambda i: i < n, step, 0)
        lax.fori_loop(0, 2, lambda i, c: (ref.addupdate(1.0), c)[1], 0)
        return ref[...], steps

    values, steps = pb.vmap(program)(pnp.array([1.0, 2.0, 3.0]), pnp.array([0, 2, 1]))
    np.testing.assert_array_equal(values, [3, 10, 8])
    np.testing.assert_array_equal(steps, [0, 2, 1])


def refused(error, message, action, *args, **kwargs):
    with pytest.raises(error, match=message):
        action(*args, **kwargs)


def test_refusals():
    ref = pb.new_ref(pnp.zeros(3))
    refused(ValueError, "scan: init of scan is a Ref.*Close over it", lax.scan, lambda c, x: (c, None), ref, None, 3)
    refused(ValueError, "init_val of while_loop is a Ref", lax.while_loop, lambda c: True, lambda c: c, ref)
    refused(ValueError, r"init_val\['a'\] of fori_loop is a Ref", lax.fori_loop, 0, 3, lambda i, c: c, {"a": ref})
    refused(ValueError, "must not return a Ref.*made at", lax.scan, lambda c, x: (c, ref), 0.0, None, 3)
    refused(ValueError, "must not return a Ref.*argument|must not return a Ref", lax.map, lambda r: r, ref)
    refused(ValueError, "must not return a Ref", lax.while_loop, lambda c: False, lambda c: ref, 0.0)
    condition = "the condition of a while writes to the Ref of type f32.3. made at"
    refused(ValueError, condition, lax.while_loop, lambda c: (ref.addupdate(1.0, 0), c < 3)[1], lambda c: c + 1, 0)
    refused(ValueError, "are the same", lax.scan, lambda c, x: (c, x[0][...]), 0.0, (ref, ref))
    refused(ValueError, "xs.*and.*are the same", lax.scan, lambda c, x: (c, x[...] + ref[0]), 0.0, ref)
    refused(ValueError, "are the same", lax.scan, lambda c, x: (c, x[0][...]), 0.0, {0: ref, 1: ref.at[:]})
    refused(ValueError, "can be ended only where it was made", lax.map, lambda x: pb.freeze(ref), pnp.arange(2))
    np.testing.assert_array_equal(ref[...], [0, 0, 0])


def test_a_body_that_raises_leaves_references_as_they_were(run):
    ref = pb.new_ref(pnp.zeros(3))

    def step(c, x):
        ref[0] = 1.0
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        run(lambda: lax.scan(step, 0.0, pnp.zeros(3)))()
    np.testing.assert_array_equal(ref[...], [0, 0, 0])


def test_functions_of_solvers_read():
    """An algorithm calls them as often as it needs: what they read is captured, and they must not write."""

    def find(f, x):
        return lax.fori_loop(0, 50, lambda i, y: y - 0.5 * f(y), x)

    def root(a):
        ref = pb.new_ref(a)
        ref[...] *= 2.0
        return lax.custom_root(lambda x: x - ref[...] ** 2, 0.0, find, lambda g, y: y / g(1.0))

    def growth(a):
        ref = pb.new_ref(a)
        return odeint(lambda y, t: y * ref[...], 1.0, pnp.array([0.0, 1.0]))[1]

    def solution(a):
        ref = pb.new_ref(a)
        return lax.custom_linear_solve(lambda x: ref[...] * x, 3.0, lambda f, b: b / f(1.0), symmetric=True)

    for f, value, slope in ((root, 9.0, 12.0), (growth, np.exp(1.5), np.exp(1.5)), (solution, 2.0, -4 / 3)):
        for run in (f, pb.jit(f)):
            np.testing.assert_allclose(run(1.5), value, rtol=1e-4)
            np.testing.assert_allclose(pb.grad(run)(1.5), slope, rtol=1e-4)
    outside = pb.new_ref(4.0)

    @pb.jit
    def product(b):
        return lax.custom_linear_solve(lambda x: outside[...] * x, b, lambda f, b: b / f(1.0))

    assert product(2.0) == 0.5
    outside[...] = 8.0
    assert product(2.0) == 0.25


def test_functions_of_solvers_do_not_write():
    ref = pb.new_ref(2.0)

    def counting(x, *_):
        ref[...] += 1.0
        return x

    with pytest.raises(ValueError, match=r"odeint: func .*writes to the Ref of type .* made at"):
        odeint(counting, 1.0, pnp.array([0.0, 1.0]))
    with pytest.raises(ValueError, match=r"custom_linear_solve: matvec .*writes to the Ref"):
        lax.custom_linear_solve(counting, 1.0, lambda f, b: b)
    with pytest.raises(NotImplementedError, match=r"reduce accesses the Ref.*Read the Ref before"):
        lax.reduce(pnp.ones(3), 0.0, lambda a, b: a + b * ref[...], (0,))
    assert ref[...] == 2
