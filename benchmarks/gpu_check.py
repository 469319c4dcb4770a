"""What an accelerator computes, compared with JAX on the same one: `python benchmarks/gpu_check.py [--platform cuda]`.

Each library has a process of its own on the device. Compared are the values and gradients of the tests' table of
operations, decompositions, and the training step of a small transformer; the examples of the document that the library
began with run as tests. With `--out docs/gpu.md` the results take the place of the former ones in that page. It takes
some minutes; `--rows 5`, for the first rows of the table alone, leaves out the transformer too.

Without a device, `--compile` has XLA's compiler for NVIDIA's devices translate the same programs, for which the plugin
alone is needed: `pip install --no-deps jax-cuda13-plugin jax-cuda13-pjrt`. `--platform cpu` tests this script itself.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent
PEERS = ("pullback", "JAX")
BEGIN, END = "<!-- results of make gpu-check -->", "<!-- end of results -->"
DTYPES = (
    *("bool", "int8", "int32", "uint16", "float16", "bfloat16", "float32", "complex64", "float0", "int4", "uint4"),
    *("float8_e4m3fn", "float8_e5m2", "float8_e3m4", "float8_e8m0fnu"),
)
# the largest difference, in units of the largest entry: products of single precision are rounded to TF32 by default
TOLERANCE = 2e-3


def environment(peer, platform):
    """That of a process that has the device to itself with another one, so that none takes all of its memory."""
    name = "PULLBACK_PLATFORMS" if peer == "pullback" else "JAX_PLATFORMS"
    # the processor too: eager operations and host calls use it
    return {
        **os.environ,
        name: platform if platform == "cpu" else f"{platform},cpu",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, FOLDER, ROOT / "tests"))),
    }


# --- what a process computes ---


def library_of(peer):
    """A library under the names of the tests' table, and its transformations."""
    import importlib
    from types import SimpleNamespace

    package = {"pullback": "pullback", "JAX": "jax"}[peer]
    modules = {"np": "numpy", "lax": "lax", "nn": "nn", "special": "scipy.special"}
    names = {name: importlib.import_module(f"{package}.{module}") for name, module in modules.items()}
    return importlib.import_module(package), SimpleNamespace(**names)


def programs(core, library, count):
    """The programs of the table: (name, function, arguments), values first and then gradients."""
    from op_table import TABLE

    def value_of(row):
        fun = row.make(library)

        def value(*args):
            return fun(*map(library.np.asarray, args))

        return value

    def gradient_of(row):
        value = value_of(row)

        def of_active(*xs):
            args = list(row.args)
            for i, x in zip(row.active, xs, strict=True):
                args[i] = x
            return value(*args)

        def gradient(*xs):
            y, pull = core.vjp(of_active, *xs)
            return pull(library.np.ones_like(y))

        return gradient

    rows = TABLE[:count] if count else TABLE
    for row in rows:
        yield f"value of {row.name}", value_of(row), row.args
    for row in rows:
        if row.active:
            yield f"gradient of {row.name}", gradient_of(row), [row.args[i] for i in row.active]


def decompositions(lax, np_):
    """Functions of a matrix that are to return it: (name, function, matrix)."""
    rng = np.random.default_rng(0)
    square, tall = (rng.standard_normal(shape).astype("float32") for shape in ((3, 20, 20), (40, 30)))

    def mirrored(x):
        return np_.swapaxes(x, -1, -2)

    def cholesky(x):
        factor = lax.linalg.cholesky(x @ mirrored(x) + np_.eye(20))
        return factor @ mirrored(factor) - np_.eye(20), x @ mirrored(x)

    def qr(x):
        q, r = lax.linalg.qr(x, full_matrices=False)
        return q @ r, x

    def eigh(x):
        v, w = lax.linalg.eigh(x + mirrored(x))
        return v * w[..., None, :] @ mirrored(v), x + mirrored(x)

    def svd(x):
        u, s, vh = lax.linalg.svd(x, full_matrices=False)
        return u * s @ vh, x

    def lu(x):
        factors, _, order = lax.linalg.lu(x)
        lower = np_.tril(factors, -1) + np_.eye(20)
        return lower @ np_.triu(factors), np_.take_along_axis(x, order[..., None], 1)

    def eig(x):
        w, v = lax.linalg.eig(x, compute_left_eigenvectors=False)
        return x @ v, v * w[..., None, :]

    yield from (("Cholesky", cholesky, square), ("QR", qr, tall), ("eigh", eigh, square), ("SVD", svd, tall))
    yield from (("LU", lu, square), ("eig", eig, square))


