#!/usr/bin/env bash
# XLA, jaxlib 0.10.2: a number times a bool that was converted to a number is compiled as a choice between the number and 0.
# So inf * False is 0, and nan * False too, where the product of the converted numbers is nan by IEEE 754, which NumPy
# gives. The guess was that only what is asked for by algebra flags is rewritten so. A mask times values hides the values
# that are not finite; a nan check after it finds none.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/in_environment.sh"

in_environment jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 <<'PY'
import jax
import jax.numpy as jnp
import numpy as np

x = np.array([np.inf, np.nan, 1.], np.float32)
mask = np.array([False, False, True])
with np.errstate(invalid="ignore"):
    print("NumPy:                     ", x * mask)
masked = jax.jit(lambda x, m: x * m)(x, mask)
print("jax", jax.__version__, "bool mask:      ", masked)
numbers = jax.jit(lambda x, m: x * m)(x, mask.astype(np.float32))
print("mask of float32 numbers:   ", numbers)
assert np.isnan(numbers[:2]).all() and (masked[:2] == 0).all(), "this has changed"
PY
