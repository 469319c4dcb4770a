"""Figure: the gradient of a 12-layer MLP over 16 microbatches, added up in Refs, as one compiled program.

`vjp` of each microbatch's loss adds to the Refs in a `scan`. Memory is what the program uses beside its arguments: its
temporaries and its result, the gradient of 50 MB, of which it may be 1.1 times.
"""

import numpy
from peers import load
from timing import per_call

ROW = "gradient of a 12-layer MLP over 16 microbatches, added up in Refs, compiled"
GOALS = {}
PEERS = ("pullback", "JAX")
ROUNDS = 7
FRESH = False
LAYERS, WIDTH, MICROBATCHES, ROWS = 12, 1024, 16, 8


def program(library):
    """The compiled step, and its arguments."""
    core, np, lax = library.core, library.numpy, library.core.lax
    tree = core.tree_util

    def loss(params, x):
        for w in params:
            x = np.tanh(x @ w)
        return (x**2).sum()

    def step(params, batches):
        refs = [core.new_ref(np.zeros_like(w)) for w in params]

        def body(carry, x):
            value, f_vjp = core.vjp(lambda params: loss(params, x), params)
            f_vjp.with_refs(refs)(np.ones_like(value))
            return carry, value

        lax.scan(body, 0, batches)
        return [core.freeze(ref) for ref in refs]

    random = numpy.random.default_rng(0)
    params = [np.asarray((random.normal(size=(WIDTH, WIDTH)) / WIDTH**0.5).astype("float32")) for _ in range(LAYERS)]
    batches = np.asarray(random.normal(size=(MICROBATCHES, ROWS, WIDTH)).astype("float32"))
    whole = core.jit(core.grad(lambda params: sum(loss(params, x) for x in batches)))(params)
    compiled = core.jit(step).lower(params, batches).compile()
    for got, want in zip(compiled(params, batches), tree.tree_leaves(whole), strict=True):
        assert numpy.allclose(numpy.asarray(got), numpy.asarray(want), rtol=1e-3, atol=1e-3)
    return compiled, (params, batches)


def memory(compiled):
    """Bytes besides the arguments, and of one gradient."""
    analysis = compiled.memory_analysis()
    return analysis.temp_size_in_bytes + analysis.output_size_in_bytes, LAYERS * WIDTH**2 * 4


def prepare(peer):
    library = load(peer)
    compiled, args = program(library)
    used, gradient = memory(compiled)
    if peer == "pullback":
        assert used <= 1.1 * gradient, (used, gradient)

    def run(n):
        for _ in range(n):
            library.core.block_until_ready(compiled(*args))

    time = per_call(run)
    return lambda: {ROW: time()}
