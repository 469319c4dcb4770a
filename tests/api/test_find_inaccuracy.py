"""`find_inaccuracy`: the operation that loses digits, its line, pass, rule and step, and a better form."""

import functools
import re

import mpmath
import numpy as np
import pytest
from losing_digits import log1pexp, softmax_by_hand, variance_in_one_pass

import pullback as pb
import pullback.numpy as pnp
import pullback.scipy.special as special
from pullback import lax, nn
from pullback.debug import find_inaccuracy


def length(x):
    return pnp.sqrt(pnp.sum(x * x))


def long_sum(x):
    return lax.fori_loop(0, 20_000, lambda i, total: total + x, pnp.float32(0.0))


def determinant(m):
    return m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0]


def exp_minus_1(x):
    return pnp.exp(x) - 1.0


def kinds(report):
    return [(row.primitive, row.kind) for row in report.rows]


# --- the programs that people write ---


def test_the_gradient_of_log1pexp_at_100_overflows():
    report = find_inaccuracy(log1pexp)(100.0)
    assert kinds(report) == [("exp", "overflow")]
    assert report.rows[0].leaves == ["value", "gradient of 'x'"]
    assert not report.rows[0].backward
    assert "logaddexp" in report.rows[0].advice
    assert "custom rule" in report.rows[0].advice
    assert report.rows[0].location.function == "log1pexp"


def test_log1pexp_at_20_is_accurate_but_for_its_second_derivative():
    report = find_inaccuracy(log1pexp)(20.0)
    exact = 1 / (1 + mpmath.exp(-20))
    assert len(report) == 0
    assert abs(float(report.gradient) - exact) < 1e-7
    report = find_inaccuracy(pb.grad(log1pexp))(20.0)
    assert kinds(report) == [("add", "cancellation")]
    assert report.rows[0].leaves == ["gradient of 'x'"]
    # the derivative of the sigmoid, 2e-9, is lost altogether
    assert report.errors == {"gradient of 'x'": pytest.approx(1.0)}


def test_log1pexp_at_minus_20_asks_for_log1p_or_better():
    report = find_inaccuracy(log1pexp)(-20.0)
    assert kinds(report) == [("log", "sensitive")]
    assert "softplus" in report.rows[0].advice
    assert report.rows[0].condition > 1e6
    assert not find_inaccuracy(nn.softplus)(-20.0)
    assert not find_inaccuracy(nn.softplus)(100.0)


def test_a_softmax_by_hand_overflows():
    report = find_inaccuracy(softmax_by_hand)(pnp.array([1.0, 100.0, 3.0]))
    assert report.rows[0].kind == "overflow"
    assert report.rows[0].index == (1,)
    assert report.rows[0].sentence == "overflow: exp(100) is beyond the largest number of its dtype"
    assert "nn.softmax" in report.rows[0].advice
    assert not find_inaccuracy(nn.softmax)(pnp.array([1.0, 100.0, 99.0]))


def test_the_variance_in_one_pass_cancels():
    x = pnp.asarray(1000 + np.random.RandomState(0).rand(50).astype(np.float32))
    report = find_inaccuracy(variance_in_one_pass)(x)
    first = report.rows[0]
    assert (first.primitive, first.kind, first.leaves) == ("sub", "cancellation", ["value"])
    assert first.sentence.startswith("cancellation between two values near 1.00")
    assert "two passes" in first.advice
    assert first.condition == pytest.approx(2 * 1e6 / np.var(np.asarray(x, np.float64)), rel=9)
    assert any(row.backward for row in report.rows)
    assert not find_inaccuracy(pnp.var)(x)


def test_the_gradient_of_a_norm_at_0_is_a_nan():
    report = find_inaccuracy(length)(pnp.zeros(3))
    assert set(report.errors) == {"gradient of 'x'"}
    assert [row.kind for row in report.rows] == ["pole", "invalid"]
    assert "numpy.linalg.norm" in report.rows[1].advice
    assert not find_inaccuracy(pnp.linalg.norm)(pnp.zeros(3))


