"""Python's stack is recorded with arrays only where something reads it."""

import subprocess
import sys

import pytest

from pullback._xla import tracebacks

BODY = """
import sys
import pullback as pb
from jaxlib import _jax
{first}
x = pb.jit(lambda x: x + 1)(1.)
print(_jax.tracebacks_enabled(), len(sys.meta_path), bool(x._buffer.traceback.frames if x._buffer.traceback else 0))
"""


@pytest.mark.parametrize(
    ("first", "recorded"),
    [("", False), ("pb.config.update('array_tracebacks', True)", True), ("import jax", True)],
    ids=["by default", "the option", "with JAX"],
)
def test_what_is_recorded(first, recorded):
    if "jax" in first:
        pytest.importorskip("jax")
    end = "import jax; print(_jax.tracebacks_enabled())" if not first else ""
    text = BODY.format(first=first) + (f"try:\n    {end}\nexcept ImportError:\n    print(True)" if end else "")
    out = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout.split()
    assert out[0] == out[2] == str(recorded)
    assert not end or out[3] == "True"


def test_jax_gets_its_stacks_from_its_import_on(monkeypatch):
    monkeypatch.delitem(sys.modules, "jax", raising=False)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    before, switched = list(sys.meta_path), []
    tracebacks.leave_out(switched.append)
    assert switched == [False]
    assert sys.meta_path[1:] == before
    finder = sys.meta_path[0]
    assert finder.find_spec("jaxlib") is None
    assert switched == [False]
    assert finder.find_spec("jax") is None
    assert switched == [False, True]
    assert sys.meta_path == before
    monkeypatch.setitem(sys.modules, "jax", None)
    tracebacks.leave_out(switched.append)
    assert switched == [False, True]
    assert sys.meta_path == before
