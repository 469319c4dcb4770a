"""64-bit dtypes: what asking for them does where they are off, and arrays that were made while they were on."""

import subprocess
import sys
import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax, nn, random

X = np.arange(1.0, 4.0, dtype=np.float32)
KEY = random.key(0)


def by_keyword(fun, *args, keyword="dtype"):
    """The function of a dtype, which it takes under this name."""

    def asked(dtype):
        return fun(*args, **{keyword: dtype})

    return asked


# functions of a dtype, to which they give what they make
ASKED = {
    "zeros": partial(pnp.zeros, 2),
    "full": partial(pnp.full, 2, 1.0),
    "ones_like": partial(pnp.ones_like, X),
    "array": partial(pnp.array, [1.0]),
    "asarray": partial(pnp.asarray, np.ones(2)),
    "astype": pnp.asarray(X).astype,
    "sum": by_keyword(pnp.sum, X),
    "mean": by_keyword(pnp.mean, X),
    "cumsum": by_keyword(pnp.cumsum, X),
    "linspace": by_keyword(pnp.linspace, 0, 1, 3),
    "arange": by_keyword(pnp.arange, 3),
    "eye": by_keyword(pnp.eye, 2),
    "concatenate": by_keyword(pnp.concatenate, [X, X]),
    "matmul": by_keyword(pnp.matmul, X, X, keyword="preferred_element_type"),
    "lax.full": partial(lax.full, (2,), 1.0),
    "lax.full_like": partial(lax.full_like, X, 1.0),
    "lax.iota": partial(lax.iota, size=3),
    "lax.convert_element_type": partial(lax.convert_element_type, X),
    "random.normal": partial(random.normal, KEY, (2,)),
    "one_hot": by_keyword(nn.one_hot, np.arange(2), 3),
    "initializer": partial(nn.initializers.zeros, KEY, (2,)),
    "ShapeDtypeStruct": partial(pb.ShapeDtypeStruct, (2,)),
}


@pytest.mark.parametrize("name", ASKED)
def test_a_64_bit_dtype_by_name_warns_and_is_narrowed(name):
    for dtype in ("float64", np.float64, np.dtype("float64"), pnp.float64):
        with pytest.warns(UserWarning, match="dtype float64 was asked for.*'enable_x64'.*ask for float32") as record:
            assert ASKED[name](dtype).dtype == np.float32
        assert record[0].filename == __file__


@pytest.mark.parametrize("name", ASKED)
def test_the_default_float_and_64_bits_turned_on_do_not_warn(name):
    assert ASKED[name](float).dtype == np.float32
    with pb.enable_x64():
        assert ASKED[name]("float64").dtype == np.float64


def test_data_and_questions_do_not_warn():
    assert pnp.asarray(np.ones(2)).dtype == pnp.sin(np.ones(2)).dtype == np.float32
    assert pnp.zeros_like(np.ones(2)).dtype == np.float32
    assert pb.dtypes.canonicalize_dtype("float64") == pnp.result_type("float64") == np.float32
    assert pnp.finfo("float64").dtype == np.float64


def test_the_warning_comes_once_per_place():
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("default")
        for _ in range(3):
            pnp.zeros(2, "int64")
        pnp.zeros(2, "int64")
    assert len(record) == 2


def kept():
    """Arrays of 64 bits."""
    with pb.enable_x64():
        return pnp.arange(1.0, 4.0), pnp.arange(3), pnp.arange(1.0, 4.0) * 1j


def running_sums(x):
    return lax.scan(lambda c, v: (c + v, v), x[0], x)[0]


def chosen(x):
    return lax.cond(True, lambda v: v, lambda v: v * 2, x)


def eightfold(x):
    return lax.fori_loop(0, 3, lambda i, v: v * 2, x)


