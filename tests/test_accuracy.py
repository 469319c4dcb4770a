"""A part of `make accuracy`: values and derivatives within the goals of docs/accuracy.md, on thin grids.

The whole table has its lines checked where it is printed; here stand functions whose formulas are our own.
"""

import fnmatch
import math

import mpmath as mp
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from benchmarks.accuracy import exact, grid, kept, reasons, report
from benchmarks.accuracy.compare import Cell, Line, lines
from benchmarks.accuracy.special import beta_tails
from benchmarks.accuracy.table import TABLE

FUNCTIONS = {f.name: f for f in TABLE}

CHECKED = [
    "numpy.exp2",
    "numpy.expm1",
    "numpy.log1p",
    "numpy.log2",
    "numpy.tanh",
    "numpy.arcsinh",
    "numpy.arctan",
    "numpy.arcsin",
    "nn.sigmoid",
    "nn.softplus",
    "nn.log_sigmoid",
    "nn.silu",
    "nn.gelu tanh",
    "nn.soft_sign",
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CHECKED)
def test_within_the_goals(name, dtype):
    for line in lines(FUNCTIONS[name], (dtype,), columns=("eager", "compiled"), scale=0.15, keep=False):
        assert line.good, line


def test_compiled_log1p_where_xla_loses_digits():
    x = np.linspace(-0.42, -0.29, 2001)
    with pb.enable_x64(), mp.workdps(30):
        got = np.asarray(pb.jit(pnp.log1p)(x))
        exact = [mp.log1p(mp.mpf(float(v))) for v in x]
        errors = [
            abs(float((mp.mpf(float(y)) - right) / np.spacing(abs(y)))) for y, right in zip(got, exact, strict=True)
        ]
    assert max(errors) <= 4


def test_exact_values_are_those_of_a_function_that_is_known():
    points = [np.array([0.25, 1e-30, 700.0], "float64")]
    value = exact.on_grid(FUNCTIONS["numpy.expm1"], 0, 0, points, keep=False)
    np.testing.assert_array_equal(value.nearest, np.expm1(points[0]))
    second = exact.on_grid(FUNCTIONS["numpy.square"], 2, 0, points, keep=False)
    np.testing.assert_array_equal(second.nearest, [2, 2, 2])


@pytest.mark.parametrize(
    ("a", "b", "x"),
    [
        (2.5, 1e-9, 0.3),
        (1e-12, 3e-10, 1e-6),
        (250.0, 0.2, 0.999),
        (1e-7, 40.0, 1e-3),
        (3e3, 7e3, 0.31),
        (5e3, 60.0, 0.98),
        (1e-30, 2.0, 0.5),
        (0.7, 1e-20, 1e-10),
        (10.0, 4.6e6, 0.0017),
        (1e3, 3.4e-6, 0.9986),
        (2.0, 3.0, 0.4),
    ],
)
def test_the_quick_parts_of_the_beta_distribution_are_those_of_mpmath(a, b, x):
    with mp.workprec(200):
        parts = beta_tails(*map(mp.mpf, (a, b, x)))
        with mp.workprec(600):
            exact = mp.betainc(a, b, 0, x, regularized=True), mp.betainc(b, a, 0, 1 - mp.mpf(x), regularized=True)
        for got, right in zip(parts, exact, strict=True):
            assert abs(got - right) <= mp.ldexp(right, -140)


def test_the_grid_goes_to_the_edges_of_the_dtype():
    (x,) = grid.of_function(FUNCTIONS["numpy.exp"], np.dtype("float32"))
    assert 0 < x[x > 0].min() < 1e-36
    assert x.max() > 1e37
    assert np.all(np.isfinite(x))


MISSED = Line(
    "numpy.exp", "float32", 0, 4.0, {"eager": Cell(math.inf, (1.0, -math.inf), 1, 0, math.nan, 2.5), "compiled": None}
)


def test_lines_are_kept_in_a_file(tmp_path):
    path = tmp_path / "lines"
    assert kept.read(path) == {}
    other = MISSED._replace(order=1, cells={"eager": Cell(0.5, (1.0,), 0, 0, 1.0, 1.0)})
    kept.append(path, [MISSED, other])
    kept.append(path, [other._replace(limit=16.0)])
    found = kept.read(path)
    assert list(found) == [("numpy.exp", "float32", 0), ("numpy.exp", "float32", 1)]
    assert repr(found["numpy.exp", "float32", 0]) == repr(MISSED)  # not ==: nan
    assert found["numpy.exp", "float32", 1] == other._replace(limit=16.0)


def test_a_line_that_misses_its_goal_is_open_or_has_its_reason(monkeypatch):
    assert report.summary([MISSED]).splitlines()[-1].endswith(" open |")
    monkeypatch.setattr(
        reasons,
        "REASONS",
        (reasons.Reason("numpy.e?p", "float64", None, "not this"), reasons.Reason("numpy.e?p", None, 0, "because")),
    )
    assert report.summary([MISSED]).splitlines()[-1].endswith(" because |")


@pytest.mark.parametrize("reason", reasons.REASONS, ids=lambda reason: reason.name)
def test_reasons_are_of_functions_that_there_are(reason):
    assert any(fnmatch.fnmatchcase(name, reason.name) for name in FUNCTIONS)
