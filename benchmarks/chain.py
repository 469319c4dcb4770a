"""Figure: the gradient through a chain of eager operations, per operation.

It is linear if the rows of a column agree. JAX stops early in the interest of the run's length.
"""

from timing import once

LENGTHS = {"pullback": (1_000, 10_000, 100_000), "JAX": (1_000, 10_000), "autograd": (1_000, 10_000, 100_000)}
GOALS = {}
PEERS = tuple(LENGTHS)
ROUNDS = 3
FRESH = False


def tools(peer):
    """(grad, sin) of a library."""
    if peer == "autograd":
        import autograd
        import autograd.numpy

        return autograd.grad, autograd.numpy.sin
    from peers import load

    library = load(peer)
    return library.core.grad, library.numpy.sin


def prepare(peer):
    grad, sin = tools(peer)

    def chain(x, length):
        for _ in range(length):
            x = sin(x)
        return x

    slope = grad(chain)
    float(slope(0.5, 100))  # warm-up

    def per_op(length):
        return once(lambda: float(slope(0.5, length))) / length

    return lambda: {f"`grad` through {n:,} eager ops, per op": per_op(n) for n in LENGTHS[peer]}
