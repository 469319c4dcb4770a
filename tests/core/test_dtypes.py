"""Dtypes, with JAX as the oracle of the promotion lattice."""

import itertools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src.dtypes import lattice_result_type

import pullback as pb
from pullback._core import dtypes
from pullback._core.config import config
from pullback._core.option_contexts import enable_x64

ALL = list(dtypes._ABSTRACT)
PYTHON = [int, float, complex]


@pytest.fixture(params=[False, True], ids=["x32", "x64"])
def x64(request):
    with enable_x64(request.param), jax.enable_x64(request.param):
        yield request.param


def outcome(function, *args):
    """The result, or that there is none."""
    try:
        return function(*args)
    except (dtypes.TypePromotionError, jax.dtypes.TypePromotionError):
        return "TypePromotionError"


def operand(dtype, weak):
    """What JAX's promotion reads of an array."""
    return types.SimpleNamespace(
        dtype=dtype, shape=(), weak_type=weak, aval=jax.core.ShapedArray((), dtype, weak_type=weak)
    )


def jax_promote(*pairs):
    # the public result_type widens weak results to the default dtype; operations do not
    dtype, weak = lattice_result_type(*(operand(*p) for p in pairs))
    return jax.dtypes.canonicalize_dtype(dtype), weak


def test_the_oracle_sees_weak_types():
    assert jax_promote((np.dtype("int32"), True), (np.dtype("int8"), False)) == (np.dtype("int8"), False)


def test_promote_types_agrees_with_jax_on_all_pairs(x64):
    for a, b in itertools.product(ALL + PYTHON, repeat=2):
        assert outcome(dtypes.promote_types, a, b) == outcome(jnp.promote_types, a, b), (a, b)


def canonical_pairs():
    here = [d for d in ALL if dtypes.canonicalize_dtype(d) == d]
    return [(d, weak) for d in here for weak in ((False,) if dtypes.is_bool(d) else (False, True))]


def test_weak_promotion_agrees_with_jax_on_all_pairs(x64):
    for a, b in itertools.product(canonical_pairs(), repeat=2):
        expected = outcome(jax_promote, a, b)
        assert outcome(dtypes.promote, a, b) == expected, (a, b)
        assert outcome(dtypes.join, *a, *b) == expected, (a, b)


def test_weak_promotion_of_triples_agrees_with_jax(x64):
    names = ("bool", "int8", "uint32", "int32", "bfloat16", "float32", "complex64")
    some = [p for p in canonical_pairs() if p[0].name in names]
    for triple in itertools.combinations_with_replacement(some, 3):
        assert outcome(dtypes.promote, *triple) == outcome(jax_promote, *triple), triple


def test_promotion_of_one_and_of_none():
    assert dtypes.promote((np.dtype("int32"), True)) == (np.dtype("int32"), True)
    with pytest.raises(ValueError, match="at least one"):
        dtypes.promote()


@pytest.mark.parametrize(("a", "b", "narrow"), [
    (dtypes.float8_e5m2, np.dtype("float32"), "8-bit floats"),
    (dtypes.int4, np.dtype("int8"), "4-bit integers"),
])  # fmt: skip
def test_narrow_dtypes_ask_for_a_cast(a, b, narrow):
    with pytest.raises(dtypes.TypePromotionError, match=rf"{narrow}.*astype"):
        dtypes.join(a, False, b, False)
    with pytest.raises(dtypes.TypePromotionError, match="float0"):
        dtypes.promote_types(dtypes.float0, b)


def test_join_caches_per_x64_setting():
    args = (np.dtype("int32"), False, np.dtype("uint32"), False)
    assert dtypes.join(*args)[0] == np.int32
    with enable_x64():
        assert dtypes.join(*args)[0] == np.int64
    assert dtypes.join(*args)[0] == np.int32


def test_canonicalize_agrees_with_jax(x64):
    for dtype in ALL + PYTHON + [bool, np.float64, "uint64", "c16", np.longlong, dtypes.float0]:
        assert dtypes.canonicalize_dtype(dtype) == jax.dtypes.canonicalize_dtype(dtype), dtype
    assert dtypes.canonicalize_dtype("bfloat16") is dtypes.bfloat16


def test_the_public_canonicalize_dtype(x64):
    key = pb.random.key(0).dtype
    for dtype in (None, float, "int64", np.complex128, dtypes.bfloat16):
        assert pb.dtypes.canonicalize_dtype(dtype) == jax.dtypes.canonicalize_dtype(dtype), dtype
    assert pb.dtypes.canonicalize_dtype(key, allow_extended_dtype=True) is key
    with pytest.raises(TypeError, match="expected a dtype"):
        pb.dtypes.canonicalize_dtype(key)