def test_a_long_sum_loses_digits_in_all_steps():
    report = find_inaccuracy(long_sum)(pnp.float32(0.1))
    assert kinds(report)[0] == ("add", "accumulation")
    assert "numpy.sum" in report.rows[0].advice
    assert report.rows[0].location.function == "<lambda>"
    assert re.match(r"step \d+ of a", report.rows[0].steps[0])


def test_a_determinant_by_products_cancels():
    assert not find_inaccuracy(determinant)(pnp.array([[1.0, 2.0], [0.5, 1.0]]))  # its products are exact
    m = pnp.array([[1.2345671, 2.3456782], [3.4567893, 6.5678904]])
    m = m.at[1, 1].set(m[0, 1] * m[1, 0] / m[0, 0])
    report = find_inaccuracy(determinant)(m)
    assert kinds(report) == [("sub", "cancellation")]
    assert "slogdet" in report.rows[0].advice


def test_a_product_that_overflows_asks_for_logarithms():
    report = find_inaccuracy(lambda x: pnp.log(pnp.prod(x)))(pnp.full(60, 10.0))
    assert report.rows[0].kind == "overflow"
    assert "logarithms" in report.rows[0].advice


@pytest.mark.parametrize(
    ("function", "x", "better"),
    [
        (exp_minus_1, 1e-6, "expm1"),
        (lambda x: 1.0 - pnp.cos(x), 1e-3, "sin(x / 2)"),
        (lambda x: pnp.log(1.0 + x), 1e-6, "log1p"),
        (lambda x: pnp.sqrt(x + 1.0) - pnp.sqrt(x), 1e8, "sqrt(a) + sqrt(b)"),
        (lambda x: pnp.log(x + 1.0) - pnp.log(x), 1e7, "log1p"),
        (lambda x: 1.0 - nn.sigmoid(x), 15.0, "sigmoid(-x)"),
        (lambda x: 1.0 - special.erf(x), 3.5, "erfc"),
        (lambda x: pnp.sqrt(x**2 + 1.0), 1e30, "hypot"),
        (lambda x: pnp.log(pnp.sum(pnp.exp(pnp.stack([x, 1.0])))), 200.0, "logsumexp"),
        (lambda x: pnp.tan(x + 1e-5) - pnp.tan(x), 1.0, "sin(a - b)"),
    ],
)
def test_a_better_form_is_named_where_one_is_known(function, x, better):
    report = find_inaccuracy(function)(x)
    assert any(better in (row.advice or "") for row in report.rows), report


# --- programs without loss ---

rng = np.random.RandomState(1)


def array(*shape):
    return pnp.asarray(rng.randn(*shape).astype(np.float32))


X, Y, M = array(20), array(20), array(6, 6)
POSITIVE = M @ M.T + 6 * pnp.eye(6)
BATCH = array(10, 8)


def classifier(first, bias, second, activation=pnp.tanh):
    hidden = activation(BATCH @ first + bias)
    return -nn.log_softmax(hidden @ second)[:, 0].mean()


def recurrence(x):
    return lax.scan(lambda c, a: (pnp.tanh(0.5 * c + a), c), pnp.float32(0.0), x)[0]


def attention(q, k, v):
    return nn.softmax(q @ k.T) @ v


def convolution(image, kernel):
    return lax.conv(image, kernel, (1, 1), "SAME")


