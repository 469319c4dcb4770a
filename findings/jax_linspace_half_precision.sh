#!/usr/bin/env bash
# JAX 0.10.2: the first number of linspace in float16 is nan if the last one is beyond float16's range, though the first is
# finite: its ends are combined as 0 * inf. NumPy gives the start itself. The guess was that an end that overflows spoils the
# numbers next to it and no others.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/in_environment.sh"

in_environment jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 <<'PY'
import jax
import jax.numpy as jnp
import numpy as np

print("jax", jax.__version__)
stop = 2**31 - 1
got = np.asarray(jnp.linspace(0, stop, 3, dtype="float16"))
with np.errstate(over="ignore"):
    expected = np.linspace(0, stop, 3).astype("float16")
print("jax  ", got)
print("numpy", expected)
assert np.isnan(got[0]) and expected[0] == 0, "the first number is the start now"
PY
