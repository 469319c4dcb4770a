"""The platforms of this process: the processor, those of plugins, and which one programs run on by default."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import Any

from pullback._core.config import config
from pullback._core.meshes import install_devices
from pullback._xla import engine, plugins

HOST = "cpu"
# names that stand for the first of several platforms that there is
_FAMILIES = {"gpu": ("cuda", "rocm"), "host": (HOST,)}
_NVIDIA = ("gpu", "cuda")

_lock = threading.Lock()
_clients: dict[str, Any] = {}
# what tells the programs of a platform from those of another build of its plugin
_identities: dict[str, str] = {}


def names() -> list[str]:
    """The platforms that there are, started or not."""
    return list(dict.fromkeys([HOST, *_clients, *plugins.found()]))


def started() -> dict[str, Any]:
    """The clients by platform, of the processor and of the plugins that have been loaded."""
    return {HOST: engine.client(), **_clients}


def client_of(platform: str, where: str = "") -> Any:
    """The client of a platform, started at the first use.

    RuntimeError, which begins with `where`, for a platform that there is not, or that cannot be used.
    """
    asked = platform.lower()
    for name in _FAMILIES.get(asked, (asked,)):
        if name == HOST:
            return engine.client()
        with _lock:
            engine.check_process()
            if name in _clients:
                return _clients[name]
            plugin = plugins.named(name)
            if plugin is not None:
                try:
                    client = plugins.start(plugin)
                    _identities[name], _clients[name] = plugin.identity(), client
                except RuntimeError as error:
                    raise RuntimeError(f"{where}: {error}" if where else str(error)) from None
                return client
    lead, known = (f"{where}: " if where else ""), names()
    only = f"the only backend is {HOST!r}" if known == [HOST] else f"the backends are {', '.join(map(repr, known))}"
    help_ = ". `pip install 'pullback[cuda13]'` brings that of NVIDIA's GPUs" if asked in _NVIDIA else ""
    raise RuntimeError(f"{lead}Unknown backend {platform!r}: {only}{help_}")


def name_of(device: Any) -> str:
    """The platform of a device."""
    for name, client in _clients.items():
        if client is device.client:
            return name
    return device.client.platform


def identity_of(client: Any) -> str:
    """What tells programs that a client compiles from those of another build of its plugin."""
    return next((f"{name} {_identities.get(name)}" for name, known in _clients.items() if known is client), HOST)


def family_of(platform: str) -> str:
    """The name for programs that do not depend on the maker: "gpu" for "cuda"."""
    return next((family for family, members in _FAMILIES.items() if platform in members and platform != HOST), platform)


def default() -> str:
    """The platform that programs run on if nothing else is said."""
    return _default(config.platforms, config.platform_name)


@lru_cache
def _default(platforms: str | None, platform_name: str | None) -> str:
    if platforms is not None:
        asked = platforms.split(",")
        started = [name_of(client_of(name, "config option 'platforms'").devices()[0]) for name in asked]
        return started[0]
    if platform_name is not None:
        return name_of(client_of(platform_name, "config option 'platform_name'").devices()[0])
    for plugin in plugins.found().values():
        if plugin.preferred and plugin.is_present():
            try:
                client_of(plugin.platform)
            except RuntimeError as error:
                raise RuntimeError(
                    f"{error}. To leave it out, set PULLBACK_PLATFORMS=cpu in the environment, or call "
                    "config.update('jax_platforms', 'cpu') at the start"
                ) from None
            return plugin.platform
    return HOST


def devices(platform: str | None = None, where: str = "") -> list[Any]:
    """The devices of a platform in all processes, by default of that which programs run on."""
    return client_of(default() if platform is None else platform, where).devices()


def local_devices(platform: str | None = None, where: str = "") -> list[Any]:
    """The devices of a platform in this process."""
    return client_of(default() if platform is None else platform, where).local_devices()


def elsewhere() -> Any:
    """The device that programs run on if nothing else is said; None if it is the first one of the processor."""
    chosen = config.default_device
    if chosen is None:
        return _first(config.platforms, config.platform_name)
    found = local_devices(chosen)[0] if isinstance(chosen, str) else chosen
    return None if found == engine.device() else found


@lru_cache
def _first(platforms: str | None, platform_name: str | None) -> Any:
    name = _default(platforms, platform_name)
    return None if name == HOST else client_of(name).local_devices()[0]


def device_if_other(where: str, platform: str) -> Any:
    """The first device of a platform; None if programs run on it if nothing is said."""
    client = client_of(platform, where)
    return None if client is client_of(default()) else client.local_devices()[0]


def first() -> Any:
    """The device that programs run on if nothing else is said."""
    found = elsewhere()
    return engine.device() if found is None else found


install_devices(devices, name_of)
