"""Figures: the gradient of 1,000 lookups of 16 rows in a table of 100,000 × 64, per lookup.

The sum of the squares of all rows that are read. Dense accumulation is that of a lookup whose rule makes an array of
the table's size; it is measured with few lookups, since each costs the same. PyTorch's table has sparse gradients.
"""

import tracemalloc

import numpy
from peers import load
from timing import once

EAGER, COMPILED = (f"gradient of 1,000 lookups in a table, {way}, per lookup" for way in ("eager", "compiled"))
EAGER_DENSE, COMPILED_DENSE = (f"{row}, dense accumulation" for row in (EAGER, COMPILED))
GOALS = {}
PEERS = ("pullback", "JAX", "PyTorch")
ROUNDS = 3
FRESH = False
ROWS, WIDTH, READ, LOOKUPS, FEW = 100_000, 64, 16, 1_000, 20

TABLE = numpy.random.default_rng(0).normal(size=(ROWS, WIDTH)).astype("float32")
INDICES = numpy.random.default_rng(1).integers(0, ROWS, (LOOKUPS, READ)).astype("int32")


def expected(n):
    counts = numpy.zeros(ROWS, "float32")
    numpy.add.at(counts, INDICES[:n].ravel(), 1)
    return 2 * counts[:, None] * TABLE


def prepare(peer):
    return pytorch() if peer == "PyTorch" else compilable(peer)


def compilable(peer):
    library = load(peer)
    core, np, lax = library.core, library.numpy, library.core.lax
    table, indices = np.asarray(TABLE), np.asarray(INDICES)

    @core.custom_vjp
    def dense(table, i):
        return table[i]

    def dense_bwd(i, ct):
        return np.zeros((ROWS, WIDTH), np.float32).at[i].add(ct), None

    dense.defvjp(lambda table, i: (table[i], i), dense_bwd)

    def eager(look, n):
        def total(table):
            return sum((look(table, i) ** 2).sum() for i in INDICES[:n])

        return lambda: core.block_until_ready(core.grad(total)(table))

    def compiled(look, n):
        def total(table, indices):
            return lax.scan(lambda s, i: (s + (look(table, i) ** 2).sum(), None), np.float32(0), indices)[0]

        program = core.jit(core.grad(total))
        return lambda: core.block_until_ready(program(table, indices[:n]))

    def plain(table, i):
        return table[i]

    ways = {COMPILED: (compiled(plain, LOOKUPS), LOOKUPS), COMPILED_DENSE: (compiled(dense, FEW), FEW)}
    if peer == "pullback":
        ways |= {EAGER: (eager(plain, LOOKUPS), LOOKUPS), EAGER_DENSE: (eager(dense, FEW), FEW)}
        tracemalloc.start()
        eager(plain, LOOKUPS)()
        held = tracemalloc.get_traced_memory()[1] - LOOKUPS * READ * WIDTH * 4 * 3  # what the lookups read and save
        tracemalloc.stop()
        assert held < 1.2 * TABLE.nbytes, held
    else:
        ways[EAGER] = eager(plain, FEW), FEW  # as dense as the other
    for run, n in ways.values():
        assert numpy.allclose(numpy.asarray(run()), expected(n), rtol=1e-4, atol=1e-4)
    return lambda: {row: once(run) / n for row, (run, n) in ways.items()}


def pytorch():
    import torch

    table = torch.from_numpy(TABLE.copy()).requires_grad_()
    indices = torch.from_numpy(INDICES.astype("int64"))

    def run():
        table.grad = None
        total = sum((torch.nn.functional.embedding(i, table, sparse=True) ** 2).sum() for i in indices)
        total.backward()
        return table.grad

    assert numpy.allclose(run().to_dense().numpy(), expected(LOOKUPS), rtol=1e-4, atol=1e-4)
    return lambda: {EAGER: once(run) / LOOKUPS}