ACCURATE = [
    (pnp.exp, X),
    (pnp.sin, X),
    (pnp.hypot, X, Y),
    (pnp.arctan2, X, Y),
    (pnp.var, X + 1000),
    (pnp.std, X),
    (pnp.cumsum, X),
    (pnp.sort, X),
    (pnp.prod, X),
    (pnp.linalg.norm, X),
    (pnp.linalg.det, POSITIVE),
    (pnp.linalg.cholesky, POSITIVE),
    (pnp.linalg.solve, POSITIVE, array(6)),
    (pnp.expm1, X * 1e-4),
    (pnp.log1p, abs(X) * 1e-4),
    (nn.logsumexp, X * 30),
    (nn.softmax, X * 30),
    (nn.softplus, X * 30),
    (nn.sigmoid, X * 10),
    (nn.gelu, X),
    (special.erf, X),
    (special.gammaln, abs(X) + 2),
    (special.digamma, abs(X) + 0.5),
    (special.i0e, X),
    (special.betainc, 2.0, 3.0, abs(X) / 4),
    (classifier, array(8, 16), array(16), array(16, 3)),
    (functools.partial(classifier, activation=nn.relu), array(8, 16), array(16), array(16, 3)),
    (recurrence, X),
    (pb.jit(recurrence), X),
    (attention, array(5, 4), array(5, 4), array(5, 4)),
    (convolution, array(1, 2, 6, 6), array(3, 2, 3, 3)),
]


@pytest.mark.parametrize(("function", "args"), [(f, args) for f, *args in ACCURATE])
def test_a_program_without_loss_has_an_empty_report(function, args):
    report = find_inaccuracy(function)(*args)
    assert not report, report
    assert len(report) == 0
    assert report.errors == {}
    assert str(report).endswith("no digits lost")


# --- where it happens ---


@pb.custom_jvp
def exp_minus_1_with_rule(x):
    return pnp.expm1(x)


@exp_minus_1_with_rule.defjvp
def exp_minus_1_jvp(primals, tangents):
    (x,), (t,) = primals, tangents
    return exp_minus_1_with_rule(x), ((1.0 + pnp.exp(x)) - 1.0 - pnp.exp(x) + pnp.exp(x) - 1.0) * t


def in_scan(x):
    return lax.scan(lambda c, a: (c + exp_minus_1(a), None), 0.0, pnp.stack([x, x]))[0]


def in_while(x):
    def body(state):
        i, total = state
        return i + 1, total + exp_minus_1(x)

    return lax.while_loop(lambda state: state[0] < 2, body, (0, 0.0))[1]


def in_cond(x):
    return lax.cond(x < 1.0, exp_minus_1, pnp.sin, x)


def in_checkpoint(x):
    return pb.checkpoint(exp_minus_1)(x)


def in_vmap(x):
    return pb.vmap(exp_minus_1)(pnp.stack([x, 2 * x])).sum()


PLACES = [exp_minus_1, pb.jit(exp_minus_1), in_scan, in_cond, in_checkpoint, in_vmap, pb.jit(in_scan), pb.jit(in_cond)]


@pytest.mark.parametrize("function", PLACES)
def test_the_line_is_found_in_programs_loops_and_branches(function):
    report = find_inaccuracy(function)(1e-6)
    assert kinds(report) == [("sub", "cancellation")], report
    assert report.rows[0].location.function == "exp_minus_1"
    assert "expm1" in report.rows[0].advice


def test_loops_say_in_which_step():
    assert re.fullmatch(r"step [01] of a scan of 2", find_inaccuracy(in_scan)(1e-6).rows[0].steps[0])

    # reverse mode has no rule for loops of unknown length: forward mode, of a constant
    report = find_inaccuracy(lambda y: y + in_while(lax.stop_gradient(y)) * 1e6)(1e-6)
    assert report.rows[0].kind == "cancellation"
    assert re.fullmatch("step [01] of a while_loop", report.rows[0].steps[0])


def test_a_rule_is_named():
    report = find_inaccuracy(exp_minus_1_with_rule)(1e-6)
    assert set(report.errors) == {"gradient of 'x'"}
    assert "the jvp rule" in report.rows[0].rule
    assert report.rows[0].location.function == "exp_minus_1_jvp"


def test_the_line_of_the_call_is_not_a_line_of_the_rule():
    def calls_it(x):
        return exp_minus_1_with_rule(2.0 * x)

    (row, *_) = find_inaccuracy(calls_it)(1e-6).rows
    called_at = int(re.search(r"called at .*:(\d+)", row.rule)[1])
    assert called_at == calls_it.__code__.co_firstlineno + 1
    assert row.location.function == "exp_minus_1_jvp"


