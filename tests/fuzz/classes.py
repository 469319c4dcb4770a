"""Primitive classes around functions of random programs, with rules made of the derivatives of the functions."""

import pullback
from pullback.experimental.hijax import HiPrim, instantiate_zeros


class Wrapped(HiPrim):
    """The function `fun` for arguments of certain types."""

    def __init__(self, fun, args):
        self.in_avals = pullback.tree.map(pullback.typeof, args)
        self.out_aval = pullback.eval_shape(fun, *args)
        self.params = {"fun": fun}
        super().__init__()

    def expand(self, *args):
        return self.fun(*args)


class Reverse(Wrapped):
    def vjp_fwd(self, nzs_in, *args):
        return self(*args), args

    def vjp_bwd_retval(self, args, ct):
        return pullback.vjp(self.fun, *args)[1](instantiate_zeros(ct))


class Accumulating(Wrapped):
    def vjp_fwd(self, nzs_in, *args):
        return pullback.vjp(self.fun, *args)

    def vjp_bwd(self, pull, ct, *accums):
        pullback.tree.map(lambda accum, part: accum.accum(part), accums, pull(instantiate_zeros(ct)))


class Forward(Wrapped):
    def jvp(self, primals, tangents):
        return pullback.jvp(self.fun, primals, instantiate_zeros(tangents))


class Linearized(Wrapped):
    def lin(self, nzs_in, *primals):
        return pullback.linearize(self.fun, *primals)

    def linearized(self, push, *tangents):
        return push(*instantiate_zeros(tangents))


class Batched(Reverse):
    def batch(self, axis_data, args, dims):
        return pullback.vmap(self.fun, dims, 0, axis_data.name, axis_data.size)(*args), 0


KINDS = {kind.__name__: kind for kind in (Wrapped, Reverse, Accumulating, Forward, Linearized, Batched)}


def as_class(fun, kind):
    """The function as a call of an instance for the types of its arguments."""

    def call(*args):
        return KINDS[kind](fun, args)(*args)

    return call
