"""Functions with rules. These are deliberately wrong, by a factor of ten say, so that a rule that got lost shows.

What takes a library takes `PB` or `JAX` of `transformations`.
"""

import pullback as pb


def sine_with_wrong_jvp(lib):
    """The sine with ten times the square as derivative."""
    f = lib.t.custom_jvp(lambda x: lib.lax.sin(x))

    @f.defjvp
    def rule(primals, tangents):
        (x,), (t,) = primals, tangents
        return f(x), 10 * x**2 * t

    return f


def sine_with_wrong_vjp(lib):
    """The sine with ten times the square as derivative."""
    f = lib.t.custom_vjp(lambda x: lib.lax.sin(x))

    def fwd(x):
        return f(x), x

    def bwd(x, ct):
        return (10 * x**2 * ct,)

    f.defvjp(fwd, bwd)
    return f


def times_with_jvp(y):
    """x times y, which it closes over, with ten times the derivative by x."""
    f = pb.custom_jvp(lambda x: x * y)

    @f.defjvp
    def rule(primals, tangents):
        return f(*primals), 10 * tangents[0] * y

    return f


def times_with_vjp(y):
    """x times y, which it closes over, with ten times the derivative by x."""
    f = pb.custom_vjp(lambda x: x * y)

    def fwd(x):
        return f(x), x

    def bwd(x, ct):
        return (10 * ct * y,)

    f.defvjp(fwd, bwd)
    return f


def with_jvp(fun, rule):
    """`fun` with a jvp rule."""
    f = pb.custom_jvp(fun)
    f.defjvp(rule)
    return f


def with_vjp(fun, fwd, bwd):
    """`fun` with a vjp rule."""
    f = pb.custom_vjp(fun)
    f.defvjp(fwd, bwd)
    return f


def with_tangent(fun, tangent):
    """`fun` with a jvp rule that calls it: `tangent(x, t)` of the first argument and its tangent."""
    f = pb.custom_jvp(fun)

    @f.defjvp
    def rule(primals, tangents):
        return f(*primals), tangent(primals[0], tangents[0])

    return f
