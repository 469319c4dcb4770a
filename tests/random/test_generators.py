"""The generators rbg and unsafe_rbg: JAX's keys and numbers, in every transformation, and Philox's bits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pullback as pb
from pullback import lax, random

GENERATORS = ["threefry2x32", "rbg", "unsafe_rbg"]
SAMPLERS = {
    "bits": ((5,),),
    "uniform": ((5,),),
    "normal": ((5,),),
    "gumbel": ((2, 3),),
    "rademacher": ((5,),),
    "gamma": (2.0, (3,)),
    "beta": (2.0, 3.0, (3,)),
    "dirichlet": (np.ones(3, "float32"),),
    "randint": ((3,), 0, 100),
    "permutation": (9,),
    "categorical": (np.zeros(5, "float32"),),
    "bernoulli": (0.5, (4,)),
    "truncated_normal": (-1.0, 1.0, (3,)),
    "binomial": (10, 0.3, (3,)),
    "choice": (9, (3,)),
    "ball": (3, 2.0, (2,)),
    "orthogonal": (2,),
    "t": (3.0, (3,)),
    "geometric": (0.3, (3,)),
}


def pair(name, seed=42):
    return random.key(seed, impl=name), jax.random.key(seed, impl=name)


def same(ours, theirs):
    np.testing.assert_array_equal(random.key_data(ours), jax.random.key_data(theirs))
    assert (ours.shape, ours.dtype.name) == (theirs.shape, str(theirs.dtype))


@pytest.mark.parametrize("name", GENERATORS)
def test_keys_are_jax_s(name):
    ours, theirs = pair(name)
    same(ours, theirs)
    same(random.split(ours, 3), jax.random.split(theirs, 3))
    same(random.split(ours, (2, 1)), jax.random.split(theirs, (2, 1)))
    same(random.fold_in(ours, 7), jax.random.fold_in(theirs, 7))
    same(random.split(ours, 3)[1:], jax.random.split(theirs, 3)[1:])
    same(random.split(ours, 4).reshape(2, 2), jax.random.split(theirs, 4).reshape(2, 2))
    np.testing.assert_array_equal(random.PRNGKey(42, impl=name), jax.random.PRNGKey(42, impl=name))
    assert random.key_impl(ours) == name
    assert random.key_dtype(name) == ours.dtype
    same(random.wrap_key_data(random.key_data(ours), impl=name), theirs)
    same(random.key(42, dtype=ours.dtype), theirs)
    assert random.split(ours, 0).shape == (0,)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("name", GENERATORS[1:])
def test_numbers_are_jax_s(name, sampler):
    ours, theirs = pair(name)
    args = SAMPLERS[sampler]
    expected = getattr(jax.random, sampler)(theirs, *args)
    np.testing.assert_allclose(getattr(random, sampler)(ours, *args), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", GENERATORS)
def test_keys_go_through_transformations(name):
    key = random.key(1, impl=name)

    def draw(key):
        first, second = random.split(key)
        return random.normal(first, (2,)) + random.uniform(random.fold_in(second, 3))

    expected = draw(key)
    np.testing.assert_allclose(pb.jit(draw)(key), expected, rtol=1e-6)
    keys = random.split(key, 3)
    rows = pb.vmap(draw)(keys)
    np.testing.assert_allclose(rows, np.stack([draw(k) for k in keys]), rtol=1e-6)
    assert pb.jit(random.split)(key).dtype == key.dtype

    def step(key, _):
        key, drawn = random.split(key)
        return key, random.uniform(drawn)

    last, numbers = lax.scan(step, key, None, length=3)
    assert last.dtype == key.dtype
    assert len(set(np.asarray(numbers).tolist())) == 3
    gradient = pb.grad(lambda a: random.gamma(key, a, (4,)).sum())(2.0)
    assert np.isfinite(gradient)


def test_poisson_numbers_have_the_generator_s_bits():
    """JAX refuses them for keys of four words."""
    draws = np.asarray(random.poisson(random.key(0, impl="rbg"), 3.0, (4000,)))
    assert draws.mean() == pytest.approx(3, abs=0.1)  # the standard error is 0.03
    assert draws.var() == pytest.approx(3, abs=0.3)


def test_the_default_generator():
    draw = pb.jit(lambda seed: random.key_data(random.key(seed)))
    assert draw(3).shape == (2,)
    with pb.default_prng_impl("rbg"):
        assert random.key(0).dtype == "key<rbg>"
        assert random.PRNGKey(0).shape == draw(3).shape == (4,)
        assert random.key_dtype().name == "key<rbg>"
    assert draw(3).shape == (2,)


def test_raw_keys_of_four_words_are_rbg_s():
    raw, typed = random.PRNGKey(3, impl="rbg"), random.key(3, impl="rbg")
    np.testing.assert_array_equal(random.normal(raw, (3,)), random.normal(typed, (3,)))
    np.testing.assert_array_equal(random.split(raw), random.key_data(random.split(typed)))
    np.testing.assert_array_equal(random.fold_in(raw, 5), random.key_data(random.fold_in(typed, 5)))
    assert random.key_impl(raw) == "rbg"


# --- the primitive ---

KEYS = [[0, 42, 0, 42], [1, 2, 3, 4], [5, 6, 2**32 - 1, 2**32 - 1], [2**32 - 1, 7, 2**32 - 2, 2**32 - 1]]


@pytest.mark.parametrize("words", KEYS, ids=str)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
def test_bits_are_those_of_xla(words, dtype):
    key = np.array(words, "uint32")
    with pb.enable_x64(), jax.enable_x64(True):
        for shape in ((13,), (), (0,), (2, 3)):
            expected = jax.lax.rng_bit_generator(jnp.asarray(key), shape, dtype=dtype)
            for run in (lax.rng_bit_generator, pb.jit(lax.rng_bit_generator, static_argnums=(1, 2))):
                following, bits = run(key, shape, dtype)
                np.testing.assert_array_equal(following, expected[0])
                np.testing.assert_array_equal(bits, expected[1])
                assert (bits.dtype, bits.shape) == (dtype, shape)


def test_each_key_of_a_batch_has_its_own_bits():
    """JAX's vmap draws all of them from the first key."""
    keys = np.array(KEYS, "uint32")
    rows = pb.vmap(lambda k: lax.rng_bit_generator(k, (5,))[1])(keys)
    np.testing.assert_array_equal(rows, np.stack([lax.rng_bit_generator(k, (5,))[1] for k in keys]))


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            lambda: random.key(0, impl="mt19937"),
            ValueError,
            "unknown generator 'mt19937'; there are 'threefry2x32', 'rbg'",
        ),
        (lambda: random.key(0, impl="rbg") == random.key(0), TypeError, "keys of different generators"),
        (lambda: random.wrap_key_data(np.zeros(2, "uint32"), impl="rbg"), TypeError, "keys of rbg have 4 words"),
        (lambda: random.wrap_key_data(np.zeros(4, "uint32")), TypeError, "keys of threefry2x32 have 2 words"),
        (lambda: random.normal(np.zeros(3, "uint32")), TypeError, "normal: expected a key"),
        (lambda: random.normal(np.zeros(5, "uint32")), TypeError, "normal: expected a key"),
        (lambda: lax.rng_bit_generator(np.zeros(2, "uint32"), (2,)), TypeError, "a key of four uint32"),
        (
            lambda: lax.rng_bit_generator(np.zeros(4, "uint32"), (2,), "int32"),
            ValueError,
            "dtype must be uint8, uint16",
        ),
        (
            lambda: lax.rng_bit_generator(np.zeros(4, "uint32"), (2,), algorithm=lax.RandomAlgorithm.RNG_THREE_FRY),
            NotImplementedError,
            "the algorithm is Philox",
        ),
    ],
)
def test_what_is_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
