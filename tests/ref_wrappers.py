"""What a function of a number and a reference may stand in, where its gradient is plumbed out of the backward pass."""

import pullback as pb
from pullback import lax


def compiled(f):
    return pb.jit(f)


def as_it_is(f):
    return f


def checkpointed(f):
    return pb.checkpoint(f)


def in_a_branch(f):
    def otherwise(x, ref):
        return 0.0 * x

    return lambda x, ref: lax.cond(x > -10.0, f, otherwise, x, ref)


def in_a_loop(f):
    def looped(x, ref):
        return lax.fori_loop(0, 1, lambda i, y: f(y, ref), x)

    return looped


def in_a_bounded_while(f):
    def looped(x, ref):
        def step(state):
            return state[0] + 1, f(state[1], ref)

        return lax.while_loop(lambda state: state[0] < 1, step, (0, x), max_steps=3)[1]

    return looped


def in_a_checkpointed_loop(f):
    return in_a_loop(checkpointed(f))


def in_a_compiled_branch(f):
    return compiled(in_a_branch(f))


WRAPPERS = [
    as_it_is,
    compiled,
    checkpointed,
    in_a_branch,
    in_a_loop,
    in_a_bounded_while,
    in_a_checkpointed_loop,
    in_a_compiled_branch,
]
