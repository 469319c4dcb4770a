"""`find_inaccuracy` of programs in double precision, beside numbers of fifty digits."""

from decimal import Decimal

import mpmath
import numpy as np
import pytest
from losing_digits import log1pexp, softmax_by_hand, variance_in_one_pass

import pullback as pb
import pullback.numpy as pnp
import pullback.scipy.special as special
from pullback import lax, nn
from pullback._analysis.inaccuracy.decimals import Number
from pullback.debug import find_inaccuracy


@pytest.fixture(autouse=True)
def double_precision():
    with pb.enable_x64():
        yield


EXACT = {
    "exp": mpmath.exp,
    "exp2": lambda x: mpmath.power(2, x),
    "expm1": mpmath.expm1,
    "log": mpmath.log,
    "log2": lambda x: mpmath.log(x, 2),
    "log10": mpmath.log10,
    "log1p": mpmath.log1p,
    "sqrt": mpmath.sqrt,
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "tan": mpmath.tan,
    "sinh": mpmath.sinh,
    "cosh": mpmath.cosh,
    "tanh": mpmath.tanh,
    "arctan": mpmath.atan,
    "arcsin": mpmath.asin,
    "arccos": mpmath.acos,
}
DOMAINS = {
    **dict.fromkeys(("log", "log2", "log10", "sqrt"), (0, np.inf)),
    **dict.fromkeys(("exp", "exp2", "expm1", "sinh", "cosh"), (-1e6, 1e6)),
    **dict.fromkeys(("arcsin", "arccos"), (-1, 1)),
    "log1p": (-1, np.inf),
}
AT = [1e-200, 1e-12, 0.1, 0.78, 1.5, 3.0, 22.0, 1e5, 1e22, 1e300, -1e-11, -0.3, -700.0]


@pytest.mark.parametrize("name", EXACT)
def test_the_functions_of_numbers_are_right_to_45_digits(name):
    for x in AT:
        low, high = DOMAINS.get(name, (-np.inf, np.inf))
        if not low < x < high:
            continue
        got = getattr(Number(Decimal(x)), name)().value
        with mpmath.workdps(400):
            right = EXACT[name](mpmath.mpf(x))
            assert abs(mpmath.mpf(str(got)) - right) <= abs(right) * mpmath.mpf("1e-45"), (name, x)


def test_numbers_follow_the_rules_of_infinities_and_nans():
    one, zero, nan = Number(Decimal(1)), Number(Decimal(0)), Number(Decimal("nan"))
    assert float(one / zero) == np.inf
    assert np.isnan(float(zero / zero))
    assert not nan < 1
    assert not nan >= 1
    assert np.isnan(float(nan.exp()))
    assert float(zero**0) == 1.0
    # far beyond double precision
    assert float((one * 1000).exp() / (one * 1001).exp()) == pytest.approx(np.exp(-1.0))


def in_scan(x):
    return lax.scan(lambda c, a: (c + (pnp.exp(a) - 1.0), None), 0.0, pnp.stack([x, x]))[0]


def kinds(report):
    return [(row.primitive, row.kind) for row in report.rows]


def test_cancellations_overflows_and_poles_are_found():
    assert kinds(find_inaccuracy(log1pexp)(-30.0)) == [("log", "sensitive")]
    assert kinds(find_inaccuracy(log1pexp)(1000.0)) == [("exp", "overflow")]
    assert find_inaccuracy(softmax_by_hand)(pnp.array([1.0, 1000.0])).rows[0].kind == "overflow"
    report = find_inaccuracy(variance_in_one_pass)(1e6 + np.random.RandomState(0).rand(50))
    assert ("sub", "cancellation") in kinds(report)
    report = find_inaccuracy(lambda x: pnp.sqrt(x + 1.0) - pnp.sqrt(x))(1e30)
    assert ("sub", "cancellation") in kinds(report)
    assert report.errors["value"] == pytest.approx(1.0)
    for function in (in_scan, pb.jit(in_scan)):
        assert kinds(find_inaccuracy(function)(1e-9)) == [("sub", "cancellation")]


def test_special_functions_are_followed_to_first_order():
    # the error of the argument comes through the derivative of erf, of which there is no decimal form
    report = find_inaccuracy(lambda x: special.erf((1.0 + x) - 1.0))(1e-12)
    assert kinds(report)[0] == ("sub", "cancellation")
    assert report.errors["value"] == pytest.approx(abs((1 + 1e-12) - 1 - 1e-12) / 1e-12, rel=1e-3)


rng = np.random.RandomState(2)
X, M = rng.randn(12), rng.randn(4, 4)


def classifier(first, second):
    hidden = pnp.tanh(pnp.asarray(rng.randn(5, 4)) @ first)
    return -nn.log_softmax(hidden @ second)[:, 0].mean()


ACCURATE = [
    (pnp.exp, X),
    (pnp.sin, X),
    (pnp.var, X + 1000),
    (pnp.cumsum, X),
    (pnp.sort, X),
    (pnp.linalg.norm, X),
    (pnp.linalg.det, M @ M.T + 4 * np.eye(4)),
    (pnp.linalg.solve, M @ M.T + 4 * np.eye(4), X[:4]),
    (nn.logsumexp, X * 30),
    (nn.softmax, X * 30),
    (nn.softplus, X * 30),
    (special.gammaln, abs(X) + 2),
    (special.i0e, X),
    (classifier, M, M[:, :3]),
    (log1pexp, 20.0),
]


@pytest.mark.parametrize(("function", "args"), [(f, args) for f, *args in ACCURATE])
def test_a_program_without_loss_has_an_empty_report(function, args):
    report = find_inaccuracy(function)(*args)
    assert not report, report
    assert report.errors == {}
