"""Symbolic dimensions: their arithmetic, what is decided of them, and the values of their variables."""

import itertools
import math
import operator

import numpy as np
import pytest

from pullback import errors, export
from pullback._core.dimension_values import Unsolved, evaluated, solved, steps_to_solve, variables
from pullback._core.dimensions import max_dim, min_dim
from pullback._core.types import at_least, at_most

B, N = export.symbolic_shape("b, n")
TEXTS = (
    "b + n|2*b*n + b + 3|b^2 - n|floordiv(b, 2)|mod(b + 1, 3)|3 - b|max(b, n) + 1|min(b, 4)*n|floordiv(4*b + n + 1, 2)|"
    "floordiv(- b, 3)|mod(- b, 3)|mod(7*b + n, 7)|floordiv(b*n + b, b)|floordiv(b^2 - n^2, b + n)|mod(b*n + 2, n)"
).split("|")


def python_value(text, b, n):
    """What Python makes of an expression with numbers."""
    names = {"b": b, "n": n, "floordiv": operator.floordiv, "mod": operator.mod, "max": max, "min": min}
    return eval(text.replace("^", "**"), {}, names)


@pytest.mark.parametrize("text", TEXTS)
def test_an_expression_has_the_values_of_pythons_arithmetic(text):
    (d,) = export.symbolic_shape(text)
    for b, n in itertools.product(range(1, 9), repeat=2):
        assert evaluated(d, {"b": b, "n": n}) == python_value(text, b, n), (b, n)


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_printed_is_read_again(text):
    (d,) = export.symbolic_shape(text)
    (again,) = export.symbolic_shape(str(d))
    assert str(again) == str(d)
    if isinstance(d, int):
        assert again == d
    else:
        assert again.terms == d.terms


def test_normal_forms():
    assert B + N == N + B
    assert hash(B * N) == hash(N * B)
    assert B - B == 0
    assert type(B - B) is int
    assert (2 * B * N) // B == 2 * N
    assert (2 * B * N) % N == 0
    assert (4 * B + 6) // 2 == 2 * B + 3
    assert (4 * B + 3) % 2 == 1
    assert (B * B - N * N) // (B - N) == B + N
    assert divmod(6 * B, 3) == (2 * B, 0)
    assert B * -1 + B == 0
    assert B**2 == B * B
    assert B**0 == 1
    assert math.prod((B, 2, N)) == 2 * B * N
    assert B != 3
    assert B != N
    assert np.int64(2) * B == 2 * B
    assert [str(d) for d in (B + N, 3 - B, B - N, 2 - 3 * B * N)] == ["n + b", "- b + 3", "- n + b", "- 3*b*n + 2"]


