"""Flat functions that remember: the structure of their result, or a second result."""

import numpy as np
import pytest

from pullback._core.flat_function import FlatFunction, WithAux
from pullback.tree_util import tree_structure


def halves(p, x):
    return {"a": p["w"] / 2, "b": [x / 2]}


def test_the_structure_of_the_result_is_kept():
    flat = FlatFunction("test", halves, tree_structure(({"w": 0}, 0)))
    assert [float(out) for out in flat(2.0, 4.0)] == [1.0, 2.0]
    assert flat.out_tree == tree_structure({"a": 0, "b": [0]})


def test_another_function_may_be_called_and_the_first_is_named():
    def text(args):
        return "text"

    def call(args, keywords):
        return halves(*args, **keywords)

    flat = FlatFunction("test", halves, tree_structure((({"w": 0},), {"x": 0})), call)
    assert [float(out) for out in flat(2.0, 4.0)] == [1.0, 2.0]
    with pytest.raises(TypeError, match="test: halves must return arrays or numbers"):
        FlatFunction("test", halves, tree_structure((0,)), text)(1.0)


def test_a_second_result_is_kept():
    @WithAux
    def split(x):
        return [x, -x], "two"

    np.testing.assert_array_equal(split(3.0), [3.0, -3.0])
    assert split.aux == "two"
