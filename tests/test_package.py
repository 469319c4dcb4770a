"""What belongs to a release: the version in one place, the marker of typed packages, the notes on each version."""

import re
import subprocess
import sys
import tomllib
from importlib import metadata, resources
from pathlib import Path

import pytest

import pullback as pb

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_version_stands_in_one_place():
    assert "version" not in PROJECT["project"]
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "pullback._core.version.__version__"}
    # setuptools reads it from the source if it is a literal there; otherwise it imports the package
    assert re.findall(r'^__version__ = "([^"]+)"', (ROOT / "pullback/_core/version.py").read_text(), re.MULTILINE) == [
        pb.__version__
    ]


def test_the_version_in_numbers():
    assert len(pb.__version_info__) == 3
    assert pb.__version__.startswith(".".join(map(str, pb.__version_info__)))


def test_the_installed_version():
    try:
        installed = metadata.version("pullback")
    except metadata.PackageNotFoundError:
        pytest.skip("the package runs from its source alone")
    assert installed == pb.__version__


def test_type_checkers_find_the_types():
    assert resources.files("pullback").joinpath("py.typed").is_file()
    assert "py.typed" in PROJECT["tool"]["setuptools"]["package-data"]["pullback"]


def test_the_changelog_knows_the_version():
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[:2] == ["Unreleased", pb.__version__]


WITHOUT_INT1 = """
import ml_dtypes
del ml_dtypes.int1, ml_dtypes.uint1
from pullback.numpy import *
import pullback.numpy as pnp
assert "int1" not in pnp.__all__ and int2.dtype == "int2"
assert float(pnp.asarray(2, bfloat16)) == 2.0
try:
    pnp.int1
except AttributeError as error:
    print(error)
"""


def test_ml_dtypes_without_one_bit_integers():
    shown = subprocess.run([sys.executable, "-c", WITHOUT_INT1], capture_output=True, text=True, check=True)
    assert "int1 needs ml_dtypes 0.6, which has it; here is" in shown.stdout
