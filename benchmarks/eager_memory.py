"""Figures: the memory that an eager gradient takes at its peak, beyond arguments and results of an earlier call.

Eight layers of a perceptron, and four blocks of attention and a layer, 512 wide. It is the memory of the process, as
Linux counts it; elsewhere there is no such figure.
"""

import ctypes

import numpy
from peers import eager_tools

WIDTH, HEADS = 512, 8
UNIT = "bytes"
GOALS = {}
PEERS = ("pullback", "PyTorch", "autograd")
ROUNDS = 1
FRESH = True


def prepare(peer):
    rows = {
        "peak memory of the eager gradient of a perceptron, 8 layers, 4,096 rows": gradient(
            peer, perceptron, (4096,), 8
        ),
        "peak memory of the eager gradient of 4 blocks of attention, 8 × 256 tokens": gradient(
            peer, blocks, (8, 256), 4
        ),
    }
    return lambda: {row: peak(run) for row, run in rows.items()}


def peak(run):
    results = run()  # what is loaded and kept at the first call does not count
    del results
    ctypes.CDLL(None).malloc_trim(0)  # nor what the allocator has kept
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak is counted from here on
    before = status("VmRSS")
    results = run()
    del results
    return float(status("VmHWM") - before)


def status(name):
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith(name))
    return int(line.split()[1]) * 1024


def perceptron(np, h, layers):
    for w, b in layers:
        h = np.tanh(np.matmul(h, w) + b)
    return np.mean(h**2)


def blocks(np, h, layers):
    batch, tokens, _ = h.shape
    for w, b in layers:
        heads = np.swapaxes(np.matmul(h, w).reshape((batch, tokens, HEADS, WIDTH // HEADS)), 1, 2)
        scores = np.exp(np.matmul(heads, np.swapaxes(heads, 2, 3)) / (WIDTH // HEADS))
        shares = scores / np.sum(scores, -1)[..., None]
        h = np.tanh(h + np.swapaxes(np.matmul(shares, heads), 1, 2).reshape((batch, tokens, WIDTH)) + b)
    return np.mean(h**2)


def gradient(peer, loss, shape, count):
    random = numpy.random.default_rng(0)
    x = random.standard_normal((*shape, WIDTH)).astype("float32")
    weights = [random.standard_normal((WIDTH, WIDTH)).astype("float32") / WIDTH**0.5 for _ in range(count)]
    layers = [(w, numpy.zeros(WIDTH, "float32")) for w in weights]
    if peer == "PyTorch":
        import torch

        x, flat = torch.tensor(x), [torch.tensor(p, requires_grad=True) for layer in layers for p in layer]
        layers = [flat[i : i + 2] for i in range(0, len(flat), 2)]
        return lambda: torch.autograd.grad(loss(torch, x, layers), flat)
    np, grad, asarray = eager_tools(peer)
    x, layers = asarray(x), [(asarray(w), asarray(b)) for w, b in layers]
    slope = grad(lambda layers: loss(np, x, layers))
    return lambda: slope(layers)
