"""What type checkers make of the package: mypy and pyright read programs of users, and pyright says how much is typed.

Both tools are in the extra `dev`; where one is missing, its tests are skipped.
"""

import ast
import importlib
import importlib.util
import json
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from test_missing_names import MISSPELLED

import pullback

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
SAMPLES, MISTAKES = TESTS / "typing_samples.py", TESTS / "typing_mistakes.py"
LEAST_COMPLETENESS = 0.99
MOST_ANY = 0.05


def mypy(*files: Path, cache: Path) -> dict[tuple[str, int], str]:
    """The complaints of mypy, by file and line."""
    api = pytest.importorskip("mypy.api")
    text, problems, _ = api.run(
        [
            *map(str, files),
            "--follow-imports=silent",
            "--no-error-summary",
            "--config-file=",
            "--ignore-missing-imports",
            "--show-absolute-path",
            f"--cache-dir={cache}",
        ]
    )
    assert not problems
    return {
        (Path(line.split(":")[0]).name, int(line.split(":")[1])): line
        for line in text.splitlines()
        if ": error: " in line
    }


def run_pyright(*arguments: str) -> dict:
    """What pyright prints as JSON. The distribution brings its own Node.js: there is nothing to fetch."""
    if importlib.util.find_spec("basedpyright") is None:
        pytest.skip("needs basedpyright, of the extra dev")
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.run(
        [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.stdout.strip().startswith("{"), process.stderr
    return json.loads(process.stdout)


def pyright(*files: Path) -> dict[tuple[str, int], str]:
    """The errors that pyright finds, by file and line."""
    return {
        (Path(item["file"]).name, item["range"]["start"]["line"] + 1): item["message"]
        for item in run_pyright(*map(str, files))["generalDiagnostics"]
        if item["severity"] == "error"
    }


def wrong_lines(file: Path) -> list[tuple[str, int]]:
    lines = file.read_text(encoding="utf-8").splitlines()
    return [(file.name, i) for i, line in enumerate(lines, 1) if line.endswith("# wrong")]


def test_mypy_sees_the_types_of_users_and_their_mistakes(tmp_path, monkeypatch):
    monkeypatch.setenv("MYPYPATH", str(ROOT))
    found = mypy(SAMPLES, MISTAKES, cache=tmp_path)
    assert sorted(found) == wrong_lines(MISTAKES), "\n".join(found.values())


def test_pyright_sees_the_types_of_users_their_mistakes_and_misspelled_names(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(MISSPELLED)
    found = pyright(SAMPLES, MISTAKES, program)
    misspelled = [("program.py", line) for line in range(6, 14)]  # mypy: test_missing_names.py
    assert sorted(found) == [*misspelled, *wrong_lines(MISTAKES)], "\n".join(found.values())


def test_the_public_interface_is_typed():
    report = run_pyright("--verifytypes", "pullback", "--ignoreexternal")["typeCompleteness"]
    unknown = [
        symbol["name"]
        for symbol in report["symbols"]
        if symbol["isExported"] and not (symbol["isTypeKnown"] and not symbol["isTypeAmbiguous"])
    ]
    assert report["completenessScore"] >= LEAST_COMPLETENESS, f"not known: {unknown}"


def parameters(tree: ast.AST) -> Iterator[ast.arg]:
    """The annotated parameters of the functions of a module and of the methods of its classes."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            kinds = node.args
            given = [*kinds.posonlyargs, *kinds.args, kinds.vararg, *kinds.kwonlyargs, kinds.kwarg]
            yield from (p for p in given if p is not None and p.annotation is not None)
        else:
            yield from parameters(node)


def test_hardly_a_parameter_is_any():
    found = [
        p for path in (ROOT / "pullback").rglob("*.py") for p in parameters(ast.parse(path.read_text(encoding="utf-8")))
    ]
    bare = [p.arg for p in found if isinstance(p.annotation, ast.Name) and p.annotation.id == "Any"]
    assert len(found) > 5000
    assert len(bare) < MOST_ANY * len(found), f"{len(bare)} of {len(found)} parameters are Any"


def public_modules(module: ModuleType = pullback) -> Iterator[ModuleType]:
    yield module
    for found in pkgutil.iter_modules(getattr(module, "__path__", ())):
        if not found.name.startswith("_"):
            yield from public_modules(importlib.import_module(f"{module.__name__}.{found.name}"))


@pytest.mark.parametrize("module", list(public_modules()), ids=lambda module: module.__name__)
def test_dir_lists_every_public_name(module):
    below = {found.name for found in pkgutil.iter_modules(getattr(module, "__path__", ()))}
    names = {*getattr(module, "__all__", ()), *(name for name in below if not name.startswith("_"))}
    assert names <= set(dir(module))


def test_dir_lists_what_is_not_loaded_yet():
    program = (
        "import sys, pullback\n"
        "assert not {'pullback.nn', 'pullback.scipy', 'pullback.implicit'} & {*sys.modules}\n"
        "assert {'nn', 'scipy', 'implicit', 'check_rules', 'external', 'linear_callback'} <= {*dir(pullback)}"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
