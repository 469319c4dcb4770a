"""The tests can be stepped into: what does more than one thing has a name and lines of its own."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
FOLDERS = ("api", "core", "extend", "higher_order", "transforms")  # those that keep the rule


def lambdas(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.Lambda)]


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_lambda_holds_another(folder):
    places = [f"{path.relative_to(TESTS)}:{outer.lineno}" for path in sorted((TESTS / folder).rglob("*.py"))
              for outer in lambdas(ast.parse(path.read_text(encoding="utf-8"))) if lambdas(outer.args) or
              lambdas(outer.body)]
    assert places == []
