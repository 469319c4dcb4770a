"""Found as `jax` by processes whose parent asked for pullback in its place: installs it, and is replaced by it."""

import importlib
import sys

from pullback import as_jax

as_jax.install()
del sys.modules["jax"]
importlib.import_module("jax")
