"""The text of docstrings, written as the house writes it, in the markup that Sphinx reads.

Code stands between single backticks, and nothing else in a docstring is markup: stars, bars and underscores are
themselves. `Args:` begins a list of names with their meaning, `Returns:` and `Raises:` a paragraph, `>>>` an example.
"""

import re

CODE = re.compile(r"``?([^`]+)``?")
SECTION = re.compile(r"(Args|Attributes|Returns|Raises|Yields|Example|Examples|References?|Note|See):(?= |$)")
ITEM = re.compile(r"(\*{0,2}[\w.]+(?:, \*{0,2}[\w.]+)*): ")


def marked(text: str) -> str:
    """A paragraph: code becomes a reference to the object of that name, where there is one; the rest stays as it is."""
    parts = []
    for i, part in enumerate(CODE.split(text)):
        if i % 2:
            code = part.replace("\\", "\\\\")
            parts.append(f"\\ :py:obj:`{code}`\\ " if re.fullmatch(r"[\w.]+", part) else f"\\ :code:`{code}`\\ ")
        else:
            parts.append(re.sub(r"([\\*|_`<\[])", r"\\\1", part))
    return "".join(parts)


def indent_of(line: str) -> int:
    """The number of blanks that a line begins with."""
    return len(line) - len(line.lstrip())


def blocks(lines: list[str]) -> list[list[str]]:
    """The paragraphs, as lists of lines."""
    found: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    return [block for block in found if block]


def listed(lines: list[str]) -> list[str]:
    """A list of names with their meaning: each begins at the indent of the first line, what is deeper goes on."""
    margin = indent_of(lines[0])
    items: list[str] = []
    for line in lines:
        if indent_of(line) <= margin or not items:
            items.append(line.strip())
        else:
            items[-1] += " " + line.strip()
    result = []
    for item in items:
        named = ITEM.match(item)
        result.append(f"* **{marked(named[1])}**: {marked(item[named.end() :])}" if named else f"* {marked(item)}")
    return ["", *result, ""]


def paragraph(text: str) -> list[str]:
    """A paragraph, with the word set off that it may begin with."""
    start = SECTION.match(text)
    return [f"**{start[1]}**: {marked(text[start.end() :].strip())}" if start else marked(text), ""]


def sections(block: list[str]) -> list[str]:
    """A paragraph without examples: each section of it, and the text before, on its own."""
    result: list[str] = []
    text: list[str] = []
    at = 0
    while at < len(block):
        line = block[at]
        start = SECTION.match(line.strip())
        if start and text:
            result += paragraph(" ".join(text))
            text = []
        if start and line.strip() == start[0]:  # a heading alone: what is indented below belongs to it
            stop = at + 1
            while stop < len(block) and indent_of(block[stop]) > indent_of(line):
                stop += 1
            result += [f"**{start[1]}**", ""]
            if stop > at + 1:
                result += listed(block[at + 1 : stop])
            at = stop
            continue
        text.append(line.strip())
        at += 1
    return result + (paragraph(" ".join(text)) if text else [])


def restructured(lines: list[str]) -> list[str]:
    """The lines of a docstring, without its indentation, as reStructuredText."""
    result: list[str] = []
    for block in blocks(lines):
        example = next((i for i, line in enumerate(block) if line.lstrip().startswith(">>>")), len(block))
        before, code = block[:example], block[example:]
        if before:
            if all(indent_of(line) >= 4 for line in before):  # a formula or a layout
                result += ["::", "", *before, ""]
            else:
                result += sections(before)
        if code:
            margin = min(indent_of(line) for line in code)
            result += [".. code-block:: pycon", "", *("    " + line[margin:] for line in code), ""]
    return result
