"""Compiled programs that outlive the process: found by all that the compiler's output depends on."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pullback._core import counters
from pullback._core.config import config
from pullback._core.typing import AnyValue
from pullback._core.version import __version__
from pullback._xla import engine, platforms
from pullback._xla.program_files import ProgramFolder


def folder_path() -> Path | None:
    """The folder of the option `compilation_cache_dir`, or else one in the user's cache folder; None without a home."""
    if config.compilation_cache_dir is not None:
        return Path(config.compilation_cache_dir).expanduser()
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # the specification of these folders ignores others
        home = os.path.expanduser("~")
        if not os.path.isdir(home):
            return None
        base = os.path.join(home, ".cache")
    return Path(base, "pullback", "programs")


@cache
def _folder(path: Path) -> ProgramFolder:
    return ProgramFolder(path)


def folder() -> ProgramFolder | None:
    """The folder of compiled programs; None if they are not kept, or there is no place for them."""
    if not config.enable_compilation_cache:
        return None
    path = folder_path()
    return None if path is None else _folder(path)


@cache
def _surroundings(client: Any) -> bytes:
    """What a program depends on besides its text and options: versions, the devices, the threads, XLA's flags."""
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parts = [
        __version__,
        _jaxlib_version(),
        client.platform,
        client.platform_version,
        platforms.identity_of(client),
        *sorted({device.device_kind for device in client.local_devices()}),
        *_processor(),
        f"{threads} threads",
        os.environ.get("NPROC", ""),
        engine.xla_flags(),
    ]
    return "\0".join(map(str, parts)).encode()


def _jaxlib_version() -> str:
    from jaxlib import version

    return version.__version__


def _processor() -> Sequence[str]:
    """The processor and its instruction sets: compiled code uses all that it finds."""
    import platform

    known = [platform.machine(), platform.system()]
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() in ("model name", "flags", "Features", "CPU implementer", "CPU part"):
                    known.append(value.strip())
                elif not line.strip():
                    break  # the end of the first processor
    except OSError:
        known.append(platform.processor())  # which may start a program to find it
    return known


def name_of(text: str, options: Sequence[tuple[str, Any]], client: Any = None) -> str:
    """The name of a program: the digest of all that it depends on. `client` is that of its platform."""
    import hashlib

    digest = hashlib.sha256(_surroundings(engine.client() if client is None else client))
    digest.update(b"\0" + repr(sorted(options)).encode() + b"\0")
    digest.update(text.encode())
    return digest.hexdigest()


def compiled(
    text: str, options: Sequence[tuple[str, Any]], settings: AnyValue, devices: tuple[Any, ...] | None = None
) -> tuple[Any, str]:
    """The loaded program of a module's text, and whether it is from "disk", or was "compiled" and kept there."""
    client, kept = engine.client() if devices is None else devices[0].client, folder()
    on = engine.device_list(devices)
    if kept is None:
        counters.count("compiles")
        return client.compile_and_load(text.encode(), on, settings), "compiled"
    ids = () if devices is None else (("devices", [device.id for device in devices]),)
    name = name_of(text, (*options, *ids), client)
    data = kept.read(name)
    if data is not None:
        try:
            loaded = client.deserialize_executable(data, on, settings)
        except RuntimeError:
            kept.forget(name)
        else:
            counters.count("compilation_cache_hits")
            return loaded, "disk"
    counters.count("compiles")
    begin = time.perf_counter()
    loaded = client.compile_and_load(text.encode(), on, settings)
    if time.perf_counter() - begin >= config.persistent_cache_min_compile_time_secs:
        try:
            data = client.serialize_executable(loaded)
        except RuntimeError:
            return loaded, "compiled"  # a program that the engine cannot write
        if len(data) >= config.persistent_cache_min_entry_size_bytes:
            kept.write(name, data, config.compilation_cache_max_size)
    return loaded, "compiled"
