"""The sources of the site, laid out for Sphinx: the pages of `docs/`, the README and other texts of the repository, the
tutorial's scripts, and the reference. The sidebar is the list in `docs/README.md`, with its headings.
"""

import os
import re
import shutil
import sys
from pathlib import Path

from website import reference, rule_pictures, translations

ROOT = Path(__file__).resolve().parent.parent
# texts of the repository that are pages of the site
TEXTS = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "docs/README.md": "contents.md",
    "docs/zh/README.md": "zh/index.md",
}
FOLDERS = {"docs": "contents.md", "examples": "examples/index.md", "examples/gallery": "examples/gallery/index.md"}
GALLERY = ROOT / "examples/gallery"
PICTURES = ROOT / "build/docs/gallery"  # which `make docs` has the programs draw
RULES = ROOT / "build/docs/rules"  # and those of the rules
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!\w+:|#)([^)#\s]*)(#[^)\s]*)?\)")
IMAGE = re.compile(r"!\[([^\]]*)\]\((?!\w+:)([^)\s]+)\)")
# In Chinese a line may end anywhere; a browser would show a blank there.
BROKEN = re.compile(r"(?<=[\u3000-\u9fff\uff00-\uffef])\n(?=[\u3000-\u9fff\uff00-\uffef])")
LANGUAGE = re.compile(r"^\[(?:中文|English)\]\(\S+\)\n\n", re.MULTILINE)
BLANK_END = re.compile(r"\n+(?=\n```$)", re.MULTILINE)  # doctest wants an empty line after a result, readers do not
FENCE = re.compile(r"^```python\n(?=>>> )", re.MULTILINE)
FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def pages() -> dict[str, str]:
    """Each text of the repository that is a page, and the page's file, both as paths with slashes."""
    guides = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
    scripts = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "examples").glob("[0-9]*_*.py"))
    scripts += sorted(path.relative_to(ROOT).as_posix() for path in GALLERY.glob("[a-z]*.py"))
    return {
        **{path: path.removeprefix("docs/") for path in guides},
        **{path: path.removesuffix(".py") + ".md" for path in scripts},
        **TEXTS,
    }


def target_of(link: str, source: str) -> str:
    """The path in the repository that a link of a text leads to."""
    return os.path.normpath(os.path.join(os.path.dirname(source), link)).replace(os.sep, "/")


def relinked(text: str, source: str, page: str, known: dict[str, str], files: set[str]) -> str:
    """A text whose links lead to pages; files that are no pages can be downloaded, folders are only named.

    Pictures are files too, but for those that are drawn for the site.
    """

    def replaced(match: re.Match[str]) -> str:
        label, link, anchor = match[1], match[2], match[3] or ""
        target = target_of(link, source)
        if target in known or target in FOLDERS:
            to = known.get(target) or FOLDERS[target]
        elif (ROOT / target).is_file():
            to = f"files/{target}"
            files.add(target)
        else:
            return label
        return f"[{label}]({os.path.relpath(to, os.path.dirname(page) or '.').replace(os.sep, '/')}{anchor})"

    def shown(match: re.Match[str]) -> str:
        target = target_of(match[2], source)
        if not (ROOT / target).is_file():
            return match[0]
        files.add(target)
        to = os.path.relpath(f"files/{target}", os.path.dirname(page) or ".").replace(os.sep, "/")
        return f"![{match[1]}]({to})"

    parts = FENCED.split(text)
    return "".join(part if i % 2 else IMAGE.sub(shown, LINK.sub(replaced, part)) for i, part in enumerate(parts))


def script_page(path: Path) -> str:
    """A script as a page: its docstring, then its code."""
    text = path.read_text(encoding="utf-8")
    docstring = re.match(r'"""(.*?)"""\n', text, re.DOTALL)
    title, _, rest = (docstring[1] if docstring else path.stem).strip().partition("\n")
    code = text[docstring.end() :].strip() if docstring else text
    if (PICTURES / f"{path.stem}.svg").is_file():
        rest += f"\n\n![{title}]({path.stem}.svg)"
    rest = re.sub(r"``", "`", rest.strip())
    return f"# {title.rstrip('.')}\n\n{rest}\n\n`{path.relative_to(ROOT).as_posix()}`\n\n```python\n{code}\n```\n"


