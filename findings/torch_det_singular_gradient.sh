#!/usr/bin/env bash
# PyTorch 2.13.0: the gradient of the determinant of a singular 2 x 2 matrix of rank one is zero; it is the matrix of
# cofactors, [[4, -2], [-2, 1]] for [[1, 2], [2, 4]]: the determinant is a polynomial, and differences say the same. The
# guess was the cofactors or an error, for at singular 3 x 3 matrices whose elimination does not end in an exact zero it
# does give the cofactors.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/in_environment.sh"

in_environment torch==2.13.0 numpy==2.4.6 <<'PY'
import torch

print("torch", torch.__version__)
m = torch.tensor([[1., 2.], [2., 4.]], dtype=torch.float64, requires_grad=True)
torch.linalg.det(m).backward()
print("gradient   ", m.grad.tolist())
differences = torch.zeros(2, 2, dtype=torch.float64)
with torch.no_grad():
    for i in range(2):
        for j in range(2):
            step = torch.zeros(2, 2, dtype=torch.float64)
            step[i, j] = 2.**-20
            differences[i, j] = (torch.linalg.det(m + step) - torch.linalg.det(m - step)) / 2.**-19
print("differences", differences.tolist())
assert torch.allclose(differences, torch.tensor([[4., -2.], [-2., 1.]], dtype=torch.float64))
assert not m.grad.any(), "the gradient is no longer zero"
PY