def test_canonicalize_gives_native_order():
    assert dtypes.canonicalize_dtype(">f4").isnative


@pytest.mark.parametrize("bad", [None, object, "U3", "datetime64[s]", "no such", 3.5, [("x", "f4")], {}])
def test_canonicalize_refuses(bad):
    with pytest.raises(TypeError, match="expected a"):
        dtypes.canonicalize_dtype(bad)


def test_python_scalar_dtype(x64):
    bits = 64 if x64 else 32
    found = [dtypes.python_scalar_dtype(t).name for t in (bool, int, float, complex)]
    assert found == ["bool", f"int{bits}", f"float{bits}", f"complex{2 * bits}"]
    with pytest.raises(TypeError, match="expected bool, int, float or complex"):
        dtypes.python_scalar_dtype(str)


ABSTRACT = [np.generic, np.number, np.integer, np.signedinteger, np.unsignedinteger, np.inexact, np.floating,
            np.complexfloating]  # fmt: skip


def test_issubdtype_agrees_with_jax():
    concrete = ALL + [d.type for d in ALL] + [bool, int, float, complex, "float32", "int8"]
    for a, b in itertools.product(concrete + ABSTRACT, repeat=2):
        assert dtypes.issubdtype(a, b) == jnp.issubdtype(a, b), (a, b)


def test_issubdtype_refuses_what_is_no_dtype():
    with pytest.raises(TypeError, match="issubdtype"):
        dtypes.issubdtype("nonsense", np.floating)


def test_predicates_agree_with_issubdtype():
    for dtype in [*ALL, dtypes.float0, np.dtype(object), np.dtype("U1")]:
        assert dtypes.is_bool(dtype) == (dtype == np.bool_)
        assert dtypes.is_integer(dtype) == jnp.issubdtype(dtype, np.integer)
        assert dtypes.is_float(dtype) == jnp.issubdtype(dtype, np.floating)
        assert dtypes.is_complex(dtype) == jnp.issubdtype(dtype, np.complexfloating)
        assert dtypes.is_inexact(dtype) == jnp.issubdtype(dtype, np.inexact)


def test_limits_agree_with_jax():
    for dtype in ALL:
        if dtypes.is_inexact(dtype):
            assert dtypes.finfo(dtype).bits == jnp.finfo(dtype).bits
            assert dtypes.finfo(dtype).max == jnp.finfo(dtype).max
        elif dtypes.is_integer(dtype):
            assert (dtypes.iinfo(dtype).min, dtypes.iinfo(dtype).max) == (
                jnp.iinfo(dtype).min,
                jnp.iinfo(dtype).max,
            )
    with pytest.raises(ValueError, match="Try iinfo"):
        dtypes.finfo("int32")
    with pytest.raises(ValueError, match="Try finfo"):
        dtypes.iinfo("float32")


def test_short_names():
    expected = {"float32": "f32", "bfloat16": "bf16", "int32": "i32", "uint8": "u8", "bool": "bool",
                "complex64": "c64", "float8_e4m3fn": "f8_e4m3fn", "int4": "i4", "uint4": "u4"}  # fmt: skip
    assert {name: dtypes.short_name(dtypes.canonicalize_dtype(name)) for name in expected} == expected
    assert dtypes.short_name(dtypes.float0) == "float0"
    assert len({dtypes.short_name(d) for d in ALL}) == len(ALL)


def test_to_inexact_agrees_with_sin_in_jax(x64):
    for dtype in ALL:
        if dtypes.canonicalize_dtype(dtype) == dtype and dtype not in (*dtypes._FLOAT8, dtypes.int4, dtypes.uint4):
            assert dtypes.to_inexact(dtype, False) == (jnp.sin(jnp.ones((), dtype)).dtype, False), dtype
    default = dtypes.python_scalar_dtype(float)
    assert dtypes.to_inexact(dtypes.python_scalar_dtype(int), True) == (default, True)
    assert jnp.sin(1).dtype == default
    with pytest.raises(TypeError, match="to_inexact"):
        dtypes.to_inexact(dtypes.float0, False)


def test_tangent_dtype():
    for dtype in ALL:
        expected = dtype if dtypes.is_inexact(dtype) else dtypes.float0
        assert dtypes.tangent_dtype(dtype) == expected
    assert dtypes.float0 == jax.dtypes.float0
    assert config.enable_x64 is False


def test_scalar_types_are_found_in_sets_of_numpy_classes():
    for numpy, name in ((pb.numpy, "int32"), (jnp, "int32"), (pb.numpy, "bfloat16"), (jnp, "bfloat16")):
        kind = getattr(numpy, name)
        assert dtypes.canonicalize_dtype(name).type in {kind}
        assert kind in {dtypes.canonicalize_dtype(name).type: 1}
