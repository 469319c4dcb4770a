"""Random numbers as pure functions of keys: the same key gives the same numbers, and the same as JAX's.

Make a key with `key` (or `PRNGKey`), and new keys of it with `split`, one for each use.
"""
from pullback.random.keys import (
    PRNGKey as PRNGKey,
    PRNGKeyArray as PRNGKeyArray,
    clone as clone,
    fold_in as fold_in,
    key as key,
    key_data as key_data,
    key_dtype as key_dtype,
    key_impl as key_impl,
    split as split,
    wrap_key_data as wrap_key_data,
)
from pullback.random.samplers import (
    bernoulli as bernoulli,
    bits as bits,
    normal as normal,
    rademacher as rademacher,
    randint as randint,
    truncated_normal as truncated_normal,
    uniform as uniform,
)
