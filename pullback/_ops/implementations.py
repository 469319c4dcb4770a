"""Implementations of decompositions by name, as programs ask for them: the one that there is is LAPACK's."""

from __future__ import annotations

import enum

from pullback._core.typing import AnyValue


class EighImplementation(enum.Enum):
    """Ways to find eigenvalues of symmetric matrices: QR is LAPACK's, which is used; the others are of other hardware.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> print(lax.linalg.eigh(pnp.eye(2), implementation=lax.linalg.EighImplementation.QR)[1])
    [1. 1.]
    """

    QR = "qr"
    JACOBI = "jacobi"
    QDWH = "qdwh"


class EigImplementation(enum.Enum):
    """Ways to find eigenvalues of any matrix: LAPACK is used; the others are of other hardware.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> print(lax.linalg.eig(pnp.eye(2), implementation=lax.linalg.EigImplementation.LAPACK)[0])
    [1.+0.j 1.+0.j]
    """

    CUSOLVER = "cusolver"
    MAGMA = "magma"
    LAPACK = "lapack"


class SvdAlgorithm(enum.Enum):
    """Ways to find singular values: DEFAULT is LAPACK's by divide and conquer; JACOBI and POLAR are of other hardware.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> print(lax.linalg.svd(pnp.eye(2), compute_uv=False, algorithm=lax.linalg.SvdAlgorithm.DEFAULT))
    [1. 1.]
    """

    DEFAULT = "default"
    QR = "QR"
    JACOBI = "Jacobi"
    POLAR = "polar"
    DIVIDE_AND_CONQUER = "divide_and_conquer"


_HERE = (
    EighImplementation.QR,
    EigImplementation.LAPACK,
    SvdAlgorithm.DEFAULT,
    SvdAlgorithm.QR,
    SvdAlgorithm.DIVIDE_AND_CONQUER,
)


def check_implementation(name: str, kind: type[enum.Enum], asked: AnyValue) -> None:
    """Refuse an implementation that the CPU does not have."""
    if asked is not None and (not isinstance(asked, kind) or asked not in _HERE):
        known = [member.name for member in kind if member in _HERE]
        raise NotImplementedError(
            f"{name}: expected None or one of {known} of {kind.__name__}, LAPACK's on the CPU, got {asked!r}"
        )


def check_magma(name: str, use_magma: bool | None) -> None:
    """Refuse MAGMA, a library for GPUs."""
    if use_magma:
        raise NotImplementedError(f"{name}: use_magma is about GPUs; expected None or False, got {use_magma!r}")
