"""The site: every page is in the sidebar, every link of a text leads somewhere, and docstrings become proper markup."""

import importlib.util
import json
import re

import numpy as np
import pytest

import pullback as pb
from pullback import rules
from website import check, rule_pictures, stage, versions
from website.docstrings import restructured
from website.names import MODULES

needs_sphinx = pytest.mark.skipif(
    importlib.util.find_spec("myst_parser") is None, reason="the extra `docs` is not installed: no Sphinx to build with"
)


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    """The folder of the sources, and the names of the reference."""
    folder = tmp_path_factory.mktemp("site")
    return folder, stage.stage(folder)


def anchors(text: str) -> set[str]:
    """The anchors of a Markdown text: those that GitHub and MyST make of headings."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_guide_is_in_the_sidebar():
    text = (stage.ROOT / "docs/README.md").read_text(encoding="utf-8")
    listed = {stage.target_of(link, "docs/README.md") for _, links in stage.sidebar(text) for link in links}
    guides = {path for path in stage.pages() if path.startswith("docs/")} - {"docs/README.md"}
    assert guides - listed == set()


def test_links_of_texts_lead_to_files_and_headings():
    broken = []
    for source in (path for path in stage.pages() if path.endswith(".md")):
        text = (stage.ROOT / source).read_text(encoding="utf-8")
        prose = "".join(stage.FENCED.split(text)[::2])
        for link, anchor in re.findall(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]*))?\)", prose):
            target = stage.ROOT / (stage.target_of(link, source) if link else source)
            if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
                broken.append(f"{source}: {link}#{anchor}")
    assert broken == []


def test_staged_links_lead_to_staged_pages(staged):
    folder, _ = staged
    broken = []
    for path in folder.rglob("*.md"):
        prose = "".join(stage.FENCED.split(path.read_text(encoding="utf-8"))[::2])
        for link in re.findall(r"\]\((?!\w+:)([^)#\s]+)(?:#[^)\s]*)?\)", prose):
            if not (path.parent / link).is_file():
                broken.append(f"{path.relative_to(folder)}: {link}")
    assert broken == []


def test_reference_has_every_public_name(staged):
    folder, names = staged
    assert len(names) > 1200
    assert {"grad", "custom_vjp", "lax.scan", "numpy.sin", "scipy.special.erf", "rules.safe_norm"} <= set(names)
    pages = {path.stem for path in (folder / "reference").glob("*.rst")}
    assert {f"pullback.{path}".rstrip(".") for path in MODULES} <= pages
    text = "".join(path.read_text(encoding="utf-8") for path in (folder / "reference").glob("*.rst"))
    entries = set(
        re.findall(r"^\.\. (?:autofunction|autoclass|autodata|py:class):: pullback\.(\S+)", text, re.MULTILINE)
    )
    assert entries == set(names)


def test_docstrings_become_markup():
    docstring = """The sum `a*b` of *args, |x|.

Args:
  x, y: arrays,
    two of them.
Returns: ``z``, an `Array`s part.

