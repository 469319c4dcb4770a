"""The libraries under measurement, under one set of names.

Nothing is imported before `load` is called, so that a figure may time the import.
"""

import importlib
from importlib import metadata
from types import SimpleNamespace

PACKAGES = {"pullback": "pullback", "JAX": "jax", "PyTorch": "torch", "autograd": "autograd"}


def load(peer: str) -> SimpleNamespace:
    """Import a library with JAX's names: `core` (grad, jit, ...), its `numpy` and its `nn`."""
    package = PACKAGES[peer]
    core = importlib.import_module(package)
    numpy = importlib.import_module(f"{package}.numpy")
    nn = importlib.import_module(f"{package}.nn")
    return SimpleNamespace(core=core, numpy=numpy, nn=nn)


def version(peer: str) -> str:
    """The installed version; a library that is not installed is an error that says how to get it."""
    try:
        return metadata.version(PACKAGES[peer])
    except metadata.PackageNotFoundError:
        raise SystemExit(f"{PACKAGES[peer]} is not installed; `make bench` installs the peers.") from None
