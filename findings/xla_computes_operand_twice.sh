#!/usr/bin/env bash
# XLA for CPU in jaxlib 0.10.2: a value that two operations read may be computed once for each, in two fusions, with
# different roundings. So the largest entry of a row need not equal the row's maximum, and exp(x - max(x)) need not be 1
# anywhere. The guess was that a value of the program is one number. What depends on it, as the equality of an entry with the
# maximum, needs a margin; pullback's logsumexp has one (_ops/softmax.py).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/in_environment.sh"

in_environment jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 <<'PY'
import jax

jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
import numpy as np

rows, columns = np.linspace(-1, 1, 12), np.linspace(-0.5, 0.5, 10)
table = np.abs(np.sin(np.arange(120.0))).reshape(12, 10)


def largest(rows, columns):
    x = (rows[:, None] + columns[None] - table) / 0.1
    return jnp.exp(x - x.max(1, keepdims=True)).max(1)


print("jax", jax.__version__)
with jax.disable_jit():
    one_by_one = np.asarray(largest(rows, columns))
compiled = np.asarray(jax.jit(largest)(rows, columns))
print("rows whose largest exp(x - max(x)) is 1, one by one:", int((one_by_one == 1).sum()), "of 12")
print("compiled:", int((compiled == 1).sum()), "of 12; the others miss it by up to", np.abs(compiled - 1).max())
assert (one_by_one == 1).all() and not (compiled == 1).all()
PY
