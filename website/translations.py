"""Which pages in Chinese have fallen behind their English twins.

A page in Chinese ends with a comment that holds, for each section of the English page that it renders, a digest of the
section's text as it was then. `python -m website.translations` lists the sections that have changed since, come or
gone, and exits with 1 if there are any; with `--mark PAGE ...`, after a page has been brought up to date, it writes the
comment anew.
"""

import hashlib
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHINESE = ROOT / "docs/zh"
COMMENT = re.compile(r"\n*<!-- sections of the English page:\n(.*?)-->\n*\Z", re.DOTALL)
HEADING = re.compile(r"^#{1,2} (.*)$", re.MULTILINE)
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def twin(page: Path) -> Path:
    """The English page of one in Chinese."""
    return ROOT / "README.md" if page.name == "README.md" else ROOT / "docs" / page.name


def digests(english: str) -> dict[str, str]:
    """A digest of each section, by its heading. Figures do not count: they are measured anew, not translated."""
    code = {match.start() for block in FENCED.finditer(english) for match in HEADING.finditer(english, *block.span())}
    headings = [match for match in HEADING.finditer(english) if match.start() not in code]
    ends = [match.start() for match in headings[1:]] + [len(english)]
    result = {}
    for heading, end in zip(headings, ends):
        text = " ".join(re.sub(r"\d[\d.,]*", "0", english[heading.end() : end]).split())
        result[heading[1]] = hashlib.sha256(text.encode()).hexdigest()[:8]
    return result


def recorded(chinese: str) -> dict[str, str]:
    """The digests that a page in Chinese holds."""
    comment = COMMENT.search(chinese)
    lines = comment[1].splitlines() if comment else []
    return {heading: digest for digest, _, heading in (line.partition(" ") for line in lines if line)}


def behind(chinese: str, english: str) -> list[str]:
    """What has happened to the English page since the Chinese one was written."""
    then, now = recorded(chinese), digests(english)
    return [
        *(f"'{heading}' has changed" for heading in now if heading in then and then[heading] != now[heading]),
        *(f"'{heading}' is new" for heading in now if heading not in then),
        *(f"'{heading}' is gone" for heading in then if heading not in now),
    ]


def marked(chinese: str, english: str) -> str:
    """The page with the digests of today."""
    lines = "".join(f"{digest} {heading}\n" for heading, digest in digests(english).items())
    return f"{COMMENT.sub('', chinese).rstrip()}\n\n<!-- sections of the English page:\n{lines}-->\n"


def report() -> list[str]:
    """A line for each page that has fallen behind."""
    lines = []
    for page in sorted(CHINESE.glob("*.md")):
        news = behind(page.read_text(encoding="utf-8"), twin(page).read_text(encoding="utf-8"))
        if news:
            lines.append(
                f"{page.relative_to(ROOT)} has fallen behind {twin(page).relative_to(ROOT)}: {'; '.join(news)}"
            )
    return lines


def main(arguments: list[str]) -> int:
    """Report, or mark pages as up to date."""
    if arguments[:1] == ["--mark"]:
        for page in map(Path, arguments[1:]):
            english = twin(page).read_text(encoding="utf-8")
            page.write_text(marked(page.read_text(encoding="utf-8"), english), encoding="utf-8")
        return 0
    lines = report()
    print("\n".join(lines) or "every page in Chinese is up to date")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
