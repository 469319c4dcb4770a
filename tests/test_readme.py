"""The example of the README prints what its comments say."""

import contextlib
import doctest
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ["README.md", "docs/zh/README.md"])
def test_example(page):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    claims = re.findall(r"^print\(.*\)\s+# (.*)$", code, re.MULTILINE)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    assert len(claims) == 4
    assert printed.getvalue().splitlines() == claims


def test_the_report_is_as_shown():
    (shown,) = re.findall(r"```pycon\n(.*?)```", README, re.DOTALL)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    test = doctest.DocTestParser().get_doctest(shown, {}, "README.md", "README.md", 0)
    assert doctest.DocTestRunner(optionflags=flags).run(test) == doctest.TestResults(0, 3)
