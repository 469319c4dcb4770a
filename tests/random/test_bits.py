"""Threefry, keys and bits: the published test vectors, JAX's bits to the letter, and typed keys as values."""

import copy
import pickle

import jax
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax, random
from pullback._core.array import from_numpy
from pullback._ops import random_bits as rb

SEEDS = [0, 1, 42, -1, 2**31, 2**40 + 5, 2**63 - 1, -(2**63)]
SHAPES = [(), (1,), (12,), (13,), (0,), (4, 5), (2, 3, 4), (2**15 + 3,)]


def u32(*values):
    return from_numpy(np.array(values, np.uint32))


def assert_same(got, expected):
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


@pytest.fixture(params=[False, True], ids=["x32", "x64"])
def x64(request):
    with pb.enable_x64(request.param), jax.enable_x64(request.param):
        yield request.param


# ---- The cipher


@pytest.mark.parametrize(
    ("key", "count", "expected"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_cipher_on_the_vectors_of_its_authors(key, count, expected):
    operands = [u32(x) for x in (*key, *count)]
    for run in (rb.threefry2x32, pb.jit(rb.threefry2x32)):
        assert [int(x[0]) for x in run(*operands)] == list(expected)
    assert rb._encrypt_one(*key, *count) == expected


def test_cipher_broadcasts_and_batches():
    rng = np.random.default_rng(0)
    k0, k1, x0, x1 = (from_numpy(rng.integers(0, 2**32, s, np.uint32)) for s in ((3, 1), (4,), (), (3, 4)))
    eager = rb.threefry2x32(k0, k1, x0, x1)
    for got, expected in zip(pb.jit(rb.threefry2x32)(k0, k1, x0, x1), eager, strict=True):
        assert_same(got, expected)
    mapped = pb.vmap(lambda a, b: rb.threefry2x32(a, k1, x0, b), in_axes=(0, 0))(k0, x1)
    for got, expected in zip(mapped, eager, strict=True):
        assert_same(got, expected)


def test_cipher_refuses_other_dtypes():
    with pytest.raises(TypeError, match="threefry2x32: operands must be uint32, got u32\\[1\\], i32"):
        rb.threefry2x32(u32(1), np.int32(1), u32(1), u32(1))


# ---- Keys as JAX makes them


@pytest.mark.parametrize("seed", SEEDS)
def test_seeds(seed, x64):
    assert_same(random.PRNGKey(seed), jax.random.PRNGKey(seed))
    assert_same(random.key_data(random.key(seed)), jax.random.key_data(jax.random.key(seed)))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint32, np.int64, np.uint64])
def test_seeds_of_every_width(dtype, x64):
    seed = np.iinfo(dtype).max - 3
    expected = jax.random.PRNGKey(dtype(seed))
    assert_same(random.PRNGKey(dtype(seed)), expected)
    assert_same(pb.jit(random.PRNGKey)(dtype(seed)), expected)
    assert_same(pb.vmap(random.PRNGKey)(np.full(3, seed, dtype)), np.stack([expected] * 3))


@pytest.mark.parametrize("num", [2, 1, 0, 13, 40, (2, 3), ()])
@pytest.mark.parametrize("seed", SEEDS[:3])
def test_split(seed, num):
    expected = jax.random.split(jax.random.PRNGKey(seed), num)
    assert_same(random.split(random.PRNGKey(seed), num), expected)
    assert_same(pb.jit(lambda key: random.split(key, num))(random.PRNGKey(seed)), expected)
    assert_same(random.key_data(random.split(random.key(seed), num)), expected)


@pytest.mark.parametrize("data", [0, 7, 2**31 - 1, -1, 2**32 - 1])
def test_fold_in(data):
    key = random.PRNGKey(5)
    as_uint32 = np.uint32(data & 0xFFFFFFFF)
    expected = jax.random.fold_in(jax.random.PRNGKey(5), as_uint32)
    assert_same(random.fold_in(key, data), expected)
    assert_same(pb.jit(random.fold_in)(key, as_uint32), expected)
    assert_same(random.key_data(random.fold_in(random.key(5), data)), expected)


# ---- Bits


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bits(shape, dtype):
    wide = dtype == "uint64"
    with pb.enable_x64(wide), jax.enable_x64(wide):
        key = random.PRNGKey(3)
        expected = jax.random.bits(jax.random.PRNGKey(3), shape, dtype)
        assert_same(random.bits(key, shape, dtype), expected)
        assert_same(pb.jit(lambda key: random.bits(key, shape, dtype))(key), expected)


