"""Fields of values and types whose names are those of attributes of tracers or arrays."""

import dataclasses
from typing import Any

import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback._core.array import ConcreteArray
from pullback._core.own_attributes import _OwnAttribute
from pullback._core.trace import Tracer
from pullback.experimental.hijax import HiType, ShapedArray, register_hitype

NAMES = ["owner", "atom", "primal", "tangent", "known", "origin", "constant", "index", "dim", "mean", "sum", "T", "val"]


def every_class(cls):
    return [cls, *(found for derived in cls.__subclasses__() for found in every_class(derived))]


def test_tracers_have_no_public_names_of_their_own():
    for cls in every_class(Tracer):
        own = {name for name, x in vars(cls).items() if not name.startswith("_") and type(x) is not _OwnAttribute}
        # those of batched values, JAX's, give way to parts
        assert own - set(dir(ConcreteArray)) - {"val", "batch_dim"} == set(), cls


def class_with(field):
    """A class of values with one part, its type with a field of the same name, and a function with rules of it."""
    value = dataclasses.make_dataclass("Value", [(field, Any)], frozen=True)

    class Type(HiType):
        def __init__(self, length):
            vars(self)[field] = length

        def __eq__(self, other):
            return vars(self) == vars(other)

        def __hash__(self):
            return hash(vars(self)[field])

        def lo_ty(self):
            return [ShapedArray((vars(self)[field],), "float32")]

        def lower_val(self, x):
            return [getattr(x, field)]

        def raise_val(self, part):
            return value(part)

        def to_tangent_aval(self):
            return ShapedArray((vars(self)[field],), "float32")

        def str_short(self, short_dtypes=False, **_):
            return f"value[{vars(self)[field]}]"

    register_hitype(value, lambda x: Type(getattr(x, field).shape[0]))

    @pb.custom_vjp
    def doubled(x):
        return 2 * getattr(x, field)

    doubled.defvjp(lambda x: (doubled(x), None), lambda _, ct: (2 * ct,))
    return value, doubled


@pytest.mark.parametrize("field", NAMES)
def test_fields_of_any_name(field):
    value, doubled = class_with(field)
    x = value(pnp.arange(3.0))

    def total(x):
        return pnp.sum(doubled(x)) * getattr(x, field)  # the field of its type

    assert pb.jit(doubled)(x).tolist() == doubled(x).tolist() == [0, 2, 4]
    assert pb.grad(total)(x).tolist() == pb.jit(pb.grad(total))(x).tolist() == [6, 6, 6]
    assert pb.vmap(lambda _: doubled(x))(pnp.ones(2)).tolist() == [[0, 2, 4]] * 2


def test_a_method_of_arrays_is_none_of_values():
    value = dataclasses.make_dataclass("Value", [("cumsum", Any)], frozen=True)

    @dataclasses.dataclass(frozen=True)
    class Type(HiType):
        def lo_ty(self):
            return [ShapedArray((3,), "float32")]

        def lower_val(self, x):
            return [x.cumsum]

        def raise_val(self, part):
            return value(part)

        def str_short(self, short_dtypes=False, **_):
            return "value"

    register_hitype(value, lambda x: Type())
    with pytest.raises(AttributeError, match="a traced value of the type value has no attribute 'cumsum'"):
        pb.jit(lambda x: x.cumsum)(value(pnp.ones(3)))
    assert pb.jit(lambda x: x.cumsum())(pnp.ones(3)).tolist() == [1, 2, 3]
