"""The pages in Chinese: what has fallen behind is named, their code is that of the English pages."""

import re

import pytest

from website import stage, translations

PAGES = sorted(translations.CHINESE.glob("*.md"))
ENGLISH = "# Title\n\nIntro.\n\n## One\n\nText of 12 ms.\n\n```sh\n# no heading\n```\n\n## Two\n\nMore.\n"


def test_sections_and_their_digests():
    digests = translations.digests(ENGLISH)
    assert list(digests) == ["Title", "One", "Two"]
    assert digests == translations.digests(ENGLISH.replace("12 ms", "11.5 ms"))


def test_what_has_changed_is_named():
    page = translations.marked("# 标题\n", ENGLISH)
    assert translations.behind(page, ENGLISH) == []
    later = ENGLISH.replace("More.", "Less.").replace("## One", "## First")
    assert translations.behind(page, later) == ["'Two' has changed", "'First' is new", "'One' is gone"]
    assert translations.behind(translations.marked(page, later), later) == []
    assert translations.marked(page, later).count("<!--") == 1


def test_a_page_that_is_behind_says_so():
    page = translations.CHINESE / "ten_minutes.md"
    text = page.read_text(encoding="utf-8")
    assert "<!--" not in stage.notice(page, text)
    assert "```{note}" in stage.notice(page, translations.COMMENT.sub("", text))


def test_the_tool_reports_and_marks(tmp_path, monkeypatch, capsys):
    (tmp_path / "docs/zh").mkdir(parents=True)
    (tmp_path / "docs/page.md").write_text(ENGLISH, encoding="utf-8")
    page = tmp_path / "docs/zh/page.md"
    page.write_text("# 标题\n", encoding="utf-8")
    monkeypatch.setattr(translations, "ROOT", tmp_path)
    monkeypatch.setattr(translations, "CHINESE", tmp_path / "docs/zh")
    assert translations.main([]) == 1
    assert "docs/zh/page.md has fallen behind docs/page.md: 'Title' is new" in capsys.readouterr().out
    assert translations.main(["--mark", str(page)]) == 0
    assert translations.main([]) == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_is_that_of_the_english_page(page):
    english = re.findall(r"```python.*?```", translations.twin(page).read_text(encoding="utf-8"), re.DOTALL)
    chinese = re.findall(r"```python.*?```", page.read_text(encoding="utf-8"), re.DOTALL)
    changed = [block for block in chinese if block not in english]
    assert not changed, "copy these blocks from the English page:\n" + "\n".join(changed)


def test_pages_are_up_to_date():
    """Whoever changes an English page need not know Chinese: it is said here, and on the page of the site."""
    lines = translations.report()
    if lines:
        pytest.skip("\n".join(lines))
    assert len(PAGES) >= 3
