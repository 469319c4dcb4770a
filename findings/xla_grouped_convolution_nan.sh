#!/usr/bin/env bash
# XLA for CPU, jaxlib 0.10.2: in a float64 convolution of two groups of features an infinity in one group makes the results
# of the other group nan: groups are computed as one dense convolution whose kernel has zeros between the groups, and
# 0 * inf is nan. In float32 groups are kept apart. The guess was that groups do not see each other in any dtype. The same
# goes for a vmapped convolution of batched kernels, which is made of groups: one bad example spoils the others.
# pullback convolves by XLA, eagerly too; tests/fuzz/accepted.py.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/in_environment.sh"

JAX_ENABLE_X64=1 in_environment jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 <<'PY'
import jax
import jax.numpy as jnp
from jax import lax

x = jnp.array([[1., 2., 3.], [jnp.inf, 1., 1.]])[None, :, :, None]  # one example, two features, 3 x 1 places
w = jnp.ones((2, 1, 1, 1))  # one output for each feature, on its own
print("jax", jax.__version__)
for dtype in ("float32", "float64"):
    y = lax.conv_general_dilated(x.astype(dtype), w.astype(dtype), (1, 1), "VALID", feature_group_count=2)
    print(dtype, "groups:", y[0, :, :, 0].tolist())
    spoiled = bool(jnp.isnan(y[0, 0, 0, 0]))
    assert spoiled == (dtype == "float64"), "this has changed"
    one = jax.vmap(lambda x, w: lax.conv_general_dilated(x[None, None], w[None], (1, 1), "VALID")[0, 0])
    batched = one(x[0].astype(dtype), w.astype(dtype))
    print(dtype, "vmap over two examples and kernels:", batched[:, :, 0].tolist())
    assert bool(jnp.isnan(batched[0, 0, 0])) == (dtype == "float64"), "this has changed"
PY
