"""64 layers x = tanh(x W) in JAX's names: what the figures of `checkpoint` differentiate.

A layer is 256 wide and sees 512 examples, so that its state is larger than its weights: states as large as a gradient
of the weights XLA would keep in the memory of the results, where no figure shows them.
"""

import numpy

LAYERS, WIDTH, BATCH, BLOCK = 64, 256, 512, 8
KEPT, BLOCKS, SCAN = "everything kept", "`checkpoint` of each 8 layers", "a `scan` of blocks with `checkpoint`"


def gradients(library):
    """{way: (program, x, weights)}: the compiled gradient, in the weights, of the sum of the last layer.

    In the scan the weights are one array, else 64. All ways are checked where they are made.
    """
    np, core = library.numpy, library.core
    x, weights = data()

    def block(x, weights):
        for k in range(BLOCK):
            x = np.tanh(x @ weights[k])
        return x

    def by_blocks(apply):
        def loss(x, weights):
            for i in range(0, LAYERS, BLOCK):
                x = apply(x, weights[i : i + BLOCK])
            return x.sum()

        return loss

    def scanned(x, weights):
        body = core.checkpoint(lambda x, weights: (block(x, weights), None), prevent_cse=False)
        return core.lax.scan(body, x, weights.reshape(-1, BLOCK, WIDTH, WIDTH))[0].sum()

    losses = {KEPT: by_blocks(block), BLOCKS: by_blocks(core.checkpoint(block)), SCAN: scanned}
    own_x, listed, stacked = np.asarray(x), [np.asarray(w) for w in weights], np.asarray(weights)
    ways = {}
    for way, loss in losses.items():
        own_weights = stacked if way == SCAN else listed
        program = core.jit(core.grad(loss, 1)).lower(own_x, own_weights).compile()
        check(program(own_x, own_weights), x, weights)
        ways[way] = program, own_x, own_weights
    return ways


def data():
    random = numpy.random.default_rng(0)
    x = random.standard_normal((BATCH, WIDTH))
    weights = random.standard_normal((LAYERS, WIDTH, WIDTH)) / WIDTH**0.5
    return x.astype("float32"), weights.astype("float32")


def check(slopes, x, weights):
    """Against the chain rule, written out by hand."""
    states = [x]
    for w in weights:
        states.append(numpy.tanh(states[-1] @ w))
    bar = numpy.ones_like(x)
    for i in reversed(range(LAYERS)):
        bar = bar * (1 - states[i + 1] ** 2)
        expected = states[i].T @ bar
        error = numpy.linalg.norm(numpy.asarray(slopes[i]) - expected) / numpy.linalg.norm(expected)
        assert error < 1e-3, f"layer {i}: relative error {error}"
        bar = bar @ weights[i].T
