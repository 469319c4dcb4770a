"""What `import pullback` and a first eager gradient load: few modules, none of them heavy: start-up is to be short."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import pullback.numpy as pnp

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("jax", "scipy", "opt_einsum", "matplotlib", "jaxlib.xla_client", "asyncio", "ssl", "pullback._xla.lowering")

IMPORT = "import pullback"
FIRST_GRADIENT = """
import pullback as pb
import pullback.numpy as pnp
assert abs(float(pb.grad(lambda x: pnp.log(1. + pnp.exp(x)))(3.)) - 0.9525741) < 1e-6
"""


def run(program: str) -> list[str]:
    """The words that a new process prints."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


@pytest.mark.parametrize("program", [IMPORT, FIRST_GRADIENT], ids=["import", "first gradient"])
def test_nothing_heavy_is_loaded(program):
    assert run(f"{program}\nimport sys\nprint(*[name for name in {HEAVY} if name in sys.modules])") == []


@pytest.mark.parametrize(("program", "most"), [(IMPORT, 42), (FIRST_GRADIENT, 104)], ids=["import", "first gradient"])
def test_few_modules_are_loaded(program, most):
    loaded = run(f"{program}\nimport sys\nprint(*[name for name in sys.modules if name.startswith('pullback')])")
    assert len(loaded) <= most, loaded


def test_arrays_have_operators_and_methods_before_the_public_modules_are_loaded():
    program = """
import pullback as pb
x = pb.grad(lambda x: x * x)(3.)
print(x + 1, x.sum(), x[None].shape, (x[None] @ x[None]), abs(-x), round(x), x.at[...].set(1.))
ref = pb.new_ref(x)
ref[...] += 1.
print(ref[...], list(pb.vmap(lambda y: y.T)(x[None])))
"""
    expected = "7.0 6.0 (1,) 36.0 6.0 6 1.0 7.0 [Array(6., dtype=float32, weak_type=True)]"
    assert run(program) == expected.split()


def test_jaxprs_print_in_a_program_that_uses_little():
    program = "import pullback as pb\nprint(pb.make_jaxpr(lambda x: x * 2)(1.).jaxpr.eqns and pb.make_jaxpr(abs)(1.))"
    assert run(program) == "{ lambda ; a:f32[]. let b:f32[] = abs a in (b,) }".split()


def test_deferred_attributes_are_those_that_the_modules_install():
    program = """
import pullback
from pullback._core.array import Array
from pullback._core.refs import Ref, RefIndexer
from pullback.numpy._arrays.deferred import Deferred
classes = Array, Ref, RefIndexer
before = [set(dir(cls)) for cls in classes]
from pullback.numpy._arrays import methods, operators, references
print(*[name for cls, names in zip(classes, before) for name in names ^ set(dir(cls))])
print(*[name for cls in classes for name, value in vars(cls).items() if type(value) is Deferred])
"""
    assert run(program) == []


def names_for_type_checkers(path: Path) -> dict[str, tuple[str, str]]:
    """The names that a module imports under `if TYPE_CHECKING`: name -> (module, name there)."""
    blocks = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.If)]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name: (str(node.module), alias.name) for node in imports for alias in node.names}


@pytest.mark.parametrize("module", ["pullback", "pullback.numpy"])
def test_names_are_loaded_from_where_type_checkers_find_them(module):
    public = importlib.import_module(module)
    seen = names_for_type_checkers(ROOT / Path(*module.split(".")) / "__init__.py")
    assert len(seen) > 100
    for name, (source, original) in seen.items():
        home = importlib.import_module(source)
        expected = (
            getattr(home, original) if hasattr(home, original) else importlib.import_module(f"{source}.{original}")
        )
        assert getattr(public, name) is expected, name
    others = {name for name in dir(public) if not name.startswith("_")} - seen.keys()
    assert [name for name in others if f"{module}.{name}" not in sys.modules] == []


def test_every_public_name_of_numpy_exists():
    assert [name for name in pnp.__all__ if not hasattr(pnp, name)] == []
