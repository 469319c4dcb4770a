"""The comparison with JAX on an accelerator, on the processor: a short form of `make gpu-check`."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
PLUGIN = importlib.util.find_spec("jax_plugins") is not None


@pytest.fixture(scope="module")
def check():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module("gpu_check")
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_a_short_form_on_the_processor(check, tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{check.BEGIN}\nold\n{check.END}\nafter\n")
    assert check.main(["--platform", "cpu", "--rows", "3", "--no-seed", "--out", str(page)]) == 0
    text = page.read_text()
    assert text.startswith(f"before\n{check.BEGIN}\nOn cpu")
    assert text.endswith(f"{check.END}\nafter\n")
    for line in ("| values | 3 |", "| gradients | 3 |", "| error of eig |", "Failures: none."):
        assert line in text
    assert "old" not in text
    assert "| values | 3 |" in capsys.readouterr().out


def test_differences_are_found(check):
    a = np.array([1.0, 200.0, np.nan])
    assert check.difference(a, a) == 0
    assert check.difference(a + np.array([0.0, 1.0, 0.0]), a) == pytest.approx(1 / 200)
    assert check.difference(a[:2], a) == check.difference(np.array([1.0, np.nan, np.nan]), a) == np.inf


@pytest.mark.skipif(not PLUGIN, reason="NVIDIA's plugin is not installed: pip install --no-deps jax-cuda13-plugin")
def test_programs_are_compiled_for_a_device_that_is_not_there(check):
    lines, all_compiled = importlib.import_module("gpu_compile").compiled(2)
    assert all_compiled
    assert "| decompositions | 6 |" in lines
