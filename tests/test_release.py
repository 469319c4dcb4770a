"""What leaves the repository: versions and requirements that stand in several files are the same."""

import re
import tomllib
from pathlib import Path

import pullback as pb

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def text(path):
    """The text of a file of the repository."""
    return (ROOT / path).read_text(encoding="utf-8")


def requirements(lines):
    """Requirements without blanks, as a set."""
    return {re.sub(r"\s", "", line) for line in lines}


def test_versions_are_the_package_s():
    assert f"\nversion: {pb.__version__}\n" in text("CITATION.cff")
    assert f'version: "{pb.__version__}"' in text("release/conda/recipe.yaml")


def test_the_recipe_asks_for_what_the_project_does():
    run = re.search(r"  run:\n((?:    - .*\n)+)", text("release/conda/recipe.yaml"))[1]
    asked = [line.removeprefix("    - ") for line in run.splitlines()]
    assert asked[0] == "python >=${{ python_min }}"
    assert requirements(asked[1:]) == requirements(PROJECT["dependencies"])
    assert f'python_min: "{PROJECT["requires-python"].removeprefix(">=")}"' in text("release/conda/recipe.yaml")
    assert PROJECT["description"] in text("release/conda/recipe.yaml")


def test_licenses_are_the_same():
    assert all(
        f"license: {PROJECT['license']}\n" in text(path) for path in ("CITATION.cff", "release/conda/recipe.yaml")
    )


def test_a_source_distribution_has_what_its_tests_read():
    manifest = text("MANIFEST.in")
    folders = set(re.findall(r"^graft (\w+)$", manifest, re.MULTILINE))
    assert {"tests", "docs", "examples", "benchmarks", "clients", "website", "release"} <= folders
    assert "CITATION.cff" in manifest
