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


def eager_tools(peer: str) -> tuple:
    """(numpy, grad, asarray) of a library for eager code, HIPS autograd among them, whose arrays are NumPy's."""
    if peer == "autograd":
        return (
            importlib.import_module("autograd.numpy"),
            importlib.import_module("autograd").grad,
            importlib.import_module("numpy").asarray,
        )
    library = load(peer)
    return library.numpy, library.core.grad, library.numpy.asarray


def version(peer: str) -> str:
    """The installed version; a library that is not installed is an error that says how to get it."""
    try:
        return metadata.version(PACKAGES[peer])
    except metadata.PackageNotFoundError:
        raise SystemExit(f"{PACKAGES[peer]} is not installed; `make bench` installs the peers.") from None
