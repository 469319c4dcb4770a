"""Functions with a name for the compiler, and functions chosen by the platform."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pullback._core.arguments import check_callable
from pullback._core.errors import boundary, wrapping
from pullback._core.typing import AnyValue, P, R
from pullback._xla import platforms


@boundary
def composite(decomposition: Callable[P, R], name: str, version: int = 0) -> Callable[P, R]:
    """`decomposition`, an operation made of others, under a name that a compiler might know, and its version.

    The compiler for CPUs knows none: the result is the function itself, with all its derivatives, whose keyword
    arguments that are None are left out. TypeError for what cannot be called and for a name that is no string.

    >>> from pullback import lax
    >>> tangent = lax.composite(lambda x: lax.sin(x) / lax.cos(x), name="my.tangent")
    >>> print(tangent(0.0))
    0.0
    """
    check_callable("composite", decomposition)
    if not isinstance(name, str):
        raise TypeError(f"composite: name must be a string, got {name!r}")

    @wrapping(decomposition)
    @boundary
    def called(*args: Any, **kwargs: Any) -> Any:
        return decomposition(*args, **{key: value for key, value in kwargs.items() if value is not None})

    return called


@boundary
def platform_dependent(*args: AnyValue, default: Callable[..., R] | None = None, **per_platform: Callable[..., R]) -> R:
    """The function for the platform that programs run on, called with `args`, or else `default`.

    The platform is that of `default_backend()` while the function is traced; NVIDIA's is `cuda` or `gpu`.
    `per_platform` holds a function for each platform that has one of its own. NotImplementedError if there is neither.

    >>> from pullback import lax
    >>> print(lax.platform_dependent(2.0, cpu=lambda x: x + 1, tpu=lambda x: x))
    3.0
    """
    for platform, function in {**per_platform, **({} if default is None else {"default": default})}.items():
        check_callable(f"platform_dependent: {platform}", function)
    platform = platforms.default()
    chosen = per_platform.get(platform) or per_platform.get(platforms.family_of(platform), default)
    if chosen is None:
        raise NotImplementedError(
            f"platform_dependent: programs run on {platform!r}, and there is no function for it among "
            f"{sorted(per_platform)}, and no default"
        )
    return chosen(*args)
