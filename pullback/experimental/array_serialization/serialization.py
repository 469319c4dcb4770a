"""Managers of checkpoints that write in the background, under JAX's names; `tensorstore_impl` writes and reads arrays.

For new programs `orbax.checkpoint` does more, and `pullback.saving` needs less.
"""

from __future__ import annotations

import abc
import asyncio
import itertools
import os
import threading
import time
import typing as _typing
from collections.abc import Callable, Sequence
from typing import Any

from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.layouts import Format
from pullback._core.lazy import attributes as _attributes
from pullback._core.sharding import Sharding
from pullback._core.typing import AnyValue, DTypeLike
from pullback._xla import distributed
from pullback.experimental.array_serialization import tensorstore_impl
from pullback.experimental.array_serialization.tensorstore_impl import async_deserialize as async_deserialize
from pullback.experimental.array_serialization.tensorstore_impl import async_serialize as async_serialize
from pullback.monitoring import record_event_duration_secs

__all__ = [
    "BarrierTimeoutError",
    "GlobalAsyncCheckpointManager",
    "GlobalAsyncCheckpointManagerBase",
    "async_deserialize",
    "async_serialize",
    "get_tensorstore_spec",
    "run_deserialization",
    "run_serialization",
]

Place = Sharding | Format

_numbers = itertools.count()


def get_tensorstore_spec(
    ckpt_path: str | os.PathLike[str], process_idx: int | None = None, arr: Array | None = None
) -> dict[str, Any]:
    """That of `tensorstore_impl` for an array in a folder of its own, in the older kind of files.

    ValueError for an address without a bucket.

    >>> get_tensorstore_spec("gs://bucket/weights")
    {'driver': 'zarr', 'kvstore': {'driver': 'gcs', 'bucket': 'bucket', 'path': 'weights'}}
    """
    return tensorstore_impl.get_tensorstore_spec(ckpt_path, False, process_idx, arr, "zarr")


@boundary
def run_serialization(arrays: Sequence[ArrayLike], tensorstore_specs: Sequence[dict[str, Any]]) -> None:
    """Write arrays, each to where its spec says: `async_serialize`, which states the errors.

    >>> run_serialization([], [])
    """
    _write(arrays, tensorstore_specs)


def _write(arrays: Sequence[ArrayLike], specs: Sequence[dict[str, Any]], **options: AnyValue) -> None:
    async def write() -> None:
        pairs = zip(arrays, specs, strict=True)
        await asyncio.gather(*(tensorstore_impl.async_serialize(x, spec, **options) for x, spec in pairs))

    asyncio.run(write())


@boundary
def run_deserialization(
    shardings: Sequence[Place],
    tensorstore_specs: Sequence[dict[str, Any]],
    global_shapes: Sequence[tuple[int, ...]] | None = None,
    dtypes: Sequence[DTypeLike] | None = None,
    concurrent_gb: int = 32,
) -> list[Array]:
    """Read arrays, each from where its spec says: `async_deserialize`, which states the errors.

    Args:
      shardings, tensorstore_specs: of each array.
      global_shapes, dtypes: of each array, by default those of the files.
      concurrent_gb: how many gigabytes may be read at a time.

    >>> run_deserialization([], [])
    []
    """
    none = [None] * len(shardings)

    async def read() -> list[Array]:
        limit = _Limit(concurrent_gb * 10**9)
        each = zip(shardings, tensorstore_specs, global_shapes or none, dtypes or none, strict=True)
        return await asyncio.gather(*(tensorstore_impl.async_deserialize(*given, byte_limiter=limit) for given in each))

    return asyncio.run(read())


class _Limit:
    """How many bytes may be read at a time; a part that is larger is read alone."""

    def __init__(self, most: int):
        self.most, self.free = most, most
        self.changed = asyncio.Condition()

    async def wait_for_bytes(self, count: int) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: self.free >= min(count, self.most))
            self.free -= min(count, self.most)

    async def release_bytes(self, count: int) -> None:
        async with self.changed:
            self.free += min(count, self.most)
            self.changed.notify_all()


class BarrierTimeoutError(Exception):
    """Processes that save a checkpoint together have not all met in time.

    >>> str(BarrierTimeoutError("process 1 is missing"))
    'process 1 is missing'
    """


