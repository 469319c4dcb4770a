"""A small language model in JAX's names: 12 layers, width 64, 4 heads, 32 tokens, 4 sequences.

Written once; `np`, `nn` and `core` are those of the library under measurement (see peers.py). The parameters
are nested dicts. The data are the same for every library: they come from NumPy's generator.
"""

import functools

LAYERS, WIDTH, HEADS, HIDDEN, TOKENS, BATCH, VOCABULARY = 12, 64, 4, 256, 32, 4, 128


def data(np):
    """(parameters, inputs, targets), as arrays of the library; inputs and targets: int32 [batch, tokens]."""
    import numpy

    random = numpy.random.default_rng(0)

    def weight(*shape):
        return np.asarray((random.standard_normal(shape) / numpy.sqrt(shape[0])).astype("float32"))

    def norm():
        return {"scale": np.asarray(numpy.ones(WIDTH, "float32")), "shift": np.asarray(numpy.zeros(WIDTH, "float32"))}

    def layer():
        attention = {name: weight(WIDTH, WIDTH) for name in ("query", "key", "value", "out")}
        perceptron = {
            "up": weight(WIDTH, HIDDEN),
            "up_bias": np.asarray(numpy.zeros(HIDDEN, "float32")),
            "down": weight(HIDDEN, WIDTH),
            "down_bias": np.asarray(numpy.zeros(WIDTH, "float32")),
        }
        return {"norm1": norm(), "attention": attention, "norm2": norm(), "perceptron": perceptron}

    parameters = {
        "embedding": weight(VOCABULARY, WIDTH),
        "position": weight(TOKENS, WIDTH),
        "layers": {f"layer{i:02}": layer() for i in range(LAYERS)},
        "norm": norm(),
        "head": weight(WIDTH, VOCABULARY),
    }
    text = random.integers(0, VOCABULARY, (BATCH, TOKENS + 1)).astype("int32")
    return parameters, np.asarray(text[:, :-1]), np.asarray(text[:, 1:])


def normalize(np, p, x):
    mean = np.mean(x, axis=-1, keepdims=True)
    variance = np.mean((x - mean) ** 2, axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5) * p["scale"] + p["shift"]


def attend(np, nn, p, x):
    def heads(w):
        return (x @ w).reshape(BATCH, TOKENS, HEADS, WIDTH // HEADS).transpose(0, 2, 1, 3)

    query, key, value = heads(p["query"]), heads(p["key"]), heads(p["value"])
    scores = query @ key.transpose(0, 1, 3, 2) / (WIDTH // HEADS) ** 0.5
    past = np.tril(np.ones((TOKENS, TOKENS), bool))
    weights = nn.softmax(np.where(past, scores, -1e9), axis=-1)
    return (weights @ value).transpose(0, 2, 1, 3).reshape(BATCH, TOKENS, WIDTH) @ p["out"]


def perceive(nn, p, x):
    return nn.gelu(x @ p["up"] + p["up_bias"]) @ p["down"] + p["down_bias"]


def loss(np, nn, parameters, inputs, targets):
    """The mean cross-entropy of the next token, a scalar."""
    x = parameters["embedding"][inputs] + parameters["position"]
    for p in parameters["layers"].values():
        x = x + attend(np, nn, p["attention"], normalize(np, p["norm1"], x))
        x = x + perceive(nn, p["perceptron"], normalize(np, p["norm2"], x))
    scores = normalize(np, parameters["norm"], x) @ parameters["head"]
    chosen = nn.log_softmax(scores) * nn.one_hot(targets, VOCABULARY)
    return -np.mean(np.sum(chosen, axis=-1))


def value_and_grad(library):
    """`value_and_grad` of the loss, a new function at each call, so that no cache of tracing knows it."""
    return library.core.value_and_grad(functools.partial(loss, library.numpy, library.nn))


def step(library, rate=0.01):
    """One step of gradient descent: (parameters, inputs, targets) to (loss, parameters)."""
    gradient = value_and_grad(library)

    def descend(parameters, inputs, targets):
        value, slopes = gradient(parameters, inputs, targets)
        return value, library.core.tree_util.tree_map(lambda p, g: p - rate * g, parameters, slopes)

    return descend
