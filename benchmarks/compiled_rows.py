"""Compiled operations at users' sizes beside JAX (compiled), PyTorch and NumPy (as they are called), in one table.

    python benchmarks/compiled_rows.py [--rows WORD ...] [--under grad] [--rounds 5] [--out table.md]

Each library has a process of its own, and they take turns, row by row (see run.py). A cell is the median of the rounds
with the quartiles behind it; ratios are the other's time ÷ ours, the last one that of the best of the three others.
`--under` measures a derivative of the operation, weighted and summed, or its batched form, in place of its value.
"""

import argparse
import importlib
import os
import statistics
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy
import run

PEERS = ("pullback", "JAX", "PyTorch", "NumPy")
FRESH = False
UNDER = ("value", "grad", "jvp", "vmap")
CHOSEN, WAY, TIMES = "COMPILED_ROWS", "COMPILED_ROWS_UNDER", "COMPILED_ROWS_ROUNDS"

# Data by name: arrays of float32 unless the row says otherwise.
LONG, MILLION, TABLE = (4_000_000,), (1_000_000,), (4096, 1024)


def normal(*shapes):
    random = numpy.random.default_rng(0)
    return [random.standard_normal(shape, dtype="float32") for shape in shapes]


def uniform(*shapes, low=0.0, high=1.0):
    random = numpy.random.default_rng(0)
    return [(random.random(shape, dtype="float32") * (high - low) + low).astype("float32") for shape in shapes]


def integers(shape, high=1000):
    return [numpy.random.default_rng(0).integers(0, high, shape).astype("int32")]


def divisions():
    """Whole numbers of both signs and divisors of theirs."""
    x, y = (integers(LONG, high)[0] for high in (2_000_000, 1000))
    return [x - 1_000_000, y + 1]


def spread_matrices(count, n):
    """Matrices far from singular ones, and right-hand sides."""
    a, b = normal((count, n, n), (count, n, 1))
    return [a + 3 * numpy.eye(n, dtype="float32"), b]


