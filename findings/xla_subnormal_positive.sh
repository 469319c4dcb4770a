#!/usr/bin/env bash
# XLA for CPU, jaxlib 0.10.2: of a subnormal number x > 0 is false, as compiled code takes it for zero, but x > 0 & x < inf
# is true: two comparisons of one number with 0 and infinity become one test of its bits. The guess was that a
# conjunction of a false condition is false. pullback: `is_positive` in _ops/expressions.py.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/in_environment.sh"

in_environment jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 <<'PY'
import jax
import jax.numpy as jnp
import numpy as np

x = np.float32([1e-40, -1e-40, 0.0, 1.0])
print("jax", jax.__version__, x)
cases = {
    "x > 0": lambda x: x > 0,
    "x > 0 & x < inf": lambda x: (x > 0) & (x < jnp.inf),
    "x != 0": lambda x: x != 0,
    "x != 0 & isfinite(x)": lambda x: (x != 0) & jnp.isfinite(x),
    "x == 0": lambda x: x == 0,
    "x == 0 | abs(x) == inf": lambda x: (x == 0) | (jnp.abs(x) == jnp.inf),
}
found = {name: np.asarray(jax.jit(f)(x)) for name, f in cases.items()}
for name, values in found.items():
    print(name, values)
assert not found["x > 0"][0] and found["x > 0 & x < inf"][0], "this has changed"
assert not found["x != 0"][0] and found["x != 0 & isfinite(x)"][0], "this has changed"
PY
