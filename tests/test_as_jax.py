"""Programs that import jax, run on pullback: each in a process of its own, beside a JAX that is installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pullback import as_jax

REPOSITORY = Path(__file__).resolve().parent.parent


def python(*arguments, folder=REPOSITORY, code=0):
    """Run Python; returns what it printed on stdout and on stderr."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    result = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False, env=environment
    )
    assert result.returncode == code, result.stdout + result.stderr
    return result.stdout, result.stderr


def test_options_in_the_environment_of_jax(monkeypatch):
    monkeypatch.setenv("JAX_ENABLE_X64", "1")
    assert run("import jax.numpy as jnp\nprint(jnp.ones(2).dtype)") == ["float64"]


def run(code, *options):
    return python("-W", "error", "-m", "pullback.as_jax", *options, "-c", code)[0].split()


def test_the_spellings_of_imports():
    assert run(
        "import jax\n"
        "import jax.numpy as jnp\n"
        "import jax.scipy.special\n"
        "from jax import config, lax, random, tree_util as tu\n"
        "from jax.scipy import special\n"
        "from jax.experimental import ode\n"
        "from jax.experimental.jet import jet\n"
        "from jax.nn import initializers\n"
        "import jax.extend.core as jex\n"
        "import pullback\n"
        "for ours, name in [(jnp, 'numpy'), (lax, 'lax'), (special, 'scipy.special'), (ode, 'experimental.ode'),\n"
        "                   (initializers, 'nn.initializers'), (tu, 'tree_util'), (jex, 'extend.core')]:\n"
        "    assert ours.__name__ == ours.__spec__.name == 'pullback.' + name, ours\n"
        "assert jax.numpy is jnp and jax.grad is pullback.grad and jax.scipy.special is special\n"
        "print(jax.__name__, jax.__version__, jax.__version_info__[:2])"
    ) == ["jax", as_jax.JAX_VERSION, "(0,", "10)"]


def test_nothing_of_jax_itself_is_loaded():
    assert run(
        "import sys, jax, jax.numpy, jax.random, jax.scipy.stats, importlib.metadata\n"
        "from jax.version import __version__\n"
        "loaded = [getattr(m, '__file__', None) or '' for n, m in sys.modules.items() if n.split('.')[0] == 'jax']\n"
        "assert not [file for file in loaded if 'pullback' not in file and file], loaded\n"
        "print(__version__, importlib.metadata.version('jax'), 'jax' in dir(jax), 'grad' in dir(jax))"
    ) == [as_jax.JAX_VERSION, as_jax.JAX_VERSION, "False", "True"]


def test_what_a_program_assigns_to_jax_stays_there():
    assert run("import jax, pullback\njax.grad = 3\njax.extra = 4\nprint(jax.grad, jax.extra, pullback.grad)")[:2] == [
        "3",
        "4",
    ]


@pytest.mark.parametrize(
    ("statement", "error", "message"),
    [
        ("from jax import nothing_like_it", "ImportError", "cannot import name 'nothing_like_it': pullback has no"),
        ("from jax.numpy import loadtxt", "ImportError", "cannot import name 'loadtxt': pullback.numpy has no"),
        ("from jax.numpy import arrange", "ImportError", "did you mean arange"),
        ("import jax.lax.scna", "ModuleNotFoundError", "No module named 'jax.lax.scna' in pullback, which stands for"),
        ("import jax._numpy", "ModuleNotFoundError", "No module named 'jax._numpy'"),
        ("import jax.numpy._arrays", "ModuleNotFoundError", "No module named 'jax.numpy._arrays'"),
        ("import jax; jax.gard", "AttributeError", "did you mean grad"),
        ("import jax; jax.__nothing__", "AttributeError", "has no attribute '__nothing__'"),
        ("from jax._src.core import new_sublevel", "ImportError", "is a name of JAX's inside"),
        ("import jax._src.pjit", "ModuleNotFoundError", "is a name of JAX's inside"),
    ],
)
def test_a_missing_name_says_why(statement, error, message):
    code = f"try:\n    {statement}\nexcept Exception as error:\n    print(type(error).__name__, error)"
    out, _ = python("-m", "pullback.as_jax", "-c", code)
    assert out.startswith(error)
    assert message in out


def test_names_of_the_inside_that_mean_something():
    assert run(
        "import jax, jax._src.core\n"
        "from jax._src.core import Tracer\n"
        "from jax._src import core, dtypes\n"
        "from jax._src.flatten_util import ravel_pytree\n"
        "print(Tracer is jax.core.Tracer is core.Tracer, ravel_pytree is jax.flatten_util.ravel_pytree)"
    ) == ["True", "True"]


def test_every_name_of_the_inside_exists():
    table = as_jax._src._TABLE
    for below, names in table.items():
        module = as_jax._src.module(f"jax._src.{below}")
        assert all(getattr(module, name) is not None for name in names)
        assert set(names) <= set(dir(module))


