"""Programs of an elementwise operation on blocks of one size: kernels for functions that NumPy computes slowly.

One program serves arrays of every size, and it is compiled in the background, so that no call waits for it. It runs in
the thread that calls it, by a client of its own: one that hands its work to other threads, as `engine.client` does, has
results of a block 50 µs later, and more where other programs need the processors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback._core.primitive import Primitive
from pullback._core.types import make_aval
from pullback._xla import disk_cache, engine
from pullback._xla.background import Job, background
from pullback._xla.executable import lasting, module_of
from pullback._xla.programs import size_of
from pullback._xla.single_operations import single_equation

# the elements of a block: 9 µs of arithmetic for a sine of float32, and 8 for the call
BLOCK = 16_384


class BlockProgram:
    """A function of a block, contiguous and of one dtype, whose results it writes into another."""

    def __init__(self, primitive: Primitive, dtype: np.dtype):
        self.aval = aval = make_aval((BLOCK,), dtype)
        xc = engine.xla_client()
        self._device, self._sharding, self._put = *engine.inline(), xc.batched_device_put
        text = module_of(single_equation(primitive, (aval,), {}))[0].text()
        self.size = size_of(text)
        loaded, _ = disk_cache.compiled(text, (), xc.CompileOptions(), (self._device,))
        self._execute = loaded.execute_sharded
        self._handlers = [engine.result_handler(aval, self._sharding)]

    def __call__(self, x: np.ndarray, out: np.ndarray) -> None:
        buffer = self._put(self.aval, self._sharding, [x], [self._device], True, enable_x64=True)
        (result,) = self._execute([buffer]).consume_with_handlers(self._handlers)
        out[:] = np.asarray(result)

    def run(self, x: np.ndarray, out: np.ndarray, start: int) -> None:
        """Compute the elements of two vectors from a start on, a block if there are so many, or the last ones."""
        count = x.size
        if count >= BLOCK:
            start = min(start, count - BLOCK)  # those before it are computed once more
            self(x[start : start + BLOCK], out[start : start + BLOCK])
        else:
            whole = np.zeros((2, BLOCK), x.dtype)
            whole[0, :count] = x
            self(whole[0], whole[1])
            out[:] = whole[1, :count]


def program_if_worth(primitive: Primitive, dtype: np.dtype, share: float) -> BlockProgram | None:
    """The program of an operation, when it is compiled: once its kernel has used as much time as that takes.

    `share` is the time of a call of the kernel as a fraction of a compilation's.
    """
    if engine.is_left_behind():
        return None
    key = ("blocks of", primitive, dtype)
    known: Any = lasting.get(key) or 0.0
    if type(known) is BlockProgram:
        return known
    if type(known) is Job and not known.lost:
        return _finished(key, known)
    if type(known) is float and known < 1:
        lasting.keep(key, known + share, 200)
        return None
    job = Job(f"the compilation of {primitive.name} for large arrays", lambda: BlockProgram(primitive, dtype))
    lasting.keep(key, job, 200)
    background.submit(job)
    return None


def _finished(key: Sequence[Any], job: Job) -> BlockProgram | None:
    if not job.done:
        return None
    if job.result is not None:
        lasting.keep(key, job.result, job.result.size)
    return job.result
