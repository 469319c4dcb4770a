"""The finder of modules by which `jax` and all that is below it are modules of pullback."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pullback
from pullback._core import missing
from pullback._core.config import read_environment_of_jax
from pullback.as_jax import _src

JAX_VERSION = "0.10.2"  # the version whose names and behaviour are followed

# a folder with a package named jax that does nothing but install this finder: for processes that are started later
_PATH = Path(__file__).parent / "path"


class _Jax(ModuleType):
    """The module `jax`: pullback, but for the names of its version. What a program assigns to it stays here."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module 'jax' has no attribute {name!r}")
        if name in ("version", "_src"):
            return import_module(f"jax.{name}")
        try:
            return getattr(pullback, name)
        except AttributeError:
            raise missing.error("pullback", name, sys._getframe(1)) from None

    def __dir__(self) -> list[str]:
        return sorted({*vars(self), *dir(pullback)})


def _make_jax() -> ModuleType:
    module = _Jax("jax", pullback.__doc__)
    module.__path__ = []
    module.__version__ = JAX_VERSION  # type: ignore[attr-defined]
    module.__version_info__ = tuple(map(int, JAX_VERSION.split(".")))  # type: ignore[attr-defined]
    return module


def _make_version() -> ModuleType:
    module = ModuleType("jax.version", "The version of JAX whose names and behaviour pullback follows.")
    module.__version__ = JAX_VERSION  # type: ignore[attr-defined]
    module.__version_info__ = tuple(map(int, JAX_VERSION.split(".")))  # type: ignore[attr-defined]
    return module


def _module(name: str) -> ModuleType:
    """The module that `import name` gives; ModuleNotFoundError, with the reason, if there is none."""
    if name == "jax":
        return _make_jax()
    if name == "jax.version":
        return _make_version()
    if name == "jax._src" or name.startswith("jax._src."):
        return _src.module(name)
    parent, _, last = name.rpartition(".")
    ours = "pullback" + name.removeprefix("jax")
    if not last.startswith("_"):
        try:
            return import_module(ours)
        except ModuleNotFoundError as error:
            if error.name != ours:
                raise
    missing.note(ours.rpartition(".")[0], last)
    raise ModuleNotFoundError(
        f"No module named {name!r} in pullback, which stands for jax here: "
        f"{missing.explanation('pullback' + parent.removeprefix('jax'), last)}",
        name=name,
    )


class _Loader(Loader):
    """Puts a module that exists already under a name of jax's."""

    def __init__(self, module: ModuleType):
        self.module = module

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None  # Python would write its own attributes into the module; it gets an empty one, which is replaced

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        if name == "jax":
            self.module.__spec__ = module.__spec__
        sys.modules[name] = self.module


class _Distribution(importlib.metadata.Distribution):
    """What `importlib.metadata.version("jax")` asks."""

    def read_text(self, filename: str) -> str | None:
        if filename == "METADATA":
            return f"Metadata-Version: 2.1\nName: jax\nVersion: {JAX_VERSION}\n"
        return None

    def locate_file(self, path: Any) -> Any:
        return Path(__file__).parent / path


class _Finder(MetaPathFinder):
    def find_spec(self, fullname: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        if fullname != "jax" and not fullname.startswith("jax."):
            return None
        module = _module(fullname)
        spec = ModuleSpec(fullname, _Loader(module), origin=getattr(module, "__file__", None), is_package=True)
        spec.submodule_search_locations = []  # submodules are found here alone, never as files
        return spec

    def find_distributions(self, context: Any = None) -> Iterator[importlib.metadata.Distribution]:
        name = getattr(context, "name", None)
        if name is not None and name.lower() == "jax":
            yield _Distribution()


_finder = _Finder()


def installed() -> bool:
    """Return whether `import jax` gives pullback. Raises nothing.

    >>> installed()
    False
    """
    return _finder in sys.meta_path


def install(subprocesses: bool = False) -> None:
    """Have `import jax`, and imports of all modules below it, give pullback's modules.

    Options that the environment gives, as JAX_ENABLE_X64=1, are set, unless PULLBACK_ENABLE_X64 is given too.

    Args:
      subprocesses: also in processes that this one starts later: by PYTHONPATH in the environment.

    Raises:
      RuntimeError: JAX itself has been imported already; the two are never mixed.

    >>> program = "from pullback import as_jax; as_jax.install(); import jax; print(jax.__version__)"
    >>> import subprocess
    >>> subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.strip()
    '0.10.2'
    """
    if not installed():
        loaded = sys.modules.get("jax")
        if loaded is not None and getattr(loaded, "__file__", "") != str(_PATH / "jax" / "__init__.py"):
            raise RuntimeError(
                f"pullback.as_jax.install: jax itself has been imported already, from {_origin(loaded)}. Programs that "
                "hold functions of both get neither's results: install before the first import of jax, for instance by "
                "python -m pullback.as_jax script.py."
            )
        sys.meta_path.insert(0, _finder)
        read_environment_of_jax(dict(os.environ))
    if subprocesses:
        ahead = [str(_PATH), str(Path(pullback.__file__).parent.parent)]
        rest = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry and entry not in ahead]
        os.environ["PYTHONPATH"] = os.pathsep.join([*ahead, *rest])
        if str(_PATH) not in sys.path:
            sys.path.insert(0, str(_PATH))  # multiprocessing hands this list on


def _origin(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or "an unknown place"


def uninstall() -> None:
    """Undo `install`: later imports of jax find JAX itself, or nothing.

    Modules that hold functions of pullback keep them. Raises nothing.

    >>> uninstall()
    """
    if not installed():
        return
    sys.meta_path.remove(_finder)
    for name in [name for name in sys.modules if name == "jax" or name.startswith("jax.")]:
        del sys.modules[name]
    if str(_PATH) in sys.path:
        sys.path.remove(str(_PATH))
        entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        os.environ["PYTHONPATH"] = os.pathsep.join(entry for entry in entries if entry != str(_PATH))
