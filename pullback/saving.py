"""Pytrees of arrays on disk: each process writes the parts that it holds, any number of devices reads them back.

A saved pytree is a folder: `index.json` names the leaves, their shapes and dtypes; the data is in one file of the
format safetensors for each process, from which any part of an array is read without the rest. Nothing in it is run as
code. The folder appears under its name when it is complete; what a process that died has left is in `NAME.partial`.

It needs the package safetensors: `pip install pullback[saving]`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pullback._api.meshes import places_of
from pullback._api.placing import make_array_from_callback
from pullback._core import dtypes
from pullback._core.array import Array, ConcreteArray, lift
from pullback._core.errors import boundary, described
from pullback._core.placed_array import shards_of
from pullback._core.sharding import Index, Sharding, SingleDeviceSharding
from pullback._core.tree import tree_unflatten
from pullback._core.tree_paths import keystr, tree_flatten_with_path
from pullback._core.types import ShapeDtypeStruct
from pullback._core.typing import PyTree, PyTreePrefix
from pullback._higher_order.bodies import lift_tree
from pullback._xla import engine
from pullback.experimental.multihost_utils import sync_global_devices

__all__ = ["load", "save"]

_VERSION = 1
# dtypes that NumPy does not know, as unsigned integers of their width
_BITS: dict[int, np.dtype[Any]] = {1: np.dtype(np.uint8), 2: np.dtype(np.uint16)}


def _library(function: str) -> Any:
    try:
        import safetensors
    except ImportError:
        raise ImportError(
            f"{function} needs the package safetensors, which is not installed: pip install pullback[saving]"
        ) from None
    return safetensors


def _wait_for_all(name: str) -> None:
    """Wait until every process is here; with one, at once."""
    if engine.client().process_index() or len({d.process_index for d in engine.client().devices()}) > 1:
        sync_global_devices(name)


@boundary
def save(folder: str | os.PathLike[str], tree: PyTree) -> None:
    """Write a pytree of arrays to a folder, which must not exist. With several processes, all of them call it.

    Each process writes the parts of arrays that its devices hold, and of equal parts one.

    Raises: FileExistsError for a folder that exists, TypeError for leaves that are not arrays, ImportError without the
      package safetensors, OSError if the disk is full or may not be written to.

    >>> import tempfile, os, pullback as pb, pullback.numpy as pnp
    >>> from pullback.saving import load, save
    >>> with tempfile.TemporaryDirectory() as place:  # doctest: +SKIP
    ...     save(os.path.join(place, "step_10"), {"w": pnp.arange(3.)})
    ...     print(load(os.path.join(place, "step_10"), {"w": pb.ShapeDtypeStruct((3,), "float32")}))
    {'w': Array([0., 1., 2.], dtype=float32)}
    """
    _library("save")
    from safetensors.numpy import save_file

    path = Path(folder)
    if path.exists():
        raise FileExistsError(f"save: {path} exists: choose another folder, or remove it first")
    arrays, _ = lift_tree("save", "tree", tree)
    names = [keystr(keys) for keys, _ in tree_flatten_with_path(tree)[0]]
    process = engine.client().process_index()
    partial = path.with_name(f"{path.name}.partial")
    if process == 0:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    _wait_for_all(f"save {path}: begin")
    parts: dict[str, np.ndarray] = {}
    for i, x in enumerate(arrays):
        if not isinstance(x, ConcreteArray):
            raise TypeError(f"save: tree{names[i]}: expected an array with data, got {described(x)}")
        for shard in shards_of(x, x.sharding, False):
            if shard.replica_id == 0 and shard.data is not None:
                parts[_part_name(i, shard.index, x.shape)] = _plain(np.asarray(shard.data))
    save_file(parts, str(partial / f"process_{process:05d}.safetensors"))
    _wait_for_all(f"save {path}: written")
    if process == 0:
        leaves = [
            {"path": name, "shape": list(x.shape), "dtype": x.dtype.name} for name, x in zip(names, arrays, strict=True)
        ]
        (partial / "index.json").write_text(
            json.dumps({"version": _VERSION, "leaves": leaves}, indent=1), encoding="utf-8"
        )
        os.replace(partial, path)
    _wait_for_all(f"save {path}: done")


@boundary
def load(folder: str | os.PathLike[str], like: PyTree, shardings: PyTreePrefix = None) -> Any:
    """A pytree of arrays from a folder that `save` has written, on any number of devices.

    Args:
      folder: the folder.
      like: a pytree of the same structure, of arrays or `ShapeDtypeStruct`s of the same shapes and dtypes, or numbers.
        Where it has shardings, the arrays are placed there.
      shardings: where to place them, a pytree prefix of shardings, specs over the current mesh and None.

    Each process reads the parts alone that its devices are to hold.

    Raises: FileNotFoundError without a folder; ValueError, naming the leaf, for another structure, shape or dtype, and
      for a folder that is damaged or of another version; ImportError without the package safetensors.

    >>> from pullback.saving import load
    >>> load("/no/such/folder", {})
    Traceback (most recent call last):
        ...
    FileNotFoundError: load: /no/such/folder does not exist, or is not complete (index.json is missing)
    """
    path = Path(folder)
    index = path / "index.json"
    if not index.is_file():
        raise FileNotFoundError(f"load: {path} does not exist, or is not complete (index.json is missing)")
    _library("load")
    saved = _checked_index(index)
    leaves, tree = tree_flatten_with_path(like)
    names = [keystr(keys) for keys, _ in leaves]
    if names != [entry["path"] for entry in saved]:
        missing = sorted({entry["path"] for entry in saved}.symmetric_difference(names))
        raise ValueError(f"load: the structure of `like` is not that of {path}: they differ at {missing[:5]}")
    places = places_of("load", "shardings", tree_unflatten(tree, [0] * len(leaves)), "like", shardings)
    with _Files(path, len(saved)) as files:
        results = []
        for i, ((keys, leaf), entry, place) in enumerate(zip(leaves, saved, places, strict=True)):
            where = f"load: like{keystr(keys)}"
            leaf = lift(leaf) if type(leaf) in (bool, int, float, complex) else leaf
            if not isinstance(leaf, (Array, ShapeDtypeStruct, np.ndarray, np.generic)):
                raise TypeError(f"{where}: expected an array, a number or a ShapeDtypeStruct, got {described(leaf)}")
            shape, dtype = tuple(entry["shape"]), np.dtype(getattr(dtypes, entry["dtype"], entry["dtype"]))
            if leaf.shape != shape or leaf.dtype != dtype:
                raise ValueError(
                    f"{where}: expected shape {leaf.shape} and dtype {leaf.dtype.name}, saved were {shape} and "
                    f"{dtype.name}"
                )
            own = getattr(leaf, "sharding", None)
            if place is None and isinstance(own, Sharding) and own.flat_devices:
                place = own
            at = SingleDeviceSharding(engine.device()) if place is None else place
            results.append(make_array_from_callback(shape, at, files.reader(i, shape, dtype), dtype=dtype))
    return tree_unflatten(tree, results)


def _checked_index(path: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version, leaves = content["version"], content["leaves"]
        assert isinstance(leaves, list)
        for entry in leaves:
            assert isinstance(entry["path"], str)
            assert isinstance(entry["dtype"], str)
            assert all(type(n) is int and n >= 0 for n in entry["shape"])
    except (ValueError, KeyError, TypeError, AssertionError, UnicodeDecodeError) as error:
        raise ValueError(f"load: {path} is damaged: {type(error).__name__} {error}") from None
    if version != _VERSION:
        raise ValueError(f"load: {path} has the version {version!r} of the format, expected {_VERSION}")
    return leaves


def _plain(value: np.ndarray) -> np.ndarray:
    """The value in a dtype that the format has for NumPy."""
    if value.dtype == np.bool_ or (value.dtype.isbuiltin == 1 and value.dtype.kind in "iuf"):
        return np.ascontiguousarray(value).reshape(value.shape)
    if value.dtype.kind == "c":
        part = np.dtype(f"f{value.dtype.itemsize // 2}")
        return np.ascontiguousarray(value).view(part).reshape(*value.shape, 2)
    return np.ascontiguousarray(value).view(_BITS[value.dtype.itemsize]).reshape(value.shape)


def _part_name(leaf: int, index: Index, shape: tuple[int, ...]) -> str:
    bounds = [s.indices(n)[:2] for s, n in zip(index, shape, strict=True)]
    return f"{leaf}:" + ",".join(f"{start}-{stop}" for start, stop in bounds)


def _bounds_of(name: str) -> tuple[int, list[tuple[int, int]]]:
    leaf, _, rest = name.partition(":")
    pairs = [part.split("-") for part in rest.split(",")] if rest else []
    return int(leaf), [(int(start), int(stop)) for start, stop in pairs]


class _Files:
    """The files of a saved pytree, open for reading."""

    def __init__(self, path: Path, count: int):
        from safetensors import safe_open

        self._path = path
        self._open: list[Any] = []
        # for each leaf: the bounds of each part, its name and its file
        self._parts: list[list[tuple[list[tuple[int, int]], str, Any]]] = [[] for _ in range(count)]
        for file in sorted(path.glob("process_*.safetensors")):
            try:
                opened = safe_open(str(file), framework="numpy").__enter__()
                names = [(_bounds_of(name), name) for name in opened.keys()]
            except Exception as error:
                raise ValueError(f"load: {file} is damaged: {error}") from None
            self._open.append(opened)
            for (leaf, bounds), name in names:
                if 0 <= leaf < count:
                    self._parts[leaf].append((bounds, name, opened))

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, *error: object) -> None:
        for opened in self._open:
            opened.__exit__(None, None, None)

    def reader(self, leaf: int, shape: tuple[int, ...], dtype: np.dtype) -> Callable[[Index], np.ndarray]:
        """A function that reads a part of a leaf, of whatever parts it was saved in."""

        def read(index: Index) -> np.ndarray:
            wanted = [s.indices(n)[:2] for s, n in zip(index, shape, strict=True)]
            result = np.empty([stop - start for start, stop in wanted], dtype)
            filled = 0
            for target, source, name, opened in self._overlaps(leaf, wanted):
                found = opened.get_slice(name)[source] if source else opened.get_tensor(name)
                if dtype.kind == "c":
                    found = np.ascontiguousarray(found).view(dtype)[..., 0]
                elif found.dtype != dtype:
                    found = np.ascontiguousarray(found).view(dtype)
                result[target] = found.reshape(result[target].shape)
                filled += result[target].size
            if filled != result.size:
                raise ValueError(f"load: {self._path} is damaged: parts of leaf {leaf} are missing")
            return result

        return read

    def _overlaps(
        self, leaf: int, wanted: list[tuple[int, int]]
    ) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...], str, Any]]:
        for bounds, name, opened in self._parts[leaf]:
            common = [(max(a, c), min(b, d)) for (a, b), (c, d) in zip(wanted, bounds, strict=True)]
            if all(start < stop for start, stop in common):
                target = tuple([slice(s - a, e - a) for (s, e), (a, _) in zip(common, wanted, strict=True)])
                source = tuple([slice(s - c, e - c) for (s, e), (c, _) in zip(common, bounds, strict=True)])
                yield target, source, name, opened
