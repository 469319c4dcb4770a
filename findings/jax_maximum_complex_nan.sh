#!/usr/bin/env bash
# JAX 0.10.2: maximum of complex numbers overlooks a nan in the imaginary part of one operand and returns the other. NumPy
# returns the number that holds the nan. The guess was that a nan in either part is kept, as it is of real numbers.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/in_environment.sh"

in_environment jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 <<'PY'
import jax
import jax.numpy as jnp
import numpy as np

print("jax", jax.__version__)
x, y = np.complex64(2), np.complex64(complex(0, np.nan))
got, expected = np.asarray(jnp.maximum(x, y)), np.maximum(x, y)
print("jax  ", got)
print("numpy", expected)
assert got == 2 and np.isnan(expected), "the nan is kept now"
PY
