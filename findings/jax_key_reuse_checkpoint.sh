#!/usr/bin/env bash
# JAX 0.10.2: with `jax_debug_key_reuse` the gradient of a checkpointed function that uses its key once is refused as the
# reuse of a key. The guess was that it passes, since the same numbers are drawn again on purpose: that is what
# `checkpoint` is for. pullback: its backward pass is exempt (tests/random/test_key_reuse.py).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/in_environment.sh"

in_environment jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 <<'PY'
import jax
import jax.numpy as jnp

print("jax", jax.__version__)


def noisy(x, key):
    return jnp.sin(x * jax.random.normal(key))


with jax.debug_key_reuse(True):
    print("plain gradient:", jax.grad(noisy)(1.0, jax.random.key(0)))
    try:
        print("checkpointed:", jax.grad(jax.checkpoint(noisy))(1.0, jax.random.key(0)))
    except jax.errors.KeyReuseError as error:
        print("checkpointed: KeyReuseError:", str(error).splitlines()[0])
    else:
        raise SystemExit("this has changed")
PY
