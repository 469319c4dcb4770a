"""Primitive classes that tests share, each as a function of the library: ours, or JAX with its class of 0.10.2."""

import types

import jax
import jax.experimental.hijax
import jax.numpy

import pullback
import pullback.numpy
from pullback.experimental import hijax

OURS = types.SimpleNamespace(
    core=pullback, numpy=pullback.numpy, Base=hijax.VJPHiPrimitive, instantiate=hijax.instantiate_zeros, Zero=hijax.Zero
)
JAX = types.SimpleNamespace(
    core=jax,
    numpy=jax.numpy,
    Base=jax.experimental.hijax.VJPHiPrimitive,
    instantiate=jax.experimental.hijax.instantiate_zeros,
    Zero=jax.experimental.hijax.Zero,
)


def product(library, *rules, shape=(), factor=3.0):
    """An instance for `factor * sin(x) * y` with the named rules, each right, and a list of the rules that ran."""
    np, ran = library.numpy, []

    class Product(library.Base):
        def __init__(self, aval, factor):
            self.in_avals = aval, aval
            self.out_aval = aval
            self.params = {"factor": factor}
            super().__init__()

        def expand(self, x, y):
            return self.factor * np.sin(x) * y

    def vjp_fwd(self, nzs_in, x, y):
        ran.append(("vjp_fwd", tuple(nzs_in)))
        return self(x, y), (x, y)

    def vjp_bwd_retval(self, res, ct):
        ran.append("vjp_bwd_retval")
        x, y = res
        return self.factor * ct * np.cos(x) * y, self.factor * ct * np.sin(x)

    def vjp_bwd(self, res, ct, x_accum, y_accum):
        ran.append(("vjp_bwd", type(x_accum).__name__, type(y_accum).__name__))
        x, y = res
        x_accum.accum(self.factor * ct * np.cos(x) * y)
        y_accum.accum(self.factor * ct * np.sin(x))

    def jvp(self, primals, tangents):
        ran.append(("jvp", tuple(type(t) is not library.Zero for t in tangents)))
        x, y = primals
        x_dot, y_dot = map(library.instantiate, tangents)
        return self(x, y), self.factor * (x_dot * np.cos(x) * y + np.sin(x) * y_dot)

    def lin(self, nzs_in, x, y):
        ran.append(("lin", tuple(nzs_in)))
        return self(x, y), (self.factor * np.cos(x) * y, self.factor * np.sin(x))

    def linearized(self, residuals, x_dot, y_dot):
        ran.append("linearized")
        by_x, by_y = residuals
        return by_x * library.instantiate(x_dot) + by_y * library.instantiate(y_dot)

    def batch_dim_rule(self, axis_data, dims):
        ran.append(("batch_dim_rule", axis_data.size, tuple(dims)))
        return 0

    given = locals()
    for name in rules:
        setattr(Product, name, given[name])
    aval = library.core.typeof(np.zeros(shape, "float32"))
    return Product(aval, factor), ran
