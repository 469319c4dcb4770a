"""The reader of FPCore and the ground truth of `benchmarks/inaccuracy`: on expressions whose errors are known."""

import mpmath
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from benchmarks.inaccuracy import fpcore, measure, truth

CORES = """
; comments are left out
(FPCore (x)
 :name "difference of roots"
 :pre (and (> x 1) (< x 1e30))
 (- (sqrt (+ x 1)) (sqrt x)))

(FPCore (x y)
 :name "let in order"
 (let* ([a (* x y)] [b (- a 1)]) (/ b (exp (- a)))))

(FPCore (n)
 :name "a sum"
 (while (<= i n) ([s 0 (+ s (/ 1 i))] [i 1 (+ i 1)]) s))
"""


@pytest.fixture
def cores(tmp_path):
    (tmp_path / "some.fpcore").write_text(CORES)
    return fpcore.read(tmp_path)


def test_expressions_are_functions(cores):
    roots, let, total = cores
    assert [core.name for core in cores] == ["difference of roots", "let in order", "a sum"]
    assert float(roots.function(np.float32)(pnp.float32(3.0))) == pytest.approx(2 - 3**0.5, rel=1e-5)
    assert float(let.function(np.float32)(2.0, 3.0)) == pytest.approx(5 * np.exp(6.0), rel=1e-5)
    assert float(total.function(np.float32)(4.0)) == pytest.approx(25 / 12)


def test_an_operation_is_a_line(cores):
    report = pb.debug.find_inaccuracy(cores[0].function(np.float32))(1e9)
    assert [(row.primitive, row.location.line) for row in report.rows if not row.backward] == [("sub", 5)]


def test_samples_fulfil_the_precondition(cores):
    drawn = list(fpcore.sample(cores[0], np.float32, 20, np.random.default_rng(0)))
    assert len(drawn) == 20
    assert all(1 < x < 1e30 for (x,) in drawn)


def test_local_errors_are_those_of_exact_operands_rounded(cores):
    truth.mp.prec = 400
    f = cores[0].function(np.float32)
    seen, _ = truth.run(np.float32, lambda: f(pnp.float32(1e9)))
    assert seen.blamed(8) == {("sub", 5, False)}
    assert max(op.bits for op in seen.operations if op.key[0] != "sub") < 1.1


def test_rounding_is_to_nearest():
    for text, right in (("0.1", 0.1), ("1e39", np.inf), ("-1e-46", -0.0), ("1e-45", 1e-45), ("16777217", 16777216)):
        assert truth.rounding(mpmath.mpf(text), np.float32) == np.float32(right)
    assert truth.bits_between(np.float32(1), np.float32(1)) == 0
    assert truth.bits_between(np.float32(1), np.nextafter(np.float32(1), np.float32(2))) == 1


def test_reports_name_what_is_to_blame(cores):
    counts = {"value": measure.Counts(), "derivatives": measure.Counts()}
    for values in fpcore.sample(cores[0], np.float32, 12, np.random.default_rng(1)):
        measure.point(cores[0], np.float32, values, counts, False)
    for count in counts.values():
        assert count.points == 12
        assert count.wrong > 4
        assert count.hits == count.wrong == count.named