def test_leaves_are_named():
    def two(params, y):
        return {"a": pnp.exp(params["w"]) - 1.0, "b": y * 2.0}

    report = find_inaccuracy(two)({"w": 1e-6}, 2.0)
    assert list(report.errors) == ["value['a']"]
    assert report.rows[0].leaves == ["value['a']"]
    report = find_inaccuracy(lambda x, *, y: x * (pnp.cos(y) - 1.0))(2.0, y=1e-3)
    assert list(report.errors) == ["value", "gradient of 'x'"]


def test_an_error_that_is_absorbed_is_no_loss():
    assert not find_inaccuracy(lambda x: 10.0 + exp_minus_1(x))(1e-3)


def test_equal_values_differ_by_nothing():
    assert not find_inaccuracy(lambda x: pnp.sum(x - pnp.max(pnp.sin(x)) + pnp.cos(x)))(X)
    report = find_inaccuracy(lambda x: pnp.exp(x) - pnp.exp(x))(0.3)
    assert report.errors == {}
    assert float(report.value) == 0.0


# --- decisions ---


def test_a_decision_by_rounding_errors_is_a_row():
    def step(x):
        if (x + 1.0) - x > 0.5:
            return x
        return x * 0.5

    report = find_inaccuracy(step)(1e9)
    assert ("gt", "branch") in kinds(report)
    report = find_inaccuracy(lambda x: pnp.where((x + 1.0) - x > 0.5, x, 2 * x))(1e9)
    assert ("gt", "branch") in kinds(report)


def test_decisions_of_cond_are_rows_in_loops_too():
    def step(x, _):
        y = (x + 1.0) - x
        return lax.cond(y > 0.5, pnp.sin, pnp.cos, x), None

    def steps(x):
        return lax.scan(step, x, None, length=1)[0]

    for function in (steps, pb.jit(steps), lambda x: step(x, None)[0]):
        assert ("gt", "branch") in kinds(find_inaccuracy(function)(1e9))


def test_how_long_a_loop_runs_is_no_decision():
    def halved(x):
        start = (x * 0.1) * 10.0 - x
        return lax.while_loop(lambda s: s[0] < start + 3.0, lambda s: (s[0] + 1.0, s[1] * 0.5), (0.0, x), max_steps=8)[
            1
        ]

    assert not [row for row in find_inaccuracy(halved)(3.3).rows if row.kind == "branch"]


def test_printing_is_allowed(capsys):
    def told(x):
        pb.debug.print("x is {}", x)
        return 2.0 * x

    assert not find_inaccuracy(told)(1.0)
    assert "x is 1.0" in capsys.readouterr().out


def test_lower_precision_and_complex_numbers():
    x = pnp.asarray([1.5, -0.3, 0.7], "bfloat16")
    assert not find_inaccuracy(lambda x: (x * x).sum())(x)
    report = find_inaccuracy(lambda x: (pnp.exp(x) + 256.0) - 256.0)(x)
    assert ("sub", "cancellation") in kinds(report)
    z = pnp.asarray([1.0 + 2.0j, 0.3 - 1.0j], "complex64")
    assert not find_inaccuracy(lambda z: abs(z * z))(z)
    report = find_inaccuracy(lambda z: abs((z * 1.1 + 1e6) - 1e6))(z)
    assert ("sub", "cancellation") in kinds(report)


def test_a_decision_that_makes_no_difference_is_none():
    assert not find_inaccuracy(lambda x: pnp.where((x + 1.0) - x > 0.5, x, x))(1e9)


# --- the report ---


def test_the_report_is_readable():
    report = find_inaccuracy(exp_minus_1)(1e-6)
    text = str(report)
    assert text.splitlines()[0].startswith("find_inaccuracy of exp_minus_1")
    assert "expm1(x) for exp(x) - 1" in text
    assert "1. 'sub': cancellation between two values near 1" in text
    assert "value: relative error" in text
    assert float(report.value) == pytest.approx(1e-6, rel=0.1)
    assert float(report.gradient) == pytest.approx(1.0, rel=1e-5)
    assert str(report.rows[0]) in repr(report.rows[0])


