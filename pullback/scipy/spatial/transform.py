"""Rotations of three-dimensional space, as in `scipy.spatial.transform`.

A rotation by the angle t about the unit vector u is held as the quaternion (x, y, z, w) = (sin(t/2) u, cos(t/2)); an
array of rotations has leading axes. Formulas: Kuipers, Quaternions and Rotation Sequences (1999); Euler angles from
quaternions by Bernardes and Viollet, PLOS ONE 17 (2022).
"""

from __future__ import annotations

import itertools
import math
import typing as _typing
from collections.abc import Sequence
from typing import Any, NamedTuple

import pullback.numpy as pnp
from pullback import random
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary, described
from pullback._core.lazy import attributes as _attributes
from pullback._core.typing import DTypeLike
from pullback.numpy._elementwise.promotion import FLOAT, promote_operands

__all__ = ["Rotation", "Slerp"]


class Rotation(NamedTuple):
    """Rotations of space, given by unit quaternions (x, y, z, w) in the last axis of an array.

    Make one with `from_quat`, `from_matrix`, `from_rotvec`, `from_mrp`, `from_euler`, `identity` or `random`. `p * q`
    rotates by `q` first, then by `p`. It is a pytree with the one leaf `quat`, and everything is differentiable.

    Raises: ValueError for arrays whose last axes do not hold what the method reads.

    >>> import pullback.numpy as pnp
    >>> from pullback.scipy.spatial.transform import Rotation
    >>> quarter = Rotation.from_euler("z", 90., degrees=True)
    >>> print(quarter.apply(pnp.array([1., 0., 0.])).round(3))
    [0. 1. 0.]
    """

    quat: Array

    @classmethod
    @boundary
    def concatenate(cls, rotations: Sequence[Rotation]) -> Rotation:
        """All rotations of a sequence of arrays of them, in one."""
        return cls(pnp.concatenate([rotation.quat for rotation in rotations]))

    @classmethod
    @boundary
    def from_quat(cls, quat: ArrayLike) -> Rotation:
        """From quaternions of shape (..., 4), of any length above 0."""
        return cls(_unit(_vectors("Rotation.from_quat", "quat", quat, 4)))

    @classmethod
    @boundary
    def from_matrix(cls, matrix: ArrayLike) -> Rotation:
        """From orthogonal matrices of determinant 1, of shape (..., 3, 3)."""
        m = _vectors("Rotation.from_matrix", "matrix", matrix, 3, 3)
        trace = m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2]
        diagonal = [m[..., i, i] for i in range(3)]
        # each of the four components times the quaternion, of which the one with the largest factor is read
        rows = []
        for i in range(3):
            j, k = (i + 1) % 3, (i + 2) % 3
            parts: list[Any] = [None] * 4
            parts[i] = 1 - trace + 2 * diagonal[i]
            parts[j] = m[..., j, i] + m[..., i, j]
            parts[k] = m[..., k, i] + m[..., i, k]
            parts[3] = m[..., k, j] - m[..., j, k]
            rows.append(pnp.stack(parts, -1))
        turn = [m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]]
        rows.append(pnp.stack([*turn, 1 + trace], -1))
        choice = pnp.argmax(pnp.stack([*diagonal, trace], -1), -1)[..., None]
        quat = rows[3]
        for i in range(3):
            quat = pnp.where(choice == i, rows[i], quat)
        return cls(_unit(quat))

    @classmethod
    @boundary
    def from_rotvec(cls, rotvec: ArrayLike, degrees: bool = False) -> Rotation:
        """From vectors of shape (..., 3) along the axis, as long as the angle."""
        v = _vectors("Rotation.from_rotvec", "rotvec", rotvec, 3)
        if degrees:
            v = pnp.deg2rad(v)
        square = (v * v).sum(-1, keepdims=True)
        # sin(t / 2) / t and cos(t / 2) by their series in t**2 near 0, where the root has no derivatives
        near = square < 0.01
        half = pnp.sqrt(pnp.where(near, 1, square)) / 2
        sine = pnp.where(near, _series(square, _SINE), pnp.sin(half) / (2 * half))
        cosine = pnp.where(near, _series(square, _COSINE), pnp.cos(half))
        return cls(pnp.concatenate([sine * v, cosine], -1))

    @classmethod
    @boundary
    def from_mrp(cls, mrp: ArrayLike) -> Rotation:
        """From modified Rodrigues parameters of shape (..., 3): vectors along the axis, of length tan(angle / 4)."""
        v = _vectors("Rotation.from_mrp", "mrp", mrp, 3)
        square = (v * v).sum(-1, keepdims=True)
        return cls(pnp.concatenate([2 * v, 1 - square], -1) / (1 + square))

    @classmethod
    @boundary
    def from_euler(cls, seq: str, angles: ArrayLike, degrees: bool = False) -> Rotation:
        """From angles about up to three axes, applied one after the other.

        `seq` names the axes: "xyz" are fixed (extrinsic), "XYZ" turn along (intrinsic). `angles` has shape (..., n)
        for n axes; for one axis a number or, for several rotations, a vector of shape (m, 1).
        """
        axes, extrinsic = _axes("Rotation.from_euler", seq, (1, 2, 3))
        (values,) = promote_operands("Rotation.from_euler", FLOAT, angles)
        values = pnp.atleast_1d(values)
        if values.shape[-1] != len(axes):
            raise ValueError(
                f"Rotation.from_euler: angles must have {len(axes)} in the last axis, one for each of {seq!r}, got "
                f"shape {values.shape}"
            )
        values = values.astype(values.dtype)  # rotations are not weakly typed
        half = (pnp.deg2rad(values) if degrees else values) / 2
        quat: Array | None = None
        for i, axis in enumerate(axes):
            parts = [pnp.zeros_like(half[..., i])] * 3 + [pnp.cos(half[..., i])]
            parts[axis] = pnp.sin(half[..., i])
            turn = pnp.stack(parts, -1)
            quat = turn if quat is None else _product(turn, quat) if extrinsic else _product(quat, turn)
        assert quat is not None
        return cls(quat)

    @classmethod
    @boundary
    def identity(cls, num: int | None = None, dtype: DTypeLike = float) -> Rotation:
        """The rotation by no angle, or `num` of them."""
        quat = pnp.array([0.0, 0.0, 0.0, 1.0], dtype=dtype)
        return cls(quat if num is None else pnp.tile(quat, (num, 1)))

    @classmethod
    @boundary
    def random(cls, random_key: Array, num: int | None = None) -> Rotation:
        """A uniformly distributed rotation, or `num` of them."""
        return cls(_unit(random.normal(random_key, (4,) if num is None else (num, 4))))

    @property
    def single(self) -> bool:
        """Whether it is one rotation, no array of them."""
        return self.quat.ndim == 1

    def __getitem__(self, indexer: Any) -> Any:
        if self.single:
            raise TypeError("a single Rotation has no entries")
        return Rotation(self.quat[indexer])

    def __len__(self) -> int:
        if self.single:
            raise TypeError("a single Rotation has no len()")
        return self.quat.shape[0]

    def __mul__(self, other: Any) -> Any:
        if not isinstance(other, Rotation):
            return NotImplemented
        return Rotation.from_quat(_product(self.quat, other.quat))

    @boundary
    def apply(self, vectors: ArrayLike, inverse: bool = False) -> Array:
        """The vectors of shape (..., 3), rotated; with `inverse` the other way."""
        v = _vectors("Rotation.apply", "vectors", vectors, 3)
        matrix = self.as_matrix()
        return pnp.einsum("...ji,...j->...i" if inverse else "...ij,...j->...i", matrix, v)

    @boundary
    def as_matrix(self) -> Array:
        """Orthogonal matrices of shape (..., 3, 3)."""
        x, y, z, w = (self.quat[..., i] for i in range(4))
        rows = (
            (x * x - y * y - z * z + w * w, 2 * (x * y - z * w), 2 * (x * z + y * w)),
            (2 * (x * y + z * w), -x * x + y * y - z * z + w * w, 2 * (y * z - x * w)),
            (2 * (x * z - y * w), 2 * (y * z + x * w), -x * x - y * y + z * z + w * w),
        )
        return pnp.stack([pnp.stack(row, -1) for row in rows], -2)

    @boundary
    def as_quat(self, canonical: bool = False, scalar_first: bool = False) -> Array:
        """Quaternions (x, y, z, w) of shape (..., 4), or (w, x, y, z) with `scalar_first`.

        Of the two that stand for a rotation, `canonical` takes the one whose w is positive, or if w is 0 the first
        of x, y and z that is not 0.
        """
        quat = self.quat
        if canonical:
            first = quat[..., 2]
            for i in (1, 0, 3):
                first = pnp.where(quat[..., i] == 0, first, quat[..., i])
            quat = pnp.where(first[..., None] < 0, -quat, quat)
        return pnp.roll(quat, 1, -1) if scalar_first else quat

    @boundary
    def as_rotvec(self, degrees: bool = False) -> Array:
        """Vectors of shape (..., 3) along the axis, as long as the angle, which is at most pi."""
        quat = _upper(self.quat)
        v, w = quat[..., :3], quat[..., 3:]
        square = (v * v).sum(-1, keepdims=True)
        # the angle over the sine of its half, by its series in the square of that near 0
        near = square < 1e-4
        sine = pnp.sqrt(pnp.where(near, 1, square))
        factor = pnp.where(near, _series(square, _ANGLE), 2 * pnp.arctan2(sine, w) / sine)
        return (pnp.rad2deg(factor) if degrees else factor) * v

    @boundary
    def as_mrp(self) -> Array:
        """Modified Rodrigues parameters of shape (..., 3): vectors along the axis, of length tan(angle / 4)."""
        quat = _upper(self.quat)
        return quat[..., :3] / (1 + quat[..., 3:])

    @boundary
    def as_euler(self, seq: str, degrees: bool = False) -> Array:
        """Angles of shape (..., 3) about three axes, named as for `from_euler`, neighbours of which differ.

        The first and third are in [-pi, pi), the second in [0, pi] if the first axis is the third, else in
        [-pi/2, pi/2]. Where only the sum or the difference of the others is determined, the third is 0.
        """
        axes, extrinsic = _axes("Rotation.as_euler", seq, (3,))
        i, j, k = axes if extrinsic else axes[::-1]
        proper = i == k
        if proper:
            k = 3 - i - j
        sign = (i - j) * (j - k) * (k - i) // 2
        x = [self.quat[..., n] for n in range(4)]
        if proper:
            a, b, c, d = x[3], x[i], x[j], sign * x[k]
        else:
            a, b, c, d = x[3] - x[j], x[i] + sign * x[k], x[j] + x[3], sign * x[k] - x[i]
        middle = 2 * pnp.arctan2(pnp.hypot(c, d), pnp.hypot(a, b))
        eps = 1e-7
        low, high = abs(middle) <= eps, abs(middle - math.pi) <= eps
        # an angle of nothing would have a derivative that is nan
        total = pnp.arctan2(pnp.where(high, 0, b), pnp.where(high, 1, a))
        difference = pnp.arctan2(pnp.where(low, 0, d), pnp.where(low, 1, c))
        turned = -difference if extrinsic else difference
        first = pnp.where(low, 2 * total, pnp.where(high, 2 * turned, total + turned))
        third = pnp.where(low | high, 0, total - turned)
        if not proper:
            first, third = (first, sign * third) if extrinsic else (sign * first, third)
            middle = middle - math.pi / 2
        angles = pnp.stack([first, middle, third], -1)
        angles = (angles + math.pi) % (2 * math.pi) - math.pi
        return pnp.rad2deg(angles) if degrees else angles

    @boundary
    def inv(self) -> Rotation:
        """The rotations the other way."""
        return Rotation(pnp.concatenate([-self.quat[..., :3], self.quat[..., 3:]], -1))

    @boundary
    def magnitude(self) -> Array:
        """The angles, from 0 to pi."""
        return 2 * pnp.arctan2(pnp.linalg.norm(self.quat[..., :3], axis=-1), abs(self.quat[..., 3]))

    @boundary
    def mean(self, weights: ArrayLike | None = None) -> Rotation:
        """The rotation nearest to all of a vector of rotations, in the sum of squared distances of matrices.

        `weights` of shape (n,) for n rotations. Markley et al., J. Guidance, Control and Dynamics 30 (2007).
        """
        count = len(self)
        w = pnp.ones(count, self.quat.dtype) if weights is None else pnp.asarray(weights, dtype=self.quat.dtype)
        if w.shape != (count,):
            raise ValueError(f"Rotation.mean: weights must have shape ({count},), got {w.shape}")
        return Rotation(pnp.linalg.eigh((w * self.quat.T) @ self.quat)[1][:, -1])


