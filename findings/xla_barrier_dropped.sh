#!/usr/bin/env bash
# XLA for CPU, jaxlib 0.10.2: `optimization_barrier` keeps nothing apart. The guess was that what is on its two sides is
# compiled apart, as its documentation says; it is removed before operations are fused, and both sides are one loop. So
# it neither keeps a value from being computed twice, nor holds the second run of a `jax.checkpoint` apart from the first.
# pullback: docs/benchmarks.md, on `checkpoint`; what must not be computed again is a function that is called.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/in_environment.sh"

in_environment jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 <<'PY'
import jax
import jax.numpy as jnp
import numpy as np

print("jax", jax.__version__)


def scaled(x):
    return jax.lax.optimization_barrier(jnp.sin(x)) * 2


lowered = jax.jit(scaled).lower(np.ones(100_000, np.float32))
text = lowered.compile().as_text()
print("barriers as written:", lowered.as_text().count("optimization_barrier"))
print("barriers as compiled:", text.count("opt-barrier"), "; fusions called:", text.count(" fusion("))
assert lowered.as_text().count("optimization_barrier") == 1
assert text.count("opt-barrier") == 0 and text.count(" fusion(") == 1, "this has changed"
PY
