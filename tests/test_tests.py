"""The tests can be stepped into: what does more than one thing has a name and lines of its own."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
FILES = [path for path in sorted(TESTS.rglob("*.py")) if path.name != "test_seed_rules.py"]  # that is to the letter


def lambdas(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.Lambda)]


@pytest.mark.parametrize("folder", sorted({path.parent for path in FILES}), ids=lambda path: path.name)
def test_no_lambda_holds_another(folder):
    places = [
        f"{path.relative_to(TESTS)}:{outer.lineno}"
        for path in FILES
        if path.parent == folder
        for outer in lambdas(ast.parse(path.read_text(encoding="utf-8")))
        if len(lambdas(outer)) > 1
    ]
    assert not places, (
        "a lambda inside a lambda can be neither named in a traceback nor stepped into: make it a def\n"
        + "\n".join(places)
    )
