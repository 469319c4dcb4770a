"""Operators and methods of arrays and references, in place before the modules are loaded that have them.

A module that installs them is loaded at the first use of one, and puts the functions in the places of these attributes.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from pullback._core.array import Array, ConcreteArray
from pullback._core.refs import Ref, RefIndexer
from pullback._core.typing import AnyValue

_BINARY = "add and divmod floordiv lshift matmul mod mul or pow rshift sub truediv xor".split()
_OPERATORS = [f"__{prefix}{name}__" for name in _BINARY for prefix in ("", "r")]
_OPERATORS += [f"__{name}__" for name in "abs eq ge gt invert le lt ne neg pos round".split()]
_METHODS = (
    "T __array_namespace__ __contains__ __getitem__ __iter__ __setitem__ addressable_data addressable_shards all any "
    "argmax argmin argpartition argsort astype at byteswap choose clip committed compress conj conjugate copy "
    "copy_to_host_async cumprod cumsum device devices diagonal dot flatten global_shards imag is_fully_addressable "
    "is_fully_replicated mT max mean min nonzero prod ptp ravel real repeat reshape round searchsorted sharding sort "
    "squeeze std sum swapaxes take to_device trace transpose unsafe_buffer_pointer var view"
).split()


class Deferred:
    """An attribute of a class that another object replaces when its module is loaded, which its first use does."""

    __slots__ = ("cls", "module", "name")

    def __init__(self, cls: type, name: str, module: str):
        self.cls = cls
        self.name = name
        self.module = module

    def __get__(self, x: AnyValue, owner: type | None = None) -> Any:
        import_module(self.module)
        if vars(self.cls)[self.name] is self:
            raise AttributeError(f"{self.name} is used while {self.module} is being loaded", name=self.name, obj=x)
        return getattr(owner if x is None else x, self.name)


def defer(cls: type, names: list[str], module: str) -> None:
    """Give a class attributes that `module` installs when it is loaded."""
    for name in names:
        setattr(cls, name, Deferred(cls, name, f"{__package__}.{module}"))


defer(Array, _OPERATORS, "operators")
defer(Array, _METHODS, "methods")
defer(ConcreteArray, ["__treescope_ndarray_adapter__", "__treescope_repr__"], "treescope")
defer(Ref, ["__getitem__", "__setitem__", "addupdate"], "references")
defer(RefIndexer, ["__getitem__"], "references")
