"""The functions of SciPy on arrays of this library."""
from pullback.scipy import special as special
