#!/usr/bin/env bash
# JAX 0.10.2: under vmap over keys of the generator "rbg", an example does not get the numbers that its own key gives alone:
# all are drawn with the first key, in one call. The guess was that vmap means a loop over the keys, as it does for the
# generator "threefry2x32".
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/in_environment.sh"

in_environment jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 <<'PY'
import jax
import numpy as np

print("jax", jax.__version__)
same = {}
for generator in ("threefry2x32", "rbg"):
    keys = jax.random.split(jax.random.key(0, impl=generator), 3)
    batch = np.asarray(jax.vmap(lambda key: jax.random.bits(key, (3,)))(keys))
    alone = np.stack([np.asarray(jax.random.bits(key, (3,))) for key in keys])
    same[generator] = (batch == alone).all(axis=1).tolist()
    print(generator, "examples as from their own keys:", same[generator])
assert all(same["threefry2x32"]) and same["rbg"][1:] == [False, False], "each example has its own numbers now"
PY
