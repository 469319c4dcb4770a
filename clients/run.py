"""Run the problems of one library, with whatever `import jax` gives, and print their numbers as JSON.

python clients/run.py optax                              on JAX
python -m pullback.as_jax clients/run.py optax           on pullback
python clients/run.py --record optax                     on JAX, into clients/numbers/optax.json
"""

import importlib
import importlib.metadata
import json
import sys
import time
import traceback
from pathlib import Path

import numpy as np


def numbers(result):
    """The leaves of a result as nested lists; complex numbers as pairs."""
    import jax

    leaves = [np.asarray(leaf) for leaf in jax.tree_util.tree_leaves(result)]
    return [np.stack([x.real, x.imag]).tolist() if np.iscomplexobj(x) else x.astype(float).tolist() for x in leaves]


def run(library, only=()):
    """Name -> the numbers, or the error's text, and the seconds it took, of each problem."""
    module = importlib.import_module(f"problems.{library}_problems")
    results = {}
    for name, problem in vars(module).items():
        if name.startswith("_") or getattr(problem, "__module__", None) != module.__name__ or not callable(problem):
            continue
        if only and name not in only:
            continue
        begin = time.perf_counter()
        try:
            outcome = {"numbers": numbers(problem())}
        except Exception as error:
            outcome = {"error": "".join(traceback.format_exception_only(error)).strip()[-600:]}
            if only:
                traceback.print_exc()
        results[name] = {**outcome, "seconds": time.perf_counter() - begin}
    return results


def installed(library):
    """The versions that the numbers of a library depend on: its own and JAX's."""
    distribution = {"ott": "ott-jax", "orbax": "orbax-checkpoint"}.get(library, library)
    return {name: importlib.metadata.version(name) for name in (distribution, "jax")}


def rounded(x):
    """Numbers with as many digits as the comparison needs."""
    return [rounded(entry) for entry in x] if isinstance(x, list) else float(f"{x:.9g}")


def record(library):
    """Write what JAX gives, with the versions, where `test_clients.py` looks for it."""
    results = run(library)
    for name, outcome in results.items():
        if "error" in outcome:
            raise SystemExit(f"{library}: {name}: {outcome['error']}")
    lines = [f'  "{name}": {json.dumps(rounded(outcome["numbers"]))}' for name, outcome in results.items()]
    text = f'{{"versions": {json.dumps(installed(library))}, "numbers": {{\n' + ",\n".join(lines) + "\n}}\n"
    (Path(__file__).parent / "numbers" / f"{library}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "--record":
        record(sys.argv[2])
    else:
        print(json.dumps(run(sys.argv[1], sys.argv[2:])))
