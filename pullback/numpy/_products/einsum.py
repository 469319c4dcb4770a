"""`einsum`: sums of products of any number of arrays, in the notation that names axes by letters.

A product of two operands is one `dot_general` between a sum over axes that only one of them has and a
transposition of the result; more operands are contracted pairwise, in an order that opt_einsum finds.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, distinct
from pullback._core.errors import boundary
from pullback._core.typing import AnyValue, DTypeLike, Placement
from pullback._ops import compare
from pullback._ops.assemble import broadcasted_iota
from pullback._ops.dot import PrecisionLike, canonical_precision, dot_general_p, is_wider
from pullback._ops.elementwise import mul_p
from pullback._ops.families import scalar_like
from pullback._ops.reduce import reduce_or_p
from pullback._ops.shape import convert_element_type, reduce_sum_p, reshape, transpose
from pullback._ops.sharding_constraint import laid_out
from pullback.numpy._elementwise.promotion import as_operand, cast

__all__ = ["einsum", "einsum_path"]

_LETTERS = string.ascii_letters


# --- reading subscripts ---


def _letter(i: AnyValue) -> str:
    if i is Ellipsis:
        return "..."
    if not isinstance(i, (int, np.integer)) or not 0 <= i < len(_LETTERS):
        raise ValueError(f"einsum: a sublist holds axis numbers from 0 to {len(_LETTERS) - 1} or Ellipsis, got {i!r}")
    return _LETTERS[i]


def _from_sublists(args: Sequence[Any]) -> tuple[str, list[Any]]:
    """The form `einsum(x, [0, 1], y, [1, 2], [0, 2])` as subscripts and operands."""
    pairs, rest = len(args) // 2, args[len(args) // 2 * 2 :]
    operands = [args[2 * i] for i in range(pairs)]
    text = ",".join("".join(map(_letter, args[2 * i + 1])) for i in range(pairs))
    return text + ("->" + "".join(map(_letter, rest[0])) if rest else ""), operands


@lru_cache(maxsize=1024)
def _parse(name: str, subscripts: str, ranks: tuple[int, ...]) -> tuple[tuple[str, ...], str]:
    """The letters of each operand and of the result, an ellipsis replaced by letters that are free."""
    text = subscripts.replace(" ", "")
    given, arrow, out = text.partition("->")
    terms = given.split(",")
    if len(terms) != len(ranks):
        raise ValueError(f"{name}: '{subscripts}' names {len(terms)} operands, got {len(ranks)}")
    for term in (*terms, out):
        bare = term.replace("...", "", 1)
        if not all(c in _LETTERS for c in bare):
            raise ValueError(f"{name}: '{term}' in '{subscripts}': expected letters, and at most one '...'")
    free = [c for c in reversed(_LETTERS) if c not in text]
    hidden = 0
    for term, rank in zip(terms, ranks, strict=True):
        named = len(term.replace("...", ""))
        if "..." in term:
            if rank < named:
                raise ValueError(f"{name}: '{term}' names {named} axes, its operand has {rank}")
            hidden = max(hidden, rank - named)
        elif named != rank:
            raise ValueError(f"{name}: '{term}' in '{subscripts}' names {named} axes, its operand has {rank}")
    dots = "".join(free[:hidden][::-1])
    # an ellipsis of fewer axes aligns with the last ones
    terms = [
        term.replace("...", dots[len(term) - 3 + hidden - rank :] if "..." in term else "")
        for term, rank in zip(terms, ranks, strict=True)
    ]
    if arrow:
        out = out.replace("...", dots)
    else:
        counts = Counter("".join(terms))
        out = dots + "".join(sorted(c for c in counts if counts[c] == 1 and c not in dots))
    if len(set(out)) != len(out):
        raise ValueError(f"{name}: '{subscripts}' names an axis of the result twice")
    unknown = set(out) - set("".join(terms))
    if unknown:
        letters = ", ".join(sorted(unknown))
        raise ValueError(f"{name}: the result of '{subscripts}' names {letters}, which no operand has")
    return tuple(terms), out


def _sizes(name: str, subscripts: str, terms: Sequence[str], shapes: Sequence[tuple[int, ...]]) -> dict[str, int]:
    """The length of every letter's axis; an axis of length 1 stretches."""
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for c, n in zip(term, shape, strict=True):
            known = sizes.get(c, 1)
            if known != 1 and n not in (1, known):
                raise ValueError(
                    f"{name}: axis '{c}' of '{subscripts}' has lengths {known} and {n}, in operands of "
                    f"shapes {', '.join(map(str, shapes))}"
                )
            if known == 1:
                sizes[c] = n
    return sizes