class Slerp(NamedTuple):
    """Rotations between given ones, each turned into the next with constant speed.

    Make one with `Slerp.init(times, rotations)`; then `slerp(t)` is the rotation at the time `t`. It is a pytree.

    Raises: TypeError for anything but rotations, ValueError for less than two and for other than one time for each.

    >>> import pullback.numpy as pnp
    >>> from pullback.scipy.spatial.transform import Rotation, Slerp
    >>> slerp = Slerp.init(pnp.array([0., 1.]), Rotation.from_euler("z", pnp.array([[0.], [90.]]), degrees=True))
    >>> print(slerp(0.5).magnitude().round(4))
    0.7854
    """

    times: Array
    timedelta: Array
    rotations: Rotation
    rotvecs: Array

    @classmethod
    @boundary
    def init(cls, times: ArrayLike, rotations: Rotation) -> Slerp:
        """The path through `rotations`, n of them, at the n rising `times`."""
        if not isinstance(rotations, Rotation):
            raise TypeError(f"Slerp.init: rotations must be a Rotation, got {described(rotations)}")
        if rotations.single or len(rotations) < 2:
            raise ValueError("Slerp.init: rotations must be at least two")
        at = pnp.asarray(times, dtype=rotations.quat.dtype)
        if at.shape != (len(rotations),):
            raise ValueError(
                f"Slerp.init: times must be a vector of one time for each of {len(rotations)} rotations, got shape "
                f"{at.shape}"
            )
        before, after = Rotation(rotations.quat[:-1]), Rotation(rotations.quat[1:])
        return cls(at, pnp.diff(at), before, (before.inv() * after).as_rotvec())

    @boundary
    def __call__(self, times: ArrayLike) -> Rotation:
        """The rotation at a time, or the rotations at a vector of times."""
        at = pnp.asarray(times, dtype=self.times.dtype)
        if at.ndim > 1:
            raise ValueError(f"Slerp: times must be a number or a vector, got shape {at.shape}")
        last = self.timedelta.shape[0] - 1
        i = pnp.clip(pnp.searchsorted(self.times, at) - 1, 0, last)
        part = (at - self.times[i]) / self.timedelta[i]
        return Rotation(self.rotations.quat[i]) * Rotation.from_rotvec(self.rotvecs[i] * part[..., None])


