"""Arrays in TensorStore's files, each process the parts that it holds, under JAX's names; tensorstore is needed."""

from __future__ import annotations

import os
import typing as _typing
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback._api.placing import make_array_from_callback
from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, lift
from pullback._core.errors import described
from pullback._core.layouts import Format, placement_of
from pullback._core.lazy import attributes as _attributes
from pullback._core.sharding import Index, Sharding
from pullback._core.types import ShapeDtypeStruct
from pullback._core.typing import AnyValue, DTypeLike
from pullback._xla import distributed

__all__ = ["async_deserialize", "async_serialize", "get_tensorstore_spec"]

# the schemes of addresses of stores, and TensorStore's names for these
_STORES = {"gs": "gcs", "s3": "s3"}


def library(function: str) -> Any:
    """The package tensorstore; ImportError, which begins with the function that needs it, where it is not installed."""
    try:
        import tensorstore
    except ImportError:
        raise ImportError(
            f"{function} needs the package tensorstore, which is not installed: pip install tensorstore"
        ) from None
    return tensorstore


def get_tensorstore_spec(
    ckpt_path: str | os.PathLike[str],
    ocdbt: bool = True,
    process_idx: int | None = None,
    arr: Array | None = None,
    driver: str = "zarr3",
) -> dict[str, Any]:
    """What TensorStore is to be told to write or read an array: a dict of its driver, its place and its contents.

    Args:
      ckpt_path: a folder, or an address that begins with gs:// or s3://.
      ocdbt: whether the folder above is a database that holds several arrays, of which the last part is the name.
      process_idx: the number of the process whose folder, `process_0` and so on, is put above the last part.
      arr: the array, whose shape and dtype are said too.
      driver: the kind of files, "zarr3" or "zarr".

    ValueError for an address without a bucket, for a relative path to a database, and for other kinds of files.

    >>> get_tensorstore_spec("/tmp/weights", ocdbt=False)
    {'driver': 'zarr3', 'kvstore': {'driver': 'file', 'path': '/tmp/weights'}}
    """
    scheme, _, rest = str(ckpt_path).rpartition("://")
    above, name = os.path.split(os.path.normpath(rest))
    if process_idx is not None:
        above = os.path.join(above, f"process_{process_idx}")
    spec: dict[str, Any] = {"driver": driver}
    if not ocdbt:
        spec["kvstore"] = _place(scheme, os.path.join(above, name), ckpt_path)
    else:
        if not scheme and not os.path.isabs(above):
            raise ValueError(f"get_tensorstore_spec: ckpt_path must be absolute, got {str(ckpt_path)!r}")
        spec["kvstore"] = {"driver": "ocdbt", "base": _place(scheme, above, ckpt_path), "path": name}
    if arr is not None:
        spec["metadata"] = _metadata(arr, driver)
    return spec


def _place(scheme: str, path: str, given: AnyValue) -> dict[str, Any]:
    if not scheme:
        return {"driver": "file", "path": path}
    bucket, _, inside = path.partition("/")
    if scheme not in _STORES or not bucket or not inside:
        raise ValueError(
            f"get_tensorstore_spec: ckpt_path: expected a path, or gs:// or s3:// with a bucket and a path in it, "
            f"got {str(given)!r}"
        )
    return {"driver": _STORES[scheme], "bucket": bucket, "path": inside}


def _metadata(x: Array, driver: str) -> dict[str, Any]:
    """The shape of an array in TensorStore's terms; the part of a device is one file."""
    part = [max(1, size) for size in x.sharding.shard_shape(x.shape)]
    if driver == "zarr":
        return {"compressor": {"id": "zstd"}, "shape": list(x.shape), "chunks": part}
    if driver != "zarr3":
        raise ValueError(f"get_tensorstore_spec: driver: expected 'zarr3' or 'zarr', got {driver!r}")
    grid = {"name": "regular", "configuration": {"chunk_shape": part}}
    return {"shape": list(x.shape), "data_type": x.dtype.name, "chunk_grid": grid}


def _options(**given: AnyValue) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


