"""The algorithms by which programs ask for products of a certain precision: `DotAlgorithm` and its presets."""

from __future__ import annotations

import enum
from typing import NamedTuple

from pullback._core.typing import DTypeLike


class DotAlgorithm(NamedTuple):
    """A way to multiply matrices: the precision of the operands and of sums, and in how many parts operands are split.

    The CPU computes products in the precision of the operands or better, which satisfies every such request.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> algorithm = lax.DotAlgorithm("float32", "float32", "float32")
    >>> print(lax.dot(pnp.ones(2), pnp.ones(2), precision=algorithm))
    2.0
    """

    lhs_precision_type: DTypeLike
    rhs_precision_type: DTypeLike
    accumulation_type: DTypeLike
    lhs_component_count: int = 1
    rhs_component_count: int = 1
    num_primitive_operations: int = 1
    allow_imprecise_accumulation: bool = False


class DotAlgorithmPreset(enum.Enum):
    """Algorithms by name: the types of the operands and of the sums, and the number of products that make one.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> print(lax.dot(pnp.ones(2), pnp.ones(2), precision=lax.DotAlgorithmPreset.F32_F32_F32))
    2.0
    """

    DEFAULT = enum.auto()
    ANY_F8_ANY_F8_F32 = enum.auto()
    ANY_F8_ANY_F8_F32_FAST_ACCUM = enum.auto()
    ANY_F8_ANY_F8_ANY = enum.auto()
    ANY_F8_ANY_F8_ANY_FAST_ACCUM = enum.auto()
    F16_F16_F16 = enum.auto()
    F16_F16_F32 = enum.auto()
    BF16_BF16_BF16 = enum.auto()
    BF16_BF16_F32 = enum.auto()
    BF16_BF16_F32_X3 = enum.auto()
    BF16_BF16_F32_X6 = enum.auto()
    BF16_BF16_F32_X9 = enum.auto()
    TF32_TF32_F32 = enum.auto()
    TF32_TF32_F32_X3 = enum.auto()
    F32_F32_F32 = enum.auto()
    F64_F64_F64 = enum.auto()

    def __str__(self) -> str:
        return self.name


# of other hardware: formats that the CPU's products do not have
_ELSEWHERE = ("ANY_F8", "TF32")


def check_algorithm(algorithm: DotAlgorithm | DotAlgorithmPreset) -> None:
    """Refuse the presets that name formats of other hardware."""
    if isinstance(algorithm, DotAlgorithmPreset) and algorithm.name.startswith(_ELSEWHERE):
        raise NotImplementedError(
            f"the algorithm {algorithm.name} is of other hardware: the CPU multiplies in the precision of the "
            "operands; convert them, or leave precision out"
        )
