#!/usr/bin/env bash
# XLA for CPU, jaxlib 0.10.2: arctan2 of two subnormal numbers is nan, though compiled code takes subnormal numbers for
# zero, and arctan2 of zeros is a multiple of pi. The guess was the value of zeros, or the right one. The operation is
# built of steps of which some see the numbers and some see zeros. pullback: docs/accuracy.md; eagerly it gives NumPy's.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/in_environment.sh"

in_environment jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 <<'PY'
import jax
import jax.numpy as jnp
import numpy as np

compiled = jax.jit(jnp.arctan2)
print("jax", jax.__version__)
for y, x in ((-1e-40, -1e-40), (1e-45, 1e-40), (-0., -0.), (1e-40, 2.), (2., 1e-40)):
    y, x = np.float32(y), np.float32(x)
    print(f"arctan2({y}, {x}) = {compiled(y, x)}, NumPy {np.arctan2(y, x)}")
assert np.isnan(compiled(np.float32(-1e-40), np.float32(-1e-40))), "this has changed"
assert not np.isnan(compiled(np.float32(-0.), np.float32(-0.)))
PY
