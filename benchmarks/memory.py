"""Figures: the temporary memory of compiled gradients, in bytes: `temp_size_in_bytes` of XLA's `memory_analysis()`.

Arguments and results are not in it. First the 64 layers of layers.py, with and without `checkpoint`. Then N steps of a
loop that carries 1,000 numbers, x = sin(x), as a `while_loop` with `max_steps=N` (JAX cannot differentiate one in
reverse), as a `scan`, which keeps something of each step, and as a `checkpointed_scan` (which JAX has not) of 2 levels.
"""

import numpy
from layers import gradients
from peers import load

UNIT = "bytes"
GOALS = {}
PEERS = ("pullback", "JAX")
ROUNDS = 1
FRESH = False
STEPS = (256, 1_024, 4_096)


def prepare(peer):
    library = load(peer)
    sizes = {
        f"memory of the gradient of 64 layers, {way}": temporary(program)
        for way, (program, _, _) in gradients(library).items()
    }

    x = library.numpy.asarray(numpy.linspace(-1, 1, 1_000).astype("float32"))
    for name, loop in (("scan", scan), ("while_loop", while_loop), ("checkpointed_scan", blocks)):
        if peer == "JAX" and name != "scan":
            continue
        for steps in STEPS:
            program = library.core.jit(library.core.grad(loop(library, steps))).lower(x).compile()
            check(program(x), x, steps)
            sizes[f"memory of the gradient of a `{name}`, {steps:,} steps"] = temporary(program)
    return lambda: sizes


def temporary(program):
    return program.memory_analysis().temp_size_in_bytes


def scan(library, steps):
    np, lax = library.numpy, library.core.lax
    return lambda x: lax.scan(lambda c, _: (np.sin(c), None), x, None, length=steps)[0].sum()


def while_loop(library, steps):
    """The condition stays true as long as the bound lets it."""
    np, lax = library.numpy, library.core.lax
    return lambda x: lax.while_loop(lambda c: abs(c).max() > 0, np.sin, x, max_steps=steps).sum()


def blocks(library, steps):
    np, checkpointed_scan = library.numpy, library.core.ad_checkpoint.checkpointed_scan
    return lambda x: checkpointed_scan(lambda c, _: (np.sin(c), None), x, None, length=steps)[0].sum()


def check(slopes, x, steps):
    """Against the chain rule: the product of the cosines."""
    x = numpy.asarray(x, float)
    expected = numpy.ones_like(x)
    for _ in range(steps):
        expected, x = expected * numpy.cos(x), numpy.sin(x)
    assert numpy.allclose(numpy.asarray(slopes), expected, rtol=1e-3)
