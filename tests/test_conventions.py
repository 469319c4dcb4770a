"""docs/conventions.md says what derivatives are where there is none: every line of its tables is checked."""

from __future__ import annotations

import pathlib
import re

import jax
import jax.numpy as jnp
import jax.scipy.special
import jax.scipy.stats
import numpy as np
import pytest

import pullback as pb
import pullback.nn
import pullback.numpy as pnp
import pullback.scipy.special
import pullback.scipy.stats

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "conventions.md"
NUMBERS = {"inf": np.inf, "nan": np.nan}


def rows():
    """The lines of the tables: function, point, and the values under pullback and JAX."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


ROWS = rows()


def names_of(lib, numpy, nn, scipy):
    everything = {name: getattr(numpy, name) for name in dir(numpy) if not name.startswith("_")}
    return {
        **everything,
        **NUMBERS,
        "nn": nn,
        "special": scipy.special,
        "stats": scipy.stats,
        "lax": lib.lax,
        "linalg": numpy.linalg,
        "vmap": lib.vmap,
        "cond": lib.lax.cond,
    }


PULLBACK = names_of(pb, pnp, pb.nn, pb.scipy)
JAX = names_of(jax, jnp, jax.nn, jax.scipy)


def total(names, expression):
    """The function of a line as a real number."""
    code = compile(expression.strip("`"), "conventions.md", "eval")

    def fun(*args):
        value = eval(code, {**names, **dict(zip("xyz", args, strict=False))}).sum()
        return value.real if value.dtype.kind == "c" else value

    return fun


def arguments(names, point):
    return [names["array"](p) for p in eval(f"({point.strip('`')},)", dict(NUMBERS))]


def check(derivatives, cell):
    expected = eval(f"({cell},)", dict(NUMBERS))
    assert len(derivatives) == len(expected)
    for got, right in zip(derivatives, expected, strict=True):
        # the page gives five digits
        np.testing.assert_allclose(np.asarray(got), np.broadcast_to(right, np.shape(got)), rtol=1e-4)


def names_of_rows(row):
    return f"{row[0]} at {row[1]}".replace("`", "")


def test_the_page_has_its_tables():
    assert len(ROWS) > 100
    assert {len(row) for row in ROWS} == {6}
    assert len({(row[0], row[1]) for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=names_of_rows)
def test_pullback(row):
    expression, point, expected = row[:3]
    fun, args = total(PULLBACK, expression), arguments(PULLBACK, point)
    everything = tuple(range(len(args)))
    check(pb.grad(fun, everything)(*args), expected)
    check(pb.jit(pb.grad(fun, everything))(*args), expected)
    if not any(x.dtype.kind == "c" for x in args):
        # zero times an infinite slope is nan: in forward mode the slope by one number reaches the results of the others
        if "inf" not in expected and "nan" not in expected:
            check(pb.jacfwd(fun, everything)(*args), expected)
        check([rows[0] for rows in pb.vmap(pb.grad(fun, everything))(*[pnp.stack([x, x]) for x in args])], expected)


@pytest.mark.parametrize("row", ROWS, ids=names_of_rows)
def test_jax(row):
    expression, point, _, expected = row[:4]
    fun, args = total(JAX, expression), arguments(JAX, point)
    derivative = jax.grad(fun, tuple(range(len(args))))
    if expected == "refused":
        with pytest.raises(NotImplementedError):
            derivative(*args)
    else:
        check(derivative(*args), expected)
