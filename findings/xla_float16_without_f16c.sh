#!/usr/bin/env bash
# XLA for CPU, jaxlib 0.10.2, held to SSE4.2: what converts float16 does not compile, for the helper functions of the
# compiler's run-time library (__extendhfsf2, __truncsfhf2) are not found; bfloat16 does. The guess was that it is slower
# there. Processors without F16C are in the same place. pullback: docs/accuracy.md; eager float16 works there.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/in_environment.sh"

XLA_FLAGS=--xla_cpu_max_isa=SSE4_2 in_environment jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 <<'PY'
import jax
import jax.numpy as jnp
import numpy as np

x = np.float32([0.5, 1.0, 2.0])
print("jax", jax.__version__, "bfloat16:", jax.jit(jnp.exp)(x.astype(jnp.bfloat16)))
try:
    print("float16:", jax.jit(jnp.exp)(x.astype(np.float16)))
except jax.errors.JaxRuntimeError as error:
    print("float16: JaxRuntimeError:", str(error)[:80])
else:
    raise SystemExit("float16 compiles now")
PY
