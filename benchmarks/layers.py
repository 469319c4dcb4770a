"""64 layers x = tanh(x W) in JAX's names: what the figures of `checkpoint` differentiate.

A layer is 256 wide and sees 512 examples, so that its state is larger than its weights: states as large as a gradient
of the weights XLA would keep in the memory of the results, where no figure shows them.
"""

import numpy

LAYERS, WIDTH, BATCH, BLOCK = 64, 256, 512, 8


def data(np):
    """(x, the weights), as arrays of the library."""
    random = numpy.random.default_rng(0)

    def normal(rows, scale):
        return np.asarray((scale * random.standard_normal((rows, WIDTH))).astype("float32"))

    return normal(BATCH, 1.0), [normal(WIDTH, WIDTH ** -0.5) for _ in range(LAYERS)]


def gradient(library, checkpointed):
    """The gradient of the sum of the last layer in the weights, compiled; with `checkpoint` by blocks, or without."""
    np, core = library.numpy, library.core

    def block(x, weights):
        for w in weights:
            x = np.tanh(x @ w)
        return x

    apply = core.checkpoint(block) if checkpointed else block

    def loss(x, weights):
        for i in range(0, LAYERS, BLOCK):
            x = apply(x, weights[i:i + BLOCK])
        return x.sum()

    return core.jit(core.grad(loss, 1))


def check(slopes, x, weights):
    """Against the chain rule, written out in double precision."""
    weights = [numpy.asarray(w, float) for w in weights]
    states = [numpy.asarray(x, float)]
    for w in weights:
        states.append(numpy.tanh(states[-1] @ w))
    bar = numpy.ones_like(states[-1])
    for slope, w, before, after in reversed(list(zip(slopes, weights, states, states[1:]))):
        bar = bar * (1 - after ** 2)
        expected = before.T @ bar
        error = numpy.linalg.norm(numpy.asarray(slope) - expected) / numpy.linalg.norm(expected)
        assert error < 1e-4, f"relative error {error}"
        bar = bar @ w.T
