"""What leaves the repository: versions and requirements that stand in several files are the same."""

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from email.parser import Parser
from pathlib import Path

import pytest

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


@pytest.fixture(scope="module")
def metadata(tmp_path_factory):
    """What a source distribution, built of the files that decide it, says of itself."""
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("sdist")
    for path in ("pyproject.toml", PROJECT["readme"], "LICENSE", "pullback/__init__.py", "pullback/_core/version.py"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, folder / path)
    (folder / "pullback/_core/__init__.py").touch()
    build = "from setuptools import build_meta; build_meta.build_sdist('dist')"
    subprocess.run([sys.executable, "-c", build], cwd=folder, check=True, capture_output=True, timeout=120)
    (built,) = (folder / "dist").glob("*.tar.gz")
    with tarfile.open(built) as archive:
        (member,) = [m for m in archive.getmembers() if re.fullmatch(r"[^/]+/PKG-INFO", m.name)]
        return Parser().parsestr(archive.extractfile(member).read().decode())


def test_the_recipe_agrees_with_a_built_source_distribution(metadata):
    """Name, version, range of Pythons, dependencies, summary and license."""
    recipe = text("release/conda/recipe.yaml")
    asked = re.search(r"  run:\n((?:    - .*\n)+)", recipe)[1].replace("    - ", "").splitlines()
    needed = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert f"\n  name: {metadata['Name']}\n" in recipe
    assert f'version: "{metadata["Version"]}"' in recipe
    assert f'python_min: "{metadata["Requires-Python"].removeprefix(">=")}"' in recipe
    assert len(needed) == len(asked) - 1

    def parts(line):
        name, bounds = re.fullmatch(r"([\w.-]+)\s*(.*)", line).groups()
        return name.lower().replace("-", "_"), frozenset(bounds.replace(" ", "").split(","))

    assert set(map(parts, asked[1:])) == set(map(parts, needed))
    assert f"summary: {metadata['Summary']}\n" in recipe
    assert f"license: {metadata['License-Expression']}\n" in recipe
    host = re.search(r"  host:\n((?:    - .*\n)+)", recipe)[1]
    backend = tomllib.loads(text("pyproject.toml"))["build-system"]["requires"]
    assert requirements(line.removeprefix("    - ") for line in host.splitlines()) >= requirements(backend)


def test_licenses_are_the_same():
    assert all(
        f"license: {PROJECT['license']}\n" in text(path) for path in ("CITATION.cff", "release/conda/recipe.yaml")
    )


def test_a_source_distribution_has_what_its_tests_read():
    manifest = text("MANIFEST.in")
    folders = set(re.findall(r"^graft (\w+)$", manifest, re.MULTILINE))
    assert {"tests", "docs", "examples", "benchmarks", "clients", "website", "release"} <= folders
    assert "CITATION.cff" in manifest
