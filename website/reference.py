"""The pages of the reference: every public module, and every public name where it first stands."""

import inspect
from collections import defaultdict
from pathlib import Path
from typing import Any

from website.docstrings import marked
from website.names import MODULES, module, public_names, public_objects

# the parts of `numpy`, by the folder or file that holds them
PARTS_OF_NUMPY = {
    "_creation": "Creating arrays",
    "_elementwise": "Elementwise functions",
    "_reductions": "Reductions and statistics",
    "_products": "Products, einsum, convolution",
    "_shape": "Shapes, joining, padding",
    "_indexing": "Indexing",
    "_searching": "Sorting, searching, sets, histograms",
    "_functional": "Functions of functions",
    "_polynomials": "Polynomials",
    "": "Ufuncs, dtypes and the rest",
}


def is_ours(value: Any) -> bool:
    """Whether the docstring is the package's own, not NumPy's, jaxlib's or Python's."""
    home = getattr(value, "__module__", None) or type(value).__module__
    return home.startswith("pullback")


def is_primitive(path: str) -> bool:
    """Whether a name is that of a primitive, such as `lax.sin_p`: they are listed, and need no entry."""
    return path.endswith("_p")


def summary(value: Any) -> str:
    """The first sentence of a docstring."""
    text = inspect.cleandoc(getattr(value, "__doc__", None) or "").partition("\n\n")[0]
    return " ".join(text.split())


def heading(title: str) -> list[str]:
    """A title of a page."""
    return [title, "=" * len(title), ""]


def entry(path: str, value: Any) -> list[str]:
    """The directive by which autodoc shows an object."""
    if inspect.isclass(value) and value.__name__ != path.rpartition(".")[2]:  # autodoc would say "alias of ..."
        return [f".. py:class:: pullback.{path}", "", f"   .. docstring:: pullback.{path}", ""]
    if inspect.isclass(value):
        options = ["   :members:", "   :member-order: bysource"]
        return [f".. autoclass:: pullback.{path}", *options, ""]
    if inspect.isroutine(value):
        return [f".. autofunction:: pullback.{path}", ""]
    return [f".. autodata:: pullback.{path}", "   :no-value:", ""]


def table(rows: list[tuple[str, str]]) -> list[str]:
    """A table of names and what they are."""
    lines = [".. list-table::", "   :widths: 30 70", "   :class: names", ""]
    for name, text in rows:
        lines += [f"   * - {name}", f"     - {text}"]
    return [*lines, ""]


def part_of(path: str, value: Any) -> str:
    """The page below a module's on which an object has its entry: "" is the module's own."""
    if not path.startswith("numpy.") or path.count(".") > 1:
        return ""
    folder = (getattr(value, "__module__", "") or "").removeprefix("pullback.numpy").strip(".").partition(".")[0]
    return folder if folder in PARTS_OF_NUMPY else ""


def page_of(path: str) -> str:
    """The file name of a module's page, without its ending."""
    return f"pullback.{path}".rstrip(".")


def write(folder: Path) -> list[str]:
    """Write the pages into a folder; return the names that have entries."""
    folder.mkdir(parents=True, exist_ok=True)
    first = {id(value): path for path, value in public_objects()}
    entries: dict[str, list[tuple[str, Any]]] = defaultdict(list)
    for path, value in public_objects():
        if is_ours(value) and not is_primitive(path):
            entries[path.rpartition(".")[0]].append((path, value))
    for path in MODULES:
        write_module(folder, path, entries[path], first)
    index = [*heading("Reference"), "Every public name, with its docstring. Examples are run by the tests.", ""]
    index += table([(f":doc:`{page_of(path)}`", marked(summary(module(path)))) for path in MODULES])
    index += [".. toctree::", "   :hidden:", "", *(f"   {page_of(path)}" for path in MODULES), ""]
    (folder / "index.rst").write_text("\n".join(index), encoding="utf-8")
    return sorted(path for found in entries.values() for path, _ in found)


def write_module(folder: Path, path: str, entries: list[tuple[str, Any]], first: dict[int, str]) -> None:
    """The page of a module: what it is, entries of its own, and where the other names stand."""
    name = page_of(path)
    lines = [*heading(name), f".. module:: {name}", "", f".. docstring:: {name}", ""]
    parts: dict[str, list[tuple[str, Any]]] = defaultdict(list)
    for entry_path, value in entries:
        parts[part_of(entry_path, value)].append((entry_path, value))
    own = parts.pop("", [])
    if parts:
        lines += [".. toctree::", "   :maxdepth: 1", "", *(f"   {name}.{part.strip('_')}" for part in parts), ""]
    for part, found in parts.items():
        text = [*heading(f"{name}: {PARTS_OF_NUMPY[part].lower()}"), f".. currentmodule:: {name}", ""]
        text += contents(found)
        (folder / f"{name}.{part.strip('_')}.rst").write_text("\n".join(text), encoding="utf-8")
    lines += contents(own)
    lines += elsewhere(path, {id(value) for _, value in entries}, first)
    (folder / f"{name}.rst").write_text("\n".join(lines), encoding="utf-8")


def contents(found: list[tuple[str, Any]]) -> list[str]:
    """A table of what stands on a page, then its entries."""
    if not found:
        return []
    rows = [(f":py:obj:`{path.rpartition('.')[2]} <pullback.{path}>`", marked(summary(value))) for path, value in found]
    return [*table(rows), *(line for path, value in found for line in entry(path, value))]


def elsewhere(path: str, here: set[int], first: dict[int, str]) -> list[str]:
    """The names of a module that have no entry on its page, each with what it is."""
    rows = []
    home = module(path)
    for name in public_names(home):
        value = getattr(home, name)
        if id(value) in here or inspect.ismodule(value):
            continue
        where = first.get(id(value))
        if is_primitive(name):
            text = "a primitive"
        elif where and is_ours(value) and where != f"{path}.{name}".lstrip("."):
            text = f":py:obj:`pullback.{where}`"
        elif callable(value):
            source = getattr(value, "__module__", None) or "builtins"
            text = f"the same as ``{source}.{getattr(value, '__qualname__', name)}``"
        else:
            text = f"``{value!r}``" if "\n" not in repr(value) and len(repr(value)) < 80 else "a constant"
        rows.append((f"``{name}``", text))
    return [".. rubric:: Other names", "", *table(rows)] if rows else []
