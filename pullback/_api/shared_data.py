"""NumPy data that several processes give each other: pytrees as bytes, compared and restored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array
from pullback._core.errors import kind_of
from pullback._core.meshes import Mesh
from pullback._core.placed_array import PlacedArray
from pullback._core.sharding import NamedSharding, PartitionSpec
from pullback._core.tree import tree_flatten, tree_unflatten
from pullback._core.tree_paths import keystr, tree_flatten_with_path
from pullback._core.typing import PyTree
from pullback._ops.sharding_constraint import moved
from pullback._xla import distributed
from pullback._xla.distributed import Session


def is_global(x: object) -> TypeGuard[PlacedArray]:
    """Return whether an array has parts in other processes."""
    return isinstance(x, PlacedArray) and not x.placement.is_fully_addressable


def everywhere(x: PlacedArray) -> Array:
    """An array with its whole value in each of the processes that hold it, which all call this."""
    if x.placement.is_fully_replicated:
        return x
    place = x.placement
    mesh = place.mesh if isinstance(place, NamedSharding) else Mesh(place.flat_devices, ("devices",))
    return moved(x, NamedSharding(mesh, PartitionSpec()))


def _everywhere_if_global(x: Any) -> Any:
    return everywhere(x) if is_global(x) else x


class SharedTree:
    """A pytree of NumPy data in this process, of which every process has one with the same structure."""

    def __init__(self, function: str, tree: PyTree, argument: str = "in_tree"):
        self.function = function
        self.argument = argument
        pairs, self.treedef = tree_flatten_with_path(tree)
        self.paths = [keystr(path) for path, _ in pairs]
        self.leaves = [self._leaf(path, leaf) for path, (_, leaf) in zip(self.paths, pairs, strict=True)]
        types = ", ".join(self._types()[:3]) + (", ..." if len(pairs) > 3 else "")
        # what messages call the meeting
        self.label = f"{function}({types})"

    def _leaf(self, path: str, leaf: object) -> np.ndarray:
        if isinstance(leaf, (Array, np.ndarray, np.generic, bool, int, float, complex)):
            value = np.asarray(_everywhere_if_global(leaf), order="C")
            if dtypes.is_bool(value.dtype) or dtypes.is_integer(value.dtype) or dtypes.is_inexact(value.dtype):
                return value
        raise TypeError(
            f"{self.function}: {self.argument}{path}: expected an array or a number, got {kind_of(leaf)}. Text can be "
            "sent as numpy.frombuffer(text.encode(), 'uint8')"
        )

    def _types(self) -> list[str]:
        return [
            f"{dtypes.short_name(leaf.dtype)}[{','.join(map(str, leaf.shape))}]{path and ' at ' + path}"
            for path, leaf in zip(self.paths, self.leaves, strict=True)
        ]

    def packed(self, session: Session, data: bytes) -> bytes:
        """The types of the leaves, then the data."""
        header = json.dumps([session.process, *self._types()]).encode()
        return len(header).to_bytes(8, "big") + header + data

    def meet(self, session: Session, data: bytes) -> list[bytes]:
        """What the processes give each other, by process; ValueError unless the leaves have the same types in all."""
        came = session.meet(self.label, self.packed(session, data), key=self.function)
        found = []
        for process in sorted(came):
            payload = came[process]
            size = int.from_bytes(payload[:8], "big")
            types = json.loads(payload[8 : 8 + size])[1:]
            if types != self._types():
                raise ValueError(self._difference(session, process, types))
            found.append(payload[8 + size :])
        return found

    def _difference(self, session: Session, process: int, theirs: list[str]) -> str:
        ours = self._types()
        here = f"process {session.process}"
        if len(ours) != len(theirs):
            detail = f"{here} has {len(ours)} leaves, process {process} has {len(theirs)}"
        else:
            a, b = next((a, b) for a, b in zip(ours, theirs, strict=True) if a != b)
            detail = f"{here} has {a}, process {process} has {b}"
        expected = f"{self.argument}: expected the same structure, shapes and dtypes in all processes"
        return f"{self.function}: {expected}; {detail}"

    def data(self) -> bytes:
        """The bytes of all leaves."""
        return b"".join(leaf.tobytes() for leaf in self.leaves)

    def digests(self) -> bytes:
        """For each leaf 32 bytes that are equal where the values are: zeros of both signs count as equal."""
        return b"".join(
            hashlib.sha256((leaf + leaf.dtype.type(0) if dtypes.is_inexact(leaf.dtype) else leaf).tobytes()).digest()
            for leaf in self.leaves
        )

    def restored(self, data: bytes) -> list[np.ndarray]:
        """The leaves of another process, from its bytes."""
        found, start = [], 0
        for leaf in self.leaves:
            value = np.frombuffer(data, np.uint8, leaf.nbytes, start).copy().view(leaf.dtype).reshape(leaf.shape)
            found.append(value)
            start += leaf.nbytes
        return found

    def unflatten(self, leaves: Sequence[np.ndarray]) -> Any:
        """The pytree with other leaves."""
        return tree_unflatten(self.treedef, leaves)


def broadcast(function: str, tree: PyTree, is_source: bool | None) -> Any:
    """The values of the process that is the source, the first by default."""
    own = SharedTree(function, tree)
    session = distributed.session()
    if session is None:
        return own.unflatten(own.leaves)
    sends = session.process == 0 if is_source is None else bool(is_source)
    received = own.meet(session, b"\1" + own.data() if sends else b"\0")
    sources = [process for process, data in enumerate(received) if data[:1] == b"\1"]
    if len(sources) != 1:
        raise ValueError(
            f"{function}: is_source: expected True in one process and False in the others, got True in "
            f"{'processes ' + ', '.join(map(str, sources)) if sources else 'none'}"
        )
    return own.unflatten(own.leaves if sends else own.restored(received[sources[0]][1:]))


def gather(function: str, tree: PyTree, tiled: bool) -> Any:
    """The values of all processes, stacked or joined leaf by leaf; of arrays over processes the whole."""
    leaves, treedef = tree_flatten(tree)
    whole = {i: everywhere(leaf) for i, leaf in enumerate(leaves) if is_global(leaf)}
    if whole and not tiled:
        path = keystr(tree_flatten_with_path(tree)[0][min(whole)][0])
        raise ValueError(
            f"{function}: in_tree{path} is an array over several processes, which have one value together: there is "
            "nothing to stack. Pass tiled=True"
        )
    found: list[Any] = [np.asarray(whole[i]) if i in whole else None for i in range(len(leaves))]
    others = [i for i in range(len(leaves)) if i not in whole]
    if others or not whole:
        own = SharedTree(function, {i: leaves[i] for i in others} if whole else tree)
        session = distributed.session()
        rows = [own.leaves] if session is None else [own.restored(data) for data in own.meet(session, own.data())]
        for i, column in zip(others, zip(*rows, strict=True), strict=True):
            found[i] = np.concatenate(column) if tiled and column[0].ndim else np.stack(column)
    return tree_unflatten(treedef, found)


def require_equal(function: str, argument: str, tree: PyTree, message: str = "") -> None:
    """AssertionError, with the path of the leaf, unless all processes have the same values."""
    session = distributed.session()
    own = SharedTree(function, tree, argument)
    if session is None:
        return
    received = own.meet(session, own.digests())
    for i, path in enumerate(own.paths):
        groups: dict[bytes, list[int]] = {}
        for process, digests in enumerate(received):
            groups.setdefault(digests[32 * i : 32 * i + 32], []).append(process)
        if len(groups) > 1:
            texts = [f"process{'es' * (len(g) > 1)} {', '.join(map(str, g))}" for g in groups.values()]
            here = np.array2string(own.leaves[i], threshold=6, precision=6)
            raise AssertionError(
                f"{message and message + ': '}{function}: {argument}{path} is not the same in all processes: "
                f"{' against '.join(texts)}; here, in process {session.process}, it is {here}"
            )