def test_imports_of_jax_s_own_pages():
    out, _ = python(
        "-m",
        "pullback.as_jax",
        "-c",
        "from jax._src import api\nfrom jax._src.lax import lax\nfrom jax._src.util import safe_map, safe_zip\n"
        "print(api.grad(lambda x: lax.mul(x, x))(3.), safe_map(max, [1, 5], [3, 4]), safe_zip([1], [2]))",
    )
    assert out.strip() == "6.0 [3, 5] [(1, 2)]"


def test_a_script_with_its_arguments_and_neighbours(tmp_path):
    (tmp_path / "neighbour.py").write_text("import jax.numpy as jnp\nfive = jnp.array(5)\n")
    script = tmp_path / "script.py"
    script.write_text("import sys, neighbour\nprint(__name__, sys.argv[1:], neighbour.five, __file__ == sys.argv[0])\n")
    out, _ = python("-m", "pullback.as_jax", str(script), "a", "--report", folder=tmp_path)
    assert out.split() == ["__main__", "['a',", "'--report']", "5", "True"]


def test_a_module_by_its_name(tmp_path):
    (tmp_path / "test_program.py").write_text(
        "import jax\n\n\ndef test_it():\n    assert jax.grad.__module__.startswith('pullback')\n"
    )
    options = ("-q", "-p", "no:cacheprovider", "test_program.py")
    out, _ = python("-m", "pullback.as_jax", "-m", "pytest", *options, folder=tmp_path)
    assert "1 passed" in out


def test_the_report_lists_what_was_missing_and_where(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import jax\n"
        "from jax.experimental import ode\n"
        "hasattr(jax, 'nothing_like_it')\n"
        "try:\n    from jax.numpy import loadtxt\nexcept ImportError:\n    pass\n"
    )
    _, err = python("-m", "pullback.as_jax", "--report", str(script))
    lines = err.splitlines()
    assert lines[0].startswith("pullback has no 'nothing_like_it'")
    assert lines[1] == f"    {script}:3"
    assert lines[2].startswith("pullback.numpy has no 'loadtxt'")
    assert lines[3] == f"    {script}:5"
    assert len(lines) == 4


CHILD = "import jax.numpy as jnp, jax; print(jnp.__name__, jax.__version__, jax.numpy is jnp)"


def test_processes_that_a_program_starts(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import multiprocessing, subprocess, sys\n"
        "def where(_):\n"
        "    import jax\n"
        "    return jax.grad.__module__\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(*pool.map(where, [0]), flush=True)\n"
        f"    subprocess.run([sys.executable, '-W', 'error', '-c', {CHILD!r}], check=True)\n"
    )
    out, _ = python("-m", "pullback.as_jax", "--subprocesses", str(script), folder=tmp_path)
    assert out.split() == ["pullback._api.derivatives", "pullback.numpy", as_jax.JAX_VERSION, "True"]


def test_install_after_jax_is_refused():
    out, _ = python(
        "-c",
        "import jax\nfrom pullback import as_jax\n"
        "try:\n    as_jax.install()\nexcept RuntimeError as error:\n    print(error)",
    )
    assert "jax itself has been imported already" in out
    assert "python -m pullback.as_jax script.py" in out


def test_uninstall_leads_back_to_jax():
    out, _ = python(
        "-c",
        "from pullback import as_jax\nas_jax.install()\nas_jax.install(subprocesses=True)\nimport jax.numpy\n"
        "assert as_jax.installed() and jax.grad.__module__.startswith('pullback')\n"
        "as_jax.uninstall()\nimport jax\nprint(as_jax.installed(), jax.grad.__module__)",
    )
    assert out.split() == ["False", "jax._src.api"]


@pytest.mark.parametrize(("arguments", "code"), [((), 2), (("--help",), 0)])
def test_the_usage(arguments, code):
    out, _ = python("-m", "pullback.as_jax", *arguments, code=code)
    assert out.startswith("usage: python -m pullback.as_jax")


def test_an_unknown_option():
    _, err = python("-m", "pullback.as_jax", "--reprot", "script.py", code=1)
    assert "cannot read '--reprot script.py'" in err


def test_the_engines_that_have_been_started():
    assert run(
        "import jax\n"
        "backends = jax._src.xla_bridge._backends\n"
        "print(len(backends), backends.get('cpu'))\n"
        "jax.devices()\n"
        "print(*backends, backends.get('cpu').platform, backends.get('tpu'))"
    ) == ["0", "None", "cpu", "cpu", "None"]


