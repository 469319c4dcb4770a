"""References in eager code: reading, writing, indices, types, printing, copies, the end of their use."""

import copy
import pickle

import numpy as np
import pytest
from quantised import dequantise, product, scaled, weights

import pullback as pb
import pullback.numpy as pnp


def counting(shape, dtype=np.float32):
    return np.arange(np.prod(shape), dtype=dtype).reshape(shape)


INDICES: list = [
    (..., (3, 4)),
    (1, (4,)),
    (-1, (4,)),
    (np.int32(1), (4,)),
    ((1, 2), ()),
    (slice(1, 3), (2, 4)),
    (slice(0, 3, 2), (2, 4)),
    ((slice(None), 1), (3,)),
    ((..., 1), (3,)),
    ((..., slice(1, 3)), (3, 2)),
    ((0, slice(None, 3)), (3,)),
    (np.array([2, 0]), (2, 4)),
    ((np.array([2, 0]), np.array([1, 3])), (2,)),
    ((slice(None), np.array([[2, 0]])), (3, 1, 2)),
    (np.array([True, False, True]), (2, 4)),
    (counting((3, 4)) > 5, (6,)),
    ((), (3, 4)),
]


@pytest.mark.parametrize(("index", "shape"), INDICES)
def test_reads_and_writes_by_index_are_numpys(index, shape):
    expected = counting((3, 4))
    ref = pb.new_ref(expected)
    assert ref[index].shape == shape
    np.testing.assert_array_equal(ref[index], expected[index])
    value = -1 - counting(shape)
    ref[index] = value
    expected[index] = value
    np.testing.assert_array_equal(ref[...], expected)
    ref.addupdate(value, index)
    expected[index] += value
    np.testing.assert_array_equal(ref[...], expected)
    ref[index] += value
    expected[index] += value
    np.testing.assert_array_equal(ref[...], expected)
    assert np.array_equal(pb.ref.swap(ref, index, 2 * value), expected[index])
    expected[index] = 2 * value
    np.testing.assert_array_equal(ref[...], expected)


@pytest.mark.parametrize(("index", "shape"), INDICES[:12])
def test_indices_compiled_are_numpys(index, shape):
    expected = counting((3, 4))

    def program(x, value):
        ref = pb.new_ref(x)
        before = ref[index]
        ref[index] = value
        ref.addupdate(value, index)
        ref[index] += value
        return before, ref[...]

    value = -1 - counting(shape)
    before, after = pb.jit(program)(expected, value)
    np.testing.assert_array_equal(before, expected[index])
    expected[index] = 3 * value
    np.testing.assert_array_equal(after, expected)


@pytest.mark.parametrize(("index", "shape"), INDICES[1:12])
def test_a_part_is_read_and_written_through(index, shape):
    expected = counting((3, 4))
    ref = pb.new_ref(expected)
    part = ref.at[index]
    assert part.shape == shape
    assert part.dtype == np.float32
    np.testing.assert_array_equal(part[...], expected[index])
    part[...] = np.full(shape, 7, np.float32)
    expected[index] = 7
    part.addupdate(np.ones(shape, np.float32))
    expected[index] += 1
    np.testing.assert_array_equal(ref[...], expected)


def test_a_part_of_a_part():
    expected = counting((3, 4))
    ref = pb.new_ref(expected)
    part = ref.at[1:].at[0]
    part[1] = 50.0
    expected[1:][0][1] = 50
    part.addupdate(np.float32(1), 1)
    expected[1, 1] += 1
    np.testing.assert_array_equal(ref[...], expected)
    assert part[1] == 51


def test_reads_are_not_changed_by_later_writes():
    ref = pb.new_ref(counting((3,)))
    whole, part, element = ref[...], ref[1:], ref[1]
    ref[1] = 9.0
    ref[1:] += 1.0 + np.zeros(2, np.float32)
    ref.addupdate(np.float32(1), 0)
    np.testing.assert_array_equal(whole, [0, 1, 2])
    np.testing.assert_array_equal(part, [1, 2])
    assert element == 1
    np.testing.assert_array_equal(ref[...], [1, 10, 3])


