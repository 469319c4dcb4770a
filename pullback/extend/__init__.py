"""What one extends the library with: see `pullback.extend.core`."""
from pullback.extend import core

__all__ = ["core"]
