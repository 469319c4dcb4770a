"""What `import pullback` and a first eager gradient load: no heavy package, so that start-up is short."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("jax", "scipy", "opt_einsum", "matplotlib", "jaxlib.xla_client")

IMPORT = "import pullback"
FIRST_GRADIENT = """
import pullback as pb
import pullback.numpy as pnp
assert abs(float(pb.grad(lambda x: pnp.log(1. + pnp.exp(x)))(3.)) - 0.9525741) < 1e-6
"""


@pytest.mark.parametrize("program", [IMPORT, FIRST_GRADIENT], ids=["import", "first gradient"])
def test_nothing_heavy_is_loaded(program):
    listing = f"{program}\nimport sys\nprint(*[name for name in {HEAVY} if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", listing],
        cwd=Path(__file__).resolve().parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []
