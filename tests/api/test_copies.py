"""A copy lives on where the original is donated to a compiled function, and keeps its values."""

import copy
from functools import partial
from operator import methodcaller

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp

COPIES = {
    "x.copy": methodcaller("copy"),
    "copy": pnp.copy,
    "array": pnp.array,
    "array, copy": partial(pnp.array, copy=True),
    "asarray, copy": partial(pnp.asarray, copy=True),
    "ravel": pnp.ravel,
    "x.ravel": methodcaller("ravel"),
    "flatten": methodcaller("flatten"),
    "astype, copy": methodcaller("astype", "float32", copy=True),
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    "jit": pb.jit(lambda x: x),
    "x[:]": lambda x: x[:],
    "x + 0": lambda x: x + 0,
}


@pytest.mark.parametrize("make", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("donates_copy", [False, True])
def test_a_copy_and_its_original_are_donated_one_by_one(make, on_device, donates_copy):
    x = pnp.arange(4.0) * 1
    if on_device:
        x = pb.jit(lambda v: v * 1)(x)
    y = make(x)
    given, kept = (y, x) if donates_copy else (x, y)
    assert pb.jit(lambda v: v + 1, donate_argnums=0)(given).tolist() == [1, 2, 3, 4]
    assert given.is_deleted()
    assert kept.tolist() == [0, 1, 2, 3]


def test_a_copy_keeps_type_and_weakness_and_is_traced_as_the_value_itself():
    assert pnp.copy(pnp.asarray(1.0)).weak_type
    assert pb.jit(lambda x: x.copy())(np.ones(2, "int8")).dtype == np.int8
    assert pb.grad(lambda x: x.copy() * 2)(1.0) == 2


@pytest.mark.parametrize(
    ("x", "text", "whole"),
    [
        (pnp.ones(4), "float32[4]", "ShapedArray(float32[4])"),
        (pnp.asarray(1.0), "~float32[]", "ShapedArray(float32[], weak_type=True)"),
        (pnp.ones((2, 3), "bfloat16"), "bfloat16[2,3]", "ShapedArray(bfloat16[2,3])"),
    ],
    ids=["vector", "number", "bfloat16"],
)
def test_types_print_as_in_jax(x, text, whole):
    assert (str(pb.typeof(x)), repr(pb.typeof(x))) == (text, whole)