def test_the_initial_value_and_what_is_written_are_not_changed_by_later_writes():
    given, array, written = np.zeros(3, np.float32), pnp.zeros(3), pnp.ones(3)
    first, second = pb.new_ref(given), pb.new_ref(array)
    first[0] = second[0] = 1.0
    given[1] = 5
    np.testing.assert_array_equal(first[...], [1, 0, 0])
    second[...] = written
    second[0] = 4.0
    np.testing.assert_array_equal(array, [0, 0, 0])
    np.testing.assert_array_equal(written, [1, 1, 1])


def test_a_write_of_the_whole_takes_no_copy_and_parts_are_written_in_place():
    ref = pb.new_ref(np.zeros(1000, np.float32))
    ref[3] = 1.0
    data = ref.cell.content.value
    ref[4] = 1.0
    ref.addupdate(np.ones(2, np.float32), slice(5, 7))
    assert ref[5] == 1.0
    assert ref.cell.content.value is data


@pytest.mark.parametrize(
    "value", [1.5, 3, True, 2j, np.float32(2), np.int8(3), pnp.zeros((0, 2)), pnp.ones(2, pnp.bfloat16)]
)
def test_values_of_every_kind(value):
    ref = pb.new_ref(value)
    expected = pnp.asarray(value)
    assert ref.dtype == expected.dtype
    assert ref.shape == expected.shape
    assert not ref[...].weak_type
    ref[...] = ref[...]
    np.testing.assert_array_equal(np.asarray(ref[...]), np.asarray(expected))


def test_keys_are_held():
    keys = pb.random.split(pb.random.key(3), 4)
    ref = pb.new_ref(keys)
    assert ref.shape == (4,)
    assert ref.dtype == keys.dtype
    assert pb.typeof(ref) == pb.new_ref(keys).aval != pb.new_ref(keys[:2]).aval

    def draw(ref):
        ref[0], used = pb.random.split(ref[0])
        return pb.random.uniform(used)

    expected = pb.random.uniform(pb.random.split(keys[0])[1])
    again = pb.random.uniform(pb.random.split(pb.random.split(keys[0])[0])[1])
    assert draw(ref) == expected
    assert pb.jit(draw)(ref) == again
    words = pb.random.key_data(ref[...])
    np.testing.assert_array_equal(words[1:], pb.random.key_data(keys)[1:])
    ref[1:3] = keys[:2]
    np.testing.assert_array_equal(pb.random.key_data(ref.at[2][...]), pb.random.key_data(keys[1]))
    np.testing.assert_array_equal(pb.random.key_data(copy.deepcopy(ref)[...])[2], pb.random.key_data(keys[1]))
    entries = pb.random.key_data(pb.lax.map(lambda r: r[...], ref))
    np.testing.assert_array_equal(entries, pb.random.key_data(ref[...]))
    np.testing.assert_array_equal(pb.vmap(draw)(pb.new_ref(keys[:, None]))[0], expected)
    assert repr(pb.new_ref(pb.random.key(0))).startswith("Ref(")
    refused(ValueError, "takes values of its own type only", ref.__setitem__, 0, pnp.zeros(2, "uint32"))
    refused(ValueError, "takes no sums", ref.addupdate, keys[0], 0)
    np.testing.assert_array_equal(pb.random.key_data(pb.freeze(pb.new_ref(keys))), pb.random.key_data(keys))


def test_values_of_a_type_of_ones_own_are_held():
    q, d = weights(3, 4)
    ref, x = pb.new_ref(q), pnp.arange(4.0)
    assert str(pb.typeof(ref)) == "Ref{q8[3,4]}"

    def double(ref):
        ref[...] = scaled(ref[...], 2.0)

    double(ref)
    pb.jit(double)(ref)
    pb.lax.fori_loop(0, 2, lambda i, c: (double(ref), c)[1], 0)
    np.testing.assert_allclose(dequantise(ref[...]), 16 * np.asarray(d), rtol=1e-6)
    gradient = pb.grad(lambda x: product(pb.new_ref(q)[...], x).sum())(x)
    np.testing.assert_allclose(gradient, np.asarray(d).sum(0), rtol=1e-5, atol=1e-5)
    refused(ValueError, "it takes values of its type", ref.__setitem__, ..., pnp.zeros((3, 4)))


