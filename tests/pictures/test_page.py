"""The pictures in docs/pictures are those that the library draws."""

import runpy
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "pictures"


@pytest.fixture(scope="module")
def pictures():
    pytest.importorskip("pygraphviz", reason="the extra `draw` is not installed")
    return runpy.run_path(str(FOLDER / "draw.py"))["pictures"]()


def texts(svg):
    """What stands in a picture, wherever: places are Graphviz's, whose version may change them."""
    return sorted("".join(element.itertext()) for element in ElementTree.fromstring(svg).iter() if element.text)


@pytest.mark.parametrize("name", ["log1pexp", "ruled", "simulate", "model"])
def test_the_pictures_are_up_to_date(name, pictures):
    # `make pictures` draws them anew
    kept = (FOLDER / f"{name}.svg").read_text(encoding="utf-8")
    assert texts(pictures[name].svg) == texts(kept)
    assert str(FOLDER.parents[1]) not in kept  # nothing of the machine that drew them


def test_each_picture_is_shown(pictures):
    page = (FOLDER.parent / "pictures.md").read_text(encoding="utf-8")
    assert all(f"(pictures/{name}.svg)" in page for name in pictures)
    assert {path.stem for path in FOLDER.glob("*.svg")} == set(pictures)
