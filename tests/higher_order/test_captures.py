"""What the search for captured values finds, and what it does not: by where a rule keeps the value that it refers to.

The function is y x, and its rule says d/dx = 10 y. With x = y the derivative is 10 y + y where the value is found.
"""

import collections
import functools
import types
import weakref

import numpy as np
import pytest
from wrappers import jit_of_grad

import pullback as pb
from pullback import custom_jvp, errors, grad, jit


def with_rule(read):
    """A function with a jvp rule; both take the value of y by calling `read`, which the search finds."""

    @custom_jvp
    def times(x):
        return read() * x

    @times.defjvp
    def times_jvp(primals, tangents):
        return times(*primals), 10.0 * read() * tangents[0]

    return times


# ---- where a function finds y: found


def closure(y):
    return lambda: y


def nested_closure(y):
    inner = closure(y)
    return lambda: inner()


def default(y):
    return lambda y=y: y


def keyword_default(y):
    return lambda *, y=y: y


def partial_argument(y):
    return functools.partial(lambda y: y, y)


def partial_keyword(y):
    return functools.partial(lambda *, y: y, y=y)


def in_a_list(y):
    held = [0, [y]]
    return lambda: held[1][0]


def in_a_deque(y):
    held = collections.deque([y])
    return lambda: held[0]


def in_a_dict(y):
    held = {"y": (y,)}
    return lambda: held["y"][0]


class Holder:
    def __init__(self, y):
        self.y = y

    def read(self):
        return self.y

    @property
    def computed(self):
        return self.y


class SlotHolder:
    __slots__ = ("y",)


def in_an_attribute(y):
    held = Holder(y)
    return lambda: held.y


def bound_method(y):
    return Holder(y).read


def behind_a_property(y):
    held = Holder(y)
    return lambda: held.computed


def in_a_slot(y):
    held = SlotHolder()
    held.y = y
    return lambda: held.y


def in_a_namespace(y):
    held = types.SimpleNamespace(y=y)
    return lambda: held.y


def in_a_compiled_function(y):
    return jit(lambda: y)


def in_another_function_with_rules(y):
    inner = pb.custom_vjp(lambda x: y * x)
    inner.defvjp(lambda x: (inner(x), None), lambda _, ct: (y * ct,))
    return lambda: inner(1.0)


FOUND = [
    closure,
    nested_closure,
    default,
    keyword_default,
    partial_argument,
    partial_keyword,
    in_a_list,
    in_a_deque,
    in_a_dict,
    in_an_attribute,
    bound_method,
    behind_a_property,
    in_a_slot,
    in_a_namespace,
    in_a_compiled_function,
    in_another_function_with_rules,
]


@pytest.mark.parametrize("keep", FOUND)
@pytest.mark.parametrize("transform", [grad, jit_of_grad, pb.jacfwd])
def test_a_value_is_found(keep, transform):
    def f(y):
        return with_rule(keep(y))(y)

    assert float(transform(f)(2.0)) == 10 * 2 + 2


# ---- not found


def in_a_global(y):
    globals()["KEPT"] = y
    return lambda: KEPT  # noqa: F821


class ClassHolder:
    y = None


def in_a_class(y):
    ClassHolder.y = y
    return lambda: ClassHolder.y


def in_an_attribute_of_a_function(y):
    def read():
        return read.y

    read.y = y
    return read


def behind_a_weak_reference(y):
    held = Holder(y)
    globals()["KEPT"] = held  # alive
    reference = weakref.ref(held)
    return lambda: reference().y


def in_a_generator(y):
    held = (lambda y: (y for _ in range(99)))(y)
    return lambda: next(held)


def in_an_array_of_objects(y):
    held = np.empty(1, object)
    held[0] = y
    return lambda: held[0]


def beyond_two_thousand_objects(y):
    held = [y, [[] for _ in range(2000)]]
    return lambda: held[0]


NOT_FOUND = [
    in_a_global,
    in_a_class,
    in_an_attribute_of_a_function,
    behind_a_weak_reference,
    in_a_generator,
    in_an_array_of_objects,
    beyond_two_thousand_objects,
]


@pytest.mark.parametrize("keep", NOT_FOUND)
@pytest.mark.parametrize("transform", [grad, jit_of_grad, pb.jacfwd])
def test_a_value_that_is_not_found_is_refused(keep, transform):
    def f(y):
        return with_rule(keep(y))(y)

    with pytest.raises(errors.UnexpectedTracerError, match="pass it as an argument"):
        transform(f)(2.0)


@pytest.mark.parametrize("transform", [grad, pb.jacfwd])
def test_a_name_that_stood_for_a_class_is_not_looked_at_again(transform):
    def f(y):
        scale = Holder
        times = custom_jvp(lambda x: scale * x)
        times.defjvp(lambda primals, tangents: (times(*primals), 10.0 * scale * tangents[0]))
        scale = y
        return times(y)

    with pytest.raises(errors.UnexpectedTracerError, match="pass it as an argument"):
        transform(f)(2.0)


def test_a_value_that_comes_after_the_call_is_refused():
    def f(y):
        later = []
        times = pb.custom_vjp(lambda x: 2.0 * x)
        times.defvjp(lambda x: (times(x), None), lambda _, ct: (later[0] * ct,))
        result = times(y)
        later.append(y)
        return result

    with pytest.raises(errors.UnexpectedTracerError, match="pass it as an argument"):
        grad(f)(2.0)


def test_tracing_finds_what_the_function_uses_wherever_it_is():
    def f(y):
        return jit(with_rule(in_a_global(y)))(y)

    np.testing.assert_array_equal(pb.vmap(f)(np.array([1.0, 2.0])), [1.0, 4.0])
