"""Run the problems of one library, with whatever `import jax` gives, and print their numbers as JSON.

python clients/run.py optax                              on JAX
python -m pullback.as_jax clients/run.py optax           on pullback
"""

import importlib
import json
import sys
import time
import traceback

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


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], sys.argv[2:])))
