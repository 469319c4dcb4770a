"""Names of JAX that are not here: an error that says so, and a table that knows every one of them."""

import importlib
import pkgutil
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import pytest

import pullback as pb
import pullback.experimental.jet
import pullback.experimental.ode
import pullback.numpy as pnp
from pullback import core, extend, implicit, lax, nn, random, test_util, tree_util, typing
from pullback._core import missing

MODULES = (
    "",
    "numpy",
    "numpy.linalg",
    "numpy.fft",
    "lax",
    "lax.linalg",
    "nn",
    "nn.initializers",
    "random",
    "scipy",
    "scipy.special",
    "scipy.linalg",
    "scipy.fft",
    "scipy.stats",
    "scipy.cluster",
    "scipy.cluster.vq",
    "scipy.interpolate",
    "scipy.ndimage",
    "scipy.optimize",
    "scipy.signal",
    "scipy.sparse",
    "scipy.spatial",
    "scipy.spatial.transform",
    "scipy.sparse.linalg",
    "tree_util",
    "tree",
    "custom_derivatives",
    "custom_batching",
    "ad_checkpoint",
    "dtypes",
    "debug",
    "distributed",
    "errors",
    "sharding",
    "ops",
    "flatten_util",
    "image",
    "experimental",
    "core",
    "extend",
    "extend.core",
    "experimental.hijax",
    "extend.core.primitives",
    "extend.linear_util",
    "api_util",
    "interpreters",
    "interpreters.ad",
    "interpreters.batching",
    "interpreters.mlir",
    "interpreters.partial_eval",
    "monitoring",
    "profiler",
    "stages",
    "typing",
    "test_util",
)
PACKAGE = Path(__file__).resolve().parent.parent


def both(module):
    return (importlib.import_module(".".join(filter(None, (library, module)))) for library in ("pullback", "jax"))


def submodules(module):
    """The public modules inside of a package, loaded or not: they are its attributes once something has loaded them."""
    return {found.name for found in pkgutil.iter_modules(getattr(module, "__path__", ())) if found.name[0] != "_"}


def public(module):
    """The public names of a module of JAX: those that it has without a warning."""
    for name in dir(module):
        if not name.startswith("_"):
            with warnings.catch_warnings():
                warnings.simplefilter("error", DeprecationWarning)
                try:
                    getattr(module, name)
                except (AttributeError, DeprecationWarning):
                    continue
            yield name


@pytest.mark.skipif(jax.__version__ != "0.10.2", reason="the table is of the names of this version")
@pytest.mark.parametrize("module", MODULES)
def test_every_name_of_jax_is_there_or_explained(module):
    ours, theirs = both(module)
    there = submodules(ours) | {name for name in public(theirs) if hasattr(ours, name)}
    silent = [name for name in {*public(theirs), *submodules(theirs)} - there if not missing.entry(ours.__name__, name)]
    assert not silent


def test_the_table_holds_no_name_that_is_there():
    for module in missing.modules():
        ours = importlib.import_module(module)
        assert not [name for name in missing._entries(module) if hasattr(ours, name)]


def test_every_entry_says_what_to_do():
    for module in missing.modules():
        for name, says in missing._entries(module).items():
            assert says.startswith(("planned", "refused: ", "use ", "it is ", "a ")), (module, name, says)


@pytest.mark.parametrize(
    ("module", "name", "message"),
    [
        (pb, "memory", "pullback has no 'memory': planned: a part of what is for several devices"),
        (lax, "psend", "pullback.lax has no 'psend': planned: a part of what is for several devices"),
        (pnp, "arrange", "pullback.numpy has no 'arrange': did you mean arange"),
        (pb, "gard", "pullback has no 'gard': did you mean grad"),
        (nn, "sofmax", "did you mean softmax"),
        (random, "nromal", "did you mean normal"),
        (pnp, "scan", "pullback.numpy has no 'scan': use pullback.lax.scan"),
        (tree_util, "vmap", "pullback.tree_util has no 'vmap': use pullback.vmap"),
        (pnp.linalg, "gelu", "pullback.numpy.linalg has no 'gelu': use pullback.nn.gelu"),
        (core, "gensym", "pullback.core has no 'gensym': use pullback.extend.core.gensym"),
        (extend.core, "Token", "pullback.extend.core has no 'Token': refused: it is about the inside of JAX"),
        (test_util, "check_grad", "pullback.test_util has no 'check_grad': did you mean check_grads"),
        (typing, "ArrayLik", "did you mean ArrayLike"),
        (implicit, "fixpoint", "did you mean fixed_point"),
        (pnp, "__nonsense__", "has no attribute '__nonsense__'"),
        (pb, "qwertz", "pullback has no 'qwertz'"),
    ],
)
def test_the_message(module, name, message):
    assert not hasattr(module, name)
    with pytest.raises(AttributeError) as info:
        getattr(module, name)
    assert message in str(info.value)


def test_an_import_of_a_missing_name():
    with pytest.raises(ImportError, match="cannot import name 'memory': pullback has no 'memory': planned: a part"):
        from pullback import memory  # noqa: F401


# ---- in processes of their own: nothing has been loaded there


def run(code):
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=PACKAGE, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_names_that_are_loaded_at_their_first_use_are_listed():
    """`dir`, by which editors complete names, shows them before anything loaded them."""
    assert (
        run(
            "import pullback as pb, pullback.numpy as pnp, pullback.lax as lax\n"
            "names = set(dir(pb))\n"
            "assert {'nn', 'random', 'scipy', 'check_rules', 'external', 'grad'} <= names, names\n"
            "assert {'fft', 'linalg', 'sin'} <= set(dir(pnp)) and 'linalg' in dir(lax)\n"
            "assert callable(pb.check_rules) and pb.check_rules is pb.check_rules\n"
            "assert all(hasattr(pb, name) for name in names)"
        )
        == []
    )


def test_the_table_is_loaded_by_a_miss_alone():
    assert run(
        "import sys, pullback as pb, pullback.nn, pullback.scipy\n"
        "print('pullback._core.missing' in sys.modules)\n"
        "print(hasattr(pb, 'memory'), 'pullback._core.missing' in sys.modules)"
    ) == ["False", "False", "True"]


# ---- type checkers


MISSPELLED = """
import pullback as pb
import pullback.numpy as pnp
from pullback import lax, nn, random, scipy
pb.grad, pb.nn.relu, pb.check_rules, pb.scipy.special.erf, pnp.linalg.norm, lax.linalg.qr, random.key
pb.gard
pnp.arrange
pnp.linalg.nrom
lax.scna
nn.relo
random.nromal
scipy.special.erfk
pb.tree_util.tree_mapp
"""


def test_a_type_checker_finds_misspelled_names(tmp_path, monkeypatch):
    api = pytest.importorskip("mypy.api")
    monkeypatch.setenv("MYPYPATH", str(PACKAGE))
    program = tmp_path / "program.py"
    program.write_text(MISSPELLED)
    text, _, _ = api.run(
        [
            str(program),
            "--follow-imports=silent",
            "--no-error-summary",
            "--ignore-missing-imports",
            f"--cache-dir={tmp_path}/cache",
            "--config-file=",
        ]
    )
    lines = {int(line.split(":")[1]): line for line in text.splitlines() if "error" in line}
    assert sorted(lines) == [*range(6, 14)], text
    assert all("attr-defined" in line for line in lines.values())


def test_the_package_says_that_it_is_typed():
    assert (PACKAGE / "pullback" / "py.typed").is_file()
