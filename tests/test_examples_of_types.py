"""The scripts of examples/ about types of one's own run, and what they claim holds."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.mark.parametrize("script", ["13_quantised_weights", "14_log_probabilities", "15_interval_gradients"])
def test_script(script, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    runpy.run_path(str(EXAMPLES / f"{script}.py"))
    assert capsys.readouterr().out.count("claimed") >= 9
