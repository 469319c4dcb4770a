"""What is refused of types of one's own, and that the message says what to do."""

import dataclasses

import numpy as np
import pytest
from quantised import Quantised, QuantisedType, array, dequantise, quantise, weights

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.errors import RuleError
from pullback.experimental.hijax import HiType, MappingSpec, ShapedArray, register_hitype

FRONT = MappingSpec()


class Box:
    """A value around one array."""

    def __init__(self, x):
        self.x = x


def boxes(**methods):
    """A class of values with a type of the given methods; returns it and the type's class."""
    cls = type("Box", (Box,), {})

    def parts(self, value):
        return [value.x]

    def value(self, x):
        return cls(x)

    def types(self):
        return [ShapedArray((2,), "float32")]

    plain = {"lo_ty": types, "lower_val": parts, "raise_val": value}
    given = {name: rule for name, rule in {**plain, **methods}.items() if rule is not None}
    kind = dataclasses.dataclass(frozen=True)(type("BoxType", (HiType,), given))
    register_hitype(cls, lambda value: kind())
    return cls, kind


@pb.custom_jvp
def opened(box):
    return box.x


opened.defjvp(lambda primals, tangents: (opened(*primals), tangents[0]))
ONES = pnp.ones(2)


def total(box):
    return opened(box).sum()


def made(cls):
    def make(x):
        return cls(ONES)

    return make


# ---- registration and types


def test_registration_is_checked():
    with pytest.raises(TypeError, match="register_hitype: expected a class and a function, got 3"):
        register_hitype(3, lambda x: x)
    with pytest.raises(TypeError, match="expected a class and a function"):
        register_hitype(Box, "type")
    with pytest.raises(ValueError, match="Quantised is registered already"):
        register_hitype(Quantised, lambda x: x)
    with pytest.raises(TypeError, match="complex cannot be given attributes: derive a class from it"):
        register_hitype(complex, lambda x: x)
    with pytest.raises(ValueError, match="list is an array or a pytree"):
        register_hitype(list, lambda x: x)
    with pytest.raises(ValueError, match="has an attribute 'aval'"):
        register_hitype(type("WithAval", (), {"aval": 1}), lambda x: x)


def test_the_type_of_a_value_is_a_hitype():
    cls = type("Box", (Box,), {})
    register_hitype(cls, lambda value: "a type")
    with pytest.raises(TypeError, match=r"function registered for Box must return its type.*got 'a type'"):
        pb.typeof(cls(ONES))


def test_a_class_is_a_pytree_or_has_a_type():
    cls = dataclasses.make_dataclass("Tree", ["x"])
    pb.tree_util.register_dataclass(cls, ["x"], [])
    kind = dataclasses.dataclass(frozen=True)(type("TreeType", (HiType,), {}))
    register_hitype(cls, lambda value: kind())
    with pytest.raises(ValueError, match="Tree is registered as a pytree too"):
        pb.typeof(cls(ONES))


@pytest.mark.parametrize("base", [HiType, type("Unhashable", (HiType,), {"__hash__": None})])
def test_types_are_compared_and_hashed(base):
    cls = type("Box", (Box,), {})
    kind = type("NoEquality", (base,), {})
    register_hitype(cls, lambda value: kind())
    with pytest.raises(TypeError, match=r"NoEquality: types are compared and hashed.*frozen dataclass"):
        pb.jit(opened)(cls(ONES))


def test_a_value_cannot_be_given_another_type():
    cls, _ = boxes()
    with pytest.raises(AttributeError, match="'aval' of Box, a registered class, is the type of the value"):
        cls(ONES).aval = 1


# ---- methods that are missing


