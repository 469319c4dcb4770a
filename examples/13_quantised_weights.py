"""Weights of 8 bits with a scale for each row, as a type of one's own: training with a straight-through rule.

A ``Quantised`` matrix is one value: one argument of a function, one leaf of a pytree, one variable of a jaxpr. In
compiled programs it consists of two arrays. What is done with it is done by functions with rules. Rounding has the
derivative of the identity (the straight-through estimator; Bengio, Léonard and Courville, 2013), so the gradient at
such a matrix is an ordinary array.
"""

import dataclasses
from typing import Any

import numpy as np
from claims import section, show

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.experimental.hijax import HiType, MappingSpec, ShapedArray, register_hitype


@dataclasses.dataclass(frozen=True)
class QuantisedType(HiType):
    """The type of a quantised matrix, or of a stack of them."""

    shape: tuple[int, ...]

    # the arrays that it consists of in compiled programs
    def lo_ty(self):
        return [ShapedArray(self.shape, "int8"), ShapedArray(self.shape[:-1], "float32")]

    def lower_val(self, value):
        return [value.numbers, value.scales]

    def raise_val(self, numbers, scales):
        return Quantised(numbers, scales)

    # gradients are ordinary arrays
    def to_tangent_aval(self):
        return ShapedArray(self.shape, "float32")

    # one matrix of a stack, and a stack of matrices: vmap and scan
    def dec_rank(self, size, spec):
        return QuantisedType(self.shape[1:])

    def inc_rank(self, size, spec):
        return QuantisedType((size, *self.shape))

    def str_short(self, short_dtypes=False, **_):
        return f"q8[{','.join(map(str, self.shape))}]"


@dataclasses.dataclass(frozen=True)
class Quantised:
    numbers: Any
    scales: Any

    @property
    def nbytes(self):
        return self.numbers.nbytes + self.scales.nbytes


register_hitype(Quantised, lambda value: QuantisedType(value.numbers.shape))


@pb.custom_vjp
def quantise(x):
    scales = pnp.maximum(pnp.max(abs(x), -1) / 127, 1e-30)
    return Quantised(pnp.round(x / scales[..., None]).astype("int8"), scales)


quantise.defvjp(lambda x: (quantise(x), None), lambda _, ct: (ct,))


@pb.custom_vjp
def dequantise(q):
    return q.numbers.astype("float32") * q.scales[..., None]


dequantise.defvjp(lambda q: (dequantise(q), None), lambda _, ct: (ct,))


@pb.custom_vjp
def product(x, q):
    """``x @ q.T``, in integers: the rows of `x` are quantised too."""
    rows = quantise(x)
    sums = lax.dot_general(rows.numbers, q.numbers, (((1,), (1,)), ((), ())), preferred_element_type="int32")
    return sums.astype("float32") * rows.scales[:, None] * q.scales


def _product_bwd(saved, ct):
    x, q = saved
    return ct @ dequantise(q), ct.T @ x


product.defvjp(lambda x, q: (product(x, q), (x, q)), _product_bwd)


def network(params, x):
    for q in params[:-1]:
        x = pnp.tanh(product(x, q))
    return product(x, params[-1])


def loss(params, x, y):
    return pnp.mean((network(params, x) - y) ** 2)


rng = np.random.default_rng(0)
x = pnp.asarray(rng.uniform(-1, 1, (256, 8)), "float32")
y = pnp.asarray(np.sin(3 * np.asarray(x[:, :1])) + np.asarray(x[:, 1:2]), "float32")
weights = [rng.normal(size=s) / np.sqrt(s[1]) for s in ((64, 8), (64, 64), (1, 64))]
masters = [pnp.asarray(w, "float32") for w in weights]

section("One value, one leaf, one variable")

q = quantise(masters[1])
show("typeof(q)", pb.typeof(q), "q8[64,64]")
show("leaves of {'w': q}", len(pb.tree.leaves({"w": q})), 1)
show("bytes, of 16384 before", q.nbytes, 64 * 64 + 4 * 64)
show(
    "largest error in units of the scale",
    bool(pnp.all(abs(dequantise(q) - masters[1]) <= 0.51 * q.scales[:, None])),
    True,
)

section("Gradients are arrays, the same eagerly and compiled")

params = [quantise(w) for w in masters]
eager, compiled = pb.grad(loss)(params, x, y), pb.jit(pb.grad(loss))(params, x, y)
show("typeof(gradient)", pb.typeof(eager[1]), "float32[64,64]")
show("eager and compiled agree", all(bool(pnp.allclose(a, b, atol=1e-5)) for a, b in zip(eager, compiled)), True)

section("Training: masters in float32, the network in 8 bits, one program for all steps")


@pb.jit
def train(masters, x, y):
    def step(masters, _):
        value, grads = pb.value_and_grad(lambda ws: loss([quantise(w) for w in ws], x, y))(masters)
        return [w - 0.1 * g for w, g in zip(masters, grads)], value

    return lax.scan(step, masters, None, length=300)


trained, values = train(masters, x, y)
show("the loss falls below a tenth", bool(values[-1] < 0.1 * values[0]), True)
params = [quantise(w) for w in trained]
show("the 8-bit network is what was trained", bool(loss(params, x, y) < 0.1 * values[0]), True)

section("A stack of layers in a scan, and vmap over a stack")

stack = quantise(pnp.stack([0.1 * masters[1]] * 6))
deep = pb.jit(lambda stack, h: lax.scan(lambda h, q: (pnp.tanh(product(h, q)), None), h, stack)[0])
h = pnp.ones((2, 64))
show("typeof(stack)", pb.typeof(stack), "q8[6,64,64]")
show("gradient of 6 layers", pb.grad(lambda s: deep(s, h).sum())(stack).shape, (6, 64, 64))
outs = pb.vmap(product, (None, MappingSpec()), axis_size=6)(h, stack)
show("the product with each", outs.shape, (6, 2, 64))
