"""Plugins: how they are found and loaded, and what is said of those that cannot be used.

The packages here are made up, but for those of the last tests, which run where NVIDIA's plugin is installed; no device
is needed.
"""

import subprocess
import sys
from importlib import metadata, util
from pathlib import Path

import pytest

import pullback as pb
from pullback._xla import engine, platforms, plugins

REAL = util.find_spec("jax_plugins") is not None
# read before its folder is hidden, with a plugin that lies beside it
JAXLIB = metadata.version("jaxlib")


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder for packages, alone with plugins; none has been started."""
    others = [path for path in sys.path if not Path(path, "jax_plugins").exists()]
    monkeypatch.setattr(sys, "path", [str(tmp_path), *others])
    monkeypatch.setattr(plugins, "_apis", {})
    monkeypatch.delenv("PJRT_NAMES_AND_LIBRARY_PATHS", raising=False)
    yield tmp_path
    pb.config.update("jax_platforms", None)
    platforms._default.cache_clear()
    platforms._first.cache_clear()


def add(site, package, library=None, text="raise ImportError('written for JAX')\n"):
    """A package whose module must not be imported, and its library."""
    folder = site.joinpath(*package.split("."))
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(text)
    if library is not None:
        (folder / library).write_bytes(b"no library")
    return folder


def add_nvidia(site, number, version=None):
    """The plugin of NVIDIA's, as far as its files are looked at."""
    add(site, f"jax_plugins.xla_cuda{number}", "xla_cuda_plugin.so")
    package = add(site, f"jax_cuda{number}_plugin", text="")
    (package / "version.py").write_text(f"__version__ = {version or JAXLIB!r}\n")


def add_entry_point(site, name, value):
    folder = site / f"{name}-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(f"[jax_plugins]\n{name} = {value}\n")


def test_nvidias_plugin_is_found_by_its_files(site):
    add_nvidia(site, 12)
    plugin = plugins.found()["cuda"]
    assert plugin.library == str(site / "jax_plugins/xla_cuda12/xla_cuda_plugin.so")
    assert (plugin.origin, plugin.package, plugin.preferred) == ("jax_plugins.xla_cuda12", "jax_cuda12_plugin", True)
    add_nvidia(site, 13)
    assert plugins.found()["cuda"].package == "jax_cuda13_plugin"


def test_other_plugins_are_there_but_not_preferred(site):
    add(site, "jax_plugins.accelerator", "plugin.so")
    add(site, "jax_plugins.two", "one.so").joinpath("two.so").write_bytes(b"")
    add(site, "jax_plugins.none")
    found = plugins.found()
    assert found["accelerator"].library.endswith("plugin.so")
    assert not found["accelerator"].preferred
    assert not {"two", "none"} & set(found)
    assert platforms.default() == "cpu"
    with pytest.raises(RuntimeError, match=r"devices: Unknown backend 'tpu': the backends are 'cpu', .*'accelerator'"):
        pb.devices("tpu")


def test_an_entry_point_alone_is_enough_for_a_plugin_that_is_asked_for(site):
    add(site, "vendor_of_one.device", "library.so")
    add_entry_point(site, "one", "vendor_of_one.device")
    assert "one" not in plugins.found()
    plugin = plugins.named("one")
    assert (plugin.platform, Path(plugin.library)) == ("one", site / "vendor_of_one/device/library.so")
    assert "vendor_of_one" not in sys.modules
    assert plugins.named("another") is None


def test_the_environment_names_plugins(site, monkeypatch):
    monkeypatch.setenv("PJRT_NAMES_AND_LIBRARY_PATHS", f"One:{site}/a.so,two:{site}/b.so")
    add_nvidia(site, 13)
    assert list(plugins.found())[:3] == ["one", "two", "cuda"]
    assert plugins.found()["one"].preferred
    monkeypatch.setenv("PJRT_NAMES_AND_LIBRARY_PATHS", "one")
    with pytest.raises(ValueError, match=r"PJRT_NAMES_AND_LIBRARY_PATHS: expected name:path,name:path, got 'one'"):
        plugins.found()


def test_a_library_that_cannot_be_loaded(site, monkeypatch):
    monkeypatch.setenv("PJRT_NAMES_AND_LIBRARY_PATHS", f"broken:{site}/missing.so")
    message = r"platform 'broken': the plugin of PJRT_NAMES_AND_LIBRARY_PATHS cannot be used: .*missing.so"
    with pytest.raises(RuntimeError, match=f"devices: {message}"):
        pb.devices("broken")
    # asked for by the environment, so that it is not left out silently
    with pytest.raises(RuntimeError, match=rf"^{message}.*set PULLBACK_PLATFORMS=cpu"):
        pb.jit(pb.numpy.sin)(1.0)
    pb.config.update("jax_platforms", "cpu")
    assert float(pb.jit(pb.numpy.cos)(0.0)) == 1.0


