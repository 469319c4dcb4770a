"""Which public names and keywords of JAX's are missing in pullback, each with the reason: planned or refused.

    make names                                           names and keywords, by module
    make names USES=jax_api_usage.tsv                    with the share of uses, from a table: name, libraries, uses
    python -m benchmarks.names [--uses FILE] [--names-only] [--keywords-only]

tests/test_names.py holds the numbers down.
"""

import argparse
import importlib
import inspect
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("JAX_PLATFORMS", "cpu")

MODULES = """
. numpy numpy.linalg numpy.fft lax lax.linalg nn nn.initializers random scipy scipy.special scipy.linalg scipy.fft
scipy.integrate scipy.interpolate scipy.ndimage scipy.optimize scipy.signal scipy.sparse.linalg scipy.cluster.vq
scipy.spatial.transform scipy.stats scipy.stats.bernoulli scipy.stats.beta scipy.stats.betabinom scipy.stats.binom
scipy.stats.cauchy scipy.stats.chi2 scipy.stats.dirichlet scipy.stats.expon scipy.stats.gamma scipy.stats.gennorm
scipy.stats.geom scipy.stats.gumbel_l scipy.stats.gumbel_r scipy.stats.laplace scipy.stats.logistic
scipy.stats.multinomial scipy.stats.multivariate_normal scipy.stats.nbinom scipy.stats.norm scipy.stats.pareto
scipy.stats.poisson scipy.stats.t scipy.stats.truncnorm scipy.stats.uniform scipy.stats.vonmises
scipy.stats.wrapcauchy tree tree_util custom_derivatives custom_batching dtypes errors debug dlpack image ops stages
typing ad_checkpoint api_util extend extend.core extend.core.primitives extend.linear_util interpreters.ad
interpreters.batching interpreters.mlir interpreters.partial_eval core flatten_util experimental experimental.ode
experimental.jet experimental.checkify experimental.sparse experimental.multihost_utils profiler monitoring sharding
test_util ref
""".split()


# modules whose public names are more than what JAX documents of them, or what libraries use
DOCUMENTED = {
    "experimental.ode": "odeint",
    "experimental.jet": "jet",
    "experimental.checkify": "Error ErrorCategory all_checks automatic_checks check check_error checkify debug_check "
    "div_checks float_checks index_checks init_error nan_checks user_checks",
    "experimental.sparse": "BCOO BCSR CSC CSR COO JAXSparse SparseEfficiencyError SparseEfficiencyWarning "
    "bcoo_broadcast_in_dim bcoo_concatenate bcoo_dot_general bcoo_dot_general_sampled bcoo_dynamic_slice bcoo_extract "
    "bcoo_fromdense bcoo_gather bcoo_multiply_dense bcoo_multiply_sparse bcoo_reduce_sum bcoo_reshape bcoo_slice "
    "bcoo_sort_indices bcoo_squeeze bcoo_sum_duplicates bcoo_todense bcoo_transpose bcoo_update_layout empty eye "
    "grad jacfwd jacobian jacrev linalg random_bcoo sparsify todense value_and_grad",
    "experimental.multihost_utils": "assert_equal broadcast_one_to_all global_array_to_host_local_array "
    "host_local_array_to_global_array process_allgather reached_preemption_sync_point sync_global_devices",
    "interpreters.mlir": "LoweringRuleContext aval_to_ir_type emit_python_callback ir ir_constant lower_fun "
    "register_lowering",
}


# what programs find that run by pullback.as_jax
UNDER_AS_JAX = {(".", "version")}
NO_REASON = "no reason is given"


class Miss(NamedTuple):
    """A name that is missing: its module in JAX, and the reason."""

    module: str
    name: str
    reason: str

    @property
    def path(self) -> str:
        """The dotted name in JAX."""
        return ".".join(part for part in ("jax", self.module if self.module != "." else "", self.name) if part)


def both(module: str) -> tuple[object, object]:
    """The module of JAX and the one here; None for one that there is not."""
    tail = "" if module == "." else "." + module
    found = []
    for library in ("jax", "pullback"):
        try:
            found.append(importlib.import_module(library + tail))
        except ImportError:
            found.append(None)
    return found[0], found[1]


def public(module: object) -> list[str]:
    """The public names of a module of JAX's: those that it has without a warning."""
    names = []
    for name in dir(module):
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)
            try:
                value = getattr(module, name)
            except (AttributeError, DeprecationWarning):
                continue
        foreign = inspect.ismodule(value) and not value.__name__.startswith("jax.")
        if not name.startswith("_") and not foreign:
            names.append(name)
    return names


def documented(module: str, theirs: object) -> list[str]:
    """The public names of a module of JAX's, or those in `DOCUMENTED`."""
    if module in DOCUMENTED:
        return [name for name in DOCUMENTED[module].split() if hasattr(theirs, name)]
    return public(theirs)


def reason(module: str, name: str) -> str:
    """What pullback says of a name that it lacks."""
    from pullback._core import missing

    ours = "pullback" if module == "." else f"pullback.{module}"
    says = missing.entry(ours, name)
    parent, _, last = ours.rpartition(".")
    return says or missing.entry(parent, last) or NO_REASON


def is_module(module: str, name: str) -> bool:
    """Whether a name is a module here, which is an attribute only after it has been imported."""
    return both(name if module == "." else f"{module}.{name}")[1] is not None