class GlobalAsyncCheckpointManagerBase(abc.ABC):
    """What a manager of checkpoints that writes in the background has; TypeError for a class without all four methods.

    >>> sorted(GlobalAsyncCheckpointManagerBase.__abstractmethods__)
    ['check_for_errors', 'deserialize', 'serialize', 'wait_until_finished']
    """

    @abc.abstractmethod
    def check_for_errors(self) -> None:
        """Raise what has been raised in the background."""

    @abc.abstractmethod
    def wait_until_finished(self) -> None:
        """Wait until all is written."""

    @abc.abstractmethod
    def serialize(
        self,
        arrays: Sequence[ArrayLike],
        tensorstore_specs: Sequence[dict[str, Any]],
        *,
        on_commit_callback: Callable[[], Any],
    ) -> None:
        """Write arrays, and call a function when they are there."""

    @abc.abstractmethod
    def deserialize(
        self,
        shardings: Sequence[Place],
        tensorstore_specs: Sequence[dict[str, Any]],
        global_shapes: Sequence[tuple[int, ...]] | None = None,
        dtypes: Sequence[DTypeLike] | None = None,
    ) -> list[Array]:
        """Read arrays, to where shardings say."""


class GlobalAsyncCheckpointManager(GlobalAsyncCheckpointManagerBase):
    """Writes arrays with TensorStore in the background, one checkpoint after the other.

    Args:
      timeout_secs: how long the processes wait for each other when they have written.

    ImportError, at the first array, without the package tensorstore.

    >>> manager, events = GlobalAsyncCheckpointManager(), []
    >>> manager.serialize([], [], on_commit_callback=lambda: events.append("written"))
    >>> manager.wait_until_finished()
    >>> events
    ['written']
    """

    def __init__(self, timeout_secs: float = 300):
        self._timeout = timeout_secs
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def serialize(
        self,
        arrays: Sequence[ArrayLike],
        tensorstore_specs: Sequence[dict[str, Any]],
        *,
        on_commit_callback: Callable[[], Any] | None = None,
        transaction: AnyValue = None,
    ) -> None:
        """Write arrays; when they and those of all processes are on disk, process 0 calls `on_commit_callback`."""
        self.wait_until_finished()
        pending: list[Any] = []
        _write(arrays, tensorstore_specs, commit_future=pending, transaction=transaction)
        self._thread = threading.Thread(target=self._finish, args=(next(_numbers), pending, on_commit_callback))
        self._thread.start()

    def serialize_with_paths(
        self,
        arrays: Sequence[ArrayLike],
        paths: Sequence[str],
        *,
        on_commit_callback: Callable[[], Any] | None = None,
        transaction: AnyValue = None,
    ) -> None:
        """Write arrays, each to a folder."""
        specs = [get_tensorstore_spec(path) for path in paths]
        self.serialize(arrays, specs, on_commit_callback=on_commit_callback, transaction=transaction)

    def _finish(self, number: int, pending: Sequence[Any], on_commit_callback: Callable[[], Any] | None) -> None:
        began, session = time.monotonic(), distributed.session()
        try:
            for future in pending:
                future.result()
            for moment in ("written", "committed"):
                if moment == "committed" and on_commit_callback is not None and (not session or not session.process):
                    on_commit_callback()
                if session is not None:
                    session.meet(f"checkpoint {number} is {moment}", timeout=self._timeout)
            record_event_duration_secs("/jax/checkpoint/write/async/thread_duration_sec", time.monotonic() - began)
        except TimeoutError as error:
            self._error = BarrierTimeoutError(str(error))
        except BaseException as error:
            self._error = error

    def check_for_errors(self) -> None:
        """Raise what has been raised in the background, once."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def wait_until_finished(self) -> None:
        """Wait until all is written, and raise what has been raised."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.check_for_errors()

    def deserialize(
        self,
        shardings: Sequence[Place],
        tensorstore_specs: Sequence[dict[str, Any]],
        global_shapes: Sequence[tuple[int, ...]] | None = None,
        dtypes: Sequence[DTypeLike] | None = None,
        concurrent_gb: int = 32,
    ) -> list[Array]:
        """Read arrays, to where shardings say."""
        self.wait_until_finished()
        return run_deserialization(shardings, tensorstore_specs, global_shapes, dtypes, concurrent_gb)

    def deserialize_with_paths(
        self,
        shardings: Sequence[Place],
        paths: Sequence[str],
        global_shapes: Sequence[tuple[int, ...]] | None = None,
        dtypes: Sequence[DTypeLike] | None = None,
        concurrent_gb: int = 32,
    ) -> list[Array]:
        """Read arrays, each from a folder."""
        specs = [get_tensorstore_spec(path) for path in paths]
        return self.deserialize(shardings, specs, global_shapes, dtypes, concurrent_gb)


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
