"""Arrays in files, and how arrays are printed: NumPy's formats and options, which arrays of both libraries follow."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from typing import IO, Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.typing import AnyValue, DTypeLike
from pullback.numpy._creation.creation import as_array, asarray

__all__ = [
    "array_repr",
    "array_str",
    "fromfile",
    "fromstring",
    "get_printoptions",
    "load",
    "printoptions",
    "save",
    "savez",
    "set_printoptions",
]


# --- files ---


@boundary
def save(file: IO[bytes] | str | os.PathLike[str], arr: ArrayLike, allow_pickle: bool = True) -> None:
    """Write an array to a file in NumPy's format `.npy`, which `load` and `numpy.load` read.

    `file`: a path, to which ".npy" is added unless it ends so, or a binary file. Not for traced arrays. OSError if the
    file cannot be written.

    >>> import io
    >>> import pullback.numpy as pnp
    >>> file = io.BytesIO()
    >>> pnp.save(file, pnp.array([1., 2.]))
    >>> _ = file.seek(0)
    >>> print(pnp.load(file))
    [1. 2.]
    """
    np.save(file, np.asarray(as_array("save", arr)), allow_pickle=allow_pickle)


@boundary
def savez(
    file: IO[bytes] | str | os.PathLike[str], *args: ArrayLike, allow_pickle: bool = True, **kwds: ArrayLike
) -> None:
    """Write several arrays to a file in NumPy's format `.npz`: under their keywords, others as arr_0, arr_1, ...

    `load` returns what `numpy.load` does: a mapping of names to NumPy arrays. OSError if the file cannot be written.

    >>> import io
    >>> import pullback.numpy as pnp
    >>> file = io.BytesIO()
    >>> pnp.savez(file, weights=pnp.array([1., 2.]))
    >>> _ = file.seek(0)
    >>> print(pnp.load(file)["weights"])
    [1. 2.]
    """
    arrays = {name: np.asarray(as_array("savez", x)) for name, x in kwds.items()}
    np.savez(file, *[np.asarray(as_array("savez", x)) for x in args], allow_pickle=allow_pickle, **arrays)


@boundary
def load(file: IO[bytes] | str | os.PathLike[str], *args: AnyValue, **kwargs: AnyValue) -> Any:
    """Read what `save` or `savez` wrote, with the arguments of `numpy.load`.

    The array of a file `.npy`, with a 64-bit dtype narrowed unless `enable_x64`; of a file `.npz` the mapping of
    NumPy arrays that NumPy returns. bfloat16 is read as such. OSError if the file cannot be read, ValueError for
    other contents.

    >>> import io
    >>> import pullback.numpy as pnp
    >>> file = io.BytesIO()
    >>> pnp.save(file, pnp.array([1.5], dtype="bfloat16"))
    >>> _ = file.seek(0)
    >>> pnp.load(file)
    Array([1.5], dtype=bfloat16)
    """
    value = np.load(file, *args, **kwargs)
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype == np.dtype("V2"):
        value = value.view(dtypes.resolve("bfloat16"))  # the format knows its size alone
    try:
        return asarray(value)
    except TypeError:
        return value  # objects, strings, records


def fromfile(*args: AnyValue, **kwargs: AnyValue) -> Any:
    """Refused, as in JAX: reading a file has an effect outside. Use `asarray(numpy.fromfile(...))`.

    Raises NotImplementedError.

    >>> import pullback.numpy as pnp
    >>> try:
    ...     pnp.fromfile("data")
    ... except NotImplementedError:
    ...     print("refused")
    refused
    """
    raise NotImplementedError("fromfile: reading a file is an effect; use asarray(numpy.fromfile(...)), outside of jit")


@boundary
def fromstring(string: str, dtype: DTypeLike = float, count: int = -1, *, sep: str) -> Array:
    """The numbers in a text, separated by `sep`: `count` of them, or all.

    ValueError for a text without numbers and for fewer of them than asked for.

    >>> import pullback.numpy as pnp
    >>> print(pnp.fromstring("1 2 3", dtype=int, sep=" "))
    [1 2 3]
    """
    return asarray(np.fromstring(string, dtype=dtypes.requested_dtype(dtype), count=count, sep=sep))


# --- printing ---


def _options(max_line_width: int | None, precision: int | None, suppress_small: bool | None) -> dict[str, Any]:
    given = {"linewidth": max_line_width, "precision": precision, "suppress": suppress_small}
    return {name: value for name, value in given.items() if value is not None}


@boundary
def array_repr(
    arr: ArrayLike,
    max_line_width: int | None = None,
    precision: int | None = None,
    suppress_small: bool | None = None,
) -> str:
    """The text that `repr` gives for an array, with some of the options of `set_printoptions` changed.

    TypeError for anything but an array or a number.

    >>> import pullback.numpy as pnp
    >>> print(pnp.array_repr(pnp.array([1 / 3, 1.]), precision=2))
    Array([0.33, 1.  ], dtype=float32)
    """
    with np.printoptions(**_options(max_line_width, precision, suppress_small)):
        return repr(as_array("array_repr", arr))


@boundary
def array_str(
    a: ArrayLike,
    max_line_width: int | None = None,
    precision: int | None = None,
    suppress_small: bool | None = None,
) -> str:
    """The text that `str` gives for an array, with some of the options of `set_printoptions` changed.

    TypeError for anything but an array or a number.

    >>> import pullback.numpy as pnp
    >>> print(pnp.array_str(pnp.array([1 / 3, 1.]), precision=2))
    [0.33 1.  ]
    """
    with np.printoptions(**_options(max_line_width, precision, suppress_small)):
        return str(as_array("array_str", a))


def set_printoptions(*args: AnyValue, **kwargs: AnyValue) -> None:
    """Set how arrays are printed: `numpy.set_printoptions`, with its arguments and errors, for both libraries.

    >>> import pullback.numpy as pnp
    >>> before = pnp.get_printoptions()
    >>> pnp.set_printoptions(precision=2)
    >>> print(pnp.array([1 / 3]))
    [0.33]
    >>> pnp.set_printoptions(**before)
    """
    np.set_printoptions(*args, **kwargs)


def get_printoptions() -> dict[str, Any]:
    """The options of `set_printoptions`, by name: `numpy.get_printoptions`. It raises no error.

    >>> import pullback.numpy as pnp
    >>> pnp.get_printoptions()["precision"]
    8
    """
    return dict(np.get_printoptions())


def printoptions(*args: AnyValue, **kwargs: AnyValue) -> AbstractContextManager[Any]:
    """A context in which the options of `set_printoptions` are changed: `numpy.printoptions`, with its errors.

    >>> import pullback.numpy as pnp
    >>> with pnp.printoptions(precision=2):
    ...     print(pnp.array([1 / 3]))
    [0.33]
    """
    return np.printoptions(*args, **kwargs)