@pytest.mark.parametrize(
    ("method", "purpose", "use"),
    [
        ("lo_ty", "traced functions and compiled programs", lambda cls: pb.jit(opened)(cls(ONES))),
        ("lower_val", "traced functions and compiled programs", lambda cls: pb.jit(opened)(cls(ONES))),
        ("raise_val", "traced functions and compiled programs", lambda cls: pb.jit(opened)(cls(ONES))),
        ("to_tangent_aval", "differentiation", lambda cls: pb.grad(total)(cls(ONES))),
        ("dec_rank", "vmap and scan", lambda cls: pb.vmap(opened, FRONT, axis_size=2)(cls(ONES))),
        ("dec_rank", "vmap and scan", lambda cls: lax.map(opened, cls(ONES))),
        ("inc_rank", "stacked results of scan", lambda cls: lax.map(made(cls), ONES)),
        ("inc_rank", "stacked results of scan", lambda cls: pb.vmap(made(cls), out_axes=FRONT)(ONES)),
    ],
)
def test_missing_methods_are_named_with_their_purpose(method, purpose, use):
    cls, _ = boxes(**{method: None})
    with pytest.raises(
        NotImplementedError, match=rf"{purpose} need.? the method {method}\. Define BoxType\.{method}\("
    ):
        use(cls)


def test_eager_code_needs_no_method_but_those_it_uses():
    cls, _ = boxes(lo_ty=None, lower_val=None, raise_val=None)
    assert opened(cls(ONES)) is ONES
    assert pb.grad(lambda x, box: (x * opened(box)).sum())(ONES, cls(ONES)).tolist() == [1, 1]


# ---- parts


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (lambda self, value: [value.x.astype("int32")], r"part 0 has type i32\[2\], but lo_ty says f32\[2\]"),
        (lambda self, value: [value.x[0]], r"part 0 has type f32\[\], but lo_ty says f32\[2\]"),
        (lambda self, value: [value.x, value.x], "must return a list of arrays, 1 as in lo_ty, got 2 of them"),
        (lambda self, value: value.x, "must return a list of arrays, 1 as in lo_ty"),
        (lambda self, value: ["x"], "lower_val: part 0: expected an array or a number"),
    ],
)
def test_lower_val_is_compared_with_lo_ty(parts, message):
    cls, _ = boxes(lower_val=parts)
    with pytest.raises(TypeError, match=message):
        pb.jit(opened)(cls(ONES))


def test_lo_ty_holds_types_of_arrays():
    cls, _ = boxes(lo_ty=lambda self: [3])
    with pytest.raises(TypeError, match=r"BoxType\.lo_ty must return a list of types of arrays, but it has 3"):
        pb.jit(opened)(cls(ONES))
    cls, _ = boxes(lo_ty=lambda self: 3)
    with pytest.raises(TypeError, match=r"BoxType\.lo_ty must return a list of types of arrays, got 3"):
        pb.jit(opened)(cls(ONES))


def test_raise_val_returns_a_value_of_the_type():
    cls, _ = boxes(raise_val=lambda self, x: x)
    with pytest.raises(TypeError, match="raise_val must return a value of a registered class"):
        pb.jit(opened)(cls(ONES))
    q, _ = weights(3, 4)
    cls, _ = boxes(raise_val=lambda self, x: q)
    with pytest.raises(TypeError, match=r"asked for a value of type BoxType\(\), returned one of type q8\[3,4\]"):
        pb.jit(opened)(cls(ONES))


def test_types_of_entries_must_have_the_parts_of_entries():
    cls, _ = boxes(dec_rank=lambda self, size, spec: self)
    with pytest.raises(
        TypeError, match=r"dec_rank\(2, MappingSpec\(\)\).*an axis of length 2 in front.*lo_ty says f32"
    ):
        pb.vmap(opened, FRONT, axis_size=2)(cls(ONES))
    cls, _ = boxes(inc_rank=lambda self, size, spec: self)
    with pytest.raises(TypeError, match=r"inc_rank\(3, MappingSpec\(\)\).*an axis of length 3 in front"):
        pb.vmap(lambda x: cls(ONES), out_axes=FRONT)(pnp.ones(3))


# ---- use as an array