def test_a_plugin_of_another_version(site, monkeypatch):
    add_nvidia(site, 13, version="0.1.0")
    ours = JAXLIB
    message = (
        f"jax_cuda13_plugin is of version 0.1.0, and jaxlib of version {ours}: they must be equal. Run pip install "
    )
    with pytest.raises(RuntimeError, match=f"cuda.*{message}jax-cuda13-plugin=={ours}"):
        pb.devices("gpu")
    sys.modules.pop("jax_cuda13_plugin.version", None)
    sys.modules.pop("jax_cuda13_plugin", None)


def test_nvidias_plugin_is_preferred_where_there_is_a_device(site, monkeypatch):
    add_nvidia(site, 13)
    monkeypatch.setattr(plugins, "_DEVICE_FILES", (str(site / "nvidia[0-9]*"),))
    assert platforms.default() == "cpu"
    started = []

    def start(plugin):
        started.append(plugin.platform)
        return engine.xla_client().make_cpu_client(asynchronous=True, num_devices=2)

    monkeypatch.setattr(plugins, "start", start)
    monkeypatch.setattr(platforms, "_clients", {})
    platforms._default.cache_clear()
    (site / "nvidia0").write_bytes(b"")
    assert platforms.default() == "cuda"
    assert pb.default_backend() == "gpu"
    assert pb.devices("gpu") == pb.devices("cuda") == pb.devices()
    assert started == ["cuda"]


def test_the_options_of_nvidias_client(site, monkeypatch):
    plugin = plugins.Plugin("cuda", "library.so", "somewhere", "jax_cuda13_plugin")
    monkeypatch.setenv("XLA_CLIENT_MEM_FRACTION", "0.25")
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    options, connection = plugins._options(plugin)
    assert (options["platform_name"], options["memory_fraction"], options["preallocate"]) == ("cuda", 0.25, False)
    assert "visible_devices" not in options
    assert connection is None
    pb.config.update("jax_cuda_visible_devices", "0, 2")
    try:
        assert plugins._options(plugin)[0]["visible_devices"] == [0, 2]
        pb.config.update("jax_cuda_visible_devices", "first")
        with pytest.raises(ValueError, match=r"'cuda_visible_devices': expected 'all' or numbers, .*; got 'first'"):
            plugins._options(plugin)
    finally:
        pb.config.update("jax_cuda_visible_devices", "all")
    assert plugins._options(plugins.Plugin("one", "library.so", "somewhere")) == ({}, None)


def test_versions_of_nvidias_libraries(site):
    package = add(site, "made_up_plugin", text="")
    rows = "".join(
        f"def {name}_build_version(): return 1205\ndef {name}_get_version(): return 1180\n"
        for name in plugins._VERSIONS
    )
    (package / "_versions.py").write_text(rows)
    with pytest.raises(
        RuntimeError, match="NVIDIA's cuda_runtime is of version 1180, older than 1205, which the plugin"
    ):
        plugins._check_libraries("made_up_plugin")
    text = rows.replace("1205", "1180") + "def cufft_get_version(): raise RuntimeError('cuFFT not found')\n"
    sys.modules["made_up_plugin._versions"].__dict__.update(vars(_module(text)))
    with pytest.raises(RuntimeError, match=r"NVIDIA's cufft is missing \(cuFFT not found\)"):
        plugins._check_libraries("made_up_plugin")


def _module(text):
    module = type(sys)("made_up")
    exec(text, module.__dict__)
    return module


# --- with the plugin itself: pip install --no-deps jax-cuda13-plugin jax-cuda13-pjrt ---

_WITHOUT_DEVICE = """
import sys
import pullback as pb
from pullback._xla import plugins
try:
    pb.devices("gpu")
except RuntimeError as error:
    print(error)
name, api = plugins.load(plugins.found()["cuda"])
print(name, type(api).__name__)
pb.config.update("jax_platforms", "cpu")
print(float(pb.jit(pb.numpy.sin)(0.)))
print("jax" in sys.modules)
"""


@pytest.mark.skipif(not REAL, reason="NVIDIA's plugin is not installed: pip install 'pullback[cuda13]'")
def test_nvidias_plugin_without_a_device():
    if plugins.found()["cuda"].is_present():
        pytest.skip("there is a device: make gpu-check")
    run = subprocess.run([sys.executable, "-c", _WITHOUT_DEVICE], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    refused, loaded, value, imported = run.stdout.splitlines()
    assert refused.startswith("devices: platform 'cuda': no device found by the plugin of jax_plugins.xla_cuda")
    assert (loaded, value, imported) == ("pullback_cuda PyCapsule", "0.0", "False")
