"""Values that have one right answer: closeness of integers, products in the dtype asked for, edges of bins, order."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax


def both(fun):
    return fun, pb.jit(fun)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint8", "uint32", "bool"])
def test_closeness_of_integers_whose_difference_overflows(dtype):
    least, most = (False, True) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    a, b = np.array([least, most, most, least], dtype), np.array([most, least, most, least], dtype)
    for close in both(lambda a, b: pnp.isclose(a, b)):
        assert close(a, b).tolist() == [False, False, True, True]
    for close in both(lambda a, b: pnp.allclose(a, b, rtol=0.5)):
        assert not close(a, b)
        assert close(a[2:], b[2:])


def test_closeness_of_64_bit_integers():
    with pb.enable_x64():
        a, b = pnp.array([-(2**63), 2**63 - 1, 5]), pnp.array([2**63 - 1, -(2**63), 5])
        assert a.dtype == np.int64
        for close in both(lambda a, b: pnp.isclose(a, b)):
            assert close(a, b).tolist() == [False, False, True]


PRODUCTS = {
    "matmul": lambda x, y, d: pnp.matmul(x, y, preferred_element_type=d),
    "dot": lambda x, y, d: pnp.dot(x, y, preferred_element_type=d),
    "vdot": lambda x, y, d: pnp.vdot(x, y, preferred_element_type=d),
    "inner": lambda x, y, d: pnp.inner(x, y, preferred_element_type=d),
    "tensordot": lambda x, y, d: pnp.tensordot(x, y, 1, preferred_element_type=d),
    "einsum": lambda x, y, d: pnp.einsum("i,i->", x, y, preferred_element_type=d),
    "vecdot": lambda x, y, d: pnp.vecdot(x, y, preferred_element_type=d),
    "lax.dot": lambda x, y, d: lax.dot(x, y, preferred_element_type=d),
    "dot with a scalar": lambda x, y, d: pnp.dot(x, y[0], preferred_element_type=d)[0] + 1.0,
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_operands_are_converted_before_they_are_multiplied(name):
    for dtype, preferred, value in (
        ("int32", "float32", 70000),
        ("int16", "int32", 300),
        ("int8", "float32", 100),
        ("uint32", "float32", 70000),
        ("float16", "float32", 300),
    ):
        x = np.array([value, 1], dtype)
        for product in both(lambda x: PRODUCTS[name](x, x, preferred)):  # noqa: B023
            got = product(x)
            assert float(got) == pytest.approx(value * value + 1, rel=1e-6)


def test_lengths_that_differ_are_refused_also_where_one_is_1():
    for fun, shapes in (
        (pnp.matvec, ((2, 3), (1,))),
        (pnp.matvec, ((2, 1), (3,))),
        (pnp.vecmat, ((1,), (3, 2))),
        (pnp.vecmat, ((3,), (1, 2))),
        (pnp.matmul, ((2, 3), (1,))),
        (pnp.vecdot, ((3,), (1,))),
        (pnp.vecdot, ((1,), (3,))),
    ):
        x, y = (np.ones(s, "float32") for s in shapes)
        for run in both(fun):
            with pytest.raises((ValueError, TypeError), match=r"\(.*1.*\)"):
                run(x, y)
    assert pnp.matvec(np.ones((1, 2, 3)), np.ones((5, 3))).shape == (5, 2)


@pytest.mark.parametrize("dtype", ["float8_e5m2", "float8_e4m3fn", "float8_e4m3", "bfloat16", "float16"])
def test_order_of_small_floats_with_nan(dtype):
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    values = [1, np.nan, -1, -2, 0, 3]
    x = np.array(values, kind)

    def listed(a):
        return np.asarray(a).astype(np.float32)

    for sort in both(pnp.sort):
        np.testing.assert_array_equal(listed(sort(x)), np.sort(np.float32(values)))
    for find, expected in ((pnp.argsort, np.argsort(values, kind="stable")), (pnp.argmax, 1), (pnp.argmin, 1)):
        for run in both(find):
            np.testing.assert_array_equal(run(x), expected)
    for run in both(lambda x: pnp.unique(x, size=6)):
        np.testing.assert_array_equal(listed(run(x)), np.unique(np.float32(values)))
    for find, expected in ((pnp.max, np.nan), (pnp.min, np.nan), (pnp.nanmax, 3), (pnp.nanmin, -2)):
        for run in both(find):
            np.testing.assert_array_equal(listed(run(x)), expected)
    for run in both(pnp.searchsorted):
        assert run(np.sort(np.float32(values)).astype(kind), np.array([0, 2.5], kind)).tolist() == [2, 4]


@pytest.mark.parametrize(
    ("data", "bins", "span"),
    [
        ([1, 2, 3, 10, 11, 15, 19, 25], 5, (0, 25)),
        (range(100), 10, (0, 100)),
        (range(50), 7, None),
        ([0.1, 0.2, 0.3, 0.7, 0.9], 10, (0, 1)),
        ([-3, -1, 0, 1, 3], 6, (-3, 3)),
    ],
    ids=str,
)
def test_histograms_as_numpy_counts(data, bins, span):
    x = np.array(list(data), "float32")
    counts, edges = np.histogram(x, bins, span)
    for run in both(lambda x: pnp.histogram(x, bins, span)):
        got, at = run(x)
        np.testing.assert_array_equal(got, counts)
        np.testing.assert_array_equal(at, edges.astype("float32"))
    for run in both(lambda x: pnp.digitize(x, pnp.histogram_bin_edges(x, bins, span))):
        np.testing.assert_array_equal(run(x), np.digitize(x, edges.astype("float32")))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_linspace_is_rounded_once(dtype):
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    for low, high, n in ((0, 25, 6), (0, 1, 11), (-3, 3, 7), (1, 1.5, 8), (100, 3, 5)):
        for run in both(lambda a, b: pnp.linspace(a, b, n, dtype=kind)):  # noqa: B023
            np.testing.assert_array_equal(
                np.asarray(run(low, high), np.float64), np.linspace(low, high, n).astype(kind).astype(np.float64)
            )


SCALARS = (True, 2, 2.5, 2 + 0j)
STRONG = {
    "power": pnp.power,
    "hypot": pnp.hypot,
    "heaviside": pnp.heaviside,
    "copysign": pnp.copysign,
    "logaddexp2": pnp.logaddexp2,
    "gcd": pnp.gcd,
    "lcm": pnp.lcm,
    "add": pnp.add,
    "divide": pnp.divide,
    "float_power": pnp.float_power,
    "maximum": pnp.maximum,
    "arctan2": pnp.arctan2,
    "nextafter": pnp.nextafter,
}


if not jax.__version__.startswith("0.10."):
    del STRONG["hypot"]  # weak there since 0.12


@pytest.mark.parametrize("name", STRONG)
def test_results_beside_python_scalars_are_as_weak_as_in_jax(name):
    ours, theirs = STRONG[name], getattr(jnp, name)

    def typed(fun, shape_of, array, x, scalar, turned):
        def call():
            a = array(np.ones(2), x) if x != "weak" else array(3)
            return fun(scalar, a) if turned else fun(a, scalar)

        try:
            result = shape_of(call)
        except (TypeError, ValueError):
            return None
        return result.dtype, result.weak_type

    checked = 0
    for x in ("int8", "uint32", "int32", "bfloat16", "float32", "weak"):
        for scalar in SCALARS:
            for turned in (False, True):
                expected = typed(theirs, jax.eval_shape, jnp.asarray, x, scalar, turned)
                got = typed(ours, pb.eval_shape, pnp.asarray, x, scalar, turned)
                if expected is not None and got is not None and not (turned and name == "heaviside"):
                    assert got == expected, (x, scalar, turned)
                    checked += 1
    assert checked > 2


def test_the_result_of_a_float_to_an_array_of_integers_is_strong():
    assert (2.5 ** pnp.array([1, 2]) + pnp.ones(2, "bfloat16")).dtype == np.float32