@pytest.mark.parametrize(
    "use",
    [
        pnp.sin,
        pnp.sum,
        lambda q: pnp.stack([q, q]),
        lambda q: pnp.where(True, q, q),
        lambda q: pnp.ones((2, 3)) @ q,
        lambda q: lax.dynamic_slice(q, (0, 0), (1, 1)),
    ],
)
def test_operations_of_arrays_refuse_values(use):
    q, _ = weights(3, 4)
    for call in (use, pb.jit(use), pb.grad(lambda q: use(q).sum())):
        with pytest.raises(TypeError) as caught:
            call(q)
        assert "q8[3,4]" in str(caught.value) or "unsupported operand" in str(caught.value)


@pytest.mark.parametrize("convert", [bool, float, int, np.asarray])
def test_a_traced_value_has_no_number(convert):
    q, _ = weights(3, 4)
    with pytest.raises(TypeError, match=r"q8\[3,4\] is no array.*function with rules"):
        pb.jit(lambda q: convert(q))(q)


def test_parts_of_a_traced_value_are_read_in_functions_with_rules():
    q, _ = weights(3, 4)
    for transform in (pb.jit, pb.grad):
        with pytest.raises(AttributeError, match=r"q8\[3,4\] has no attribute 'scales'.*function with rules"):
            transform(lambda q: q.scales.sum())(q)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        pb.jit(lambda q: q.nothing)(q)
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        pb.jit(lambda q: q.other)(q)


@pytest.mark.parametrize(
    ("use", "name"),
    [
        (lambda q: q * 2, "mul"),
        (lambda q: 2 * q, "mul"),
        (lambda q: q @ q, "matmul"),
        (lambda q: q == q, "eq"),
        (lambda q: abs(q), "abs"),
        (len, "len"),
        (lambda q: [*q], "iter"),
    ],
)
def test_operators_that_the_type_does_not_declare(use, name):
    q, _ = weights(3, 4)
    with pytest.raises(
        TypeError, match=rf"has no operator '{name}'\. Declare it on the type, QuantisedType\._r?{name}"
    ):
        pb.jit(use)(q)


# ---- derivatives


def test_parts_have_no_derivatives():
    q, _ = weights(3, 4)

    with pytest.raises(NotImplementedError, match=r"q8\[3,4\] is made of parts that are being differentiated"):
        pb.grad(lambda s: dequantise(Quantised(q.numbers, s)).sum())(q.scales)

    @pb.custom_jvp
    def rows(q):
        return q.scales

    # at the second order the rule is differentiated, which reads parts
    rows.defjvp(lambda primals, tangents: (rows(*primals), tangents[0].sum(-1) * primals[0].scales))
    pb.grad(lambda q: rows(q).sum())(q)
    gradient = pb.grad(lambda q: rows(q).sum())
    for inner in (gradient, pb.jit(gradient)):
        with pytest.raises((NotImplementedError, AttributeError), match=r"differentiat|no attribute 'scales'"):
            pb.grad(lambda q, inner=inner: inner(q).sum())(q)


def test_cotangents_and_tangents_have_the_tangent_type():
    q, _ = weights(3, 4)
    w, t = array(3, 4), pnp.ones(3)
    with pytest.raises(ValueError, match=r"cotangent.*q8\[3,4\] have the type f32\[3,4\].*got f32\[3\]"):
        pb.vjp(quantise, w)[1](t)
    with pytest.raises(TypeError, match=r"have the type f32\[3,4\].*got q8\[3,4\]"):
        pb.vjp(quantise, w)[1](q)
    with pytest.raises(ValueError, match=r"tangent of argument 'q'.*have the type f32\[3,4\].*got f32\[3\]"):
        pb.jvp(dequantise, (q,), (t,))
    with pytest.raises(ValueError, match=r"have the type f32\[3,4\].*got i32\[3,4\]"):
        pb.jvp(dequantise, (q,), (w.astype("int32"),))


def test_a_gradient_needs_a_scalar_result():
    with pytest.raises(TypeError, match=r"must return a scalar, got a value of type q8\[3,4\]"):
        pb.grad(quantise)(array(3, 4))