def names() -> tuple[int, list[Miss]]:
    """The number of JAX's names, and those that are missing."""
    total, misses = 0, []
    for module in MODULES:
        theirs, ours = both(module)
        for name in documented(module, theirs):
            total += 1
            if not (hasattr(ours, name) or (module, name) in UNDER_AS_JAX or is_module(module, name)):
                misses.append(Miss(module, name, reason(module, name)))
    return total, misses


def parameters(fun: object) -> dict[str, inspect.Parameter] | None:
    """The parameters of a function, or None if Python cannot tell."""
    try:
        return dict(inspect.signature(fun).parameters)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


# keywords that are not taken, alone or after the function -> why
_TRACES = "refused: it is about the inside of JAX"
KEYWORDS = {
    "reduce_axes": "refused: JAX deprecated it with xmap, and raises NotImplementedError for other values than ()",
    "sum_match": "refused: JAX does not say what it does",
    "dlpack.from_dlpack external_array": "refused: by position, as in numpy.from_dlpack, which it is",
    **dict.fromkeys(("use_eq_store", "unk_names", "transform_stack", "primals_ft", "is_vjp", "traceable"), _TRACES),
    "interpreters.ad.jvp instantiate": _TRACES,
    **{
        f"{module} fun": "refused: by position alone, as the parameters of the transformation follow"
        for module in (
            *("api_util.flatten_fun", "api_util.flatten_fun_nokwargs", "extend.linear_util.transformation"),
            *("extend.linear_util.transformation2", "extend.linear_util.transformation_with_aux"),
            "extend.linear_util.transformation_with_aux2",
        )
    },
}


def functions() -> Iterator[tuple[str, str, object, object]]:
    """Module, name, JAX's function and ours, for each that both have."""
    for module in MODULES:
        theirs, ours = both(module)
        for name in documented(module, theirs):
            fun, mine = getattr(theirs, name), getattr(ours, name, None)
            if mine is not None and callable(fun) and callable(mine) and not inspect.isclass(fun):
                yield module, name, fun, mine


def keywords() -> tuple[int, list[Miss]]:
    """The number of keywords of JAX's functions that are here too, and those that ours do not take."""
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    total, misses = 0, []
    for module, name, fun, mine in functions():
        theirs, ours = parameters(fun), parameters(mine)
        if theirs is None or ours is None:
            continue
        anything = any(p.kind is p.VAR_KEYWORD for p in ours.values())
        for key, parameter in theirs.items():
            if parameter.kind not in by_name or key.startswith("_"):
                continue
            total += 1
            if not anything and not (key in ours and ours[key].kind in by_name):
                why = KEYWORDS.get(key) or KEYWORDS.get(f"{module}.{name} {key}", NO_REASON)
                misses.append(Miss(module, f"{name}({key}=)", why))
    return total, misses


def uses(file: Path) -> dict[str, tuple[int, int]]:
    """Dotted name -> the numbers of libraries and of uses, from a table with a head line."""
    lines = file.read_text(encoding="utf-8").splitlines()[1:]
    return {name: (int(libraries), int(count)) for name, libraries, count in (line.split("\t") for line in lines)}


def is_there(path: str, library: str = "pullback") -> bool:
    """Return whether a library has what `path`, such as jax.numpy.sin, names."""
    parts = path.split(".")[1:]
    value: object = importlib.import_module(library)
    for i, part in enumerate(parts):
        try:
            value = getattr(value, part)
        except AttributeError:
            try:
                value = importlib.import_module(".".join([library, *parts[: i + 1]]))
            except ImportError:
                return False
    return True


def reason_of_use(path: str) -> str:
    """Why a name that libraries use is missing: many use names of former versions of JAX too."""
    module, _, name = path.removeprefix("jax.").rpartition(".")
    why = reason(module or ".", name)
    if why != NO_REASON or is_there(path, "jax"):
        return why
    return f"JAX {importlib.import_module('jax').__version__} has none"


def show(what: str, total: int, misses: list[Miss]) -> None:
    """Print the share that is there, and what is missing by module and reason."""
    print(f"{what}: {total - len(misses)} of {total} ({100 * (1 - len(misses) / total):.1f} %)")
    grouped: dict[tuple[str, str], list[str]] = {}
    for miss in misses:
        grouped.setdefault((miss.module, miss.reason), []).append(miss.name)
    for (module, why), missing in grouped.items():
        print(f"  jax{'' if module == '.' else '.' + module}: {why}\n      {' '.join(missing)}")


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uses", type=Path, help="a table of names with numbers of libraries and uses")
    parser.add_argument("--names-only", action="store_true")
    parser.add_argument("--keywords-only", action="store_true")
    options = parser.parse_args()
    if not options.keywords_only:
        show("names", *names())
    if not options.names_only:
        show("keywords", *keywords())
    if options.uses is not None:
        table = uses(options.uses)
        absent = {path: n for path, n in table.items() if not is_there(path)}
        total, there = (sum(n for _, n in part.values()) for part in (table, absent))
        print(f"uses: {100 * (1 - there / total):.2f} % of {total}, {len(table) - len(absent)} of {len(table)} names")
        for path, (libraries, count) in sorted(absent.items(), key=lambda item: -item[1][0] * item[1][1]):
            print(f"  {path} {libraries} libraries, {count} uses: {reason_of_use(path)}")


if __name__ == "__main__":
    main()
