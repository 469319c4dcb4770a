"""All functions that are measured, in the order of docs/accuracy.md."""

from .counts import COUNTS
from .elementwise import COMPLEX, NN, NUMPY
from .special import SPECIAL
from .stats import STATS
from .vectors import VECTORS

TABLE = (*NUMPY, *NN, *SPECIAL, *STATS, *COUNTS, *VECTORS, *COMPLEX)
