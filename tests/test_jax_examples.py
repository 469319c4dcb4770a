"""The tool that counts which examples in JAX's docstrings run here: what it collects, runs and compares."""

import jax
import pytest

from benchmarks import docstring_reasons, docstrings
from benchmarks.docstrings import Docstring, Outcome

RAISED = Outcome("", "ValueError: theirs", ["ValueError", "Exception", "BaseException", "object"])


@pytest.mark.skipif(jax.__version__ != "0.10.2", reason="the counts are of the examples of this version")
def test_examples_are_collected():
    found = docstrings.collect([])
    assert sum(len(each.sources) for each in found) > 3700
    assert {each.place for each in docstrings.collect(["_src/numpy/fft"])} < {each.place for each in found}
    places = {place for listed in docstring_reasons.REASONS.values() for place in listed}
    assert places <= {each.place for each in found}
    for beginning in docstring_reasons.LEFT_OUT:
        assert any(each.place.startswith(beginning) for each in found)


@pytest.mark.parametrize(
    ("theirs", "ours", "kind"),
    [
        ("Array([1., 2.], dtype=float32)\n", "Array([1., 2.],\n      dtype=float32)\n", "same"),
        ("<f at 0x7fde>", "<f at 0x11>", "same"),
        ("[0.1234567 2.]", "[0.1234568 2. ]", "same but for rounding"),
        ("1.+0.j", "1.-0.j", "same but for rounding"),
        ("5.0000000e-01+0.49999997j", "0.5+0.5j", "same but for rounding"),
        ("float32[3]", "float32[4]", "differs"),
        ("1.5", "1.6", "differs"),
        ("(1, 2)", "(1, 2, 3)", "differs"),
    ],
)
def test_what_is_printed_alike(theirs, ours, kind):
    assert docstrings.kind(Outcome(theirs, "", []), Outcome(ours, "", [])) == kind


def test_exceptions_are_alike_by_their_classes():
    special = Outcome("", "SpecialError: ours", ["SpecialError", *RAISED.classes])
    assert docstrings.kind(RAISED, special) == "same exception"
    assert docstrings.kind(special, RAISED) == "differs"
    assert docstrings.kind(RAISED, Outcome("1", "", [])) == "differs"
    assert docstrings.kind(Outcome("1", "", []), RAISED) == "does not run"


def test_examples_of_a_docstring_share_their_names(capsys):
    example = Docstring("a.py:f", ["x = sin(1.)\n", "x.shape\n", "y\n"])
    first, second, third = docstrings.run([example])[0]
    assert (first.raised, second.printed) == ("", "()\n")
    assert third.classes[0] == "NameError"
    results = [docstrings.Result("a.py:f", i, "", RAISED, second, "differs") for i in range(2)]
    docstrings.show([*results, docstrings.Result("a.py:f", 2, "", second, second, "same")])
    assert "3 run (100.0 %), 1 print the same (33.3 %)" in capsys.readouterr().out
