#!/usr/bin/env bash
# JAX 0.10.2: the value of numpy.hypot is scaled against overflow, its gradient is not the direction (x, y) / hypot: for
# operands of 1e30 and of 1e-30 in float32, whose length is in range, it is wrong or infinite, and at the origin (.5, .5).
# The guess was (.7071, .7071) everywhere on the diagonal. pullback: _ops/lengths.py, tests/ops/test_kinks.py.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/in_environment.sh"

in_environment jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 <<'PY'
import jax
import jax.numpy as jnp

print("jax", jax.__version__)
gradient = jax.grad(jnp.hypot, (0, 1))
for size in (1.0, 1e30, 1e-30, 0.0):
    print(f"at ({size}, {size}): hypot {float(jnp.hypot(size, size)):.4g}, gradient {[float(g) for g in gradient(size, size)]}")
assert abs(gradient(1.0, 1.0)[0] - 0.70710678) < 1e-6
assert gradient(1e30, 1e30)[0] > 1.05
assert not jnp.isfinite(gradient(1e-30, 1e-30)[0])
assert gradient(0.0, 0.0)[0] == 0.5
PY
