"""Rules for `checkpoint` on values of a type of one's own: as arguments, results and residuals.

The rules are wrong by a factor of ten, so that it shows that they gave the derivative.
"""

import dataclasses
from typing import Any

import numpy as np
import pytest
from wrappers import EAGER_AND_JIT

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.ad_checkpoint import saved_residuals
from pullback.experimental.hijax import HiType, ShapedArray, register_hitype


@dataclasses.dataclass(frozen=True)
class ScaledType(HiType):
    shape: tuple[int, ...]

    def lo_ty(self):
        return [ShapedArray(self.shape, "float32")] * 2

    def lower_val(self, value):
        return [value.numbers, value.scale]

    def raise_val(self, numbers, scale):
        return Scaled(numbers, scale)

    def to_tangent_aval(self):
        return ShapedArray(self.shape, "float32")

    def dec_rank(self, size, spec):
        return ScaledType(self.shape[1:])

    def inc_rank(self, size, spec):
        return ScaledType((size, *self.shape))


@dataclasses.dataclass(frozen=True)
class Scaled:
    """Two arrays, of which the tangent is that of their product."""

    numbers: Any
    scale: Any


register_hitype(Scaled, lambda value: ScaledType(value.numbers.shape))


@pb.custom_vjp
def scaled(x):
    return Scaled(x * 4, pnp.full(x.shape, 0.25))


scaled.defremat(lambda x: (scaled(x), None), lambda _, x: (scaled(x), None), lambda _, ct: (10 * ct,))


@pb.custom_vjp
def plain(value):
    return value.numbers * value.scale


plain.defremat(lambda value: (plain(value), value), lambda kept, _: (plain(kept), kept), lambda kept, ct: (10 * ct,))


def twice(f):
    return pb.checkpoint(pb.checkpoint(f))


X = np.array([1.0, 2.0], "float32")


@pytest.mark.parametrize("compiled", EAGER_AND_JIT)
@pytest.mark.parametrize("wrap", [pb.checkpoint, twice])
def test_arguments_results_and_residuals(wrap, compiled):
    loss = wrap(lambda x: (plain(scaled(x)) ** 2).sum())
    np.testing.assert_allclose(compiled(pb.grad(loss))(X), 100 * 2 * X)
    (kept,) = saved_residuals(loss, X)
    assert "residual of the fwd rule of plain" in str(kept)
    assert kept.nbytes == 16


@pytest.mark.parametrize("compiled", EAGER_AND_JIT)
def test_in_a_scan(compiled):
    def loss(x):
        return lax.scan(lambda c, _: (plain(scaled(c)) * 2, None), x, None, length=2)[0].sum()

    np.testing.assert_allclose(compiled(pb.grad(pb.checkpoint(loss)))(X), [4 * 10**4] * 2)