def _vectors(name: str, argument: str, x: ArrayLike, *shape: int) -> Array:
    """A floating array whose last axes have these lengths."""
    (array,) = promote_operands(name, FLOAT, x)
    if array.shape[-len(shape) :] != shape:
        wanted = ", ".join(map(str, shape))
        raise ValueError(f"{name}: {argument} must have shape (..., {wanted}), got {array.shape}")
    return array


def _axes(name: str, seq: Any, counts: tuple[int, ...]) -> tuple[list[int], bool]:
    """The indices of the axes that a string names, and whether they are fixed."""
    fixed = isinstance(seq, str) and seq.islower()
    known = "xyz" if fixed else "XYZ"
    if (
        not isinstance(seq, str)
        or len(seq) not in counts
        or not set(seq) <= set(known)
        or any(a == b for a, b in itertools.pairwise(seq))
    ):
        count = "three" if counts == (3,) else "one to three"
        raise ValueError(
            f"{name}: seq must name {count} axes, of 'xyz' or of 'XYZ', of which neighbours differ, got {seq!r}"
        )
    return [known.index(axis) for axis in seq], fixed


# coefficients of the powers of a square s = t**2: of sin(t / 2) / t, of cos(t / 2), and of 2 arcsin(t) / t
_SINE = [(-1) ** k / (2 ** (2 * k + 1) * math.factorial(2 * k + 1)) for k in range(6)]
_COSINE = [(-1) ** k / (4**k * math.factorial(2 * k)) for k in range(6)]
_ANGLE = [2 * math.comb(2 * k, k) / (4**k * (2 * k + 1)) for k in range(5)]


def _series(square: Array, coefficients: Sequence[float]) -> Array:
    total = pnp.full_like(square, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = total * square + coefficient
    return total


def _unit(quat: Array) -> Array:
    return quat / pnp.linalg.norm(quat, axis=-1, keepdims=True)


def _upper(quat: Array) -> Array:
    """The quaternion of a rotation by at most pi."""
    return pnp.where(quat[..., 3:] < 0, -quat, quat)


def _product(p: Array, q: Array) -> Array:
    """Hamilton's product."""
    u, a, v, b = p[..., :3], p[..., 3:], q[..., :3], q[..., 3:]
    return pnp.concatenate(
        [a * v + b * u + pnp.cross(u, v), a * b - (u * v).sum(-1, keepdims=True)],
        -1,
    )


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