async def async_serialize(
    arr_inp: ArrayLike,
    tensorstore_spec: dict[str, Any],
    commit_future: list[Any] | None = None,
    context: AnyValue = None,
    chunk_layout: AnyValue = None,
    primary_host: int | None = None,
    replica_id: int = 0,
    transaction: AnyValue = None,
) -> None:
    """Write an array, of which each process writes the parts that it holds.

    Args:
      arr_inp: the array; of several processes, one over all of them.
      tensorstore_spec: what `get_tensorstore_spec` returns.
      commit_future: a list to which what ends when all is on disk is appended, in place of waiting for it.
      context, chunk_layout, transaction: passed on to TensorStore.
      primary_host: the process that makes the files, by default each.
      replica_id: which one of equal parts is written.

    ImportError without tensorstore; ValueError for an array of this process alone, where there are several.

    >>> import tempfile
    >>> asyncio.run(async_serialize(np.ones(2), get_tensorstore_spec(tempfile.mkdtemp() + "/x")))  # doctest: +SKIP
    """
    ts = library("async_serialize")
    x: Any = lift(arr_inp)
    session = distributed.session()
    if session is not None and x.sharding.is_fully_addressable:
        raise ValueError(
            f"async_serialize: the array of type {x.aval.str_short()} is of this process alone, and all processes "
            f"would write it to {tensorstore_spec['kvstore']}: put it on the devices of all first"
        )
    spec = dict(tensorstore_spec)
    spec.setdefault("metadata", _metadata(x, spec["driver"]))
    if spec["driver"] == "zarr":
        spec.setdefault("dtype", x.dtype.name)
    options = _options(context=context, chunk_layout=chunk_layout, transaction=transaction)
    pending = [] if commit_future is None else commit_future
    if primary_host is None or primary_host == (0 if session is None else session.process):
        pending.append(ts.open(ts.Spec(spec), create=True, open=True, **options))
    store = await ts.open(ts.Spec(spec), open=True, assume_metadata=True, **options)
    for shard in x.addressable_shards:
        if shard.replica_id == replica_id:
            writing = store[shard.index].write(np.asarray(shard.data))
            pending.append(writing.commit)
            await writing.copy
    if commit_future is None:
        for future in pending:
            await future


async def async_deserialize(
    in_type: Sharding | Format | ShapeDtypeStruct,
    tensorstore_spec: dict[str, Any],
    global_shape: Sequence[int] | None = None,
    dtype: DTypeLike | None = None,
    byte_limiter: AnyValue = None,
    context: AnyValue = None,
    chunk_layout: AnyValue = None,
    assume_metadata: bool = False,
) -> Array:
    """Read an array, each process the parts that it is to hold.

    Args:
      in_type: how it is spread over devices, or a `ShapeDtypeStruct` that says so.
      tensorstore_spec: what `get_tensorstore_spec` returns.
      global_shape: the shape, by default that of the file: what is not there is 0, what is beyond is left out.
      dtype: the dtype, by default that of the file.
      byte_limiter: an object with coroutines `wait_for_bytes` and `release_bytes`, called around each part.
      context, chunk_layout, assume_metadata: passed on to TensorStore.

    ImportError without tensorstore; TypeError for anything but a sharding.

    >>> place = lift(np.ones(2)).sharding
    >>> asyncio.run(async_deserialize(place, get_tensorstore_spec("/tmp/checkpoint/x")))  # doctest: +SKIP
    Array([1., 1.], dtype=float32)
    """
    place: Any = in_type
    if isinstance(in_type, ShapeDtypeStruct):
        dtype, place = in_type.dtype if dtype is None else dtype, in_type.sharding
    if isinstance(place, Format):
        place = placement_of("async_deserialize", place)
    if not isinstance(place, Sharding):
        raise TypeError(f"async_deserialize: in_type must be a sharding, got {described(in_type)}")
    ts = library("async_deserialize")
    options = _options(context=context, chunk_layout=chunk_layout)
    store = await ts.open(ts.Spec(tensorstore_spec), open=True, assume_metadata=assume_metadata, **options)
    shape = tuple(store.shape if global_shape is None else global_shape)
    kind = store.dtype.numpy_dtype if dtype is None else np.dtype(dtype)
    parts: dict[Any, np.ndarray] = {}
    for index in place.addressable_devices_indices_map(shape).values():
        if _key(index) not in parts:
            parts[_key(index)] = (await _part(store, shape, index, byte_limiter)).astype(kind)
    kind = dtypes.canonicalize_dtype(kind)
    return make_array_from_callback(shape, place, lambda index: parts[_key(index)].astype(kind), kind)


def _key(index: Index) -> tuple[Any, ...]:
    return tuple((part.start, part.stop) for part in index)


async def _part(store: Any, shape: tuple[int, ...], index: Index, limiter: Any) -> np.ndarray:
    """The entries of a part, zeros where the file has none."""
    bounds = [part.indices(size)[:2] for part, size in zip(index, shape, strict=True)]
    found = [(min(start, size), min(stop, size)) for (start, stop), size in zip(bounds, store.shape, strict=True)]
    result = np.zeros([stop - start for start, stop in bounds], store.dtype.numpy_dtype)
    there = tuple(slice(0, stop - start) for start, stop in found)
    if limiter is not None:
        await limiter.wait_for_bytes(result[there].nbytes)
    result[there] = await store[tuple(slice(*pair) for pair in found)].read()
    if limiter is not None:
        await limiter.release_bytes(result[there].nbytes)
    return result


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
