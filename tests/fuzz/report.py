"""A finding as a test function, to be pasted into a file of tests."""

import textwrap

import numpy as np

from fuzz.oracles import Finding
from fuzz.program import Program


def array_text(x) -> str:
    """An argument as Python text."""
    if isinstance(x, float):
        return repr(x)
    values = x.astype(np.float64).tolist() if x.dtype.name == "bfloat16" else x.tolist()
    text = f"numpy.array({values!r}, {'pullback.numpy.bfloat16' if x.dtype.name == 'bfloat16' else repr(x.dtype.name)})"
    text = text.replace("nan", "numpy.nan").replace("inf", "numpy.inf")
    return text if 0 not in x.shape else f"numpy.zeros({x.shape}, {x.dtype.name!r})"


def test_text(program: Program, finding: Finding) -> str:
    """The source of a test that fails as the program does."""
    args = ", ".join(array_text(x) for x in program.args)
    name = f"test_{finding.check.replace(' ', '_').replace(chr(39), '')}_{program.seed}"
    return "\n".join(
        [
            "import numpy",
            "import pullback.numpy",
            "from fuzz.oracles import assert_passes",
            "",
            "",
            f"def {name}():",
            textwrap.indent(program.source, "    "),
            f"    assert_passes(make, [{args}], {finding.check!r}, x64={program.x64}, pack={program.pack!r}"
            f"{', edge=True' if program.edge else ''})",
            "",
        ]
    )
