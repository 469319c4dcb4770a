#!/usr/bin/env bash
# JAX 0.10.2: inside of shard_map, all_to_all that is not tiled has no gradient if the axis that is split is not the one
# that is made: the transpose rule gives a cotangent of another shape, a ValueError. Under vmap, and tiled, the same exchange
# is differentiated. The guess was that a collective has the same derivative in shard_map as under vmap.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/in_environment.sh"

XLA_FLAGS=--xla_force_host_platform_device_count=4 in_environment jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 <<'PY'
import jax
import jax.numpy as jnp

print("jax", jax.__version__)
mesh = jax.make_mesh((4,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
spec = jax.P(None, None, "x")


def outcome(split, made, tiled):
    part = lambda x: jax.lax.all_to_all(x, "x", split, made, tiled=tiled)
    f = jax.shard_map(part, mesh=mesh, in_specs=spec, out_specs=spec)
    x = jnp.arange(256.0).reshape(4, 4, 16)
    try:
        return bool(jnp.allclose(jax.grad(lambda x: (f(x) ** 2).sum())(x), 2 * x))
    except ValueError as error:
        return str(error).splitlines()[0]


found = {(s, m, t): outcome(s, m, t) for s, m in ((0, 0), (0, 1), (1, 0)) for t in (True, False)}
for (s, m, t), text in found.items():
    print(f"split axis {s}, made axis {m}, tiled {t}: gradient right:", text)
mapped = lambda x: (jax.vmap(lambda r: jax.lax.all_to_all(r, "i", 0, 1), axis_name="i")(x) ** 2).sum()
y = jnp.arange(192.0).reshape(4, 4, 4, 3)
under_vmap = bool(jnp.allclose(jax.grad(mapped)(y), 2 * y))
print("split axis 0, made axis 1, not tiled, under vmap:", under_vmap)
assert under_vmap and all(found[key] is True for key in found if key[2] or key[0] == key[1])
assert all(str(found[s, m, False]).startswith("Expected cotangent type") for s, m in ((0, 1), (1, 0)))
PY
