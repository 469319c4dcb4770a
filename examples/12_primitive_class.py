"""The third way to give a derivative: a primitive that is a class, whose methods are its rules.

The operation is the p-norm of a vector, with p a parameter of the class. Its derivative at the zero vector is
infinite by the formula that plain differentiation follows; the rule of the class says zero, a subgradient. What the
class does not define is derived from what it does.
"""

from claims import section, show, show_error

import pullback as pb
import pullback.numpy as pnp
from pullback import check_rules, grad, hessian, jit, jvp, vmap
from pullback.experimental.hijax import HiPrim, unmap_avals


class Norm(HiPrim):
    """The p-norm of the last axis of an array."""

    def __init__(self, aval, p):
        self.in_avals = (aval,)
        self.out_aval = pb.core.ShapedArray(aval.shape[:-1], aval.dtype)
        self.params = {"p": p}
        super().__init__()

    def expand(self, x):
        return (pnp.abs(x) ** self.p).sum(-1) ** (1 / self.p)

    def vjp_fwd(self, nzs_in, x):
        norm = self(x)  # by calling itself, so that a second derivative follows the rule too
        return norm, (x, norm)

    def vjp_bwd_retval(self, res, ct):
        x, norm = res
        positive = norm > 0
        share = pnp.abs(x) / pnp.where(positive, norm, 1.0)[..., None]
        slope = pnp.sign(x) * share ** (self.p - 1)
        return (pnp.where(positive[..., None], slope * ct[..., None], 0.0),)


section("A class with a rule for reverse mode")

x, zero = pnp.array([3.0, -4.0]), pnp.zeros(2)
norm = Norm(pb.typeof(x), 2)
show("norm([3., -4.])", norm(x), "5.0")
show("grad(norm)([3., -4.])", grad(norm)(x), "[ 0.6 -0.8]")
show("grad(norm)([0., 0.])", grad(norm)(zero), "[0. 0.]")
show("grad(norm.expand)([0., 0.])", grad(norm.expand)(zero), "[nan nan]")


section("Every other mode is derived from it")

show("jvp(norm, ([3., -4.],), ([1., 0.],))[1]", jvp(norm, (x,), (pnp.array([1.0, 0.0]),))[1], "0.6")
show("jit(grad(norm))([3., -4.])", jit(grad(norm))(x), "[ 0.6 -0.8]")
show("vmap(grad(norm))([[3., -4.], [0., 0.]])", vmap(grad(norm))(pnp.stack([x, zero])), "[[ 0.6 -0.8]\n [ 0.   0. ]]")
show("hessian(norm)([3., -4.])", hessian(norm)(x).round(3), "[[0.128 0.096]\n [0.096 0.072]]")
show("norm.derived()['jvp']", norm.derived()["jvp"], "vjp_bwd_retval, transposed")
show("check_rules(norm, [3., -4.], order=2).ok", check_rules(norm, x, order=2).ok, "True")


section("Types are checked, and params tell instances apart")

show_error("norm(ones(3))", lambda: norm(pnp.ones(3)), TypeError, "expected f32[2], got f32[3]")
show("norm == Norm(typeof(x), 2)", norm == Norm(pb.typeof(x), 2), "True")
show("norm == Norm(typeof(x), 3)", norm == Norm(pb.typeof(x), 3), "False")


section("A batch is one larger instance")


class BatchedNorm(Norm):
    """The same, with a rule for vmap: the batch axis goes in front, the norm is along the last axis anyway."""

    def batch(self, axis_data, args, dims):
        x = pnp.moveaxis(args[0], dims[0], 0)
        return BatchedNorm(unmap_avals(axis_data, self.in_avals[0], 0), self.p)(x), 0


batched = vmap(BatchedNorm(pb.typeof(x), 2))
show("vmap(norm)(ones((4, 2)))[0]", batched(pnp.ones((4, 2)))[0].round(3), "1.414")
show(
    "make_jaxpr(vmap(norm))(ones((4, 2)))",
    pb.make_jaxpr(batched)(pnp.ones((4, 2))),
    "{ lambda ; a:f32[4,2]. let b:f32[4] = BatchedNorm[p=2] a in (b,) }",
)
