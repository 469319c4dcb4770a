"""Looking into the library at work."""

import typing as _typing

from pullback._api.callbacks import debug_callback as callback
from pullback._api.compile_report import CompileReport as CompileReport
from pullback._api.compile_report import compile_report as compile_report
from pullback._api.debugging import DebugEffect, OrderedDebugEffect, breakpoint, log, print
from pullback._api.find_inaccuracy import InaccuracyReport as InaccuracyReport
from pullback._api.find_inaccuracy import LostDigits as LostDigits
from pullback._api.find_inaccuracy import find_inaccuracy as find_inaccuracy
from pullback._api.find_nan import NanReport as NanReport
from pullback._api.find_nan import find_nan as find_nan
from pullback._api.sharding_views import (
    inspect_array_sharding,
    visualize_array_sharding,
    visualize_sharding,
)
from pullback._api.taps import Taps as Taps
from pullback._api.taps import tap as tap
from pullback._api.taps import tapped as tapped
from pullback._core.counters import counting as counters
from pullback._core.lazy import attributes as _attributes
from pullback._progress import progress as progress

if _typing.TYPE_CHECKING:
    from pullback._pictures.draw import Picture as Picture
    from pullback._pictures.draw import draw as draw
    from pullback._pictures.profile import Profile as Profile
    from pullback._pictures.profile import ProfileRow as ProfileRow
    from pullback._pictures.profile import profile as profile

__all__ = [
    "CompileReport",
    "DebugEffect",
    "InaccuracyReport",
    "LostDigits",
    "NanReport",
    "OrderedDebugEffect",
    "Picture",
    "Profile",
    "ProfileRow",
    "Taps",
    "breakpoint",
    "callback",
    "compile_report",
    "counters",
    "draw",
    "find_inaccuracy",
    "find_nan",
    "inspect_array_sharding",
    "log",
    "print",
    "profile",
    "progress",
    "tap",
    "tapped",
    "visualize_array_sharding",
    "visualize_sharding",
]

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(
        __name__,
        public={
            "pullback._pictures.draw": "Picture draw",
            "pullback._pictures.profile": "Profile ProfileRow profile",
        },
    )