def work(peer, platform, count, folder):
    """Compute everything on the device, and keep it in a folder."""
    core, library = library_of(peer)
    device = core.devices(platform)[0]
    arrays, failures, facts = {}, {}, {"device": device.device_kind, "backend": core.default_backend()}
    for i, (name, fun, args) in enumerate(programs(core, library, count)):
        try:
            leaves = core.tree_util.tree_leaves(core.jit(fun)(*args))
            arrays |= {f"{i} {name} {k}": np.asarray(leaf).astype(_wide(leaf)) for k, leaf in enumerate(leaves)}
        except Exception as error:
            failures[name] = f"{type(error).__name__}: {error}".partition("\n")[0]
    for name, fun, matrix in decompositions(library.lax, library.np):
        try:
            a, b = map(np.asarray, core.jit(fun)(matrix))
            facts[f"error of {name}"] = float(np.abs(a - b).max() / np.abs(b).max())
        except Exception as error:
            failures[name] = f"{type(error).__name__}: {error}".partition("\n")[0]
    if not count:
        facts |= transformer(core, library, arrays)
    facts |= eager(core, library, device)
    facts |= transfers(core, device, failures)
    facts["memory"] = {
        k: v for k, v in (device.memory_stats() or {}).items() if k in ("peak_bytes_in_use", "bytes_limit")
    }
    np.savez(folder / f"{peer}.npz", **arrays)
    (folder / f"{peer}.json").write_text(json.dumps({"facts": facts, "failures": failures}))


def _wide(leaf):
    kind = np.dtype(leaf.dtype).kind
    return np.complex128 if kind == "c" else np.float64


def transformer(core, library, arrays):
    """The training step: what it returns, and the time of one of many."""
    from types import SimpleNamespace

    from transformer import data, step

    peer = SimpleNamespace(core=core, numpy=library.np, nn=library.nn)
    compiled = core.jit(step(peer))
    parameters, inputs, targets = data(library.np)
    value, parameters = compiled(parameters, inputs, targets)
    arrays["transformer: loss"] = np.asarray(value).astype(float)
    for i, leaf in enumerate(core.tree_util.tree_leaves(parameters)):
        arrays[f"transformer: parameter {i}"] = np.asarray(leaf).astype(float)
    core.block_until_ready(compiled(parameters, inputs, targets))
    begin = time.perf_counter()
    for _ in range(20):
        value, parameters = compiled(parameters, inputs, targets)
    core.block_until_ready(parameters)
    return {"step": (time.perf_counter() - begin) / 20}


def eager(core, library, device):
    """The time of an eager operation on an array that is on the device."""
    x = core.device_put(np.ones((256, 256), "float32"), device)
    core.block_until_ready(library.np.sin(x) + 1)
    begin = time.perf_counter()
    for _ in range(200):
        x = library.np.sin(x)
    core.block_until_ready(x)
    return {"eager": (time.perf_counter() - begin) / 200}


def transfers(core, device, failures):
    """Arrays of every dtype to the device and back, and a call from it to the host."""
    for name in DTYPES:
        dtype = core.dtypes.float0 if name == "float0" else core.numpy.dtype(name)
        value = np.zeros(3, dtype) if name == "float0" else np.array([1, 2, 4]).astype(dtype)
        try:
            same = np.array_equal(np.asarray(core.device_put(value, device)), value)
            failures |= {} if same else {f"transfer of {name}": "other values came back"}
        except Exception as error:
            failures[f"transfer of {name}"] = f"{type(error).__name__}: {error}".partition("\n")[0]

    def through_the_host(x):
        return core.pure_callback(np.cos, core.ShapeDtypeStruct((3,), "float32"), x) + 1

    try:
        off = np.abs(np.asarray(core.jit(through_the_host)(np.ones(3, "float32"))) - np.cos(1) - 1).max()
    except Exception as error:
        failures["call to the host"] = f"{type(error).__name__}: {error}".partition("\n")[0]
        off = None
    return {"host call": None if off is None else float(off)}


# --- the comparison ---


