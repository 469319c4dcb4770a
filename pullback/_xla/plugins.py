"""PJRT plugins, which bring platforms beside the processor's: found, loaded without JAX, and asked for a client.

A plugin is a shared library. The packages that bring one are written for JAX: their module registers it with JAX when
it is imported. It is therefore looked for by the place of its files, and nothing is imported but the compiled modules
beside it, which hold the platform's custom calls.
"""

from __future__ import annotations

import ctypes
import glob
import importlib
import os
from collections.abc import Iterator
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from pullback._core.config import config
from pullback._xla import distributed, engine

# NVIDIA's platform: the folder of its plugin in the namespace `jax_plugins` -> the package of its custom calls
_CUDA = {"xla_cuda13": "jax_cuda13_plugin", "xla_cuda12": "jax_cuda12_plugin"}
# the modules there that hold custom calls
_CUSTOM_CALLS = ("_solver", "_linalg", "_hybrid", "_sparse", "_prng")
# NVIDIA's libraries in the packages `nvidia`, in the order in which they need each other
_LIBRARIES = (
    *("cudart", "nvrtc", "nvJitLink", "cublasLt", "cublas", "nccl", "cupti", "cusparse", "cusolver", "cufft"),
    *("nvshmem_host", "cudnn"),
)
# what a plugin calls the versions of these, and the last digits of a version that do not matter
_VERSIONS = {"cuda_runtime": 10, "cudnn": 100, "cufft": 100, "cupti": 100, "cublas": 100, "cusparse": 100}
# where a driver shows NVIDIA's devices to processes, under Linux and its subsystem in Windows
_DEVICE_FILES = ("/dev/nvidia[0-9]*", "/dev/dxg")
_ENVIRONMENT = "PJRT_NAMES_AND_LIBRARY_PATHS"


class Plugin(NamedTuple):
    """A plugin that was found: the name of its platform, its library, and where it was found.

    `package` holds its custom calls. `preferred`: programs run there, if nothing else is said and there is a device.
    """

    platform: str
    library: str
    origin: str
    package: str | None = None
    preferred: bool = False

    def is_present(self) -> bool:
        """Return whether it is known to have a device, without loading it; True where nothing is known."""
        return self.package is None or any(glob.glob(pattern) for pattern in _DEVICE_FILES)

    def identity(self) -> str:
        """What tells its programs from those of another build of the library, which may report the same version."""
        about = os.stat(self.library)
        return f"{self.library} {about.st_size} {about.st_mtime_ns}"


def found() -> dict[str, Plugin]:
    """The plugins by platform: those that the environment names, and those in the namespace `jax_plugins`."""
    known: dict[str, Plugin] = {}
    for plugin in (*_in_environment(), *_in_namespace()):
        known.setdefault(plugin.platform, plugin)
    return known


def named(platform: str) -> Plugin | None:
    """The plugin of a platform; also one that an entry point of its package alone tells of, which takes longer."""
    plugin = found().get(platform)
    if plugin is not None:
        return plugin
    for entry in metadata.entry_points(group="jax_plugins", name=platform):
        top, *rest = entry.value.partition(":")[0].split(".")
        spec = find_spec(top)
        for place in (spec and spec.submodule_search_locations) or ():
            plugin = _in_folder(Path(place, *rest), f"the entry point {entry.name!r} of {entry.value}")
            if plugin is not None:
                return plugin._replace(platform=platform)
    return None


def _in_environment() -> Iterator[Plugin]:
    for part in filter(None, os.environ.get(_ENVIRONMENT, "").split(",")):
        name, _, library = part.strip().partition(":")
        if not name or not library:
            raise ValueError(f"environment variable {_ENVIRONMENT}: expected name:path,name:path, got {part!r}")
        yield Plugin(name.lower(), library, _ENVIRONMENT, preferred=True)


def _in_namespace() -> Iterator[Plugin]:
    spec = find_spec("jax_plugins")
    folders = [Path(place) for place in (spec and spec.submodule_search_locations) or ()]
    for name, package in _CUDA.items():
        for folder in folders:
            library = folder / name / "xla_cuda_plugin.so"
            if library.exists():
                yield Plugin("cuda", str(library), f"jax_plugins.{name}", package, preferred=True)
    for folder in folders:
        for place in sorted(folder.iterdir()) if folder.is_dir() else ():
            if place.name not in _CUDA:
                plugin = _in_folder(place, f"jax_plugins.{place.name}")
                if plugin is not None:
                    yield plugin


def _in_folder(folder: Path, origin: str) -> Plugin | None:
    """The plugin of a package that is not known by name: the one library in its folder."""
    libraries = [path for ending in ("so", "dylib", "dll") for path in folder.glob(f"*.{ending}")]
    return Plugin(folder.name, str(libraries[0]), origin) if len(libraries) == 1 else None


