"""One program with a type of one's own and primitive classes, written for either library, in both."""

import dataclasses
import types
from typing import Any

import jax
import jax.experimental.hijax
import numpy as np
import pytest

import pullback as pb
import pullback.experimental.hijax


def program(core):
    """The type, its values and functions, on `core` and its modules."""
    hijax, np_, lax = core.experimental.hijax, core.numpy, core.lax
    base = hijax.HiPrim if hasattr(hijax, "HiPrim") else hijax.VJPHiPrimitive

    @dataclasses.dataclass(frozen=True)
    class Rows:
        numbers: Any
        scales: Any

    @dataclasses.dataclass(frozen=True)
    class RowsType(hijax.HiType):
        shape: tuple[int, ...]

        def lo_ty(self):
            array = hijax.ShapedArray
            return [array(self.shape, np_.dtype("int8")), array(self.shape[:1], np_.dtype("float32"))]

        def lower_val(self, value):
            return [value.numbers, value.scales]

        def raise_val(self, numbers, scales):
            return Rows(numbers, scales)

        def to_tangent_aval(self):
            return hijax.ShapedArray(self.shape, np_.dtype("float32"))

    hijax.register_hitype(Rows, lambda value: RowsType(value.numbers.shape))

    class ToRows(base):
        def __init__(self, aval):
            self.in_avals = (aval,)
            self.out_aval = RowsType(aval.shape)
            self.params = {}
            super().__init__()

        def expand(self, x):
            scales = np_.max(np_.abs(x), axis=1) / 128
            return Rows(np_.round(x / scales[:, None] - 0.25).astype("int8"), scales)

        def vjp_fwd(self, nzs_in, x):
            return self(x), None

        def vjp_bwd_retval(self, saved, ct):
            return (ct,)

    class FromRows(base):
        def __init__(self, ty):
            self.in_avals = (ty,)
            self.out_aval = hijax.ShapedArray(ty.shape, np_.dtype("float32"))
            self.params = {}
            super().__init__()

        def expand(self, rows):
            return rows.numbers.astype("float32") * rows.scales[:, None]

        def vjp_fwd(self, nzs_in, rows):
            return self(rows), None

        def vjp_bwd_retval(self, saved, ct):
            return (ct,)

    def to_rows(x):
        return ToRows(core.typeof(x))(x)

    def from_rows(rows):
        return FromRows(core.typeof(rows))(rows)

    def squares(x):
        return (from_rows(to_rows(x)) ** 2).sum()

    def of_rows(rows):
        return (from_rows(rows) * 3).sum()

    def loop(rows):
        def step(carry, _):
            return carry, from_rows(carry).sum()

        return lax.scan(step, rows, None, length=3)[1]

    return types.SimpleNamespace(
        core=core, np=np_, to_rows=to_rows, from_rows=from_rows, squares=squares, of_rows=of_rows, loop=loop
    )


def value(p, x):
    return p.squares(x)


def compiled(p, x):
    return p.core.jit(p.squares)(x)


def gradient(p, x):
    return p.core.grad(p.squares)(x)


def compiled_gradient(p, x):
    return p.core.jit(p.core.grad(p.squares))(x)


def gradient_at_a_value(p, x):
    return p.core.grad(p.of_rows)(p.to_rows(x))


def carried(p, x):
    return p.core.jit(p.loop)(p.to_rows(x))


def result_of_a_program(p, x):
    return p.from_rows(p.core.jit(lambda rows: rows)(p.to_rows(x)))


def type_of_a_value(p, x):
    return np.array(p.core.typeof(p.to_rows(x)).shape)


@pytest.mark.parametrize(
    "compute",
    [
        value,
        compiled,
        gradient,
        compiled_gradient,
        gradient_at_a_value,
        carried,
        result_of_a_program,
        type_of_a_value,
    ],
)
def test_the_same_as_jax(compute):
    x = np.arange(1.0, 7.0, dtype="float32").reshape(2, 3)
    got, expected = (compute(program(core), core.numpy.asarray(x)) for core in (pb, jax))
    np.testing.assert_allclose(got, expected, rtol=1e-6)
