"""Complex functions at infinities, signed zeros, on branch cuts and for tiny arguments: as in Annex G of C."""

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp

INF, NAN = np.inf, np.nan


def number(re, im):
    z = np.empty((), "complex64")
    z.real, z.imag = re, im
    return z[()]


CASES = [
    ("sin", (1e-10, 1e-10), (1e-10, 1e-10)),
    ("sin", (1e-5, 1e-5), (1e-5, 1e-5)),
    ("sin", (0.0, 100.0), (0.0, INF)),
    ("sin", (0.0, 200.0), (0.0, INF)),
    ("sin", (1.0, -0.0), (np.sin(1), -0.0)),
    ("sin", (1e-6, 90.0), (1e-6 * np.cosh(90), INF)),
    ("cos", (1e-10, 1e-10), (1.0, -1e-20)),
    ("cos", (0.0, 200.0), (INF, -0.0)),
    ("sinh", (1e-10, 1e-10), (1e-10, 1e-10)),
    ("sinh", (200.0, 0.0), (INF, 0.0)),
    ("cosh", (200.0, 0.0), (INF, 0.0)),
    ("cosh", (NAN, 0.0), (NAN, 0.0)),
    ("sinh", (NAN, -0.0), (NAN, -0.0)),
    ("sin", (-0.0, NAN), (-0.0, NAN)),
    ("exp", (-INF, NAN), (0.0, 0.0)),
    ("exp", (-INF, INF), (0.0, 0.0)),
    ("exp", (-INF, -2.0), (-0.0, -0.0)),
    ("exp2", (INF, 0.0), (INF, 0.0)),
    ("exp2", (-INF, -2.0), (0.0, -0.0)),
    ("log2", (0.0, 0.0), (-INF, 0.0)),
    ("log2", (-0.0, 0.0), (-INF, np.pi / np.log(2))),
    ("log2", (-INF, 1.0), (INF, np.pi / np.log(2))),
    ("log10", (0.0, -0.0), (-INF, -0.0)),
    ("log10", (INF, INF), (INF, np.pi / 4 / np.log(10))),
    ("log10", (1.0, -INF), (INF, -np.pi / 2 / np.log(10))),
    ("expm1", (INF, 0.0), (INF, 0.0)),
    ("expm1", (-INF, 0.0), (-1.0, 0.0)),
    ("expm1", (-INF, -2.0), (-1.0, -0.0)),
    ("expm1", (-INF, INF), (-1.0, 0.0)),
    ("expm1", (-INF, NAN), (-1.0, 0.0)),
    ("expm1", (101.538459777832, 1.57079803943634), (-2.144170143e38, INF)),
    ("expm1", (101.538459777832, -1.1754943508222875e-38), (INF, -1471679.75)),
    ("expm1", (1e-10, 1e-5), (5e-11, 1e-5)),
    ("log1p", (1e-10, 1e-5), (1.5e-10, 1e-5)),
    ("log1p", (-1.0, -5.244122349291782e-27), (-60.512691497802734, -np.pi / 2)),
    ("log1p", (2.5e38, -2.5e38), (np.log(2.5e38) + np.log(2) / 2, -np.pi / 4)),
    ("arctan", (8.7133974258763e-33, -1.0), (np.pi / 4, -37.256797790527344)),
    ("arctanh", (-1.0, -5.244122349291782e-27), (-30.60291862487793, -np.pi / 4)),
    ("arctanh", (1.0, 0.0), (INF, 0.0)),
    ("tan", (1.5707945823669434, 0.00281701423227787), (0.219823257709, 354.986572265625)),
    ("tanh", (0.0017357030883431435, 1.5707980394363403), (576.1354370117188, -0.568479381719)),
    ("tanh", (INF, 1.0), (1.0, 0.0)),
    ("tanh", (-INF, 2.0), (-1.0, -0.0)),
    ("tanh", (-0.0, -0.0), (-0.0, -0.0)),
    ("tanh", (30.0, 0.5), (1.0, 2 * np.sin(1) * np.exp(-60))),
    ("tan", (1.0, INF), (0.0, 1.0)),
    ("square", (-0.9999998807907104, 1.1754943508222875e-38), (0.99999976158, -2.3509884213848822e-38)),
    ("square", (2e38, 1e-30), (INF, 4e8)),
    ("cos", (-0.9964790344238281, 0.14805284142494202), (0.549226676786, 0.12475434690713882)),
    ("sqrt", (-1.0, 0.0), (0.0, 1.0)),
    ("sqrt", (-1.0, -0.0), (0.0, -1.0)),
    ("reciprocal", (INF, INF), (0.0, -0.0)),
    ("sign", (1e-30, 0.0), (1.0, 0.0)),
    ("sign", (1e30, 1e30), (np.sqrt(0.5), np.sqrt(0.5))),
    ("sign", (INF, 0.0), (1.0, 0.0)),
    ("square", (1e-10, 1e-10), (0.0, 2e-20)),
    ("arccos", (2.5, -0.0), (0.0, np.arccosh(2.5))),
    ("arccos", (2.5, 0.0), (0.0, -np.arccosh(2.5))),
    ("arcsin", (2.5, -0.0), (np.pi / 2, -np.arccosh(2.5))),
    ("arcsin", (-2.5, 0.0), (-np.pi / 2, np.arccosh(2.5))),
    ("arccosh", (0.5, -0.0), (0.0, -np.pi / 3)),
    ("arccosh", (-2.5, -0.0), (np.arccosh(2.5), -np.pi)),
    ("arcsinh", (-0.0, 2.5), (-np.arccosh(2.5), np.pi / 2)),
]


@pytest.mark.parametrize("wrap", [lambda f: f, pb.jit], ids=["eager", "compiled"])
@pytest.mark.parametrize(("name", "at", "right"), CASES)
def test_values(name, at, right, wrap):
    z = np.asarray(wrap(getattr(pnp, name))(number(*at)))
    np.testing.assert_allclose([z.real, z.imag], right, rtol=2e-6)
    assert (np.signbit([z.real, z.imag]) == np.signbit(right))[~np.isnan(right)].all()


@pytest.mark.parametrize("wrap", [lambda f: f, pb.jit], ids=["eager", "compiled"])
def test_division_by_zero_is_infinite(wrap):
    z = np.asarray(wrap(pnp.reciprocal)(number(-0.0, 0.0)))
    assert z.real == -INF


@pytest.mark.parametrize("wrap", [lambda f: f, pb.jit], ids=["eager", "compiled"])
def test_real_edges(wrap):
    root = np.asarray(wrap(lambda x: x**0.5)(pnp.array([-INF, -0.0, 4.0])))
    np.testing.assert_array_equal(root, [INF, 0.0, 2.0])
    assert not np.signbit(root[1])
    assert not np.signbit(np.asarray(wrap(pnp.sign)(np.float32(-0.0))))
