"""Figure: the size of files of exported functions: a transformer's loss, as it is and with the vjp that JAX stores."""

from export import exported_loss

ROW = "file of a transformer's loss, called alone by JAX, all transformations by pullback"
WITH_VJP = "file of it with one derivative for JAX"
UNIT = "bytes"
GOALS = {}
PEERS = ("pullback", "JAX")
ROUNDS = 1
FRESH = False


def prepare(peer):
    _, exported = exported_loss(peer)
    return lambda: {
        ROW: float(len(exported.serialize())),
        WITH_VJP: float(len(exported.serialize(vjp_order=1))),
    }