>>> 1 + 1
2"""
    assert [line for line in restructured(docstring.splitlines()) if line] == [
        r"The sum \ :code:`a*b`\  of \*args, \|x\|.",
        "**Args**",
        "* **x, y**: arrays, two of them.",
        r"**Returns**: \ :py:obj:`z`\ , an \ :py:obj:`Array`\ s part.",
        ".. code-block:: pycon",
        "    >>> 1 + 1",
        "    2",
    ]


def test_scripts_become_pages():
    text = stage.script_page(stage.ROOT / "examples/05_fixed_point.py")
    assert text.startswith("# Differentiating the result of an iteration without differentiating the iteration\n")
    assert "```python\nfrom functools import partial\n" in text


def test_every_error_is_explained():
    page = (stage.ROOT / "docs/errors.md").read_text(encoding="utf-8")
    assert [name for name in pb.errors.__all__ if name[0].isupper() and f"`{name}`" not in page] == []


@needs_sphinx
def test_chinese_is_found_by_pairs_of_characters():
    chinese_search = importlib.import_module("website.chinese_search")
    assert chinese_search.EnglishAndChinese({}).split("用vjp规则求余切") == [
        "用",
        "vjp",
        "规则",
        "则求",
        "求余",
        "余切",
    ]


def test_pictures_of_pages_are_copied():
    files = set()
    text = "![a derivative](pictures/log1pexp.svg) and ![drawn for the site](drawn.svg)"
    new = stage.relinked(text, "docs/pictures.md", "pictures.md", {}, files)
    assert new == "![a derivative](files/docs/pictures/log1pexp.svg) and ![drawn for the site](drawn.svg)"
    assert files == {"docs/pictures/log1pexp.svg"}


def test_each_rule_has_a_picture():
    names = {name for name, value in vars(rules).items() if callable(value) and not name.startswith("_")}
    assert names - {"QuadraticSolution"} == set(rule_pictures.SLICES)


@pytest.mark.parametrize("name", sorted(rule_pictures.SLICES))
def test_what_the_picture_of_a_rule_shows(name):
    """Finite values and derivatives; the ones of rules that are true derivatives are those of the values."""
    shown = rule_pictures.SLICES[name]
    points, values, slopes = rule_pictures.sampled(shown.rule, shown.low, shown.high)
    assert np.isfinite(values).all()
    assert np.isfinite(slopes).all()
    off = np.abs(np.gradient(values.astype(float), points.astype(float)) - slopes)
    # but at kinks, and up to the noise of what is smoothed by samples
    changed = "binarize clip_gradient_norm fake_quantize reverse_gradient scale_gradient spike straight_through"
    if name in [*changed.split(), "with_gradient_of"]:
        assert np.median(off) > 0.1
    else:
        assert np.median(off) < (0.1 if "perturbed" in name else 0.01)


def test_the_page_of_rules_shows_the_pictures_that_were_drawn(tmp_path):
    assert rule_pictures.page(tmp_path) == ""
    (tmp_path / "spike.svg").write_text("<svg/>")
    text = rule_pictures.page(tmp_path)
    assert "### spike" in text
    assert "pictures/rules/spike.svg" in text
    assert "clip_gradient" not in text
    assert rule_pictures.source("soft_threshold").startswith("Parikh and Boyd")


def built(folder, version, *pages):
    for page in ("index.html", *pages):
        path = folder / version / page
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"<html>{version} {page}</html>", encoding="utf-8")


def test_versions_of_the_site(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"build the pages of 0\.9\.0 there first"):
        versions.publish(tmp_path, "0.9.0")
    built(tmp_path, "0.9.0", "rules.html")
    built(tmp_path, "0.10.0", "rules.html", "zh/index.html")
    built(tmp_path, "0.11.0rc1", "new.html")
    entries = versions.publish(tmp_path, "0.11.0rc1")
    assert [entry["version"] for entry in entries] == ["0.11.0rc1", "0.10.0", "0.9.0"]
    assert [entry["url"] for entry in entries] == ["0.11.0rc1/", "latest/", "0.9.0/"]
    assert entries[1]["pages"] == ["index.html", "rules.html", "zh/index.html"]
    assert (tmp_path / "latest/index.html").read_text() == "<html>0.10.0 index.html</html>"
    assert list(check.broken_versions(tmp_path)) == []
    assert list(check.broken_links(tmp_path)) == []
    script = (tmp_path / "versions.js").read_text()
    assert json.loads(script.removeprefix("window.pullbackVersions = ").removesuffix(";\n")) == entries
    built(tmp_path, "0.11.0", "new.html")
    assert versions.publish(tmp_path, "0.11.0")[0]["url"] == "latest/"
    assert not (tmp_path / "latest/rules.html").exists()