def test_default_bits_follow_x64(x64):
    assert_same(random.bits(random.key(0), (3,)), jax.random.bits(jax.random.key(0), (3,)))


def test_a_number_depends_on_its_place_alone():
    key = random.key(9)
    long = np.asarray(random.bits(key, (100_000,)))
    for n in (1, 12, 13, 32_768, 99_999):
        np.testing.assert_array_equal(random.bits(key, (n,)), long[:n])
    np.testing.assert_array_equal(random.bits(key, (10, 20)), long[:200].reshape(10, 20))


@pytest.mark.parametrize("shape", [(), (5,), (40_000,)], ids=str)
def test_vmap_over_keys_is_the_loop(shape):
    keys = random.split(random.PRNGKey(0), 3)
    expected = np.stack([random.bits(k, shape) for k in keys])
    assert_same(pb.vmap(lambda k: random.bits(k, shape))(keys), expected)
    assert_same(pb.vmap(lambda k: random.bits(k, shape), in_axes=1)(keys.T), expected)
    assert_same(pb.jit(pb.vmap(lambda k: random.bits(k, shape)))(keys), expected)


def test_vmap_of_split_and_fold_in_is_the_loop():
    keys = random.split(random.PRNGKey(0), 3)
    data = np.arange(3, dtype=np.uint32)
    expected = np.stack([random.split(k, 5) for k in keys])
    assert_same(pb.vmap(lambda k: random.split(k, 5), in_axes=1, out_axes=1)(keys.T), np.moveaxis(expected, 0, 1))
    folded = np.stack([random.fold_in(k, int(d)) for k, d in zip(keys, data, strict=True)])
    assert_same(pb.vmap(random.fold_in)(keys, data), folded)
    assert_same(pb.jit(pb.vmap(random.fold_in))(keys, data), folded)
    one_key = np.stack([random.fold_in(keys[0], int(d)) for d in data])
    assert_same(pb.vmap(random.fold_in, in_axes=(None, 0))(keys[0], data), one_key)
    one_number = np.stack([random.fold_in(k, 7) for k in keys])
    assert_same(pb.vmap(lambda k: random.fold_in(k, 7))(keys), one_number)


def test_one_equation_each():
    text = str(pb.make_jaxpr(lambda key: random.bits(random.fold_in(key, 1), (3,)))(random.PRNGKey(0)))
    assert text.count("random_bits") == text.count("random_fold_in") == 1
    assert text.count("\n") == 3


# ---- Typed keys as values


def test_typed_key_looks_like_an_array_of_keys():
    keys = random.split(random.key(0), (2, 3))
    assert (keys.shape, keys.ndim, keys.size, len(keys), keys.nbytes) == ((2, 3), 2, 6, 2, 48)
    assert keys.dtype == random.key(1).dtype == random.key_dtype() == "key<fry>"
    assert str(keys.dtype) == "key<fry>"
    assert repr(random.key(1)) == "Array((), dtype=key<fry>) overlaying:\n[0 1]"


@pytest.mark.parametrize(
    "index",
    [0, -1, (1, 2), slice(1), (slice(None), 1), (..., 0), (0, ...), ..., None, (None, ..., 1), np.array([1, 0])],
    ids=str,
)
def test_typed_key_indexing(index):
    keys = random.split(random.key(0), (2, 3))
    words = np.asarray(random.key_data(keys)).reshape(6, 2)
    expected = words[np.arange(6).reshape(2, 3)[index]]
    assert keys[index].shape == expected.shape[:-1]
    assert_same(random.key_data(keys[index]), expected)
    assert_same(random.key_data(pb.jit(lambda keys: keys[index])(keys)), expected)


def test_typed_key_has_no_axis_of_words():
    with pytest.raises(IndexError, match="too many indices for an array of keys of shape"):
        random.split(random.key(0), (2, 3))[0, 0, 0]


def test_typed_key_iteration_reshape_and_comparison():
    keys = random.split(random.key(0), 4)
    a, b, c, d = keys
    assert bool(a == keys[0])
    assert bool(a != b)
    assert (keys == keys.reshape(2, 2).ravel()).all()
    assert keys.reshape(2, -1).shape == keys.reshape((2, 2)).shape == (2, 2)
    assert [bool(x) for x in keys == c] == [False, False, True, False]
    assert bool(random.clone(d) == d)
    assert random.key_impl(keys) == "threefry2x32"
    assert (random.wrap_key_data(random.key_data(keys)) == keys).all()