def test_attributes():
    ref = pb.new_ref(pnp.zeros((2, 3)))
    assert (ref.shape, ref.ndim, ref.size, len(ref)) == ((2, 3), 2, 6, 2)
    assert ref.dtype == np.float32
    assert str(ref.aval) == "Ref{float32[2,3]}"
    assert not isinstance(ref, pb.Array)
    assert isinstance(ref, pb.Ref)
    assert ref == ref
    assert ref != pb.new_ref(pnp.zeros((2, 3)))
    assert {ref: 1}[ref] == 1
    assert (ref == ref[...]) is False
    assert pb.tree.leaves([ref, {"a": ref}]) == [ref, ref]
    with pytest.raises(TypeError, match="0-d"):
        len(pb.new_ref(1.0))


def test_printing():
    assert repr(pb.new_ref(pnp.arange(3.0))) == str(pb.new_ref(pnp.arange(3.0))) == "Ref([0., 1., 2.], dtype=float32)"
    assert repr(pb.new_ref(2)) == "Ref(2, dtype=int32)"
    assert repr(pb.new_ref(pnp.zeros((0, 2)))) == "Ref([], shape=(0, 2), dtype=float32)"


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda ref: pickle.loads(pickle.dumps(ref))])
def test_copies_hold_data_of_their_own(duplicate):
    ref = pb.new_ref(pnp.arange(3.0))
    other = duplicate(ref)
    other[0] = 7.0
    ref[1] = 8.0
    np.testing.assert_array_equal(other[...], [7, 1, 2])
    np.testing.assert_array_equal(ref[...], [0, 8, 2])


def test_an_empty_ref_holds_zeros():
    for ty in (pb.ShapeDtypeStruct((2,), "int32"), pb.typeof(pnp.zeros(2, int)), pb.new_ref(pnp.ones(2, int)).aval):
        ref = pb.empty_ref(ty)
        ref[1] += 1
        np.testing.assert_array_equal(ref[...], [0, 1])
        assert ref.dtype == np.int32


def test_repeated_positions_count_each_time_in_addupdate_and_once_in_assignments():
    ref = pb.new_ref(pnp.zeros(3))
    ref.addupdate(pnp.array([1.0, 2.0]), pnp.array([1, 1]))
    assert ref[1] == 3
    ref[pnp.array([1, 1])] += pnp.array([1.0, 2.0])
    assert ref[1] == 5
    ref[pnp.array([0, 0])] = pnp.array([1.0, 2.0])
    assert ref[0] == 2


def test_index_arrays_out_of_bounds_are_clamped():
    ref = pb.new_ref(pnp.arange(3.0))
    np.testing.assert_array_equal(ref[pnp.array([0, 7])], [0, 2])
    ref[pnp.array([7])] = pnp.array([5.0])
    assert ref[2] == 5
    ref.addupdate(pnp.array([1.0]), pnp.array([9]))
    assert ref[2] == 6


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int32", "bool", "complex64"])
@pytest.mark.parametrize("count", [3, 3000])
def test_sums_at_index_arrays(dtype, count):
    """Few and many positions, in dtypes that NumPy adds up in place and in others."""
    rng = np.random.default_rng(0)
    positions = rng.integers(0, 7, count)
    values = np.asarray(pnp.asarray(rng.integers(0, 2, (count, 2))).astype(dtype))
    start = np.asarray(pnp.zeros((7, 2), dtype))
    ref = pb.new_ref(start)
    ref.addupdate(values, positions)
    expected = np.zeros((7, 2), np.complex64)
    np.add.at(expected, positions, values.astype(np.complex64))
    expected = expected != 0 if dtype == "bool" else pnp.asarray(expected.real).astype(dtype)
    np.testing.assert_allclose(np.asarray(ref[...], np.complex64), np.asarray(expected, np.complex64), rtol=1e-2)
    ref.addupdate(values[:1], pnp.array([9]))
    assert ref[6].shape == (2,)


def refused(error, message, action, *args):
    with pytest.raises(error, match=message):
        action(*args)


