#!/usr/bin/env bash
# NumPy 2.4.6: nanquantile along an axis takes no weights for that axis alone, which quantile takes and its documentation
# describes: IndexError. With weights for all elements it is right. The guess was that both functions take the same.
# pullback: weighted quantiles, tests/numpy/test_reductions.py.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/in_environment.sh"

in_environment numpy==2.4.6 <<'PY'
import numpy as np

print("numpy", np.__version__)
x, weights = np.array([[3.0, 1.0], [5.0, 4.0]]), np.array([1, 2])
settings = {"axis": 1, "method": "inverted_cdf"}
expected = np.quantile(x, 0.5, weights=weights, **settings)
print("quantile:", expected)
print("nanquantile, weights for all elements:", np.nanquantile(x, 0.5, weights=np.array([weights, weights]), **settings))
try:
    print("nanquantile, weights for the axis:", np.nanquantile(x, 0.5, weights=weights, **settings))
except IndexError as error:
    print("nanquantile, weights for the axis: IndexError:", error)
else:
    raise SystemExit("nanquantile takes them now")
PY
