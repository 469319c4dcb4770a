"""The shadow of an array: its value in higher precision, and what is known of where its errors come from.

The shadow of an operation is its own kernel, applied to the shadows of its operands. Numbers that are equal in both
precisions can differ all the same: no digit of `sqrt(x + 1) - sqrt(x)` at 1e30 is right in either. So a result that is
no longer exact gets an error in the last places of the shadow, as in Monte Carlo arithmetic (D. S.
Parker, 1997). It depends on the operation and its operands alone, told by a number, the salt: equal operations have
equal results.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import ConcreteArray
from pullback._core.primitive import Primitive

# operations whose results are entries of their operands: they round nothing
EXACT = frozenset(
    "neg abs max min select reshape transpose broadcast_in_dim slice dynamic_slice gather concatenate pad rev sort "
    "split stop_gradient optimization_barrier real imag conj complex reduce_max reduce_min cummax cummin copy clamp "
    "sign floor ceil round trunc squeeze dynamic_update_slice scatter rule_output ruled_operand ruled_result kinked "
    "top_k as_varying vary_as loose constant".split()
)
# operations that depend on how their operands are represented: no shadow comes out of them
OPAQUE = frozenset(("bitcast_convert_type", "nextafter", "reduce_precision", "relative_step", "exponent"))
# operations that add products of many entries: an error counts against the largest entry of the result
MIXING = frozenset(
    "dot_general conv_general_dilated cumsum fft reduce_window_sum cholesky lu geqrf eigh eig svd triangular_solve "
    "lu_solve tridiagonal_solve reduce scatter_add householder_product hessenberg schur".split()
)
# correctly rounded operations: a result that is the same in both precisions is exact
ROUNDED = frozenset("add sub mul div sqrt square integer_pow reduce_sum dot_general total scale".split())
NOISE = 64
_PRIME = 2**31 - 1
_KEEPING = frozenset("reshape broadcast_in_dim transpose convert_element_type stop_gradient squeeze".split())
_SHADOW = np.dtype(np.float64)
_COMPLEX_SHADOW = np.dtype(np.complex128)


class Shadow:
    """What is known of an array besides its value.

    `value` is the value in higher precision. `rows` has a bit for each suspect that an error of it comes from, above
    the bit `EXHAUSTED`. `exact`: no rounding has gone into it. `mixed`: its entries are sums of products of many, so
    that errors count against the largest. `unit` is the unit roundoff of the coarsest dtype on the way. `made` names
    the operations that made it, as trees of depth 0, 1, 2, 3. `salt` tells values apart by how they were made.
    `scales`: it is an exact power of two. `hidden` is the relative error of a sum whose smaller term the shadow has
    dropped too. `other` is the value that a comparison of the shadows gives, if it is another one.
    """

    __slots__ = ("ref", "value", "rows", "exact", "mixed", "unit", "made", "salt", "other", "scales", "hidden")

    def __init__(
        self, value: Any, rows: int, exact: bool, mixed: bool, unit: float, made: tuple, salt: int, other: Any = None
    ):
        self.ref: Any = None
        self.value = value
        self.rows = rows
        self.exact = exact
        self.mixed = mixed
        self.unit = unit
        self.made = made
        self.salt = salt
        self.other = other
        self.scales = False
        self.hidden = 0.0


class Double:
    """Shadows in double precision, for programs in single and half precision."""

    # the type of its numbers, where that is none of NumPy's
    number = float
    # its unit roundoff
    unit = 2.0**-53

    def __init__(self, generally: Callable[[Primitive, Sequence[Any], dict[str, Any]], Sequence[Any]]):
        self.generally = generally

    def lifted(self, value: Any) -> Any:
        """A value of the program in higher precision; integers and bools stay as they are."""
        dtype = value.dtype
        if dtype == np.float32:
            return np.float64(value) if value.ndim == 0 else value.astype(_SHADOW)
        if not dtypes.is_inexact(dtype):
            return value
        return value.astype(_COMPLEX_SHADOW if dtypes.is_complex(dtype) else _SHADOW)

    def evaluated(self, primitive: Primitive, values: Sequence[Any], params: dict[str, Any]) -> Sequence[Any] | None:
        """The results of an operation in higher precision; None if there are none."""
        if params:
            params = {name: _widened(x) for name, x in params.items()}
        kernel = primitive.kernel
        try:
            if kernel is None:
                return self.generally(primitive, values, params)
            out = kernel(*values, **params)
        except Exception:  # a kernel that has no form in this precision
            return None
        return out if primitive.multiple_results else (out,)

    def disturbed(self, value: Any, salt: int) -> Any:
        """A value with an error in its last places."""
        factor = 1.0 + (NOISE + abs(salt) % 1021) * 2.0**-53
        if value.ndim and value.base is None and value.flags.writeable:
            value *= factor  # nobody else has it
            return value
        return value * factor


def salt_of(name: str, ins: Sequence[Shadow]) -> int:
    """A number that looks random of an operation and its operands.

    What a sum or a product of two numbers is does not depend on their order, and a negative value has the negative
    number: what cancels exactly in a derivative, products of the same factors with other signs, does so still.
    """
    if name in _KEEPING:
        return ins[0].salt
    if name == "neg":
        return -ins[0].salt
    if name == "mul":
        salt = 1
        for s in ins:
            salt *= (1 if float(s.value) > 0 else -1) if s.scales else s.salt
    elif name == "add" or name == "sub":
        a, b = ins[0].salt, ins[1].salt
        salt = a * a * a + (b * b * b if name == "add" else -b * b * b)
    else:
        salt = sum(name.encode())
        for s in ins:
            salt = (31 * salt + s.salt) * 17 % _PRIME
    return salt % _PRIME if salt > 0 else -(-salt % _PRIME)


def salt_of_value(value: Any) -> int:
    """The salt of an exact value."""
    return hash(value.item() if value.ndim == 0 else value.flat[0]) if value.size else 0


def is_power_of_two(value: Any) -> bool:
    """Whether a value is a scalar that no product with it rounds: 1, -1, 2, 0.5."""
    return value.ndim == 0 and abs(math.frexp(float(value))[0]) == 0.5


def _widened(param: Any) -> Any:
    if isinstance(param, np.dtype) and dtypes.is_inexact(param):
        return _COMPLEX_SHADOW if dtypes.is_complex(param) else _SHADOW
    return param


def unit_of(dtype: np.dtype) -> float:
    """The unit roundoff of a dtype; 0 for exact ones."""
    unit = _units.get(dtype)
    if unit is None:
        unit = _units[dtype] = float(dtypes.finfo(dtype).eps) / 2 if dtypes.is_inexact(dtype) else 0.0
    return unit


_units: dict[np.dtype, float] = {}


def keep(shadows: dict[int, Shadow], array: ConcreteArray, shadow: Shadow) -> None:
    """Remember the shadow of an array as long as the array lives."""
    key = id(array)

    def forget(_: Any) -> None:
        shadows.pop(key, None)

    shadow.ref = weakref.ref(array, forget)
    shadows[key] = shadow