def test_writes_neither_broadcast_nor_convert():
    ref, whole = pb.new_ref(pnp.zeros(3)), pb.new_ref(pnp.zeros(3, int))
    for key, value in ((..., 1.0), (slice(0, 2), 1.0), (..., np.ones((1, 3), np.float32)), (0, np.ones(1, np.float32))):
        refused(
            ValueError, r"a part of type f32\[.*\] of the Ref of type f32\[3\] made at", ref.__setitem__, key, value
        )
    for value in (1, True, np.int32(1), np.float16(1), 1j):
        refused(ValueError, "neither broadcast nor convert", ref.__setitem__, 0, value)
    refused(ValueError, r"f32\[\] was written to a part of type i32\[\]", whole.__setitem__, 0, 1.0)
    refused(ValueError, "neither broadcast nor convert", whole.addupdate, 1.5, 0)
    ref[0] = np.float64(2)
    ref[1] += 1
    np.testing.assert_array_equal(ref[...], [2, 1, 0])
    half = pb.new_ref(pnp.zeros(2, pnp.bfloat16))
    half[0] = 2.0
    assert half[0] == 2


def test_indices_that_are_refused():
    ref = pb.new_ref(pnp.zeros((3, 2)))
    for key in (3, -4, (0, 2), (..., 2), np.int64(3)):
        refused(IndexError, "out of bounds for axis", ref.__getitem__, key)
        refused(ValueError, "out of bounds for axis", ref.__setitem__, key, pnp.zeros(2))
    refused(TypeError, "None, which would make a new axis", ref.__getitem__, None)
    refused(TypeError, "integers", ref.__getitem__, 1.0)
    refused(TypeError, "list is no index", ref.__getitem__, [0])
    refused(ValueError, "step -1", ref.__getitem__, slice(None, None, -1))
    refused(IndexError, "too many indices", ref.__getitem__, (0, 0, 0))


def test_a_reference_is_no_array():
    ref = pb.new_ref(pnp.zeros(3))
    refused(TypeError, "not iterated over", iter, ref)
    refused(TypeError, r"read what it holds, ref\[\.\.\.\]", np.asarray, ref)
    refused(TypeError, r"read what it holds, ref\[\.\.\.\]", pnp.sin, ref)
    refused(TypeError, "Read it first", lambda: ref + 1)
    refused(TypeError, "Read it first", lambda: 1 - ref)
    refused(TypeError, "Read it first", lambda: -ref)
    refused(TypeError, "Read it first", lambda: ref < 1)
    refused(TypeError, "Read it first", float, pb.new_ref(1.0))
    refused(TypeError, "Read it first", bool, pb.new_ref(1.0))
    refused(ValueError, "a Ref was written to", ref.__setitem__, ..., ref)
    refused(TypeError, "a Ref holds an array", pb.new_ref, ref)
    for nothing in ([1.0], None, "a"):
        refused(TypeError, "new_ref: expected an array or a number", pb.new_ref, nothing)
    for function in (pb.ref.get, pb.freeze, pb.free_ref):
        refused(TypeError, "expected a Ref, got an array", function, pnp.zeros(3))
    refused(TypeError, "expected a Ref", pb.ref.set, pnp.zeros(3), 0, 1.0)
    refused(TypeError, "expected the type of an array", pb.empty_ref, 3)


def test_what_has_ended_is_not_used():
    for end, name in ((pb.freeze, "freeze"), (pb.free_ref, "free_ref")):
        ref = pb.new_ref(pnp.arange(3.0))
        result = end(ref)
        assert result is None or np.array_equal(result, [0, 1, 2])
        for use in (lambda r=ref: r[0], lambda r=ref: r.__setitem__(0, 1.0), lambda r=ref, e=end: e(r)):
            refused(RuntimeError, f"its use was ended by {name}", use)
        assert repr(ref) == f"Ref(f32[3], ended by {name})"
    refused(TypeError, "a part of", pb.freeze, pb.new_ref(pnp.zeros(3)).at[1])


def test_the_functions_of_the_module():
    ref = pb.new_ref(pnp.zeros(3))
    pb.ref.set(ref, 1, 5.0)
    pb.ref.addupdate(ref, None, pnp.ones(3))
    assert pb.ref.get(ref, 1) == 6
    np.testing.assert_array_equal(pb.ref.get(ref), [1, 6, 1])
    np.testing.assert_array_equal(pb.ref.swap(ref, None, pnp.zeros(3)), [1, 6, 1])
    np.testing.assert_array_equal(pb.ref.freeze(ref), [0, 0, 0])
