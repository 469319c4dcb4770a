#!/usr/bin/env bash
# XLA for CPU, jaxlib 0.10.2: of (x * a) * b with constants a and b the compiler makes x * (a * b), though a * b may be
# infinite where neither product is, and of (x / y) / y it makes x / (y * y). The guess was that floating-point
# operations are kept as they are written, as XLA's fast math is off. pullback: ldexp and derivatives of quotients.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/in_environment.sh"

in_environment jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 <<'PY'
import jax
import jax.numpy as jnp
import jaxlib
import numpy as np


def scaled(x):
    return (x * np.float32(2.0**100)) * np.float32(2.0**100)


def divided_twice(x, y):
    return (x / y) / y


x = jnp.float32([0.0, 1e-30])
with jax.disable_jit():
    expected = scaled(x), divided_twice(jnp.float32(1e30), jnp.float32(1e25))
got = jax.jit(scaled)(x), jax.jit(divided_twice)(jnp.float32(1e30), jnp.float32(1e25))
print("jaxlib", jaxlib.__version__)
print("scaled:       ", expected[0], "compiled:", got[0])
print("divided twice:", expected[1], "compiled:", got[1])
assert np.isnan(got[0][0]) and np.isinf(got[0][1]) and np.isfinite(expected[0]).all()
assert got[1] == 0 and expected[1] > 0
PY
