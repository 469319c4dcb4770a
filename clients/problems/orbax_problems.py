"""Checkpoints: trees of arrays, on one device and on several, saved and restored, in place and elsewhere."""

import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

jax.config.update("jax_num_cpu_devices", 4)


def _mesh(*shape):
    return jax.sharding.Mesh(np.array(jax.devices()).reshape(shape), ("x", "y")[: len(shape)])


def _over(mesh, *spec):
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*spec))


def _tree():
    mesh = _mesh(2, 2)
    rows = jnp.arange(24.0).reshape(4, 6)
    return {
        "w": jax.device_put(rows, _over(mesh, "x", "y")),
        "b": jax.device_put(jnp.arange(6, dtype=jnp.int32), _over(mesh, "y")),
        "layers": [{"scale": jnp.float32(1.5), "half": jnp.linspace(0, 1, 5, dtype=jnp.bfloat16)}, {"n": jnp.int32(3)}],
        "host": np.arange(3, dtype=np.int64),
        "step": 7,
    }


def _places(tree):
    """Of each array, which device holds which part: the starts of its slices, by the device's number."""
    found = []
    for leaf in jax.tree.leaves(tree):
        if isinstance(leaf, jax.Array) and leaf.ndim:
            parts = leaf.sharding.devices_indices_map(leaf.shape)
            found.append(
                [[d.id, *(s.start or 0 for s in index)] for d, index in sorted(parts.items(), key=lambda p: p[0].id)]
            )
    return found


def _saved(tree, folder):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder, tree)
    return folder


def _like(tree, place=lambda x: x.sharding):
    """The tree without data, for what is to be restored."""
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place(x)) if isinstance(x, jax.Array) else x, tree
    )


def restored_in_place():
    tree = _tree()
    with tempfile.TemporaryDirectory() as folder, ocp.StandardCheckpointer() as checkpointer:
        back = checkpointer.restore(_saved(tree, Path(folder) / "a"), _like(tree))
        return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), back), _places(back)


def restored_to_other_places():
    tree = _tree()
    line = _mesh(4)

    def place(x):
        return _over(line, "x") if x.ndim == 2 else _over(line)

    with tempfile.TemporaryDirectory() as folder, ocp.StandardCheckpointer() as checkpointer:
        back = checkpointer.restore(_saved(tree, Path(folder) / "a"), _like(tree, place))
        return back["w"], back["b"], _places(back)


def restored_and_used():
    """A step of training goes on from a checkpoint, compiled over the mesh."""

    @jax.jit
    def step(params, x):
        grads = jax.grad(lambda p: jnp.mean((x @ p["w"] + p["b"]) ** 2))(params)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)

    mesh = _mesh(2, 2)
    params = {
        "w": jax.device_put(jnp.linspace(-1, 1, 24).reshape(4, 6), _over(mesh, "x", "y")),
        "b": jax.device_put(jnp.ones(6), _over(mesh, "y")),
    }
    x = jnp.linspace(0, 2, 12).reshape(3, 4)
    params = step(params, x)
    with tempfile.TemporaryDirectory() as folder, ocp.StandardCheckpointer() as checkpointer:
        back = checkpointer.restore(_saved(params, Path(folder) / "a"), _like(params))
    return step(params, x), step(back, x)


def typed_keys():
    keys = jax.random.split(jax.random.key(3), 4)
    tree = {"keys": keys, "x": jnp.ones(2)}
    with tempfile.TemporaryDirectory() as folder, ocp.StandardCheckpointer() as checkpointer:
        back = checkpointer.restore(_saved(tree, Path(folder) / "a"), tree)
    return jax.random.key_data(back["keys"]), jax.vmap(jax.random.normal)(back["keys"])


def managed():
    """The manager keeps the last steps, and finds the latest."""
    with tempfile.TemporaryDirectory() as folder:
        options = ocp.CheckpointManagerOptions(max_to_keep=2)
        with ocp.CheckpointManager(Path(folder) / "run", options=options) as manager:
            tree = _tree()
            for step in range(4):
                tree = {**tree, "w": tree["w"] + 1, "step": step}
                manager.save(step, args=ocp.args.StandardSave(tree))
            manager.wait_until_finished()
            steps = list(manager.all_steps())
            back = manager.restore(manager.latest_step(), args=ocp.args.StandardRestore(_like(tree)))
    return steps, back["w"], back["step"], _places(back)


def partly_restored():
    tree = _tree()
    with tempfile.TemporaryDirectory() as folder:
        path = _saved(tree, Path(folder) / "a")
        with ocp.PyTreeCheckpointer() as checkpointer:
            back = checkpointer.restore(path)
    return np.asarray(back["w"]), np.asarray(back["layers"][1]["n"]), back["step"]
