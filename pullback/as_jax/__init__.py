r"""Programs and libraries that import jax, run on pullback as they stand.

`python -m pullback.as_jax script.py`, or `-m pytest ...`, runs a program in which `import jax` and whatever is below it
gives pullback's modules, whether JAX itself is installed or not. `install` does the same inside a program.

>>> program = "import jax, jax.numpy as jnp; print(jax.grad(jnp.sin)(0.), jax.grad.__module__)"
>>> import subprocess, sys
>>> subprocess.run([sys.executable, "-m", "pullback.as_jax", "-c", program], capture_output=True, text=True).stdout
'1.0 pullback._api.derivatives\n'
"""

from __future__ import annotations

import typing as _typing

from pullback._core.lazy import attributes as _attributes
from pullback.as_jax._finder import JAX_VERSION, install, installed, uninstall
from pullback.as_jax._report import report, report_at_exit

__all__ = ["JAX_VERSION", "install", "installed", "report", "report_at_exit", "uninstall"]

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