# --- one operand: diagonals, sums, a transposition ---


def _sum(x: Array, axes: tuple[int, ...]) -> Array:
    if not axes:
        return x
    return (reduce_or_p if x.aval.dtype.kind == "b" else reduce_sum_p).bind(x, axes=axes)


def _diagonals(x: Array, term: str) -> tuple[Array, str]:
    """The diagonal of axes with one letter, for each letter that occurs twice."""
    while (c := next((c for c in term if term.count(c) > 1), None)) is not None:
        i = term.index(c)
        j = term.index(c, i + 1)
        shape = x.aval.shape
        square = tuple(shape[a] if a in (i, j) else 1 for a in range(len(shape)))
        index = np.dtype(np.int32)
        mask = compare.eq(broadcasted_iota(index, square, i), broadcasted_iota(index, square, j))
        x = _sum(compare.select_p.bind(mask, x, scalar_like(0, x.aval.dtype)), (j,))
        term = term[:j] + term[j + 1 :]
    return x, term


def _keep(x: Array, term: str, kept: Collection[str], sizes: dict[str, int]) -> tuple[Array, str]:
    """The operand without repeated letters, without axes that stretch, summed over letters that `kept` does
    not hold."""
    if len(set(term)) != len(term):
        x, term = _diagonals(x, term)
    stretched = [i for i, c in enumerate(term) if x.aval.shape[i] != sizes[c]]
    if stretched:
        x = reshape(x, tuple(n for i, n in enumerate(x.aval.shape) if i not in stretched))
        term = "".join(c for i, c in enumerate(term) if i not in stretched)
    axes = tuple(i for i, c in enumerate(term) if c not in kept)
    return _sum(x, axes), "".join(c for c in term if c in kept)


def _arrange(x: Array, term: str, out: str) -> Array:
    return transpose(x, tuple(term.index(c) for c in out)) if term != out else x


# --- two operands ---


@lru_cache(maxsize=4096)
def _pair_plan(left: str, right: str, out: str) -> tuple:
    """The plan for contracting two operands without private sums: (swap, dimension numbers, letters of the
    product)."""
    contract = [c for c in left if c in right and c not in out]
    batch = [c for c in out if c in left and c in right]
    rest = [[c for c in term if c not in batch and c not in contract] for term in (left, right)]
    product = "".join(batch + rest[0] + rest[1])
    swapped = "".join(batch + rest[1] + rest[0])
    swap = product != out and swapped == out
    if swap:
        left, right, product = right, left, swapped
    if not contract:
        return swap, None, product
    numbers = (
        (tuple(map(left.index, contract)), tuple(map(right.index, contract))),
        (tuple(map(left.index, batch)), tuple(map(right.index, batch))),
    )
    return swap, numbers, product


@lru_cache(maxsize=4096)
def _product_plan(
    name: str, subscripts: str, left_shape: tuple[int, ...], right_shape: tuple[int, ...]
) -> tuple | None:
    """The plan for two operands as one `dot_general`: (swap, dimension numbers, permutation or None), or None."""
    terms, out = _parse(name, subscripts, (len(left_shape), len(right_shape)))
    shapes = (left_shape, right_shape)
    sizes = _sizes(name, subscripts, terms, shapes)
    stretched = any(
        sizes[c] != n for term, shape in zip(terms, shapes, strict=True) for c, n in zip(term, shape, strict=True)
    )
    if stretched or not _is_one_product(terms, out) or any(len({*term}) != len(term) for term in terms):
        return None
    swap, numbers, product = _pair_plan(*terms, out)
    return swap, numbers, None if product == out else tuple(map(product.index, out))


def _aligned(x: Array, term: str, product: str) -> Array:
    x = _arrange(x, term, "".join(c for c in product if c in term))
    lengths = dict(zip((c for c in product if c in term), x.aval.shape, strict=True))
    return reshape(x, tuple(lengths.get(c, 1) for c in product))


