"""How many of the examples in JAX's docstrings run on pullback, and print the same; every miss with its reason.

    make jax-examples                                every docstring of the JAX that is installed
    make jax-examples ARGS="numpy/linalg _src/nn"    those in files whose path has one of these in it
    python -m benchmarks.docstrings [--outcomes FILE] [PART ...]

The examples are read from JAX's files as doctest reads them; none of their text is kept here. A process with JAX runs
them, another runs them under `pullback.as_jax`, both in the names `jax`, `jnp`, `np` and `lax`. What JAX prints there,
not what the docstring says, is the reference, so that examples which doctest is told to skip count, too. Examples
that JAX does not run here either are not counted. That takes three minutes on a quiet machine, fifteen on a busy one.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import contextlib
import doctest
import importlib
import importlib.util
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

from benchmarks.docstring_reasons import LEFT_OUT, REASONS

SECONDS = 60  # for one example
RTOL, ATOL = 2e-5, 1e-6  # numbers that differ by less are printed the same but for rounding: results are float32

# where names are looked for that an example uses without an import
HOMES = """
jax jax.lax jax.numpy jax.nn jax.ops jax.tree_util jax.custom_derivatives jax.scipy.stats jax.scipy.interpolate
jax.sharding jax.experimental.jet jax.experimental.sparse functools math
""".split()

# eight devices, as in the tests; XLA spends no time on optimizing programs that run once
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0 "
    "--xla_llvm_disable_expensive_passes=true",
    "PULLBACK_ENABLE_COMPILATION_CACHE": "0",
}


# what counts as printing the same
SAME = ("same", "same but for rounding", "same exception")


class Docstring(NamedTuple):
    """The examples of one docstring: the file below JAX's folder and what the docstring is of, and their sources."""

    place: str
    sources: list[str]


class Outcome(NamedTuple):
    """What became of an example: what it printed, the exception that it raised, or "", and the names of its classes."""

    printed: str
    raised: str
    classes: list[str]


class Result(NamedTuple):
    """An example with its outcomes: `kind` is one of `KINDS`."""

    place: str
    number: int
    source: str
    theirs: Outcome
    ours: Outcome
    kind: str


KINDS = (*SAME, "differs", "does not run")


def documented(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Each text in a module that has examples, with the name of the function or class that it stands in."""

    def walk(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
        for child in ast.iter_child_nodes(node):
            inner = name
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                inner = f"{name}.{child.name}".lstrip(".")
            if isinstance(child, ast.Constant) and isinstance(child.value, str) and ">>>" in child.value:
                yield name or "module", child.value
            yield from walk(child, inner)

    yield from walk(tree, "")


def collect(parts: list[str]) -> list[Docstring]:
    """The docstrings with examples in the installed JAX, in files whose path has one of `parts`."""
    spec = importlib.util.find_spec("jax")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("benchmarks.docstrings reads the examples of the JAX that is installed: pip install jax")
    root = Path(spec.submodule_search_locations[0])
    found = []
    for file in sorted(root.rglob("*.py")):
        path = file.relative_to(root).as_posix()
        if parts and not any(part in path for part in parts):
            continue
        text = file.read_text(encoding="utf-8")
        if ">>>" not in text:
            continue
        for name, doc in documented(ast.parse(text)):
            try:
                examples = doctest.DocTestParser().get_examples(doc)
            except ValueError:  # not laid out as doctest wants it
                continue
            if examples:
                found.append(Docstring(f"{path}:{name}", [example.source for example in examples]))
    return found


def _too_long(signum: int, frame: Any) -> None:
    raise TimeoutError(f"more than {SECONDS} seconds")


def supplied(source: str, names: dict[str, Any]) -> None:
    """Put what `source` reads of `HOMES` into `names`: docstrings use the function they are of by its bare name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name) and node.id not in names and not hasattr(builtins, node.id):
            for home in HOMES:
                with contextlib.suppress(AttributeError, ImportError), warnings.catch_warnings():
                    warnings.simplefilter("error", DeprecationWarning)
                    names[node.id] = getattr(importlib.import_module(home), node.id)
                    break


def run_example(source: str, names: dict[str, Any]) -> Outcome:
    """Run one example as Python's prompt would, in `names`."""
    out = io.StringIO()
    raised, classes = "", []
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(SECONDS)
    try:
        with contextlib.redirect_stdout(out), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            supplied(source, names)
            code: CodeType = compile(source, "<example>", "single")
            exec(code, names)
            if "jax" in sys.modules:
                sys.modules["jax"].effects_barrier()  # what compiled programs print
    except Exception as error:
        raised = f"{type(error).__name__}: {error}"
        classes = [each.__name__ for each in type(error).__mro__]
    finally:
        signal.alarm(0)
    return Outcome(out.getvalue(), raised, classes)


