"""References under vmap: mapped along any axis, shared, made inside, returned; what is refused."""

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax


def accumulate(x, ref):
    ref[0] += x
    ref[1] *= 2.0
    return ref[...].sum()


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("axis", [0, 1, -1, -2])
def test_mapped_references_are_written_along_their_axis(axis, compiled):
    start = np.arange(9, dtype=np.float32).reshape(3, 3)
    ref = pb.new_ref(start)
    run = pb.vmap(accumulate, (0, axis))
    totals = (pb.jit(run) if compiled else run)(pnp.array([1.0, 2.0, 3.0]), ref)
    expected = np.moveaxis(start, axis, 0).copy()
    expected[:, 0] += [1, 2, 3]
    expected[:, 1] *= 2
    np.testing.assert_array_equal(totals, expected.sum(1))
    np.testing.assert_array_equal(ref[...], np.moveaxis(expected, 0, axis))


def test_references_in_pytrees_and_by_keyword():
    a, b = pb.new_ref(pnp.zeros(2)), pb.new_ref(pnp.zeros((2, 2)))

    def f(tree, b):
        tree["a"][...] = tree["x"]
        b[0] = 2 * tree["a"][...]

    pb.vmap(f)({"a": a, "x": pnp.array([1.0, 2.0])}, b=b)
    np.testing.assert_array_equal(a[...], [1, 2])
    np.testing.assert_array_equal(b[...], [[2, 0], [4, 0]])


def test_references_alone_give_the_size():
    ref = pb.new_ref(pnp.arange(3.0))
    np.testing.assert_array_equal(pb.vmap(lambda r: 2 * r[...])(ref), [0, 2, 4])


def test_a_part_is_mapped():
    ref = pb.new_ref(pnp.zeros((2, 3)))

    def f(r, x):
        r[...] += x

    pb.vmap(f)(ref.at[1], pnp.arange(3.0))
    np.testing.assert_array_equal(ref[...], [[0, 0, 0], [0, 1, 2]])


def test_batches_of_batches():
    def distance(x, y, out):
        out[...] = ((x - y) ** 2).sum()

    points = pnp.arange(6.0).reshape(3, 2)
    out = pb.new_ref(pnp.zeros((3, 3)))
    pb.vmap(pb.vmap(distance, (0, None, 0)), (None, 0, 0))(points, points, out)
    expected = ((np.asarray(points)[:, None] - np.asarray(points)) ** 2).sum(-1)
    np.testing.assert_array_equal(out[...], expected)


def test_shared_references_are_read_at_any_index():
    table = pb.new_ref(pnp.arange(5.0))
    out = pb.vmap(lambda i, table: table[i] + table[1], (0, None))(pnp.array([4, 0, 2]), table)
    np.testing.assert_array_equal(out, [5, 1, 3])
    np.testing.assert_array_equal(pb.vmap(lambda i: table[pnp.stack([i, i])].sum())(pnp.array([1, 3])), [2, 6])


def test_references_made_inside():
    def f(x):
        ref = pb.new_ref(pnp.zeros(3))
        ref[1] = x
        shared = pb.new_ref(1.0)
        shared[...] += x
        lax.cond(x > 1, lambda: ref.addupdate(x, 2), lambda: None)
        return ref[...] * shared[...]

    xs = pnp.array([1.0, 2.0])
    expected = [[0, 2, 0], [0, 6, 6]]
    np.testing.assert_array_equal(pb.vmap(f)(xs), expected)
    np.testing.assert_array_equal(pb.jit(pb.vmap(f))(xs), expected)


def test_batched_indices():
    def f(i, x):
        ref = pb.new_ref(pnp.zeros(4))
        ref[i] = x
        ref.addupdate(1.0, (i + 1) % 4)
        ref[pnp.stack([i, i])] += x
        return ref[...], ref[i]

    whole, part = pb.vmap(f)(pnp.array([0, 3]), pnp.array([5.0, 7.0]))
    np.testing.assert_array_equal(whole, [[10, 1, 0, 0], [1, 0, 0, 14]])
    np.testing.assert_array_equal(part, [10, 14])


def test_a_reference_that_is_returned_holds_all_examples():
    def f(x):
        ref = pb.new_ref(x)
        ref[...] *= 2.0
        return {"ref": ref, "x": x}

    out = pb.vmap(f, out_axes={"ref": 1, "x": 0})(pnp.arange(6.0).reshape(2, 3))
    assert isinstance(out["ref"], pb.Ref)
    np.testing.assert_array_equal(out["ref"][...], 2 * np.arange(6).reshape(2, 3).T)
    out["ref"][0] = pnp.zeros(2)
    assert out["ref"][0, 1] == 0


def test_gradients_of_what_is_written_to_mapped_references():
    def total(xs):
        ref = pb.new_ref(pnp.zeros((3, 2)))
        pb.vmap(accumulate, (0, 0))(xs, ref)
        return (ref[...] ** 2).sum()

    xs = pnp.array([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(pb.grad(total)(xs), 2 * xs)
    np.testing.assert_array_equal(pb.jit(pb.grad(total))(xs), 2 * xs)
    np.testing.assert_array_equal(pb.hessian(total)(xs), 2 * np.eye(3))


def refused(error, message, action, *args):
    with pytest.raises(error, match=message):
        action(*args)


def test_refusals():
    one, ref, xs = pb.new_ref(0.0), pb.new_ref(pnp.zeros(3)), pnp.arange(3.0)

    def write(x):
        one[...] = x

    def write_to(x, r):
        r.addupdate(x)

    def count(x):
        one[...] += 1.0
        return x

    def count_in_a_loop(x):
        return lax.fori_loop(0, 2, lambda i, y: count(y), x)

    lost = "the Ref of type .* made at .* was written to in vmap of .*: all examples would write to it at once"
    for run in (pb.vmap(write), pb.jit(pb.vmap(write)), pb.vmap(pb.jit(write)), pb.vmap(pb.checkpoint(write))):
        refused(ValueError, lost, run, xs)
    refused(ValueError, lost, pb.vmap(write_to, (0, None)), xs, one)
    for f in (count, pb.jit(count), count_in_a_loop, pb.checkpoint(count)):
        refused(ValueError, lost, pb.vmap(f), xs)
        refused(ValueError, lost, pb.jit(pb.vmap(f)), xs)
    refused(ValueError, "are the same", pb.vmap(lambda a, b: a[...] + b[...]), ref, ref)
    refused(ValueError, "are the same", pb.vmap(lambda a, b: a[...], (0, None)), ref, ref.at[0])
    for f in (lambda r: r[...] + ref[0], lambda r: ref.__setitem__(0, 1.0), pb.jit(lambda r: r[...] + ref[0])):
        refused(ValueError, "made at.*and the one that is argument 'r' of .* are the same", pb.vmap(f), ref)
        refused(ValueError, "are the same|all examples would write to it", pb.jit(pb.vmap(f)), ref)
    assert ref[0] == 0
    refused(ValueError, "mapped axes must have one length", pb.vmap(write_to), pnp.zeros(2), ref)
    refused(ValueError, "no axis 0", pb.vmap(write_to), xs, one)
    refused(ValueError, "must not return a Ref", pb.vmap(lambda x: one), xs)
    assert one[...] == 0
    np.testing.assert_array_equal(ref[...], [0, 0, 0])
