#!/usr/bin/env bash
# SciPy 1.17.1, minimize(method="SLSQP") with a float32 gradient: an error of the module's own `error` class, about inputs
# to an internal routine, where the other methods convert. The guess was a conversion. docs/scipy.md says what to do.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/in_environment.sh"

in_environment numpy==2.4.6 scipy==1.17.1 <<'PY'
import numpy as np
import scipy
from scipy.optimize import minimize


def fun(x):
    return (x**2).sum()


def gradient(x):
    return (2 * x).astype(np.float32)


print("scipy", scipy.__version__, "numpy", np.__version__)
converting = [m for m in ("BFGS", "L-BFGS-B", "CG", "TNC") if minimize(fun, np.ones(2), jac=gradient, method=m).success]
print("with a float32 gradient succeed:", *converting)
try:
    minimize(fun, np.ones(2), jac=gradient, method="SLSQP")
except Exception as error:
    print(f"SLSQP: {type(error).__module__}.{type(error).__name__}: {error}")
    assert "numpy.float64" in str(error) and not isinstance(error, (TypeError, ValueError))
else:
    raise SystemExit("SLSQP takes a float32 gradient now")
assert len(converting) == 4
PY