def start(plugin: Plugin) -> Any:
    """Load a plugin and make its client. RuntimeError, which names the platform, if there is no device, or it fails."""
    try:
        name, _ = load(plugin)
        client = engine.xla_client().make_c_api_client(name, *_options(plugin))
        if client.device_count():
            return client
        reason = "its client has no devices"
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
    raise RuntimeError(
        f"platform {plugin.platform!r}: no device found by the plugin of {plugin.origin}: {reason}"
        if "No visible" in reason or "no devices" in reason
        else f"platform {plugin.platform!r}: the plugin of {plugin.origin} cannot be used: {reason}"
    )


_apis: dict[str, Any] = {}


def load(plugin: Plugin) -> tuple[str, Any]:
    """Load a plugin's library, once: the engine's name for it, and its interface. No device is needed."""
    name = _engines_name(plugin.platform)
    if name not in _apis:
        from jaxlib import _profiler

        xc = engine.xla_client()
        if plugin.package is not None:
            _check_version(plugin.package)
            _load_libraries()
        api = xc.load_pjrt_plugin_dynamically(name, plugin.library)
        xc.initialize_pjrt_plugin(name)
        _profiler.register_plugin_profiler(api)
        if plugin.package is not None:
            _register_custom_calls(plugin.package, api)
            if plugin.is_present():
                _check_libraries(plugin.package)
        _apis[name] = api
    return name, _apis[name]


def interface_of(platform: str) -> Any:
    """The interface of a plugin that has been loaded; None of a platform without one, as the processor."""
    return _apis.get(_engines_name(platform))


def _engines_name(platform: str) -> str:
    # not the platform's own name: JAX, in the same process, loads the library under that one
    return f"pullback_{platform}"


def _check_version(package: str) -> None:
    ours = metadata.version("jaxlib")
    theirs = importlib.import_module(f"{package}.version").__version__
    if ours != theirs:
        raise RuntimeError(
            f"{package} is of version {theirs}, and jaxlib of version {ours}: they must be equal. Run pip install "
            f"{package.replace('_', '-')}=={ours}"
        )


def _load_libraries() -> None:
    """Load NVIDIA's libraries from their packages, where those are installed: the loader does not look there."""
    spec = find_spec("nvidia")
    for place in (spec and spec.submodule_search_locations) or ():
        for name in _LIBRARIES:
            for library in glob.glob(f"{glob.escape(place)}/*/lib/lib{name}.so.*"):
                try:
                    ctypes.CDLL(library)
                except OSError:
                    pass  # of another version of CUDA: what is needed and missing is told by `_check_libraries`


def _check_libraries(package: str) -> None:
    """Refuse libraries that are missing, or older than those that the plugin was built with."""
    versions = importlib.import_module(f"{package}._versions")
    for name, scale in _VERSIONS.items():
        needed = getattr(versions, f"{name}_build_version")()
        try:
            there = getattr(versions, f"{name}_get_version")()
        except RuntimeError as error:
            raise RuntimeError(f"NVIDIA's {name} is missing ({str(error).partition(chr(10))[0]})") from None
        if there < needed // scale * scale:
            raise RuntimeError(f"NVIDIA's {name} is of version {there}, older than {needed}, which the plugin needs")


def _register_custom_calls(package: str, api: Any) -> None:
    """Make the platform's custom calls known to its compiler, and those of users that are registered later."""
    xc = engine.xla_client()
    extension = importlib.import_module(f"{package}.cuda_plugin_extension")
    xc.register_custom_type_handler("CUDA", partial(extension.register_custom_type, api))
    xc.register_custom_call_handler("CUDA", partial(extension.register_custom_call_target, api))
    for name, value in extension.ffi_types().items():
        xc.register_custom_type(name, value, platform="CUDA")
    for name, value in extension.ffi_handlers().items():
        xc.register_custom_call_target(name, value, platform="CUDA", api_version=1)
    for module_name in _CUSTOM_CALLS:
        module = importlib.import_module(f"{package}.{module_name}")
        for name, value in module.registrations().items():
            xc.register_custom_call_target(name, value, platform="CUDA", api_version=1)
        if module_name == "_hybrid":
            module.initialize()  # it computes on the processor, by LAPACK's routines, which are scipy's


def _options(plugin: Plugin) -> tuple[dict[str, Any], Any]:
    """The options of a client, and the connection of this process to others."""
    session = distributed.session()
    options: dict[str, Any] = {}
    if plugin.package is not None:
        # from the environment: XLA_CLIENT_MEM_FRACTION, XLA_PYTHON_CLIENT_PREALLOCATE, XLA_PYTHON_CLIENT_ALLOCATOR
        options = engine.xla_client().generate_pjrt_gpu_plugin_options()
        visible = config.cuda_visible_devices
        if visible != "all":
            try:
                options["visible_devices"] = [int(number) for number in visible.split(",")]
            except ValueError:
                raise ValueError(
                    "config option 'cuda_visible_devices': expected 'all' or numbers, separated by commas; got "
                    f"{visible!r}"
                ) from None
    if session is None:
        return options, None
    return {**options, "node_id": session.process, "num_nodes": session.count}, session.client
