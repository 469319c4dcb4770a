#!/usr/bin/env bash
# NumPy 2.4.6: expm1 of the complex numbers -inf + i inf and -inf - i inf is nan + i nan, where exp of them is 0. The
# guess was -1: the array API's standard and C's annex G give -1 + 0i (the signs of the zeros are unspecified), as the
# size of exp(z) is 0 whatever the angle. pullback: `expm1` in eager code computes these two itself.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/in_environment.sh"

in_environment numpy==2.4.6 <<'PY'
import numpy as np

print("numpy", np.__version__)
with np.errstate(all="ignore"):
    for z in (complex(-np.inf, np.inf), complex(-np.inf, -np.inf), complex(-np.inf, 2.0)):
        print(f"z = {z}: exp(z) = {np.exp(z)}, expm1(z) = {np.expm1(z)}")
    assert np.exp(complex(-np.inf, np.inf)) == 0
    assert np.isnan(np.expm1(complex(-np.inf, np.inf))), "this has changed"
    assert np.expm1(complex(-np.inf, 2.0)) == -1
PY
