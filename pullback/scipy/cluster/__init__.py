"""Vector quantization, as in `scipy.cluster`: see `cluster.vq`."""

import typing as _typing

from pullback._core.lazy import attributes as _attributes
from pullback.scipy.cluster import vq as vq

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
