"""Figures: the eager gradient of a perceptron of four layers, a batch of 64 rows, with respect to its weights."""

import numpy
from peers import eager_tools
from timing import per_call

WIDTHS, LAYERS, BATCH = (64, 512), 4, 64
GOALS = {}
PEERS = ("pullback", "PyTorch", "autograd", "JAX")
ROUNDS = 9
FRESH = False


def prepare(peer):
    timers = {f"eager gradient of a perceptron, 4 layers of {w}": timer(peer, w) for w in WIDTHS}
    return lambda: {row: time() for row, time in timers.items()}


def timer(peer, width):
    gradient = gradients(peer, width)

    def run(n):
        for _ in range(n):
            slopes = gradient()
        return numpy.asarray(slopes[0][0])  # waits, where the library computes behind our back

    return per_call(run)


def data(width):
    random = numpy.random.default_rng(0)
    x = random.standard_normal((BATCH, width)).astype("float32")
    weights = [random.standard_normal((width, width)).astype("float32") / width**0.5 for _ in range(LAYERS)]
    return x, [(w, numpy.zeros(width, "float32")) for w in weights]


def gradients(peer, width):
    """A function that computes the gradients: (weight, bias) of each layer."""
    x, layers = data(width)
    if peer == "PyTorch":
        return of_torch(x, layers)
    np, grad, asarray = eager_tools(peer)
    x, layers = asarray(x), [(asarray(w), asarray(b)) for w, b in layers]

    def loss(layers):
        h = x
        for w, b in layers:
            h = np.tanh(np.dot(h, w) + b)
        return np.mean(h**2)

    slope = grad(loss)
    return lambda: slope(layers)


def of_torch(x, layers):
    import torch

    x = torch.tensor(x)
    layers = [(torch.tensor(w, requires_grad=True), torch.tensor(b, requires_grad=True)) for w, b in layers]
    flat = [p for layer in layers for p in layer]

    def gradient():
        h = x
        for w, b in layers:
            h = torch.tanh(h @ w + b)
        slopes = torch.autograd.grad(torch.mean(h**2), flat)
        return [slopes[i : i + 2] for i in range(0, len(slopes), 2)]

    return gradient
