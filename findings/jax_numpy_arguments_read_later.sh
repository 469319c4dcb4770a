#!/usr/bin/env bash
# JAX 0.10.2 on a CPU: jax.numpy.array(x), asarray(x) and jitted functions of a large NumPy array x return before they have read
# x. What the program writes into x next becomes part of the result, all or half of it, without a word. The guess
# was that a call that returns has taken its arguments, array above all, which is there to copy. Waiting for the result
# (block_until_ready) before x is written to is a way out. pullback copies before it returns (_xla/uploads.py).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/in_environment.sh"

in_environment jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 <<'PY'
import jax
import jax.numpy as jnp
import numpy as np

SIZE, TRIES = 16_000_000, 30


def changed(move, wait):
    """In how many tries an array that is made of ones has other numbers, as its source was overwritten after the call."""
    count = 0
    x = np.empty(SIZE, np.float32)
    for _ in range(TRIES):
        x[:] = 1
        y = move(x)
        if wait:
            y.block_until_ready()
        x[:] = 2
        count += not bool((np.asarray(y) == 1).all())
    return count


print("jax", jax.__version__)
ways = {"numpy.array": jnp.array, "numpy.asarray": jnp.asarray, "a jitted function": jax.jit(lambda x: 1.0 * x)}
for name, move in ways.items():
    move(np.ones(SIZE, np.float32)).block_until_ready()
    at_once, later = changed(move, False), changed(move, True)
    print(f"{name}: wrong in {at_once} of {TRIES} tries, in {later} when the result was waited for")
    assert at_once > 0 and later == 0, "this has changed"
PY
