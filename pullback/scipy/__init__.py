"""The functions of SciPy on arrays of this library."""
from pullback.scipy import fft as fft
from pullback.scipy import integrate as integrate
from pullback.scipy import linalg as linalg
from pullback.scipy import special as special
from pullback.scipy import stats as stats
