"""Functions against mpmath, eager and compiled.

An error is counted in units of the last place, divided by 1 + the condition of the function at that argument: how many
units an error of one unit in each argument makes.
"""

import mpmath as mp
import numpy as np

import pullback as pb
import pullback.numpy as pnp

DTYPES = ("float64", "float32")


def condition(reference, args, value):
    """The condition of the function at these arguments."""
    total, step = 0.0, mp.mpf(10) ** -12
    for i, x in enumerate(args):
        near = [*args[:i], x * (1 + step), *args[i + 1 :]]
        total += float(abs((reference(*near) - value) / (step * value))) if value and x else 0
    return total


def check(function, reference, args, dtype, bound):
    """`function` of arrays of numbers, and `reference` of mpmath's numbers, differ by at most `bound` units."""
    args = [np.asarray(x, dtype) for x in np.broadcast_arrays(*args)]
    info = np.finfo(dtype)
    with pb.enable_x64(), mp.workdps(50):
        results = [np.asarray(run(*map(pnp.asarray, args))) for run in (function, pb.jit(function))]
        assert [got.dtype for got in results] == [dtype, dtype]
        for *xs, eager, compiled in zip(*args, *results, strict=True):
            exact = [mp.mpf(float(x)) for x in xs]
            right = reference(*exact)
            for y in (eager, compiled):
                if abs(right) < info.tiny:  # what is subnormal is flushed to 0, and a root has rounding errors alone
                    assert abs(y) <= (info.tiny if right else bound * info.eps), (xs, y, right)
                    continue
                error = float(abs(mp.mpf(float(y)) - right) / abs(right)) / info.eps
                # the condition takes a second value of the reference, and is above 0
                assert error <= bound or error <= bound * (1 + condition(reference, exact, right)), (xs, y, right)


def derivative(function, order=1, argnum=0):
    """The derivative of this order, of arrays element by element."""
    for _ in range(order):
        function = pb.grad(function, argnum)
    return pb.vmap(function)
