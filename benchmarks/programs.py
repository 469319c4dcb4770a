"""Programs whose first results are measured: models as users write them, in JAX's names, each once for both libraries.

`PROGRAMS`, and `STEPS` for compiled_steps.py alone, map names to makers: `maker(library)` gives (function, arguments).
The function is differentiated already, as a user gives it to `jit`. Data come from NumPy's generator.
"""

import importlib
import itertools

import numpy
import transformer
from peers import PACKAGES


def generator():
    return numpy.random.default_rng(0)


def normal(library, *shapes, scale=1.0):
    """Arrays of standard normal numbers, in single precision."""
    random = generator()
    return [library.numpy.asarray((random.standard_normal(s) * scale).astype("float32")) for s in shapes]


def module(library, name):
    """A further module of the library, such as `experimental.ode`."""
    return importlib.import_module(f"{PACKAGES[library.peer]}.{name}")


def transformer_of(layers):
    """The language model of `transformer.py` with another number of layers, in a Python loop."""

    def make(library):
        np = library.numpy
        parameters, inputs, targets = transformer.data(np)
        few = list(parameters["layers"].values())
        parameters["layers"] = {f"layer{i:02}": few[i % len(few)] for i in range(layers)}
        return transformer.value_and_grad(library), (parameters, inputs, targets)

    return make


