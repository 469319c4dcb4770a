"""The public modules and names of the package: what the reference shows and the tests of docstrings go through."""

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pullback

# packages whose files are parts, with names that the package gives, and the modules of their own inside
PACKAGES_OF_PARTS = ("lax", "nn", "numpy", "random", "rules")
MODULES_INSIDE = {"lax.linalg", "nn.initializers", "numpy.fft", "numpy.linalg"}


def public_modules() -> list[str]:
    """The package itself (""), and every module whose path has no underscore and that is no part of another."""
    paths = [info.name.removeprefix("pullback.") for info in pkgutil.walk_packages(pullback.__path__, "pullback.")]
    return [
        "",
        *(
            path
            for path in paths
            if not path.startswith("_")
            and "._" not in path
            and (path.partition(".")[0] not in PACKAGES_OF_PARTS or "." not in path or path in MODULES_INSIDE)
        ),
    ]


MODULES = public_modules()


def module(path: str) -> ModuleType:
    """The module at a path below the package."""
    return importlib.import_module(f"pullback.{path}".rstrip("."))


def public_names(of: ModuleType) -> list[str]:
    """What a module offers: its `__all__`, or the names without an underscore."""
    return getattr(of, "__all__", None) or [name for name in dir(of) if not name.startswith("_")]


def public_objects() -> Iterator[tuple[str, Any]]:
    """Every public function and class once, by its first name; constants and modules are neither."""
    seen = set()
    for path in MODULES:
        home = module(path)
        for name in public_names(home):
            value = getattr(home, name)
            if callable(value) and id(value) not in seen:
                seen.add(id(value))
                yield f"{path}.{name}".lstrip("."), value
