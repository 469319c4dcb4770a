"""Libraries written for JAX, unmodified, on pullback: real problems, whose numbers are compared with JAX's.

Each library runs on pullback, by `python -m pullback.as_jax`, in a process of its own. JAX's numbers are recorded in
`numbers`, by `make record-clients`; where those of a library are missing or of other versions, it runs on JAX too.
Both compute in 64 bits, so that differences of rounding are not amplified. `make test-clients` installs the
libraries; missing ones are skipped.
"""

import importlib.util
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from run import installed

HERE = Path(__file__).resolve().parent
LIBRARIES = sorted(path.stem.removesuffix("_problems") for path in (HERE / "problems").glob("*_problems.py"))


def problems(library):
    """The names of the functions without an underscore in the file of a library."""
    text = (HERE / "problems" / f"{library}_problems.py").read_text(encoding="utf-8")
    return [line[4 : line.index("(")] for line in text.splitlines() if line.startswith("def ") and line[4] != "_"]


@cache
def on_pullback(library):
    return results(library, "-m", "pullback.as_jax")


@cache
def on_jax(library):
    """The recorded numbers of a library, if they are there, of these versions and of all problems; else computed."""
    path = HERE / "numbers" / f"{library}.json"
    recorded = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if recorded.get("versions") == installed(library) and {*problems(library)} <= {*recorded["numbers"]}:
        return {name: {"numbers": numbers} for name, numbers in recorded["numbers"].items()}
    return results(library)


def results(library, *how):
    command = [sys.executable, "-W", "ignore", *how, "run.py", library]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent), "JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(("library", "problem"), [(lib, name) for lib in LIBRARIES for name in problems(lib)])
def test_numbers_are_those_of_jax(library, problem):
    for package in (library, "jax"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed; make test-clients installs it")
    got, expected = on_pullback(library)[problem], on_jax(library)[problem]
    assert "error" not in expected, expected["error"]
    assert "error" not in got, got["error"]
    for ours, theirs in zip(got["numbers"], expected["numbers"], strict=True):
        # solvers stop at a tolerance of 1e-5 to 1e-7, which results reach by other roundings
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