def test_typed_key_copies_and_pickles():
    key = random.key(3)
    for other in (copy.copy(key), copy.deepcopy(key), pickle.loads(pickle.dumps(key)), key.copy()):
        assert bool(other == key)


def test_typed_key_passes_through_transformations():
    key = random.key(0)
    assert bool(pb.jit(lambda k: random.split(k)[1])(key) == random.split(key)[1])
    keys = pb.vmap(random.key)(np.arange(3))
    assert keys.shape == (3,)
    assert bool(keys[2] == random.key(2))

    def step(k, _):
        k, sub = random.split(k)
        return k, random.bits(sub)

    last, drawn = lax.scan(step, key, None, length=3)
    expected = []
    for _ in range(3):
        key, sub = random.split(key)
        expected.append(int(random.bits(sub)))
    assert drawn.tolist() == expected
    assert bool(last == key)


def test_keys_have_no_derivative():
    def f(x, key):
        return x * random.uniform(key)

    key = random.PRNGKey(0)
    assert_same(pb.grad(f)(2.0, key), random.uniform(key))
    assert_same(pb.jit(pb.grad(f))(2.0, random.key(0)), random.uniform(key))


# ---- Errors


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda k: random.bits(3), TypeError, r"bits: expected a key .* got i32\[\]\. Make a key with random\.key"),
        (lambda k: random.bits("key"), TypeError, r"bits: expected a key, got 'key' of type str"),
        (lambda k: random.bits(np.zeros(2)), TypeError, r"bits: expected a key .* got f32\[2\]"),
        (
            lambda k: random.bits(random.split(k)),
            ValueError,
            r"bits: expected a single key, got an array of keys of "
            r"shape \(2,\).* vmap",
        ),
        (lambda k: random.bits(k, (2,), int), ValueError, "bits: dtype must be an unsigned integer dtype, got int32"),
        (lambda k: random.bits(k, (-1,)), ValueError, "shapes must be made of non-negative integers, got -1"),
        (lambda k: random.key(1.5), TypeError, r"key: expected an integer seed, got f32\[\]"),
        (lambda k: random.PRNGKey(k), TypeError, "PRNGKey: expected an integer seed, got a key"),
        (lambda k: random.key(np.arange(3)), TypeError, r"key: expected a single seed, got .* shape \(3,\)"),
        (lambda k: random.key(2**64), OverflowError, "key: the seed must fit 64 bits"),
        (lambda k: random.key(0, impl="mt19937"), ValueError, "key: unknown generator 'mt19937'; there are 'threefry"),
        (lambda k: random.fold_in(k, 1.5), TypeError, r"fold_in: expected an integer, got f32\[\]"),
        (lambda k: random.fold_in(k, 2**32), OverflowError, "fold_in: data must fit 32 bits"),
        (lambda k: random.wrap_key_data(k), TypeError, "wrap_key_data: .* typed already"),
        (lambda k: list(k), TypeError, "iteration over a single key: split it first"),
        (lambda k: bool(k), TypeError, "the truth of a key is not defined"),
        (lambda k: np.asarray(k), TypeError, r"an array of keys of shape \(\) was used as data"),
        (lambda k: lax.sin(k), TypeError, r"an array of keys of shape \(\) was used as data"),
        (lambda k: random.PRNGKeyArray(), TypeError, r"use random\.key\(seed\)"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call(random.key(0))


def test_typed_keys_are_arrays_that_are_no_operands():
    key = random.key(0)
    for x in (key, random.split(key), pnp.ones(2)):
        assert isinstance(x, pb.Array)
        assert isinstance(x, pnp.ndarray)
        assert issubclass(type(x), pb.Array)
    for x in (1.0, np.ones(2), jax.random.key(0)):
        assert not isinstance(x, pb.Array)
        assert not issubclass(type(x), pb.Array)
    seen = []

    def look(key):
        seen.append((isinstance(key, pb.Array), isinstance(random.key_data(key), pb.Array)))
        return random.normal(key)

    pb.jit(look)(key)
    pb.vmap(look)(random.split(key))
    assert seen == [(True, True)] * 2
    with pytest.raises(TypeError, match="was used as data"):
        pnp.sin(key)
    with pytest.raises(TypeError, match="unsupported operand"):
        pnp.ones(2) + key
