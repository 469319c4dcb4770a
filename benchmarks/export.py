"""Figure: reading exported functions from bytes: a transformer's loss with the vjp that JAX needs for its gradient.

The program, which JAX's files do not hold, is read too: in the first row up to where the function can be called, in
the second up to where it can be differentiated, which JAX's file already says.
"""

import importlib

from peers import PACKAGES, load
from timing import once
from transformer import data, loss

READ = "reading a transformer's loss from a file, to call it"
READ_TO_DIFFERENTIATE = "reading it from a file, to differentiate it"
GOALS = {}
PEERS = ("pullback", "JAX")
ROUNDS = 5
FRESH = False


def exported_loss(peer):
    """The module `export` of a library, and the exported loss of the transformer."""
    library = load(peer)
    export = importlib.import_module(f"{PACKAGES[peer]}.export")

    def fun(parameters, inputs, targets):
        return loss(library.numpy, library.nn, parameters, inputs, targets)

    return export, export.export(library.core.jit(fun))(*data(library.numpy))


def prepare(peer):
    export, exported = exported_loss(peer)
    stored = bytearray(exported.serialize(vjp_order=1))

    def to_call():
        return export.deserialize(stored)

    def to_differentiate():
        read = to_call()
        return read.program if peer == "pullback" else read.vjp()

    to_differentiate()
    return lambda: {READ: once(to_call), READ_TO_DIFFERENTIATE: once(to_differentiate)}