def run(docstrings: list[Docstring]) -> list[list[Outcome]]:
    """The outcomes of all examples, in whichever library is `jax` in this process."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax import lax

    outcomes = []
    for docstring in docstrings:
        names = {"jax": jax, "jnp": jnp, "np": np, "lax": lax, "__name__": "__main__"}
        outcomes.append([run_example(source, names) for source in docstring.sources])
        jax.config.update("jax_enable_x64", False)
        np.set_printoptions(precision=8, suppress=False)
    return outcomes


def outcomes(docstrings: list[Docstring], command: list[str]) -> list[list[Outcome]]:
    """The outcomes of all examples in a process of their own, which `command` starts."""
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder, "examples.json"), Path(folder, "outcomes.json")
        given.write_text(json.dumps(docstrings), encoding="utf-8")
        environment = {**os.environ, **ENVIRONMENT}
        done = subprocess.run([*command, "--worker", given, found], env=environment, stderr=subprocess.PIPE, text=True)
        if not found.exists():
            raise SystemExit(f"{' '.join(command)} ended with code {done.returncode}:\n{done.stderr[-3000:]}")
        return [[Outcome(*each) for each in listed] for listed in json.loads(found.read_text(encoding="utf-8"))]


# a number, with its sign unless that stands between two names; the sign of an imaginary part belongs to it
_NUMBER = re.compile(r"(?:[-+]|(?<![\w.]))(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?", re.IGNORECASE)
_ADDRESS = re.compile(r"0x[0-9a-f]+")


def plain(printed: str) -> str:
    """A text without what may differ from run to run: spaces and addresses."""
    return "".join(_ADDRESS.sub("0x", printed).split())


def rounded_alike(ours: str, theirs: str) -> bool:
    """Whether two texts are equal but for the last digits of numbers, and signs of zeros."""
    ours, theirs = (_ADDRESS.sub("0x", text) for text in (ours, theirs))
    numbers = [_NUMBER.findall(text) for text in (ours, theirs)]
    if plain(_NUMBER.sub("#", ours)) != plain(_NUMBER.sub("#", theirs)) or len(numbers[0]) != len(numbers[1]):
        return False
    pairs = [(float(a), float(b)) for a, b in zip(*numbers, strict=True)]
    return all(abs(a - b) <= ATOL + RTOL * abs(b) for a, b in pairs)


def kind(theirs: Outcome, ours: Outcome) -> str:
    """One of `KINDS`."""
    if theirs.raised:
        return "same exception" if theirs.classes[0] in ours.classes else "differs"
    if ours.raised:
        return "does not run"
    if plain(ours.printed) == plain(theirs.printed):
        return "same"
    return "same but for rounding" if rounded_alike(ours.printed, theirs.printed) else "differs"


def compared(docstrings: list[Docstring]) -> list[Result]:
    """Every example of the docstrings with its outcomes, but for those that JAX itself does not run."""
    module = ["-m", "benchmarks.docstrings"]
    theirs = outcomes(docstrings, [sys.executable, *module])
    ours = outcomes(docstrings, [sys.executable, "-m", "pullback.as_jax", *module])
    results = []
    for docstring, reference, mine in zip(docstrings, theirs, ours, strict=True):
        for i, (source, a, b) in enumerate(zip(docstring.sources, reference, mine, strict=True)):
            if not set(a.classes) & {"NameError", "SyntaxError", "ModuleNotFoundError"}:
                results.append(Result(docstring.place, i, source, a, b, kind(a, b)))
    return results


def reason(place: str) -> str:
    """Why examples of a docstring differ."""
    found = [why for why, places in REASONS.items() if place in places]
    return found[0] if found else "no reason is given"


def show(results: list[Result]) -> None:
    """Print how many examples run and print the same, and what differs by reason."""
    counts = {name: sum(result.kind == name for result in results) for name in KINDS}
    total, same = len(results), sum(counts[name] for name in SAME)
    runs = total - counts["does not run"]
    run_share, same_share = 100 * runs / total, 100 * same / total
    print(f"examples: {total}; {runs} run ({run_share:.1f} %), {same} print the same ({same_share:.1f} %)")
    print("  " + ", ".join(f"{counts[name]} {name}" for name in KINDS))
    grouped: dict[str, list[str]] = {}
    for result in results:
        if result.kind not in SAME:
            where = f"{result.place} #{result.number}" + " does not run" * (result.kind == "does not run")
            grouped.setdefault(reason(result.place), []).append(where)
    for why, places in grouped.items():
        print(f"  {why}")
        for place in places:
            print(f"      {place}")


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="parts of the paths of JAX's files")
    parser.add_argument("--worker", nargs=2, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--outcomes", type=Path, help="write every example with its outcomes to a file, as JSON")
    options = parser.parse_args()
    if options.worker is not None:
        given, found = options.worker
        docstrings = [Docstring(*each) for each in json.loads(given.read_text(encoding="utf-8"))]
        found.write_text(json.dumps(run(docstrings)), encoding="utf-8")
        os._exit(0)  # whatever threads the examples have left
    results = compared([d for d in collect(options.parts) if not d.place.startswith(LEFT_OUT)])
    if options.outcomes is not None:
        options.outcomes.write_text(json.dumps(results, indent=1), encoding="utf-8")
    show(results)


if __name__ == "__main__":
    main()