def images(*kernel, groups=1, channels=64, size=56, batch=8):
    return normal((batch, channels, size, size), (channels, channels // groups, *kernel))


# (row, data, in JAX's names, in PyTorch's, in NumPy's); None where a library has no such operation.
# `np`, `lax`, `nn`, `lib` are JAX's modules, `t` is torch, `F` its functional, `n` is numpy; the data are x, y, z.


def rows():
    """All rows; data are made here, for one row at a time in `sampler`."""
    big, one, table = (lambda: normal(LONG)), (lambda: normal(MILLION)), (lambda: normal(TABLE))
    pos = lambda: uniform(LONG, low=0.01, high=10.0)  # noqa: E731
    inner = lambda: uniform(LONG, low=-0.99, high=0.99)  # noqa: E731
    two = lambda: normal(LONG, LONG)  # noqa: E731
    conv = "lax.conv_general_dilated(x, y, (1, 1), 'SAME'{})"
    return [
        ("sin", big, "np.sin(x)", "t.sin(x)", "n.sin(x)"),
        ("cos", big, "np.cos(x)", "t.cos(x)", "n.cos(x)"),
        ("tan", big, "np.tan(x)", "t.tan(x)", "n.tan(x)"),
        ("atan2", two, "np.arctan2(x, y)", "t.atan2(x, y)", "n.arctan2(x, y)"),
        ("atan", big, "np.arctan(x)", "t.atan(x)", "n.arctan(x)"),
        ("asin", inner, "np.arcsin(x)", "t.asin(x)", "n.arcsin(x)"),
        ("acos", inner, "np.arccos(x)", "t.acos(x)", "n.arccos(x)"),
        ("sinh", big, "np.sinh(x)", "t.sinh(x)", "n.sinh(x)"),
        ("asinh", big, "np.arcsinh(x)", "t.asinh(x)", "n.arcsinh(x)"),
        ("atanh", inner, "np.arctanh(x)", "t.atanh(x)", "n.arctanh(x)"),
        ("pow 2.5", pos, "x ** 2.5", "x ** 2.5", "x ** n.float32(2.5)"),
        (
            "pow of two arrays",
            lambda: uniform(LONG, LONG, low=0.01, high=3.0),
            "x ** y",
            "x ** y",
            "x ** y",
        ),
        ("log", pos, "np.log(x)", "t.log(x)", "n.log(x)"),
        ("exp", big, "np.exp(x)", "t.exp(x)", "n.exp(x)"),
        ("expm1", big, "np.expm1(x)", "t.expm1(x)", "n.expm1(x)"),
        ("log1p", pos, "np.log1p(x)", "t.log1p(x)", "n.log1p(x)"),
        ("tanh", big, "np.tanh(x)", "t.tanh(x)", "n.tanh(x)"),
        ("sqrt", pos, "np.sqrt(x)", "t.sqrt(x)", "n.sqrt(x)"),
        ("cbrt", pos, "np.cbrt(x)", None, "n.cbrt(x)"),
        ("sigmoid", big, "nn.sigmoid(x)", "t.sigmoid(x)", None),
        ("lgamma", pos, "lax.lgamma(x)", "t.lgamma(x)", None),
        ("digamma", pos, "lax.digamma(x)", "t.digamma(x)", None),
        ("erf", big, "lax.erf(x)", "t.erf(x)", None),
        ("erfinv", inner, "lax.erf_inv(x)", "t.erfinv(x)", None),
        ("multiply", two, "x * y", "x * y", "x * y"),
        ("floor divide", two, "x // y", "x // y", "x // y"),
        ("floor divide int32", divisions, "x // y", "x // y", "x // y"),
        ("remainder int32", divisions, "x % y", "x % y", "x % y"),
        ("where", two, "np.where(x > 0, x, y)", "t.where(x > 0, x, y)", "n.where(x > 0, x, y)"),
        ("sum", big, "x.sum()", "x.sum()", "x.sum()"),
        ("sum of rows", table, "x.sum(1)", "x.sum(1)", "x.sum(1)"),
        ("max of rows", table, "x.max(1)", "x.amax(1)", "x.max(1)"),
        ("std", big, "x.std()", "x.std(correction=0)", "x.std()"),
        ("argmax of rows", table, "np.argmax(x, 1)", "t.argmax(x, 1)", "n.argmax(x, 1)"),
        ("argmin of columns", table, "np.argmin(x, 0)", "t.argmin(x, 0)", "n.argmin(x, 0)"),
        ("argmax", big, "np.argmax(x)", "t.argmax(x)", "n.argmax(x)"),
        ("top_k 8 of rows", table, "lax.top_k(x, 8)", "t.topk(x, 8)", None),
        ("cumsum", big, "np.cumsum(x)", "t.cumsum(x, 0)", "n.cumsum(x)"),
        ("cumsum of rows", table, "np.cumsum(x, 1)", "t.cumsum(x, 1)", "n.cumsum(x, 1)"),
        ("cumsum of columns", table, "np.cumsum(x, 0)", "t.cumsum(x, 0)", "n.cumsum(x, 0)"),
        (
            "cumprod",
            lambda: uniform(LONG, low=0.9, high=1.1),
            "np.cumprod(x)",
            "t.cumprod(x, 0)",
            "n.cumprod(x)",
        ),
        ("cummax", big, "lax.cummax(x)", "t.cummax(x, 0)", "n.maximum.accumulate(x)"),
        ("cumlogsumexp 1 M", one, "lax.cumlogsumexp(x)", "t.logcumsumexp(x, 0)", "n.logaddexp.accumulate(x)"),
        ("associative_scan 1 M", one, "lib.lax.associative_scan(np.add, x)", "t.cumsum(x, 0)", "n.cumsum(x)"),
        ("sort 1 M", one, "np.sort(x)", "t.sort(x)", "n.sort(x)"),
        ("argsort 1 M", one, "np.argsort(x)", "t.argsort(x)", "n.argsort(x)"),
        ("sort int32 1 M", lambda: integers(MILLION), "np.sort(x)", "t.sort(x)", "n.sort(x)"),
        ("sort of rows", table, "np.sort(x, 1)", "t.sort(x, 1)", "n.sort(x, 1)"),
        ("argsort of rows", table, "np.argsort(x, 1)", "t.argsort(x, 1)", "n.argsort(x, 1)"),
        ("sort of columns", table, "np.sort(x, 0)", "t.sort(x, 0)", "n.sort(x, 0)"),
        ("median 1 M", one, "np.median(x)", "t.median(x)", "n.median(x)"),
        ("quantile 1 M", one, "np.quantile(x, .3)", "t.quantile(x, .3)", "n.quantile(x, .3)"),
        ("unique 1 M", lambda: integers(MILLION), "np.unique(x, size=1000)", "t.unique(x)", "n.unique(x)"),
        (
            "permutation 1 M",
            one,
            "lib.random.permutation(lib.random.key(0), x)",
            "x[t.randperm(x.numel())]",
            "random.permutation(x)",
        ),
        (
            "choice without replacement, 1,000 of 1 M",
            one,
            "lib.random.choice(lib.random.key(0), x, (1000,), replace=False)",
            "x[t.randperm(x.numel())[:1000]]",
            "random.choice(x, 1000, replace=False)",
        ),
        (
            "nonzero with size 1 M",
            one,
            "np.nonzero(x > 0, size=600_000)",
            "t.nonzero(x > 0)",
            "n.nonzero(x > 0)",
        ),
        (
            "searchsorted 1 M",
            lambda: [numpy.sort(normal((10_000,))[0]), *normal(MILLION)],
            "np.searchsorted(x, y)",
            "t.searchsorted(x, y)",
            "n.searchsorted(x, y)",
        ),
        (
            "gather of 1 M",
            lambda: [*normal(MILLION), *integers(MILLION, 1_000_000)],
            "x[y]",
            "x[y]",
            "x[y]",
        ),
        (
            "depthwise convolution 3 x 3",
            lambda: images(3, 3, groups=64),
            conv.format(", feature_group_count=64"),
            "F.conv2d(x, y, padding='same', groups=64)",
            None,
        ),
        ("convolution 3 x 3", lambda: images(3, 3), conv.format(""), "F.conv2d(x, y, padding='same')", None),
        (
            "depthwise convolution of sequences, width 4",
            lambda: normal((8, 256, 2048), (256, 1, 4)),
            "lax.conv_general_dilated(x, y, (1,), [(3, 0)], feature_group_count=256)",
            "F.conv1d(F.pad(x, (3, 0)), y, groups=256)",
            None,
        ),
        ("fft 2^20", lambda: normal((2**20,)), "np.fft.fft(x)", "t.fft.fft(x)", "n.fft.fft(x)"),
        (
            "rfft2 of 16 x 512 x 512",
            lambda: normal((16, 512, 512)),
            "np.fft.rfft2(x)",
            "t.fft.rfft2(x)",
            "n.fft.rfft2(x)",
        ),
        (
            "attention 8 x 256 x 8 x 64",
            lambda: normal(*[(8, 256, 8, 64)] * 3),
            "nn.dot_product_attention(x, y, z)",
            "F.scaled_dot_product_attention(*(v.transpose(1, 2) for v in (x, y, z))).transpose(1, 2)",
            None,
        ),
        ("matmul 1024", lambda: normal((1024, 1024), (1024, 1024)), "x @ y", "x @ y", "x @ y"),
        ("matmul 256 x 64 x 64", lambda: normal((256, 64, 64), (256, 64, 64)), "x @ y", "x @ y", "x @ y"),
        ("4096 solves of 4 x 4", lambda: spread_matrices(4096, 4), *["{}.linalg.solve(x, y)"] * 3),
        ("4096 inverses of 3 x 3", lambda: spread_matrices(4096, 3)[:1], *["{}.linalg.inv(x)"] * 3),
        ("4096 determinants of 3 x 3", lambda: spread_matrices(4096, 3)[:1], *["{}.linalg.det(x)"] * 3),
        ("solve 512", lambda: [v[0] for v in spread_matrices(1, 512)], *["{}.linalg.solve(x, y)"] * 3),
        ("softmax of rows", table, "nn.softmax(x)", "F.softmax(x, -1)", None),
        ("gelu of rows", table, "nn.gelu(x)", "F.gelu(x, approximate='tanh')", None),
        ("logsumexp of rows", table, "nn.logsumexp(x, -1)", "t.logsumexp(x, -1)", None),
        (
            "layer norm of rows",
            table,
            "nn.standardize(x)",
            "F.layer_norm(x, x.shape[-1:])",
            None,
        ),
        ("transpose", table, "np.array(x.T)", "x.T.contiguous()", "x.T.copy()"),
        (
            "normal sampler 1 M",
            one,
            "x + lib.random.normal(lib.random.key(0), x.shape)",
            "x + t.randn_like(x)",
            "x + random.standard_normal(x.shape, dtype='float32')",
        ),
        (
            "gamma sampler 100,000",
            lambda: normal((100_000,)),
            "x + lib.random.gamma(lib.random.key(0), 2.5, x.shape)",
            None,
            "x + random.standard_gamma(2.5, x.shape, dtype='float32')",
        ),
    ]


def chosen():
    """The rows that the environment asks for, by words in their names."""
    words = [word for word in os.environ.get(CHOSEN, "").split("\n") if word]
    return [row for row in rows() if not words or any(word in row[0] for word in words)]


def names_of(peer):
    """What the expressions of a library's rows may use, its compiler, and its array of a NumPy value."""
    random = numpy.random.default_rng(1)
    if peer == "NumPy":
        return {"n": numpy, "random": random}, None, numpy.asarray
    if peer == "PyTorch":
        torch = importlib.import_module("torch")
        return {"t": torch, "F": torch.nn.functional}, None, torch.from_numpy
    package = {"pullback": "pullback", "JAX": "jax"}[peer]
    importlib.import_module(f"{package}.scipy")
    lib = importlib.import_module(package)
    array = importlib.import_module(f"{package}.numpy")
    return {"np": array, "lax": lib.lax, "nn": lib.nn, "lib": lib}, lib, array.asarray


def runner(peer, row, under):
    """A function that runs the row once to its end, or None if the library has none for it."""
    _, data, *texts = row
    text = texts[max(0, PEERS.index(peer) - 1)]
    if text is None or (peer == "NumPy" and under != "value"):
        return None
    names, lib, array = names_of(peer)
    text = text.replace("{}", next(iter(names)))
    values = [array(x) for x in data()]
    function = eval(f"lambda {', '.join('xyz'[: len(values)])}: {text}", names)
    if lib is not None:
        program = lib.jit(transformed(lib, function, under))
        if under == "grad":
            values = (*values, weights(lib, names["np"], function, values))
        values = lib.block_until_ready(values)
        return lambda: lib.block_until_ready(program(*values))
    if under == "value":
        return lambda: function(*values)
    return torch_runner(names["t"], function, under, values)


def floats(results):
    """The first result, where there are several."""
    return results[0] if isinstance(results, (tuple, list)) else results


def weights(lib, np, function, values):
    """What results are multiplied with before they are summed up: an argument, not a part of what is measured."""
    y = floats(lib.eval_shape(function, *values))
    return np.cos(np.arange(y.size, dtype="float32")).reshape(y.shape)


def transformed(lib, function, under):
    """The function, or the one that has its derivative or is batched, in JAX's names."""

    def weighted(x, *others):
        *others, w = others
        return (floats(function(x, *others)) * w).sum()

    def pushed(*values):
        return lib.jvp(lambda x: function(x, *values[1:]), values[:1], values[:1])

    def batched(*values):
        return lib.vmap(function)(*[x.reshape(16, -1, *x.shape[1:]) for x in values])

    return {"value": function, "grad": lib.grad(weighted), "jvp": pushed, "vmap": batched}[under]


def torch_runner(torch, function, under, values):
    """PyTorch's way to the same derivative or batch."""
    weights = {}

    def weighted():
        x = values[0].detach().requires_grad_()
        y = floats(function(x, *values[1:]))
        w = weights.setdefault("w", torch.cos(torch.arange(y.numel(), dtype=torch.float32)).reshape(y.shape))
        return torch.autograd.grad((y * w).sum(), x)

    def pushed():
        return torch.func.jvp(lambda x: function(x, *values[1:]), (values[0],), (values[0],))

    def batched():
        return torch.vmap(function)(*[x.reshape(16, -1, *x.shape[1:]) for x in values])

    return {"grad": weighted, "jvp": pushed, "vmap": batched}[under]


def prepare(peer):
    """A sampler for run.py: it measures row after row, each as often as there are rounds."""
    turns = iter([(row, i) for row in chosen() for i in range(rounds())])
    under = os.environ.get(WAY, "value")
    current = SimpleNamespace(run=None)

    def sample():
        row, turn = next(turns)
        if turn == 0:
            try:
                current.run = runner(peer, row, under)
                for _ in range(2 if current.run else 0):
                    current.run()
            except Exception as error:
                print(f"{row[0]} for {peer}: {type(error).__name__}: {error}"[:300], file=sys.stderr)
                current.run = None
        if current.run is None:
            return {}
        return {row[0]: shortest(current.run)}

    return sample


def shortest(run_once, seconds=0.05):
    """The shortest of the calls that fit into the time: what else the machine does only adds to it."""
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        run_once()
        times.append(time.perf_counter() - start)
    return min(times)


def rounds():
    return int(os.environ.get(TIMES, "5"))


def table(samples):
    """The lines of the table."""
    yield "| operation | " + " | ".join(PEERS) + " | JAX ÷ ours | PyTorch ÷ ours | NumPy ÷ ours | best ÷ ours |"
    yield "|---" * (len(PEERS) + 5) + "|"
    against = []
    for row, values in samples.items():
        cells = [run.cell(values.get(peer), "seconds") for peer in PEERS]
        middles = {peer: statistics.median(taken) for peer, taken in values.items()}
        ours = middles.pop("pullback", None)
        ratios = [f"{middles[p] / ours:.2f}" if ours and p in middles else "-" for p in PEERS[1:]]
        best = f"{min(middles.values()) / ours:.2f}" if ours and middles else "-"
        if ours and "JAX" in middles:
            against.append(middles["JAX"] / ours)
        yield "| " + " | ".join([row, *cells, *ratios, best]) + " |"
    if against:
        yield f"\nGeometric mean against JAX, of {len(against)} rows: {statistics.geometric_mean(against):.2f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", nargs="*", default=[], metavar="WORD", help="words in the rows wanted (default: all)")
    parser.add_argument("--under", choices=UNDER, default="value")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="write the table to this file, too")
    options = parser.parse_args()
    os.environ.update({CHOSEN: "\n".join(options.rows), WAY: options.under, TIMES: str(options.rounds)})
    run.print_table("compiled_rows", sys.modules[__name__], len(chosen()) * options.rounds, table, options.out)


ROUNDS = 0

if __name__ == "__main__":
    main()