def gallery(target: Path) -> str:
    """The page of all pictures, which are copied beside it."""
    lines = [
        "# Gallery",
        "",
        "Complete programs of one page each, run by the tests; `python -m examples.gallery` draws them.",
        "",
    ]
    names = [path.stem for path in sorted(GALLERY.glob("[a-z]*.py"))]
    for name in names:
        title = (GALLERY / f"{name}.py").read_text(encoding="utf-8").removeprefix('"""').partition("\n")[0].rstrip(".")
        head, _, rest = title.partition(": ")
        lines += [f"## [{head}]({name}.md)", "", f"{rest[:1].upper()}{rest[1:]}." if rest else "", ""]
        if (PICTURES / f"{name}.svg").is_file():
            shutil.copy(PICTURES / f"{name}.svg", target / "examples/gallery")
            lines += [f"![{title}]({name}.svg)", ""]
    return "\n".join([*lines, "```{toctree}", ":hidden:", "", *names, "```", ""])


def sidebar(contents: str) -> list[tuple[str, list[str]]]:
    """The captions and pages that the list of contents gives: its headings, and the links below each."""
    groups: list[tuple[str, list[str]]] = []
    for line in contents.splitlines():
        if line.startswith("## "):
            groups.append((line[3:], []))
        elif groups and (links := LINK.findall(line)) and line.startswith("- "):
            groups[-1][1].append(links[0][1])
    return groups


def toctrees(contents: str, known: dict[str, str]) -> str:
    """The sidebar as Sphinx reads it."""
    result = []
    for caption, links in sidebar(contents):
        targets = [target_of(link, "docs/README.md") for link in links]
        names = [(known.get(target) or FOLDERS[target]).removesuffix(".md") for target in targets]
        result.append("\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *names, "```", ""]))
    reference_page = ["```{toctree}", ":hidden:", ":caption: Reference", "", "reference/index", "```", ""]
    return "\n".join([*result, "\n".join(reference_page)])


def language_link(source: str) -> str:
    """A line that leads to the page's twin in the other language, where there is one."""
    folder, name = os.path.split(source)
    for here, there, label in ((("", "docs"), "docs/zh", "中文"), (("docs/zh",), "docs", "English")):
        twin = "README.md" if there == "docs" and name == "README.md" else f"{there}/{name}"
        if folder in here and source != "docs/README.md" and (ROOT / twin).is_file():
            return f"{{.language}}\n[{label}]({os.path.relpath(twin, folder or '.')})\n\n"
    return ""


def notice(page: Path, text: str) -> str:
    """A page in Chinese for readers: without the digests, and with a line if the English page has gone on."""
    english = translations.twin(page)
    news = translations.behind(text, english.read_text(encoding="utf-8"))
    parts = FENCED.split(translations.COMMENT.sub("\n", text))
    text = "".join(part if i % 2 else BROKEN.sub("", part) for i, part in enumerate(parts))
    if not news:
        return text
    title, _, rest = text.partition("\n")
    link = os.path.relpath(english, page.parent)
    return f"{title}\n\n```{{note}}\n[英文版]({link})有更新，本页尚未跟上。\n```\n{rest}"


def stage(target: Path) -> list[str]:
    """Write the sources into a folder, which is emptied before; return the names of the reference."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    known = pages()
    files: set[str] = set()
    for source, page in known.items():
        path = ROOT / source
        text = script_page(path) if source.endswith(".py") else path.read_text(encoding="utf-8")
        text = LANGUAGE.sub("", text)  # the site has a place of its own for it
        if source.startswith("docs/zh/"):
            text = notice(path, text)
        text = FENCE.sub("```pycon\n", relinked(language_link(source) + text, source, page, known, files))
        text = "".join(BLANK_END.sub("", part) if i % 2 else part for i, part in enumerate(FENCED.split(text)))
        if page == "rules.md":
            text += rule_pictures.page(RULES)
        if page == "contents.md":
            text = "---\norphan: true\n---\n" + text
        if page == "index.md":
            text += "\n\n" + toctrees((ROOT / "docs/README.md").read_text(encoding="utf-8"), known)
        (target / page).parent.mkdir(parents=True, exist_ok=True)
        (target / page).write_text(text, encoding="utf-8")
    (target / "examples/gallery/index.md").write_text(gallery(target), encoding="utf-8")
    scripts = [page.removesuffix(".md") for page in known.values() if re.match(r"examples/\d", page)]
    listed = "\n".join(["```{toctree}", ":maxdepth: 1", "", *(f"/{name}" for name in scripts), "```", ""])
    (target / "examples/index.md").write_text(
        f"# Tutorial\n\nScripts that print each value beside a claim; `make demo` runs them.\n\n{listed}",
        encoding="utf-8",
    )
    for picture in RULES.glob("*.svg"):
        (target / "pictures/rules").mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, target / "pictures/rules")
    for file in files:
        (target / "files" / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, target / "files" / file)
    return reference.write(target / "reference")


if __name__ == "__main__":
    stage(Path(sys.argv[1]))