def test_rows_of_one_line_are_one():
    report = find_inaccuracy(in_scan)(1e-6)
    assert len(report) == 1
    assert report.rows[0].count == 2


def test_the_tolerance_decides():
    assert find_inaccuracy(exp_minus_1)(0.1).errors == {}
    assert find_inaccuracy(exp_minus_1, tolerance=1e-9)(0.013).errors


def test_every_operation_runs_about_twice():
    report = find_inaccuracy(pb.jit(classifier))(array(8, 16), array(16), array(16, 3))
    assert report.evaluations <= report.operations


# --- bad input ---


def test_errors_name_the_function_and_the_argument():
    with pytest.raises(TypeError, match=r"find_inaccuracy of log1pexp.*expected a floating-point argument, got i32"):
        find_inaccuracy(log1pexp)(3)
    with pytest.raises(TypeError, match="there are no arguments to differentiate by"):
        find_inaccuracy(lambda: 1.0)()
    with pytest.raises(TypeError, match=r"expected a floating-point result, got i32\[\]"):
        find_inaccuracy(lambda x: pnp.int32(3))(1.0)
    with pytest.raises(ValueError, match="'x' has a nan or an infinity"):
        find_inaccuracy(log1pexp)(np.nan)
    with pytest.raises(ValueError, match="tolerance must be a positive number, got -1"):
        find_inaccuracy(log1pexp, tolerance=-1)
    with pytest.raises(TypeError, match="was called while another function is traced"):
        pb.jit(lambda x: find_inaccuracy(log1pexp)(x).value)(1.0)
    with pytest.raises(TypeError, match="find_inaccuracy: expected a function, got 3"):
        find_inaccuracy(3)


def test_side_effects_are_refused():
    seen = []

    def tell(x):
        pb.experimental.io_callback(seen.append, None, np.float32(1.0))
        return x * 2.0

    with pytest.raises(TypeError, match="'io_callback' has a side effect"):
        find_inaccuracy(tell)(1.0)
    assert seen == []


def test_arguments_that_are_no_floats_are_constants():
    def pick(table, i):
        return pnp.exp(table[i]) - 1.0

    report = find_inaccuracy(pick)(pnp.array([1.0, 1e-6]), 1)
    assert kinds(report) == [("sub", "cancellation")]


def test_the_value_alone():
    def iterated(x, n):
        return lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, pnp.exp(c[1]) - 1), (0, x))[1]

    report = find_inaccuracy(iterated, gradient=False)(1e-5, 3)
    assert report.gradient is None
    assert [row.kind for row in report.rows] == ["cancellation"]
    assert list(report.errors) == ["value"]
    with pytest.raises(ValueError, match="while_loop") as info:
        find_inaccuracy(iterated)(1e-5, 3)
    assert info.value.__notes__[-1] == "find_inaccuracy(..., gradient=False) looks at the value alone."


def test_the_value_of_integers_and_of_no_arguments():
    def near_a_third(n):
        return (1 + 1 / n) - 1

    for report in (
        find_inaccuracy(near_a_third, gradient=False)(3_000_000),
        find_inaccuracy(lambda: near_a_third(3_000_000), gradient=False)(),
    ):
        assert len(report) <= 1
    report = find_inaccuracy(lambda n: pnp.log(1 + 1 / n), gradient=False)(pnp.array([3_000_000, 2]))
    assert report.rows[0].advice.startswith("log1p")
    with pb.enable_x64(True):
        report = find_inaccuracy(lambda n: pnp.exp(1 / n) - 1, gradient=False)(10**9)
        assert report.rows[0].advice.startswith("expm1")
        np.testing.assert_allclose(report.value, np.expm1(1e-9), rtol=1e-6)
