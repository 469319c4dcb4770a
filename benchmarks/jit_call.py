"""Figure: what a warm call of a compiled function costs: scalar arrays in and out, one add each."""

from peers import load
from timing import per_call

ONE, TEN = "warm `jit` call, 1 scalar in and out", "warm `jit` call, 10 scalars in and out"
GOALS = {ONE: 3.5e-6, TEN: 13e-6}
PEERS = ("pullback", "JAX")
ROUNDS = 15
FRESH = False


def prepare(peer):
    library = load(peer)
    add_one = library.core.jit(lambda x: x + 1)
    add_one_to_each = library.core.jit(lambda *xs: tuple(x + 1 for x in xs))
    x = library.core.block_until_ready(add_one(library.numpy.asarray(1.0)))
    xs = library.core.block_until_ready(add_one_to_each(*[x] * 10))

    def one(n):
        for _ in range(n):
            y = add_one(x)
        library.core.block_until_ready(y)

    def ten(n):
        for _ in range(n):
            ys = add_one_to_each(*xs)
        library.core.block_until_ready(ys)

    time_one, time_ten = per_call(one), per_call(ten)
    return lambda: {ONE: time_one(), TEN: time_ten()}
