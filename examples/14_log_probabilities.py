"""Numbers kept as sign and logarithm: products of a million probabilities, and their gradients, without underflow.

The product of 10**6 probabilities is about 10**-434,000, far below the least number of any float, and so is its
derivative with respect to each. The class ``Log`` holds numbers as sign and logarithm, and tangents and cotangents are
such numbers too: the type says so (``to_tangent_aval``), and how they are added up (``vspace_zero``, ``vspace_add``).
Everything else is functions with rules.
"""

import dataclasses
import math
from typing import Any

import numpy as np
from claims import section, show

import pullback as pb
import pullback.numpy as pnp
from pullback.experimental.hijax import HiType, MappingSpec, ShapedArray, register_hitype


@dataclasses.dataclass(frozen=True)
class LogType(HiType):
    """The type of an array of such numbers. Its tangents have the same type."""

    shape: tuple[int, ...]

    def lo_ty(self):
        return [ShapedArray(self.shape, "float64")] * 2

    def lower_val(self, value):
        return [value.sign, value.log]

    def raise_val(self, sign, log):
        return Log(sign, log)

    def to_tangent_aval(self):
        return self

    def vspace_zero(self):
        return Log(pnp.zeros(self.shape), pnp.full(self.shape, -np.inf))

    def vspace_add(self, x, y):
        return add(x, y)

    def dec_rank(self, size, spec):
        return LogType(self.shape[1:])

    def inc_rank(self, size, spec):
        return LogType((size, *self.shape))

    # what `x * y` and `x + y` are for traced values; known ones have the methods of their class
    @staticmethod
    def _mul(x, y):
        return multiply(x, y)

    @staticmethod
    def _add(x, y):
        return add(x, y)


@dataclasses.dataclass(frozen=True)
class Log:
    """The numbers ``sign * exp(log)``."""

    sign: Any
    log: Any

    def __mul__(self, other):
        return multiply(self, other)

    def __add__(self, other):
        return add(self, other)


register_hitype(Log, lambda x: LogType(x.log.shape))


def number(x, like=0.0):
    """A float, as such a number."""
    x = pnp.asarray(x, "float64") + 0 * like
    return Log(pnp.sign(x), pnp.log(abs(x)))


# --- functions with rules; a vjp rule computes with values alone, so cotangents of any type will do


@pb.custom_vjp
def multiply(x, y):
    return Log(x.sign * y.sign, x.log + y.log)


multiply.defvjp(lambda x, y: (multiply(x, y), (x, y)), lambda xy, ct: (multiply(ct, xy[1]), multiply(ct, xy[0])))


@pb.custom_vjp
def add(x, y):
    largest = pnp.maximum(x.log, y.log)
    base = pnp.where(pnp.isfinite(largest), largest, 0.0)
    total = x.sign * pnp.exp(x.log - base) + y.sign * pnp.exp(y.log - base)
    return Log(pnp.sign(total), base + pnp.log(abs(total)))


add.defvjp(lambda x, y: (add(x, y), None), lambda _, ct: (ct, ct))


@pb.custom_vjp
def product(x):
    """The product of all entries."""
    return Log(pnp.prod(x.sign), pnp.sum(x.log))


def _product_fwd(x):
    out = product(x)
    return out, (x, out)


def _product_bwd(saved, ct):
    x, out = saved
    return (Log(ct.sign * out.sign * x.sign, ct.log + out.log - x.log),)  # ct * out / x; no factor is zero


product.defvjp(_product_fwd, _product_bwd)


@pb.custom_vjp
def logarithm(x):
    """The logarithm of positive numbers: an ordinary array again."""
    return x.log


logarithm.defvjp(lambda x: (logarithm(x), x), lambda x, ct: (Log(pnp.sign(ct), pnp.log(abs(ct)) - x.log),))


@pb.custom_vjp
def from_float(x):
    return number(x)


from_float.defvjp(lambda x: (from_float(x), None), lambda _, ct: (ct.sign * pnp.exp(ct.log),))


with pb.enable_x64():
    rng = np.random.default_rng(0)
    p, q = rng.uniform(0.1, 0.9, (2, 10**6))
    log_p, log_q = np.log(p), np.log(q)
    exact_p, exact_q = math.fsum(log_p), math.fsum(log_q)

    section("The product of a million probabilities, and its gradient")

    show("np.prod(p)", np.prod(p), "0.0")
    out, pullback = pb.vjp(product, number(p))
    show("base-10 logarithm of the product", round(float(out.log) / math.log(10)), round(exact_p / math.log(10)))
    (gradient,) = pullback(number(1.0))
    error = np.max(np.abs(np.asarray(gradient.log) - (exact_p - log_p))) / abs(exact_p)
    show("the gradient's logarithms are right to 1e-14", bool(error < 1e-14), True)

    section("A mixture of two such models: the gradient of its log-likelihood")

    def log_likelihood(weight, p, q):
        first, second = from_float(weight), from_float(1 - weight)
        return logarithm(first * product(p) + second * product(q))

    shift = exact_q - exact_p - 1  # so that the second model is e times as likely
    q_scaled = Log(number(q).sign, number(q).log - shift / len(q))
    for compiled in (lambda f: f, pb.jit):
        gradients = compiled(pb.grad(log_likelihood, (0, 1)))(0.3, number(p), q_scaled)
        show("d log L / d weight", f"{float(gradients[0]):.6f}", f"{(1 - math.e) / (0.3 + 0.7 * math.e):.6f}")
        posterior = pnp.exp(gradients[1].log[0] + log_p[0])  # d log L / d log p
        show("posterior of the first model", f"{float(posterior):.6f}", f"{0.3 / (0.3 + 0.7 * math.e):.6f}")

    section("Loops and vmap take such numbers too")

    last, _ = pb.jit(lambda x: pb.lax.scan(lambda c, x: (multiply(c, x), None), number(1.0), x))(number(p[:1000]))
    show("a product by a scan", f"{float(last.log):.6f}", f"{math.fsum(log_p[:1000]):.6f}")
    rows = pb.vmap(product, MappingSpec(), MappingSpec(), axis_size=10)(number(p.reshape(10, -1)))
    show("ten products at once", bool(np.allclose(rows.log, log_p.reshape(10, -1).sum(1))), True)
