#!/usr/bin/env bash
# SciPy 1.17.1, minimize(method="Newton-CG") without a Hessian, with a gradient that is computed in float32: it differences
# the gradient with a step near 1.5e-8, which float32 does not see, takes the Hessian for 0, and reports success where the
# gradient is not small. The guess was a failure with "precision loss", as from BFGS. docs/scipy.md says what to do.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/in_environment.sh"

in_environment numpy==2.4.6 scipy==1.17.1 <<'PY'
import numpy as np
import scipy
from scipy.optimize import minimize

scales, best = np.array([1.0, 1e4, 1e-2]), np.array([1.0, 2.0, 3.0])


def fun(x):
    return 0.5 * (scales * (x - best) ** 2).sum()


def gradient(x):
    return scales * (x - best)


def rounded(x):
    return (scales.astype("f4") * (x.astype("f4") - best.astype("f4"))).astype("f4")


wide = minimize(fun, np.zeros(3), jac=gradient, method="Newton-CG")
narrow = minimize(fun, np.zeros(3), jac=rounded, method="Newton-CG")
print("scipy", scipy.__version__, "numpy", np.__version__)
for name, found in (("float64", wide), ("float32", narrow)):
    print(f"{name} gradient: success={found.success}, x={found.x}, largest |gradient| {abs(gradient(found.x)).max():.3g}")
assert wide.success and np.allclose(wide.x, best, atol=1e-3)
assert narrow.success and abs(gradient(narrow.x)).max() > 0.1, "Newton-CG no longer reports success there"
PY
