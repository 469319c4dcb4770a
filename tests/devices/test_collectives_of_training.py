"""The collectives of a training step are those that theory asks for, in number and in bytes, however it is spread."""

import numpy as np
import pytest
from on_meshes import over

import pullback as pb
import pullback.numpy as pnp

DEVICES, LAYERS, WIDTH, HIDDEN, ROWS = 4, 3, 16, 64, 8
FLOAT = 4
WEIGHTS = LAYERS * 2 * WIDTH * HIDDEN * FLOAT
LOSS = FLOAT


def loss(params, x):
    for layer in params:
        x = x + pnp.tanh(x @ layer["up"]) @ layer["down"]
    return pnp.mean(x**2)


def collectives(up, down, data, collected=False):
    """What a step of gradient descent exchanges, for specs of the weights and the data."""
    whole, rows, up, down = [over(pb, *spec, shape=(DEVICES,), names=("d",)) for spec in (pb.P(), data, up, down)]
    layer = {"up": up, "down": down}
    places = [layer] * LAYERS
    random = np.random.default_rng(0)
    shapes = {"up": (WIDTH, HIDDEN), "down": (HIDDEN, WIDTH)}
    params = [{k: random.standard_normal(s, np.float32) for k, s in shapes.items()} for _ in range(LAYERS)]

    def objective(params, x):
        return loss(pb.lax.with_sharding_constraint(params, whole) if collected else params, x)

    def step(params, x):
        value, slopes = pb.value_and_grad(objective)(params, x)
        return value, pb.tree.map(lambda p, g: p - 0.1 * g, params, slopes)

    x = pb.device_put(random.standard_normal((ROWS, WIDTH), np.float32), rows)
    lowered = pb.jit(step, out_shardings=(whole, places)).lower(pb.device_put(params, places), x)
    return {kind: tuple(use) for kind, use in lowered.compile().collectives().items()}


def test_data_parallel():
    # all gradients and the loss, in one
    assert collectives(pb.P(), pb.P(), pb.P("d")) == {"all-reduce": (1, WEIGHTS + LOSS)}


def test_tensor_parallel():
    # of each layer the sum of its output, and of the cotangent of its input, which the first layer does not need
    calls = 2 * LAYERS - 1
    found = collectives(pb.P(None, "d"), pb.P("d"), pb.P())
    assert found == {"all-reduce": (calls, calls * ROWS * WIDTH * FLOAT)}


@pytest.mark.parametrize("axis", [0, 1])
def test_fully_sharded(axis):
    # each weight is collected once, and kept for the backward pass; then as data-parallel, as XLA's compiler for
    # processors has no pass that makes a sum of which a part is used into a reduce-scatter
    spec = pb.P(*[None] * axis, "d")
    found = collectives(spec, spec, pb.P("d"), collected=True)
    assert found == {"all-gather": (2 * LAYERS, WEIGHTS), "all-reduce": (1, WEIGHTS + LOSS)}
