"""Linear systems given by a function or a matrix, as in `scipy.sparse`: see `sparse.linalg`."""

import typing as _typing

from pullback._core.lazy import attributes as _attributes
from pullback.scipy.sparse import linalg as linalg

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