def mixture(library):
    """A mixture of Gaussians with full covariances: the log-likelihood of its points, with a prior."""
    np, nn, core = library.numpy, library.nn, library.core
    points, dims, kinds = 500, 10, 5
    logits, means, logs, lower, x = normal(
        library, (kinds,), (kinds, dims), (kinds, dims), (kinds, dims * (dims - 1) // 2), (points, dims), scale=0.3
    )
    rows, columns = numpy.tril_indices(dims, -1)

    def likelihood(logits, means, logs, lower, x):
        def of_one(mean, log, low):
            factor = np.diag(np.exp(log)).at[rows, columns].set(low)
            moved = (x - mean) @ factor.T
            return log.sum() - 0.5 * (moved**2).sum(-1), 0.5 * (factor**2).sum() - log.sum()

        terms, priors = core.vmap(of_one)(means, logs, lower)
        scores = nn.logsumexp(terms + nn.log_softmax(logits)[:, None], axis=0)
        return scores.sum() - priors.sum()

    return core.value_and_grad(likelihood, (0, 1, 2, 3)), (logits, means, logs, lower, x)


def bundle_adjustment(library):
    """Reprojection errors of cameras with distortion: the value and the gradient of their sum of squares."""
    np, core = library.numpy, library.core
    cameras, points, seen = 10, 100, 400
    random = generator()
    eyes, places, weights, features = normal(library, (cameras, 11), (points, 3), (seen,), (seen, 2), scale=0.1)
    of_camera, of_point = (np.asarray(random.integers(0, n, seen)) for n in (cameras, points))

    def turned(rotation, x):
        square = (rotation**2).sum()
        angle = np.sqrt(np.where(square > 0, square, 1.0))
        axis = rotation / angle
        cosine, sine = np.cos(angle), np.sin(angle)
        far = x * cosine + np.cross(axis, x) * sine + axis * (axis @ x) * (1 - cosine)
        return np.where(square > 0, far, x + np.cross(rotation, x))

    def seen_at(camera, x):
        rotation, center, focus, shift, distortion = np.split(camera, [3, 6, 7, 9])
        local = turned(rotation, x - center)
        flat = local[:2] / (local[2] + 3.0)
        square = (flat**2).sum()
        bent = 1 + distortion[0] * square + distortion[1] * square**2
        return flat * bent * focus + shift

    def error(eyes, places, weights):
        def one(camera, x, w, feature):
            return w * (seen_at(camera, x) - feature), 1 - w**2

        residuals, drift = core.vmap(one)(eyes[of_camera], places[of_point], weights, features)
        return (residuals**2).sum() + (drift**2).sum()

    return core.value_and_grad(error, (0, 1, 2)), (eyes, places, weights)


def lstm(library):
    """Two layers of an LSTM over a sequence, by `scan`: the loss of predicting the next element."""
    np, nn, core = library.numpy, library.nn, library.core
    width, length = 32, 50
    shapes = [(width, 4 * width), (width, 4 * width), (4 * width,)] * 2
    *weights, sequence = normal(library, *shapes, (length, width), scale=0.3)

    def cell(w, u, b, state, x):
        hidden, memory = state
        forget, enter, leave, new = np.split(x @ w + hidden @ u + b, 4)
        memory = nn.sigmoid(forget) * memory + nn.sigmoid(enter) * np.tanh(new)
        return nn.sigmoid(leave) * np.tanh(memory), memory

    def loss(weights, sequence):
        def step(states, x):
            after = []
            for i, state in enumerate(states):
                after.append(cell(*weights[3 * i : 3 * i + 3], state, x))
                x = after[-1][0]
            return after, x

        start = [(np.zeros(width), np.zeros(width)) for _ in range(2)]
        _, outputs = core.lax.scan(step, start, sequence[:-1])
        return ((outputs - sequence[1:]) ** 2).mean()

    return core.value_and_grad(loss), (weights, sequence)


def hessian_vector(library):
    """A Hessian-vector product of the loss of a perceptron of four layers."""
    np, nn, core = library.numpy, library.nn, library.core
    sizes = (32, 64, 64, 64, 10)
    shapes = [s for m, n in itertools.pairwise(sizes) for s in ((m, n), (n,))]
    *weights, x = normal(library, *shapes, (64, 32), scale=0.2)
    vectors = normal(library, *shapes)
    targets = np.asarray(generator().integers(0, 10, 64))

    def loss(weights):
        y = x
        for w, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
            y = nn.gelu(y @ w + b)
        return -(nn.log_softmax(y @ weights[-2] + weights[-1]) * nn.one_hot(targets, 10)).sum(-1).mean()

    return lambda weights, vectors: core.jvp(core.grad(loss), (weights,), (vectors,)), (weights, vectors)


def iterated(library, tolerance=1e-5, most=100):
    """Fixed points by iteration, differentiated implicitly, by `custom_root`: `solve(f, start)`."""
    np, lax = library.numpy, library.core.lax

    def iterate(f, start):
        def moves(state):
            x, last, k = state
            return (np.abs(x - last).max() > tolerance * np.abs(x).max()) & (k < most)

        return lax.while_loop(moves, lambda s: (f(s[0]), s[0], s[2] + 1), (f(start), start, 1))[0]

    def neumann(matvec, y):
        return iterate(lambda u: u - matvec(u) + y, y)

    def linear(matvec, y):
        return lax.custom_linear_solve(matvec, y, neumann, neumann)

    def solve(f, start):
        return lax.custom_root(lambda x: x - f(x), start, lambda _, x: iterate(f, x), linear)

    return solve


def fixed_points(library):
    """Fixed points of many small systems under `vmap`."""
    np, core = library.numpy, library.core
    w, shifts = normal(library, (16, 16), (32, 16), scale=0.1)
    solve = iterated(library)

    def loss(w, shifts):
        points = core.vmap(lambda b: solve(lambda x: np.tanh(w @ x + b), np.zeros_like(b)))(shifts)
        return (points**2).sum()

    return core.value_and_grad(loss, (0, 1)), (w, shifts)


def bodies(library):
    """Bodies that attract each other, by the leapfrog method in a `scan`: how the end depends on the start."""
    np, core = library.numpy, library.core
    places, speeds, masses = normal(library, (16, 3), (16, 3), (16,))

    def forces(places, masses):
        gaps = places[None] - places[:, None]
        squares = (gaps**2).sum(-1) + 0.01
        return (masses[None, :, None] * gaps / squares[..., None] ** 1.5).sum(1)

    def end(places, speeds, masses):
        def step(state, _):
            x, v = state
            v = v + 0.005 * forces(x, masses)
            x = x + 0.01 * v
            return (x, v + 0.005 * forces(x, masses)), None

        (x, v), _ = core.lax.scan(step, (places, speeds), None, 100)
        return (x**2).sum() + (v**2).sum()

    return core.value_and_grad(end, (0, 1, 2)), (places, speeds, np.abs(masses))


def convolutional(library):
    """A training step of a small convolutional network, with momentum."""
    np, nn, core = library.numpy, library.nn, library.core
    lax = core.lax
    shapes = [(3, 3, 3, 16), (3, 3, 16, 32), (3, 3, 32, 32), (512, 64), (64, 10)]
    *weights, images = normal(library, *shapes, (16, 32, 32, 3), scale=0.1)
    targets = np.asarray(generator().integers(0, 10, 16))

    def loss(weights, images):
        x = images
        for w in weights[:3]:
            x = lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
            x = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-5)
            x = lax.reduce_window(nn.relu(x), -np.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        x = nn.relu(x.reshape(len(x), -1) @ weights[3]) @ weights[4]
        return -(nn.log_softmax(x) * nn.one_hot(targets, 10)).sum(-1).mean()

    def step(weights, speeds, images):
        value, slopes = core.value_and_grad(loss)(weights, images)
        speeds = [0.9 * v + g for v, g in zip(speeds, slopes, strict=True)]
        return value, [w - 0.01 * v for w, v in zip(weights, speeds, strict=True)], speeds

    return step, (weights, [np.zeros_like(w) for w in weights], images)


def neural_ode(library):
    """The gradient through `odeint` of a network, by the adjoint equation."""
    np, core = library.numpy, library.core
    odeint = module(library, "experimental.ode").odeint
    up, down, start = normal(library, (4, 32), (32, 4), (8, 4), scale=0.5)
    times = np.linspace(0.0, 1.0, 5)

    def rate(y, t, up, down):
        return np.tanh(np.tanh(y @ up + t) @ down)

    def loss(up, down):
        return (odeint(rate, start, times, up, down)[-1] ** 2).sum()

    return core.value_and_grad(loss, (0, 1)), (up, down)


def equilibrium(library):
    """A deep equilibrium model: a layer's fixed point between two others, its derivative a second fixed point."""
    np, nn, core = library.numpy, library.nn, library.core
    solve = iterated(library)
    enter, inner, leave, x = normal(library, (16, 64), (64, 64), (64, 10), (32, 16), scale=0.05)
    targets = np.asarray(generator().integers(0, 10, 32))

    def loss(enter, inner, leave):
        fed = x @ enter
        hidden = solve(lambda z: np.tanh(z @ inner + fed), np.zeros_like(fed))
        return -(nn.log_softmax(hidden @ leave) * nn.one_hot(targets, 10)).sum(-1).mean()

    return core.value_and_grad(loss, (0, 1, 2)), (enter, inner, leave)


def unrolled(library, steps=1500):
    """Steps of a Python loop under `grad`: a small recurrent network, by hand."""
    np, core = library.numpy, library.core
    w, start = normal(library, (8, 8), (8,), scale=0.3)

    def loss(w, x):
        for _ in range(steps):
            x = np.tanh(w @ x) + 0.1 * x
        return (x**2).sum()

    return core.value_and_grad(loss, (0, 1)), (w, start)


def graph_network(library):
    """Three rounds of messages along the edges of a graph: the loss of a label for each node."""
    np, nn, core = library.numpy, library.nn, library.core
    nodes, edges, width = 1000, 4000, 32
    random = generator()
    x, *weights, head = normal(library, (nodes, width), *[(2 * width, width)] * 6, (width, 10), scale=0.2)
    sources, targets = (np.asarray(random.integers(0, nodes, edges).astype("int32")) for _ in range(2))
    labels = np.asarray(random.integers(0, 10, nodes))

    def loss(weights, head):
        h = x
        for i in range(0, 6, 2):
            messages = nn.relu(np.concatenate([h[sources], h[targets]], 1) @ weights[i])
            sums = np.zeros_like(h).at[targets].add(messages)
            h = h + nn.relu(np.concatenate([h, sums], 1) @ weights[i + 1])
        return -(nn.log_softmax(h @ head) * nn.one_hot(labels, 10)).sum(-1).mean()

    return core.value_and_grad(loss, (0, 1)), (weights, head)


def kalman_filter(library):
    """The likelihood of a series by a Kalman filter in `scan`, and its gradient by the model."""
    np, core = library.numpy, library.core
    size, seen, length = 4, 2, 200
    turn, shown, noise, series = normal(library, (size, size), (seen, size), (size,), (length, seen), scale=0.3)

    def loss(turn, shown, noise):
        def step(state, y):
            mean, spread = turn @ state[0], turn @ state[1] @ turn.T + np.diag(np.exp(noise))
            error, size = y - shown @ mean, shown @ spread @ shown.T + 0.1 * np.eye(seen)
            gain = np.linalg.solve(size, shown @ spread).T
            value = error @ np.linalg.solve(size, error) + np.linalg.slogdet(size)[1]
            return (mean + gain @ error, spread - gain @ shown @ spread), value

        return core.lax.scan(step, (np.zeros(size), np.eye(size)), series)[1].sum()

    return core.value_and_grad(loss, (0, 1, 2)), (turn, shown, noise)


def physics_informed(library):
    """A network that is to solve Poisson's equation: Laplacians by Hessians at many points, and the loss's gradient."""
    np, core = library.numpy, library.core
    *weights, points = normal(library, (2, 32), (32, 32), (32, 1), (256, 2), scale=0.5)

    def value(weights, x):
        for w in weights[:-1]:
            x = np.tanh(x @ w)
        return (x @ weights[-1])[0]

    def loss(weights):
        def error(x):
            return np.trace(core.hessian(value, 1)(weights, x)) - np.sin(x).sum()

        return (core.vmap(error)(points) ** 2).mean()

    return core.value_and_grad(loss), (weights,)


def hamiltonian(library):
    """Hamiltonian Monte Carlo for a logistic regression: 20 proposals of 10 leapfrog steps, in `scan`."""
    np, nn, core = library.numpy, library.nn, library.core
    x, start = normal(library, (500, 10), (10,))
    labels = np.asarray((generator().random(500) < 0.5).astype("float32"))

    def energy(w):
        scores = x @ w
        return (nn.softplus(scores) - labels * scores).sum() + 0.5 * (w**2).sum()

    def walk(w, key):
        first, second = core.random.split(key)
        speed = core.random.normal(first, w.shape)

        def leap(state, _):
            w, v = state
            v = v - 0.01 * core.grad(energy)(w)
            w = w + 0.02 * v
            return (w, v - 0.01 * core.grad(energy)(w)), None

        (new, end), _ = core.lax.scan(leap, (w, speed), None, 10)
        gain = energy(w) + 0.5 * (speed**2).sum() - energy(new) - 0.5 * (end**2).sum()
        return np.where(np.log(core.random.uniform(second)) < gain, new, w), gain

    return lambda w, key: core.lax.scan(walk, w, core.random.split(key, 20)), (start, core.random.key(0))


def sinkhorn(library):
    """Optimal transport between two clouds of points by 50 steps of Sinkhorn's, and its gradient by the points."""
    np, nn, core = library.numpy, library.nn, library.core
    x, y = normal(library, (200, 3), (200, 3))

    def loss(x, y):
        costs = ((x[:, None] - y[None]) ** 2).sum(-1) / 0.1

        def step(g, _):
            f = -nn.logsumexp(g[None] - costs, axis=1)
            return -nn.logsumexp(f[:, None] - costs, axis=0), f

        g, f = core.lax.scan(step, np.zeros(200), None, 50)
        return (np.exp(f[-1][:, None] + g[None] - costs) * costs).sum()

    return core.value_and_grad(loss, (0, 1)), (x, y)


PROGRAMS = {
    "a transformer of 12 layers": transformer_of(12),
    "a transformer of 48 layers in a Python loop": transformer_of(48),
    "a mixture of Gaussians": mixture,
    "bundle adjustment": bundle_adjustment,
    "an LSTM in `scan`": lstm,
    "a perceptron's Hessian-vector product": hessian_vector,
    "fixed points under `vmap`": fixed_points,
    "16 bodies in `scan`": bodies,
    "a convolutional network's step": convolutional,
    "a neural ODE": neural_ode,
    "a deep equilibrium model": equilibrium,
    "1,500 unrolled steps": unrolled,
}

# those of which only compiled steps are measured
STEPS = {
    "a graph network": graph_network,
    "a Kalman filter in `scan`": kalman_filter,
    "a network for Poisson's equation, by Hessians": physics_informed,
    "Hamiltonian Monte Carlo": hamiltonian,
    "Sinkhorn's steps in `scan`": sinkhorn,
}
