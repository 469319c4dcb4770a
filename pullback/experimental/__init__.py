"""What is still on trial: each part is a module of its own, to be imported by its name; `io_callback` is here."""
from pullback._api.callbacks import io_callback as io_callback

__all__ = ["io_callback"]
