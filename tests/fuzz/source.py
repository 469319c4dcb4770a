"""What is done to the text of programs before they run: wider types."""

import re

NARROW = re.compile(r"([\"'])(b?float(?:16|32)|complex64)\1")


def widened(source: str) -> str:
    """The text with float64 for every narrower floating-point type."""
    return NARROW.sub(lambda m: '"complex128"' if m[2] == "complex64" else '"float64"', source)


def load(source: str, library):
    """The function that a text defines, of a library."""
    space = {}
    exec(compile(source, "<program>", "exec"), space)
    return space["make"](library)
