"""What is done to the text of programs before they run: wider types, noise."""

import ast
import re

NARROW = re.compile(r"([\"'])(b?float(?:16|32)|complex64)\1")


def widened(source: str) -> str:
    """The text with float64 for every narrower floating-point type."""
    return NARROW.sub(lambda m: '"complex128"' if m[2] == "complex64" else '"float64"', source)


def noisy(source: str) -> str:
    """The text with `x = noise(x, "x")` after every assignment, and at the head of the program for its parameters."""
    tree = ast.parse(source)
    make = tree.body[0]
    for node in ast.walk(make):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            names = [targets(statement) if node is not make else [] for statement in body]
            node.body = [new for old, own in zip(body, names, strict=True) for new in (old, *map(noise_on, own))]
    for inner in make.body:
        if isinstance(inner, ast.FunctionDef):
            program = inner
    program.body[:0] = [noise_on(argument.arg) for argument in program.args.args]
    return ast.unparse(ast.fix_missing_locations(tree))


def targets(statement: ast.stmt) -> list[str]:
    if not isinstance(statement, ast.Assign):
        return []
    return [node.id for target in statement.targets for node in ast.walk(target) if isinstance(node, ast.Name)]


def noise_on(name: str) -> ast.stmt:
    return ast.parse(f"{name} = noise({name}, {name!r})").body[0]


def load(source: str, library, **names):
    """The function that a text defines, of a library."""
    space = {**names}
    exec(compile(source, "<program>", "exec"), space)
    return space["make"](library)