def _pair(
    x: Array, left: str, y: Array, right: str, out: str, sizes: dict[str, int], exact: bool, dot: Callable[..., Array]
) -> tuple[Array, str]:
    """The contraction of two operands; its axes are in the order of `out` if `exact`, else in that which
    costs least."""
    if not (
        len(set(left)) == len(left)
        and all(c in right or c in out for c in left)
        and x.aval.shape == tuple(map(sizes.__getitem__, left))
    ):
        x, left = _keep(x, left, {*right, *out}, sizes)
    if not (
        len(set(right)) == len(right)
        and all(c in left or c in out for c in right)
        and y.aval.shape == tuple(map(sizes.__getitem__, right))
    ):
        y, right = _keep(y, right, {*left, *out}, sizes)
    # an axis that stretched in one operand may now be private to the other
    private = [c for c in left if c not in right and c not in out]
    if private:
        x, left = _keep(x, left, {*right, *out}, sizes)
    swap, numbers, product = _pair_plan(left, right, out)
    if swap:
        x, left, y, right = y, right, x, left
    if numbers is None:
        multiply = compare.and_p if x.aval.dtype.kind == "b" else mul_p
        z = multiply.bind(_aligned(x, left, product), _aligned(y, right, product))
    else:
        z = dot(x, y, dimension_numbers=numbers)
    return (_arrange(z, product, out), out) if exact else (z, product)


def _is_one_product(terms: tuple[str, ...], out: str) -> bool:
    """Return whether the contraction is one `dot_general`, which handles its result type itself."""
    summed = {*"".join(terms)} - {*out}
    return len(terms) == 2 and bool(summed) and all(term.count(c) == 1 for term in terms for c in summed)


# --- any number of operands ---


@lru_cache(maxsize=1024)
def _path(
    terms: tuple[str, ...], out: str, shapes: tuple[tuple[int, ...], ...], optimize: bool | str | Sequence[Any]
) -> list[tuple[int, ...]]:
    import opt_einsum

    return opt_einsum.contract_path(f"{','.join(terms)}->{out}", *shapes, shapes=True, optimize=optimize)[0]


def _steps(terms, out, shapes, optimize):
    if optimize is False:
        return [(0, 1)] + [(0, len(terms) - 1 - i) for i in range(1, len(terms) - 1)]
    if isinstance(optimize, (list, tuple)):
        optimize = tuple(tuple(step) for step in optimize if not isinstance(step, str))
        return list(optimize)
    return _path(terms, out, shapes, "optimal" if optimize is True else optimize)


def _contract(
    arrays: list[Array],
    terms: list[str],
    out: str,
    sizes: dict[str, int],
    optimize: bool | str | Sequence[Any],
    dot: Callable[..., Array],
) -> Array:
    for step in _steps(tuple(terms), out, tuple(x.aval.shape for x in arrays), optimize):
        chosen = [(arrays[i], terms[i]) for i in step]
        for i in sorted(step, reverse=True):
            del arrays[i], terms[i]
        (x, left), *others = chosen
        while others:
            y, right = others.pop(0)
            needed = {*out, *"".join(terms), *"".join(term for _, term in others)}
            last = not arrays and not others
            target = out if last else "".join(dict.fromkeys(c for c in left + right if c in needed))
            x, left = _pair(x, left, y, right, target, sizes, last, dot)
        arrays.append(x)
        terms.append(left)
    x, left = _keep(arrays[0], terms[0], set(out), sizes)
    return _arrange(x, left, out)


