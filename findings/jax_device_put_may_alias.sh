#!/usr/bin/env bash
# JAX 0.10.2 on a CPU: device_put(x, may_alias=False) of a NumPy array, of which the docstring says that x is copied, shares the
# memory of x where that is aligned to 64 bytes: the array on the device changes when x is written to, long after the call. So
# does device_put(x); jax.numpy.array and asarray make copies. The guess was that the option does what it says, and that arrays of
# JAX's do not change. pullback copies (tests/core/test_array.py).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/in_environment.sh"

in_environment jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 <<'PY'
import jax
import jax.numpy as jnp
import numpy as np


def ones_from(offset):
    """A million ones, whose first byte is so many bytes after a multiple of 64."""
    memory = np.zeros(4_000_128, np.uint8)
    first = -memory.ctypes.data % 64 + offset
    x = memory[first : first + 4_000_000].view(np.float32)
    x[:] = 1
    return x


def first_number(move, offset):
    x = ones_from(offset)
    y = move(x)
    y.block_until_ready()
    x[:] = 2
    return float(y[0])


print("jax", jax.__version__)
ways = {
    "device_put(x)": jax.device_put,
    "device_put(x, may_alias=False)": lambda x: jax.device_put(x, may_alias=False),
    "numpy.array(x)": jnp.array,
    "numpy.asarray(x)": jnp.asarray,
}
found = {(name, offset): first_number(move, offset) for name, move in ways.items() for offset in (0, 4)}
for (name, offset), number in found.items():
    print(f"{name}, {offset} bytes after a multiple of 64: ones that have become {number}")
assert [key for key, number in found.items() if number == 2] == [
    ("device_put(x)", 0),
    ("device_put(x, may_alias=False)", 0),
], "this has changed"
PY