OF_KEPT = {
    "x + 1": lambda x: x + 1,
    "2.5 * x": lambda x: 2.5 * x,
    "x + x": lambda x: x + x,
    "x ** 2": lambda x: x**2,
    "x + float32": lambda x: x + np.float32(1),
    "sin": pnp.sin,
    "sum": pnp.sum,
    "mean": pnp.mean,
    "var": pnp.var,
    "cumsum": pnp.cumsum,
    "matmul": lambda x: x @ x,
    "where": lambda x: pnp.where(x > 1, x, 0.0),
    "sort": pnp.sort,
    "x[0]": lambda x: x[0],
    "x[i]": lambda x: x[np.array([0])],
    "set": lambda x: x.at[0].set(1.0),
    "add": lambda x: x.at[np.array([1])].add(2),
    "grad": pb.grad(lambda x: (x**2).sum()),
    "hessian": pb.hessian(lambda x: (x**3).sum()),
    "jvp": lambda x: pb.jvp(pnp.sin, (x,), (x,))[1],
    "vmap": pb.vmap(lambda v: v * 2),
    "scan": running_sums,
    "cond": chosen,
    "fori_loop": eightfold,
    "softmax": nn.softmax,
    "zeros_like": pnp.zeros_like,
    "full_like": lambda x: pnp.full_like(x, 1.0),
    "astype": lambda x: x.astype(x.dtype),
    "array": pnp.array,
    "list": lambda x: pnp.array([x, x]),
    "clip": lambda x: pnp.clip(x, 0, 1),
    "inv": lambda x: pnp.linalg.inv(pnp.diag(x)),
    "norm": pnp.linalg.norm,
    "pad": lambda x: pnp.pad(x, 1),
    "sign": pnp.sign,
    "linspace": lambda x: pnp.linspace(x[0], x[1], 3),
    "sigmoid": nn.sigmoid,
}


@pytest.mark.parametrize("name", OF_KEPT)
def test_what_was_made_with_64_bits_keeps_them_when_they_are_off_again(name):
    x, _, _ = kept()
    fun = OF_KEPT[name]
    with pb.enable_x64():
        expected = fun(x)
    for run in (fun, pb.jit(fun)):
        got = run(x)
        assert got.dtype == expected.dtype == np.float64
        np.testing.assert_allclose(got, expected, rtol=1e-14)


def test_integers_and_complex_numbers_keep_their_width_too():
    _, i, z = kept()
    assert (i + 1).dtype == (i**2).dtype == i.sum().dtype == np.int64
    assert pnp.sin(i).dtype == abs(z).dtype == np.float64
    assert (z * z).dtype == np.complex128
    # what is new, and not made of them, is narrow
    assert pnp.argmax(i).dtype == np.int32
    assert pnp.promote_types("int32", "uint32") == (np.int32(1) + pnp.uint32(1)).dtype == np.int32


def test_dtypes_in_a_fresh_process():
    """`bool` is a dtype in pullback.numpy, which comparisons of dtypes must not call."""
    program = """
import pullback.numpy as pnp
from pullback import dtypes
assert pnp.zeros(2, pnp.bool).dtype == pnp.bool and pnp.ones(2).astype(pnp.bool_).dtype == bool
for answer in (dtypes.canonicalize_dtype(pnp.float32) == pnp.float32, pnp.float32 == "float32", pnp.bool == pnp.bool_):
    assert answer is True, answer
for other in (None, "a:b, c", "no such", 4, [], object(), pnp.float16, "float16", pnp.zeros):
    assert (pnp.float64 == other) is False and (pnp.float64 != other) is True, other
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


@pytest.mark.parametrize(
    "of",
    [
        (np.uint16, np.int32),
        (np.float32, 1),
        (np.float32, 1.5),
        (np.int8, 1.5),
        (np.int16, True),
        (int, np.int8),
        (np.float16(1), 2),
        (np.array(1, "int8"), np.uint8),
        ("int8", "uint8"),
        (np.dtype("int16"), 1j),
        (bool, int),
        (1, 2.0),
        (np.int8, np.bool_),
    ],
    ids=str,
)
def test_result_type_of_scalar_types_and_scalars_as_jax(of):
    assert pnp.result_type(*of) == jnp.result_type(*of)
    assert pnp.result_type(*of[::-1]) == jnp.result_type(*of[::-1])
    with pb.enable_x64(), jax.enable_x64(True):
        assert pnp.result_type(*of) == jnp.result_type(*of)


def test_can_cast_takes_scalar_types():
    assert pnp.can_cast(np.uint16, np.int32)
    assert not pnp.can_cast(np.int32, pnp.uint16)
