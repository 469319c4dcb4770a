#!/usr/bin/env bash
# XLA for CPU, jaxlib 0.10.2: a reciprocal square root of an array takes several times as long as the same one of a sum.
# The guess was the opposite, since the sum is more work. Alone it is not vectorized; behind another operation, in one
# loop with it, it is. `1 / sqrt(x)` is made the slow operation, too. pullback: large arrays have a form that is
# vectorized (_ops/large_powers.py).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/in_environment.sh"

in_environment jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 <<'PY'
import time

import jax
import jax.numpy as jnp
import numpy as np

print("jax", jax.__version__)
x = jnp.asarray(np.random.default_rng(0).random(4_000_000, dtype=np.float32))
functions = {
    "rsqrt(x)": jax.jit(jax.lax.rsqrt),
    "1 / sqrt(x)": jax.jit(lambda x: 1 / jnp.sqrt(x)),
    "rsqrt(1 + x)": jax.jit(lambda x: jax.lax.rsqrt(1 + x)),
}
best = dict.fromkeys(functions, float("inf"))
for _ in range(30):
    for name, function in functions.items():
        start = time.perf_counter()
        function(x).block_until_ready()
        best[name] = min(best[name], time.perf_counter() - start)
for name, seconds in best.items():
    print(f"{name} of 4,000,000 numbers: {seconds * 1e3:.1f} ms")
assert best["rsqrt(x)"] > 2 * best["rsqrt(1 + x)"], "this has changed"
assert best["1 / sqrt(x)"] > 2 * best["rsqrt(1 + x)"], "this has changed"
PY