def test_functions_of_the_inside_that_libraries_use():
    assert run(
        "import numpy, pytest\n"
        "import jax.numpy as jnp\n"
        "from jax._src.dtypes import to_complex_dtype\n"
        "from jax._src.public_test_util import check_close\n"
        "assert [to_complex_dtype(t).itemsize for t in ('bfloat16', 'float32', 'int32', 'float64')] == [8, 8, 8, 16]\n"
        "check_close({'a': jnp.ones(2)}, {'a': 1 + 5e-7 * numpy.ones(2)})\n"
        "check_close(jnp.bfloat16(1), 1.01)\n"
        "for bad in [({'a': 1.0}, 1.0), (1.0, 1.1), (jnp.ones(2), 1.0), (jnp.arange(2), jnp.arange(2) + 1)]:\n"
        "    with pytest.raises(AssertionError):\n"
        "        check_close(*bad)\n"
        "check_close(1.0, 1.1, rtol=0.2)\n"
        "check_close(1.0, 1.1, rtol={jnp.float32: 0.1, float: 0.2})\n"
        "from jax._src.tree_util import prefix_errors\n"
        "(error,) = prefix_errors({'a': [1]}, {'a': 2})\n"
        "assert str(error('in_axes')).startswith(\"pytree structure error at in_axes['a']: expected a list\")"
    ) == []  # fmt: skip


def test_what_orbax_asks_of_the_inside():
    assert run(
        "import jax, pytest\n"
        "import jax.numpy as jnp\n"
        "from jax.extend import ifrt_programs\n"
        "from jax.interpreters import pxla\n"
        "from jax.experimental.array_serialization import serialization\n"
        "from jax.experimental.colocated_python import func, serialization as sent\n"
        "one_level = jax._src.tree_util.flatten_one_level\n"
        "assert list(one_level({'a': [1], 'b': 2})[0]) == [[1], 2] and not one_level(None)[0]\n"
        "with pytest.raises(ValueError, match='can.t tree-flatten'):\n"
        "    one_level(1)\n"
        "with pytest.raises(ValueError, match='can.t tree-flatten'):\n"
        "    one_level(jax.random.key(0))\n"
        "state = jax._src.distributed.global_state\n"
        "print(state.process_id, state.num_processes, state.client)\n"
        "place = jnp.ones(2).sharding\n"
        "print(place._device_assignment == place._addressable_device_assignment == tuple(jax.devices()[:1]))"
    ) == ["0", "1", "None", "True"]  # fmt: skip


def test_frames_of_a_library_are_left_out_at_its_own_boundary(tmp_path):
    (tmp_path / "library.py").write_text(
        "from jax._src import traceback_util\n"
        "traceback_util.register_exclusion(__file__)\n"
        "def inner(f):\n    return f()\n"
        "@traceback_util.api_boundary\n"
        "def public(f):\n    return inner(f)\n"
    )
    (tmp_path / "script.py").write_text(
        "import traceback, library\n"
        "def mine():\n    raise KeyError(1)\n"
        "try:\n    library.public(mine)\n"
        "except KeyError as error:\n"
        "    print(*[frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)])\n"
    )
    out, _ = python("-m", "pullback.as_jax", "script.py", folder=tmp_path)
    assert out.split() == ["<module>", "mine"]


def test_options_in_the_arguments_of_a_program(tmp_path):
    (tmp_path / "script.py").write_text(
        "import jax, sys\n"
        "jax.config.parse_flags_with_absl()\n"
        "print(jax.config.jax_enable_x64, jax.config.jax_debug_nans, jax.config.jax_debug_infs, sys.argv[1])\n"
    )
    arguments = "--steps=3 --jax_enable_x64 --jax_debug_nans=true --nojax_debug_infs --jax_unknown=3 --".split()
    out, _ = python("-m", "pullback.as_jax", "script.py", *arguments, "--nojax_enable_x64", folder=tmp_path)
    assert out.split() == ["True", "True", "False", "--steps=3"]
    _, err = python("-m", "pullback.as_jax", "script.py", "--jax_enable_x64=7", folder=tmp_path, code=1)
    assert err.splitlines()[-1] == "ValueError: --jax_enable_x64: expected one of False, True; got '7'."


def test_array_types_of_libraries():
    """TensorFlow Probability enters its variables, which have `__array__`, in JAX's tables."""
    assert run(
        "import jax, numpy, pytest\n"
        "import jax.numpy as jnp\n"
        "class Variable:\n"
        "    def __array__(self, dtype=None): return numpy.ones(2, dtype)\n"
        "for table in (jax.interpreters.xla.canonicalize_dtype_handlers, jax.core.pytype_aval_mappings):\n"
        "    table[Variable] = table[numpy.ndarray]\n"
        "    with pytest.raises(TypeError, match='__jax_array__'):\n"
        "        table[object] = table[numpy.ndarray]\n"
        "print(*jnp.sin(Variable()).shape, jax.core.pytype_aval_mappings[int](3).ndim)"
    ) == ["2", "0"]  # fmt: skip
