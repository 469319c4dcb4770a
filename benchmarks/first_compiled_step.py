"""Figure: the first compiled training step of a transformer in a second process, with the cache on disk.

The imports and the making of the data are not in it. The cache is filled by a process of its own, before the first
sample.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from peers import load
from timing import once
from transformer import data, step

ROW = "first compiled training step of it in a second process, with the cache on disk"
GOALS = {}
PEERS = ("pullback", "JAX")
ROUNDS = 3
FRESH = True


def first_step(library):
    """The time of the first call of the jitted step."""
    arguments = data(library.numpy)
    compiled = library.core.jit(step(library))
    return once(lambda: library.core.block_until_ready(compiled(*arguments)))


def use_cache(library, folder):
    """Keep compiled programs in a folder, all of them."""
    library.core.config.update("jax_enable_compilation_cache", True)
    library.core.config.update("jax_compilation_cache_dir", str(folder))
    library.core.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    library.core.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def fill(peer, folder):
    """Compile the step in this process, with the cache on."""
    library = load(peer)
    use_cache(library, folder)
    first_step(library)


def prepare(peer):
    library = load(peer)
    folder = Path(tempfile.gettempdir(), f"pullback-benchmark-{peer}-{library.core.__version__}")
    if not folder.is_dir() or not any(folder.iterdir()):
        folder.mkdir(mode=0o700, exist_ok=True)
        program = f"import first_compiled_step as figure; figure.fill({peer!r}, {str(folder)!r})"
        subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parent, check=True)

    use_cache(library, folder)
    return lambda: {ROW: first_step(library)}
