#!/usr/bin/env bash
# JAX 0.10.2: jnp.trapezoid of numbers that end in an infinity is nan, where the integral, and NumPy's trapezoid, is
# infinite: with one spacing it sums all numbers and takes half of both ends away, which is infinity minus infinity. The
# guess was the sum of the trapezoids, which it does compute when the points are given instead of their distance.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/in_environment.sh"

in_environment jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 <<'PY'
import jax
import jax.numpy as jnp
import numpy as np

y = np.array([0., 1., np.inf], np.float32)
at = np.array([0., 1., 2.], np.float32)
print("jax", jax.__version__, "by distance:", jnp.trapezoid(y), "at points:", jnp.trapezoid(y, at), "NumPy:", np.trapezoid(y))
assert np.trapezoid(y) == np.inf and jnp.trapezoid(y, at) == np.inf
assert np.isnan(jnp.trapezoid(y)), "it is infinite now"
PY
