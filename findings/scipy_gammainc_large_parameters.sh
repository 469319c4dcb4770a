#!/usr/bin/env bash
# SciPy 1.17.1: gammainc(1e9, x) ten standard deviations below the parameter is half of the true value. The guess was some
# digits less at large parameters, as its documentation promises no accuracy, but not another order. The series with
# positive terms only, in 40 digits, is the reference.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/in_environment.sh"

in_environment scipy==1.17.1 numpy==2.4.6 mpmath==1.3.0 <<'PY'
import mpmath
import scipy
from mpmath import mp, mpf
from scipy.special import gammainc

mp.dps = 40
print("scipy", scipy.__version__)
a, worst = mpf(10) ** 9, 0.
for x in (999683772.23, 999810000.0, 999905000.0, 1000000000.0):
    total = term = mpf(1)
    k = 1
    while term > total * mpf(10) ** -20:
        term *= mpf(x) / (a + k)
        total += term
        k += 1
    true = total * mpmath.exp(a * mpmath.log(mpf(x)) - mpf(x) - mpmath.loggamma(a + 1))
    error = abs(gammainc(1e9, x) / true - 1)
    worst = max(worst, error)
    print(f"gammainc(1e9, {x}) = {gammainc(1e9, x):.10g}, true {mpmath.nstr(true, 10)}, relative error {float(error):.1e}")
assert worst > 0.1, "gammainc is right now"
PY