@boundary
def einsum(
    subscripts: str | ArrayLike,
    /,
    *operands: ArrayLike | Sequence[int],
    out: None = None,
    optimize: bool | str | Sequence[Any] = "auto",
    precision: PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
    out_sharding: Placement = None,
    _dot_general: Callable[..., Array] | None = None,
) -> Array:
    """The sum of products that `subscripts` describes: letters name axes, and a letter missing in the result
    is summed.

    `"ij,jk->ik"` is the matrix product. Without `->` the result has the letters that occur once, in
    alphabetical order; `...` stands for axes that broadcast; a letter that occurs twice in one operand takes
    its diagonal. Also called as `einsum(x, [0, 1], y, [1, 2], [0, 2])`. The dtype is the promoted one, or
    `preferred_element_type`. `optimize` selects the order of contractions: a strategy of opt_einsum,
    a path, or False for left to right. `_dot_general` computes the products in place of `lax.dot_general`.
    ValueError if the subscripts do not fit the operands.

    >>> import pullback.numpy as pnp
    >>> pnp.einsum("ij,j->i", pnp.array([[1., 2.], [3., 4.]]), pnp.array([1., 10.]))
    Array([21., 43.], dtype=float32)
    """
    if out_sharding is not None:
        result = einsum(
            subscripts,
            *operands,
            out=out,
            optimize=optimize,
            precision=precision,
            preferred_element_type=preferred_element_type,
            _dot_general=_dot_general,
        )
        return laid_out("einsum", result, out_sharding)
    if out is not None:
        raise NotImplementedError("einsum: the argument 'out' is not supported, arrays are immutable: use the result")
    if not isinstance(subscripts, str):
        subscripts, operands = _from_sublists((subscripts, *operands))  # type: ignore[assignment]
    if not operands:
        raise ValueError("einsum: expected at least one operand after the subscripts")
    return contracted("einsum", subscripts, operands, 1, optimize, precision, preferred_element_type, _dot_general)


def contracted(
    name: str,
    subscripts: str,
    operands: Sequence[Any],
    first: int = 0,
    optimize: bool | str | Sequence[Any] = "auto",
    precision: PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
    dot_general: Callable[..., Array] | None = None,
) -> Array:
    """`einsum` for the function `name`, of which the operands are the arguments from number `first` on."""
    if len(operands) == 2 and precision is None and preferred_element_type is None and dot_general is None:
        x, y = operands
        if isinstance(x, Array) and isinstance(y, Array) and x.dtype == y.dtype and x.weak_type == y.weak_type:
            plan = _product_plan(name, subscripts, x.aval.shape, y.aval.shape)
            if plan is not None:
                swap, numbers, order = plan
                if swap:
                    x, y = y, x
                z = dot_general_p.bind(x, y, dimension_numbers=numbers, precision=None, preferred_element_type=None)
                return z if order is None else transpose(z, order)
    arrays = [as_operand(x, name, i + first) for i, x in enumerate(operands)]
    dtype, weak = dtypes.promote(*[(x.aval.dtype, x.aval.weak_type) for x in arrays])
    arrays = [cast(x, dtype, weak) for x in arrays]
    terms, result = _parse(name, subscripts, tuple([x.aval.ndim for x in arrays]))
    sizes = _sizes(name, subscripts, terms, [x.aval.shape for x in arrays])
    preferred = None if preferred_element_type is None else dtypes.requested_dtype(preferred_element_type)
    if preferred is not None and is_wider(preferred, dtype) and not _is_one_product(terms, result):
        # sums and plain products are computed in their operands' dtype
        arrays = [convert_element_type(x, preferred) for x in arrays]
    precision = canonical_precision(precision)
    dot = partial(dot_general or dot_general_p.bind, precision=precision, preferred_element_type=preferred)
    if len(arrays) == 1:
        z, term = _keep(arrays[0], terms[0], set(result), sizes)
        z = distinct(_arrange(z, term, result), operands[0])
    elif len(arrays) == 2:
        z, _ = _pair(arrays[0], terms[0], arrays[1], terms[1], result, sizes, True, dot)
    else:
        z = _contract(arrays, list(terms), result, sizes, optimize, dot)
    return convert_element_type(z, dtype if preferred is None else preferred, weak and preferred is None)


@boundary
def einsum_path(
    subscripts: str | ArrayLike, /, *operands: ArrayLike | Sequence[int], optimize: bool | str | Sequence[Any] = "auto"
) -> tuple[list[tuple[int, ...]], Any]:
    """The order of contractions that `einsum` would take, and opt_einsum's account of its cost.

    ValueError if the subscripts do not fit the operands.

    >>> import pullback.numpy as pnp
    >>> pnp.einsum_path("ij,jk,kl", *[pnp.ones((2, 2))] * 3)[0]
    [(0, 1), (0, 1)]
    """
    import opt_einsum

    if not isinstance(subscripts, str):
        subscripts, operands = _from_sublists((subscripts, *operands))  # type: ignore[assignment]
    shapes = [tuple(np.shape(x)) for x in operands]
    return opt_einsum.contract_path(subscripts, *shapes, shapes=True, optimize=optimize)
