#!/usr/bin/env bash
# XLA for CPU, jaxlib 0.10.2: a Fourier transform whose result goes into a matrix decomposition does not run. The
# decomposition (LAPACK) wants its operand column by column, the compiler hands that layout on to the transform, and the
# transform's own code refuses it with an internal error. The guess was that layouts are the compiler's business and that
# any two operations compose. pullback/_ops/fft.py keeps operand and result row by row, and runs it.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/in_environment.sh"

in_environment jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 <<'PY'
import jax
import jax.numpy as jnp

x = jnp.arange(9.).reshape(3, 3) + 10 * jnp.eye(3)
print("jax", jax.__version__, "one after the other:", jnp.linalg.svd(jnp.fft.fft(x), compute_uv=False))
for name in ("svd", "qr", "inv"):
    try:
        jax.block_until_ready(jax.jit(lambda x: getattr(jnp.linalg, name)(jnp.fft.fft(x)))(x))
    except jax.errors.JaxRuntimeError as error:
        print(f"jit of {name}(fft(x)): JaxRuntimeError:", str(error).split("(external")[0], "... fft_thunk.cc ... Layout")
        assert "INTERNAL" in str(error) and "fft" in str(error) and "Layout" in str(error), error
    else:
        raise SystemExit(f"{name}(fft(x)) compiles and runs now")
PY
