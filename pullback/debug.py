"""Looking into the library at work."""
from pullback._core.counters import counting as counters

__all__ = ["counters"]
