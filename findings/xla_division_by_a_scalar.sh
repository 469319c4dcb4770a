#!/usr/bin/env bash
# jaxlib 0.10.2 (XLA): compiled, an array divided by one number is multiplied by its reciprocal, so that quotients differ from
# IEEE division by a unit in the last place, in float64 49 / 49 among them; also where the number is an argument, not a constant. An
# array divided by an array is divided. The guess was that without fast math a division stays one.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/in_environment.sh"

in_environment jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 <<'PY'
import jax
import numpy as np

jax.config.update("jax_enable_x64", True)
print("jax", jax.__version__)
divide = jax.jit(lambda x, y: x / y)
differences = {}
for dtype in ("float32", "float64"):
    x = np.arange(50, dtype=dtype)
    for name, y in (("a number", np.asarray(49, dtype)), ("an array", np.full(50, 49, dtype))):
        got = np.asarray(divide(x, y))
        differences[name, dtype] = int((got != x / y).sum())
        print(f"{dtype}: 0..49 divided by {name}, 49: {differences[name, dtype]} of 50 differ, 49 / 49 = {got[49]!r}")
assert all((count > 0) == (name == "a number") for (name, _), count in differences.items()), "this has changed"
PY