def test_comparisons_that_the_variables_do_not_matter_for():
    assert B >= 1
    assert B > 0
    assert B + N >= 2
    assert B * N >= 1
    assert B // 2 <= B
    assert B % 3 < 3
    assert 2 * (B // 2) <= B
    assert not B < 1
    assert not B == 0
    assert max_dim(B, N) >= B
    assert min_dim(B, N) <= N
    assert bool(B)
    assert max_dim(B, 0) == B
    assert min_dim(B, 0) == 0
    assert at_least(B, 1)
    assert not at_least(B, 2)
    assert not at_most(B, 100)
    assert at_most(min_dim(B, 8), 8)
    assert at_least(7, 3)
    assert at_most(3, 7)


@pytest.mark.parametrize("question", ["b >= 2", "n > b", "b < n", "b <= 7", "max(b, n) >= 3", "mod(b, 2) >= 1"])
def test_other_comparisons_are_refused(question):
    with pytest.raises(errors.InconclusiveDimensionOperation, match="depends on the variables") as caught:
        eval(question, {}, {"b": B, "n": N, "max": max_dim, "mod": operator.mod})
    # the constraints that the message names decide it
    told = [part.split('"')[0] for part in str(caught.value).split('["')[1:]]
    for constraint, answer in zip(told, (True, False), strict=True):
        b, n = export.symbolic_shape("b, n", constraints=[constraint])
        assert eval(question, {}, {"b": b, "n": n, "max": max_dim, "mod": operator.mod}) is answer


def test_a_dimension_is_no_number():
    for use in (range, np.zeros, float, [1, 2].__getitem__):
        with pytest.raises(errors.InconclusiveDimensionOperation, match="symbolic dimension b was used where a number"):
            use(B)
    with pytest.raises(ZeroDivisionError):
        B // 0


def test_constraints():
    a, b, c = export.symbolic_shape("a, b, c", constraints=["a >= b", "mod(a, 2) == 0", "a <= 8", "c == 2*b"])
    assert a >= b
    assert a % 2 == 0
    assert a <= 8
    assert b <= 8
    assert 2 * (a // 2) >= a
    assert c == 2 * b
    assert c * a == 2 * a * b
    for text in ("a > b", "a", "a + b == 2", "a >= b >= c"):
        with pytest.raises(ValueError, match="SymbolicScope"):
            export.SymbolicScope([text])
    with pytest.raises(ValueError, match="holds for no values"):
        export.SymbolicScope(["1 >= 2"])


def test_scopes_do_not_mix():
    (other,) = export.symbolic_shape("b")
    assert other != B
    with pytest.raises(ValueError, match="belong to different scopes"):
        other + B
    (same,) = export.symbolic_shape("b", scope=B.scope)
    assert same == B


@pytest.mark.parametrize(
    ("text", "like", "shape"),
    [("b, ...", (2, 3, 4), "(b, 3, 4)"), ("_, b", (3, 4), "(3, b)"), (None, (5,), "(5,)"), ("()", None, "()"),
     ("(b, 4)", None, "(b, 4)"), ("b,", None, "(b,)"), ("7", (7,), "(7,)"), ("", None, "()")],
)  # fmt: skip
def test_shapes_as_texts(text, like, shape):
    assert str(export.symbolic_shape(text, like=like)) == shape


@pytest.mark.parametrize(
    ("text", "like"),
    [("b, ...", None), ("_", None), ("b, c", (1,)), ("3", (4,)), ("b c", None), ("b/2", None), ("f(b)", None),
     ("b.__class__", None), ("b**70", None), ("_", (None,)), ("b" * 2000, None), ("1.5", None),
     ("((9^64)^64)^64", None), ("(a+b)^64*(c+d)^64", None)],
)  # fmt: skip
def test_other_texts_are_refused(text, like):
    with pytest.raises(ValueError, match=r"symbolic_shape|no dimension|more than 50 terms"):
        export.symbolic_shape(text, like=like)


def test_values_of_variables():
    shape = export.symbolic_shape("2*n + 1, n + b, floordiv(b, 2)")
    assert [step.name for step in steps_to_solve([shape])] == ["n", "b"]
    assert solved([shape], [(7, 8, 2)], str) == {"n": 3, "b": 5}
    assert variables(shape[1]) == ["n", "b"]
    for sizes, message in [((8, 8, 2), "no n from 1"), ((7, 8, 3), "which is 2 where"), ((7, 3, 0), "no b from 1")]:
        with pytest.raises(ValueError, match=message):
            solved([shape], [sizes], str)
    with pytest.raises(Unsolved, match="the values of b, n do not follow"):
        steps_to_solve([export.symbolic_shape("b*n, b + n")])
    bounded = export.symbolic_shape("a, b", constraints=["a >= b"])
    with pytest.raises(ValueError, match="break a constraint"):
        solved([bounded], [(2, 3)], str)


def test_long_expressions_take_no_time():
    """A file may say them."""
    text = "max(" + "+".join(f"mod(a{i},{i + 2})" for i in range(25)) + ",3*b)"
    (d,) = export.symbolic_shape(f"{text}+max({text},c)")
    assert len(variables(d)) == 27