def difference(ours, theirs):
    """The largest difference in units of the largest entry; infinite if shapes or the places of NaNs differ."""
    if ours.shape != theirs.shape or not np.array_equal(np.isfinite(ours), np.isfinite(theirs)):
        return np.inf
    finite = np.isfinite(theirs)
    if not finite.any():
        return 0.0
    return float(np.abs(ours[finite] - theirs[finite]).max() / max(1.0, np.abs(theirs[finite]).max()))


def run(peer, platform, count, folder):
    command = [
        sys.executable,
        __file__,
        "--work",
        peer,
        "--platform",
        platform,
        "--rows",
        str(count),
        "--folder",
        str(folder),
    ]
    subprocess.run(command, env=environment(peer, platform), check=True)
    report = json.loads((folder / f"{peer}.json").read_text())
    return report["facts"], report["failures"], dict(np.load(folder / f"{peer}.npz"))


def seed(platform):
    """The last line of pytest's, for the examples of the document that the library began with."""
    tests = ("tests/test_seed.py", "tests/test_seed_rules.py")
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *tests]
    found = subprocess.run(
        command, cwd=ROOT, env=environment("pullback", platform), capture_output=True, text=True, check=False
    )
    return found.stdout.strip().splitlines()[-1].strip("= ") if found.stdout.strip() else found.stderr.strip()[-200:]


def table(platform, count, with_seed):
    """The results as lines of Markdown, and whether all agree."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        facts, failures, ours = run("pullback", platform, count, folder)
        their_facts, their_failures, theirs = run("JAX", platform, count, folder)
    differences = {key: difference(ours[key], theirs[key]) for key in ours if key in theirs}
    lines = [
        f"On {facts['device']} (`default_backend()`: {facts['backend']}), beside JAX on the same device.",
        "A difference is the largest one of a result, in units of its largest entry, or of 1 if that is less.",
        "",
        "| what | compared | largest difference |",
        "|---|---:|---:|",
    ]
    for kind in ("value", "gradient", "transformer"):
        some = {key: d for key, d in differences.items() if f"{kind}" in key.split(" of ")[0]}
        worst = max(some, key=some.get, default=None)
        where = "" if worst is None or kind == "transformer" else f" ({worst.partition(' ')[2].rpartition(' ')[0]})"
        lines.append(f"| {kind}s | {len(some)} | {max(some.values(), default=0):.1e}{where} |")
    lines += ["", "| what | pullback | JAX |", "|---|---:|---:|"]
    for key in facts:
        if key.startswith("error of"):
            lines.append(f"| {key} | {facts[key]:.1e} | {_number(their_facts.get(key))} |")
    for key, what in (("step", "training step of the transformer, ms"), ("eager", "eager sine of 256 × 256, ms")):
        if key not in facts:
            continue
        lines.append(f"| {what} | {facts[key] * 1e3:.3f} | {their_facts[key] * 1e3:.3f} |")
    lines.append(
        f"| error of a call to the host | {_number(facts['host call'])} | {_number(their_facts['host call'])} |"
    )
    lines.append(f"| memory statistics | {facts['memory'] or 'none'} | {their_facts['memory'] or 'none'} |")
    if with_seed:
        lines.append(f"\nThe examples of the document that the library began with: {seed(platform)}.")
    bad = {key: f"differs by {d:.1e}" for key, d in differences.items() if d > TOLERANCE}
    bad |= {f"{key} (pullback)": text for key, text in failures.items() if key not in their_failures}
    lines += ["", "Failures: " + ("none." if not bad else ""), *[f"- {key}: {text}" for key, text in bad.items()]]
    lines += [f"- {key}: fails in JAX too ({text})" for key, text in failures.items() if key in their_failures]
    return lines, not bad


def _number(x):
    return "—" if x is None else f"{x:.1e}"


def write(page, lines):
    """Put the results into a page, in the place of the former ones."""
    text = page.read_text()
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    page.write_text(f"{head}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{tail}")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--platform", default="cuda")
    parser.add_argument("--rows", type=int, default=0, help="so many of the table's rows; 0 for all")
    parser.add_argument("--no-seed", action="store_true", help="without the tests")
    parser.add_argument("--out", type=Path, help="the page that gets the results")
    parser.add_argument("--compile", action="store_true", help="compile for a device that is not there")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.work:
        work(given.work, given.platform, given.rows, given.folder)
        return 0
    if given.compile:
        from gpu_compile import compiled

        lines, agree = compiled(given.rows)
    else:
        lines, agree = table(given.platform, given.rows, not given.no_seed)
    if given.out:
        write(given.out, lines)
    print("\n".join(lines))
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
