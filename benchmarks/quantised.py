"""Figures: a product with a matrix of 8-bit integers and scales, and its gradients. Compiled, warm calls.

In pullback the matrix is one value of a type of one's own, and the product a function with a vjp rule; a gradient is
`grad`'s. In JAX the matrix is the pair of its arrays, and the gradients are written out by hand: no type and no rule is
in the way of its calls.
"""

import dataclasses
from typing import Any

import numpy
from peers import load
from timing import per_call

VALUE = "compiled product with an 8-bit matrix, 512 × 512, 64 rows"
GRADIENT = "compiled gradients of its squared error, of matrix and rows"
SMALL = "the product with one of 16 × 16, 4 rows: the cost of a call"
GOALS = {}
PEERS = ("pullback", "JAX")
ROUNDS = 9
FRESH = False


def prepare(peer):
    functions = {"pullback": of_type, "JAX": by_hand}[peer](load(peer))
    timers = {}
    for row, function, sizes in (
        (VALUE, functions[0], (512, 512, 64)),
        (GRADIENT, functions[1], (512, 512, 64)),
        (SMALL, functions[0], (16, 16, 4)),
    ):
        numbers, scales, x = data(*sizes)
        args = functions[2](numbers, scales, x)
        check(function(*args), numbers, scales, x, row is GRADIENT)
        timers[row] = per_call(calls(load(peer), function, args))
    return lambda: {row: timer() for row, timer in timers.items()}


def calls(library, function, args):
    def run(n):
        for _ in range(n):
            library.core.block_until_ready(function(*args))

    return run


def data(n, m, rows):
    rng = numpy.random.default_rng(0)
    numbers = rng.integers(-127, 128, (n, m)).astype("int8")
    scales = rng.uniform(0.5, 1, n).astype("float32") / (127 * m**0.5)
    return numbers, scales.astype("float32"), rng.normal(size=(rows, m)).astype("float32")


def check(got, numbers, scales, x, gradients):
    w = numbers * scales.astype(float)[:, None]
    product = x @ w.T
    expected = [2 * product.T @ x, 2 * product @ w] if gradients else [product]
    for a, b in zip(got if gradients else [got], expected, strict=True):
        assert numpy.allclose(numpy.asarray(a), b, rtol=1e-3, atol=1e-3)


def by_hand(library):
    """(the product, its gradients, their arguments) on the pair of arrays."""
    core = library.core

    def matrix(numbers, scales):
        return numbers.astype("float32") * scales[:, None]

    def product(numbers, scales, x):
        return x @ matrix(numbers, scales).T

    def gradients(numbers, scales, x):
        w = matrix(numbers, scales)
        ct = 2 * (x @ w.T)
        return ct.T @ x, ct @ w

    def arguments(*arrays):
        return tuple(map(library.numpy.asarray, arrays))

    return core.jit(product), core.jit(gradients), arguments


def of_type(library):
    """The same on one value of a type of one's own."""
    from pullback.experimental.hijax import HiType, ShapedArray, register_hitype

    core = library.core

    @dataclasses.dataclass(frozen=True)
    class QuantisedType(HiType):
        shape: tuple

        def lo_ty(self):
            return [ShapedArray(self.shape, "int8"), ShapedArray(self.shape[:-1], "float32")]

        def lower_val(self, value):
            return [value.numbers, value.scales]

        def raise_val(self, numbers, scales):
            return Quantised(numbers, scales)

        def to_tangent_aval(self):
            return ShapedArray(self.shape, "float32")

    @dataclasses.dataclass(frozen=True)
    class Quantised:
        numbers: Any
        scales: Any

        def matrix(self):
            return self.numbers.astype("float32") * self.scales[:, None]

    register_hitype(Quantised, lambda value: QuantisedType(value.numbers.shape))

    @core.custom_vjp
    def product(q, x):
        return x @ q.matrix().T

    def forward(q, x):
        return product(q, x), (q, x)

    def backward(saved, ct):
        q, x = saved
        return ct.T @ x, ct @ q.matrix()

    product.defvjp(forward, backward)

    def squared(q, x):
        return (product(q, x) ** 2).sum()

    def arguments(numbers, scales, x):
        asarray = library.numpy.asarray
        return Quantised(asarray(numbers), asarray(scales)), asarray(x)

    return core.jit(product), core.jit(core.grad(squared, (0, 1))), arguments
