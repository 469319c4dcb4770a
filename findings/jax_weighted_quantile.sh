#!/usr/bin/env bash
# JAX 0.10.2: the weighted quantile 0 is the least element, even if its weight is 0; NumPy 2.4.6 gives the least of those
# that have a weight. The guess was NumPy's. pullback: as NumPy, tests/numpy/test_reductions.py.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/in_environment.sh"

in_environment jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 <<'PY'
import jax
import jax.numpy as jnp
import numpy as np

x, weights = np.arange(5.0), np.array([0, 1, 0, 1, 0])
ours = float(jnp.quantile(jnp.asarray(x), 0.0, weights=jnp.asarray(weights), method="inverted_cdf"))
theirs = float(np.quantile(x, 0.0, weights=weights, method="inverted_cdf"))
print(f"jax {jax.__version__}: {ours}, numpy {np.__version__}: {theirs}")
assert (ours, theirs) == (0.0, 1.0)
PY
