"""Mistakes that a type checker is to find, each on a line that ends in `# wrong`; `test_types.py` has both read it."""

import pullback as pb
import pullback.numpy as pnp
from pullback import Array


def loss(x: Array, scale: float = 1.0) -> Array:
    return pnp.sum(x) * scale


@pb.custom_jvp
def doubled(x: Array) -> Array:
    return 2 * x


def mistakes(x: Array) -> None:
    pb.grad(loss)(x, scle=2.0)  # wrong
    pb.jit(loss)(x, "twice")  # wrong
    pb.vmap(loss)()  # wrong
    doubled(x, x)  # wrong
    pnp.sin("x")  # wrong
    pnp.sum([1, 2])  # wrong
    pnp.sum(x, axis="rows")  # wrong
    pnp.zeros("many")  # wrong
    pb.random.normal(pb.random.key(0), dtype=2.5)  # wrong
    pb.random.normal(pb.random.key)  # wrong
    x.att[0].set(1.0)  # wrong
    x.at[0].sett(1.0)  # wrong
    x + "1"  # wrong
    pb.gard(loss)  # wrong
    pb.numpy.linalg.nrom(x)  # wrong