def test_rules_return_tangents_of_the_tangent_type():
    q, _ = weights(3, 4)

    @pb.custom_vjp
    def f(q):
        return dequantise(q)

    f.defvjp(lambda q: (f(q), q), lambda q, ct: (q,))
    with pytest.raises(RuleError, match=r"must be an array of type f32\[3,4\].*got a value of type q8\[3,4\]"):
        pb.grad(lambda q: f(q).sum())(q)
    f.defvjp(lambda q: (f(q), None), lambda _, ct: (ct[0],))
    with pytest.raises(RuleError, match=r"expected f32\[3,4\], got f32\[4\]"):
        pb.grad(lambda q: f(q).sum())(q)


def test_values_without_derivative():
    cls, _ = boxes(to_tangent_aval=lambda self: ShapedArray((), pb.float0))
    with pytest.raises(TypeError, match=r"values of type BoxType\(\) have no derivative"):
        pb.grad(lambda box: opened(box).sum())(cls(ONES))


# ---- vmap and loops


def test_vmap_asks_for_a_spec_and_a_size():
    q, _ = weights(3, 4)
    with pytest.raises(ValueError, match=r"'q' is of type q8\[3,4\]: its in_axes must be a MappingSpec.*axis_size"):
        pb.vmap(dequantise)(q)
    with pytest.raises(ValueError, match="pass axis_size"):
        pb.vmap(dequantise, FRONT)(q)
    with pytest.raises(ValueError, match=r"no leading axis of length 5, which is axis_size"):
        pb.vmap(dequantise, FRONT, axis_size=5)(q)
    with pytest.raises(ValueError, match="'x' is an array: its in_axes must be an int or None"):
        pb.vmap(quantise, FRONT, axis_size=3)(array(3, 4))
    with pytest.raises(ValueError, match="out_axes must be a MappingSpec"):
        pb.vmap(quantise)(array(5, 3, 4))
    with pytest.raises(ValueError, match="is an array: out_axes must be an int or None"):
        pb.vmap(pnp.sin, out_axes=FRONT)(array(3))
    with pytest.raises(ValueError, match="out_axes is None for leaf 0"):
        pb.vmap(quantise, out_axes=None)(array(5, 3, 4))


def test_scan_checks_lengths_and_types():
    q, _ = weights(3, 4)
    with pytest.raises(ValueError, match=r"leading axes must have one length, but\n  xs of type q8\[3,4\]\n  length=7"):
        lax.scan(lambda c, q: (c, None), 0.0, q, length=7)
    with pytest.raises(TypeError, match=r"expected q8\[3,4\], got q8\[2\]"):
        lax.scan(lambda c, _: (quantise(ONES), None), q, None, length=2)
    with pytest.raises(TypeError, match=r"expected f32\[\], got q8\[3,4\]"):
        lax.cond(True, lambda q: q, lambda q: 1.0, q)
    single = Quantised(pnp.array(1, "int8"), pnp.array(1.0))
    with pytest.raises(ValueError, match=r"q8\[\] have no axis to map or to loop over"):
        lax.scan(lambda c, q: (c, None), 0.0, dataclasses.replace(single))


def test_unregistered_classes_are_refused_as_before():
    with pytest.raises(TypeError, match="argument 'box': expected an array or a number, got"):
        pb.jit(opened)(Box(ONES))


def test_a_type_is_no_argument_of_a_compiled_function():
    with pytest.raises(TypeError, match="which has no data"):
        pb.jit(dequantise)(QuantisedType((3, 4)))


@pytest.mark.parametrize(
    "use",
    [pnp.sin, lambda q: q + 1, lambda q: pnp.ones(2) * q, pnp.sum, pnp.sort, lambda q: pnp.einsum("i,i->", q, q)],
)
def test_a_type_with_shape_and_dtype_is_no_array_either(use):
    shape, dtype = (2,), np.dtype("float32")
    cls, _ = boxes(shape=shape, dtype=dtype, ndim=1, size=2, to_tangent_aval=lambda self: ShapedArray(shape, dtype))
    box = cls(ONES)
    box.value = box._value = np.ones(2)
    for call in (use, pb.jit(use), pb.grad(lambda q: pnp.sum(use(q))), pb.make_jaxpr(use)):
        with pytest.raises(TypeError, match=r"BoxType|unsupported operand"):
            call(box)
