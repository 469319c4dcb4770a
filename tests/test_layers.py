"""The layout, read from the source: who imports whom, who imports the engine, how long a file may be."""

import ast
import functools
import graphlib
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "pullback"

# From the ground up. A module may import its own layer and the ones before it. A public module stands in the
# lowest layer that holds what it shows.
LAYERS = (
    ("_core", "config", "dtypes", "errors", "tree", "tree_util"),
    ("_analysis",),
    ("_xla",),
    ("_ops",),
    ("_transforms",),
    ("_higher_order",),
    ("_api",),
    (
        "ad",
        "ad_checkpoint",
        "api_util",
        "checkpoint_policies",
        "compilation_cache",
        "core",
        "custom_batching",
        "custom_derivatives",
        "distributed",
        "extend",
        "interpreters",
        "lib",
        "monitoring",
        "profiler",
        "sharding",
        "stages",
        "typing",
    ),
    ("lax",),
    ("numpy",),
    (
        "_check_rules",
        "_external",
        "_krylov",
        "_pictures",
        "_progress",
        "debug",
        "dlpack",
        "example_libraries",
        "experimental",
        "export",
        "ffi",
        "flatten_util",
        "image",
        "implicit",
        "nn",
        "ops",
        "random",
        "ref",
        "scipy",
        "test_util",
    ),
    ("rules", "saving"),
    ("__init__",),
    ("as_jax",),
)
RANK = {room: rank for rank, layer in enumerate(LAYERS) for room in layer}

ENGINE_ROOM = "pullback._xla"
PYTREE_FILES = {"pullback._core.tree", "pullback._core.tree_paths"}
LONGEST_FILE = 500


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@functools.cache
def tree_of(module: str) -> ast.Module:
    """The source of a module, parsed when a test asks for it: each worker imports this file."""
    return ast.parse(SOURCES[module].read_text(encoding="utf-8"), str(SOURCES[module]))


def room(module: str) -> str:
    """The entry of LAYERS that a module belongs to: _ops for pullback._ops.dot, __init__ for pullback."""
    return module.split(".")[1] if "." in module else "__init__"


def imported_names(module: str, node: ast.AST) -> list[str]:
    """The dotted names that an import statement asks for, made absolute; [] for any other node."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    source = node.module or ""
    if node.level:
        package = module.split(".") if SOURCES[module].name == "__init__.py" else module.split(".")[:-1]
        source = ".".join([*package[: len(package) - node.level + 1], *([source] if source else [])])
    return [f"{source}.{alias.name}" for alias in node.names]


def imports(module: str) -> Iterator[tuple[str, int]]:
    """Every (dotted name, line) that a module imports, wherever in it."""
    for node in ast.walk(tree_of(module)):
        for name in imported_names(module, node):
            yield name, node.lineno


def own_imports(module: str) -> Iterator[tuple[str, int]]:
    """Every (module of ours, line): `from pullback._core import tree` is pullback._core.tree, a file."""
    for name, line in imports(module):
        if name.split(".")[0] == "pullback":
            while name not in SOURCES and "." in name:
                name = name.rpartition(".")[0]
            yield name, line


def is_package(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def report(complaints: list[str]) -> str:
    return "\n" + "\n".join(complaints)


def test_the_package_is_there():
    assert "pullback" in SOURCES


def test_every_module_has_a_layer():
    homeless = [f"{SOURCES[m]}: give '{room(m)}' a place in LAYERS" for m in SOURCES if room(m) not in RANK]
    assert not homeless, report(homeless)


def test_imports_go_downward():
    upward = [
        f"{SOURCES[m]}:{line}: {room(m)} imports {target}, which is in a higher layer"
        for m in SOURCES
        for target, line in own_imports(m)
        if room(m) in RANK and room(target) in RANK and RANK[room(target)] > RANK[room(m)]
    ]
    assert not upward, report(upward)


def test_no_import_cycles():
    graph = {m: {target for target, _ in own_imports(m)} - {m} for m in SOURCES}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        raise AssertionError("import cycle: " + " <- ".join(error.args[1])) from None


def test_no_function_imports_a_module_of_ours():
    hidden = [
        f"{SOURCES[m]}:{node.lineno}: {name} is imported inside {function.name}"
        for m in SOURCES
        for function in ast.walk(tree_of(m))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        for name in imported_names(m, node)
        if is_package(name, "pullback")
    ]
    assert not hidden, report(hidden)


def test_jax_is_never_imported():
    found = [f"{SOURCES[m]}:{line}: {name}" for m in SOURCES for name, line in imports(m) if is_package(name, "jax")]
    assert not found, report(found)


def test_the_engine_is_imported_in_its_room_only():
    found = [
        f"{SOURCES[m]}:{line}: {name}; only {ENGINE_ROOM} and {', '.join(sorted(PYTREE_FILES))} import jaxlib"
        for m in SOURCES
        for name, line in imports(m)
        if is_package(name, "jaxlib") and not is_package(m, ENGINE_ROOM) and m not in PYTREE_FILES
    ]
    assert not found, report(found)


def test_files_can_be_read_in_one_sitting():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES.values()}
    long = [f"{path}: {n} lines, at most {LONGEST_FILE}" for path, n in lengths.items() if n > LONGEST_FILE]
    assert not long, report(long)
