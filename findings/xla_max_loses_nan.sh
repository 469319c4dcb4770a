#!/usr/bin/env bash
# XLA for CPU, jaxlib 0.10.2: the maximum and minimum of a large array with a nan are numbers, as if the nan were not there, and so is
# the largest of each window of a pooling without overlaps. Small arrays (1,000 numbers) give nan, as NumPy's max does
# for all, and the sums of the same arrays are nan. So jax.numpy.max(x), called to see whether training has failed, says that
# all is well. The guess was that max does not depend on size. pullback: `_extreme_lower` in _ops/reduce.py.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/in_environment.sh"

in_environment jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 <<'PY'
import jax
import jax.numpy as jnp
import numpy as np

print("jax", jax.__version__)


def holed(*shape):
    x = np.ones(shape, np.float32)
    x.flat[x.size // 2] = np.nan
    return x


def pooled(x):
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


found = {}
for size in (1_000, 10_000, 1_000_000):
    x = holed(size)
    found[size] = [bool(np.isnan(f(x))) for f in (np.max, jnp.max, jnp.min, jnp.sum)]
    print(f"{size:>9,} numbers, one of them nan: nan is NumPy's max, JAX's max, min, sum:", *found[size])
images = int(np.isnan(np.asarray(jax.jit(pooled)(holed(4, 64, 64, 8)))).sum())
print("a pooling of four images, one pixel of them nan: results that are nan:", images)
assert found[1_000] == [True] * 4, "this has changed"
assert found[10_000] == found[1_000_000] == [True, False, False, True], "this has changed"
assert images == 0, "this has changed"
PY
