"""Messages name what users know: arrays and trees, no class of ours."""

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax

INTERNAL = ("Tracer", "ConcreteArray", "PyTreeDef", "Tape", "Node<", "BatchTrace")


def refused(fun, *args):
    with pytest.raises((TypeError, ValueError)) as caught:
        fun(*args)
    return str(caught.value)


def switch_without_branches(x):
    return lax.switch(0, x, x)


def shape_of_a_tracer(n):
    return pnp.zeros(n)


def decimals_of_a_tracer(x):
    return pnp.round(1.5, x)


def stack_of_what_is_no_sequence(x):
    return pnp.stack({"x": x})


def index_by_an_object(x):
    return x[object()]


def nothing(x):
    return None


def rule_that_returns_a_dict(x):
    f = pb.custom_jvp(pnp.sin)
    f.defjvp(lambda primals, tangents: {"out": primals[0]})
    return f(x)


@pytest.mark.parametrize("transform", [pb.jit, pb.vmap, pb.grad, pb.make_jaxpr])
@pytest.mark.parametrize(
    "fun",
    [
        switch_without_branches,
        decimals_of_a_tracer,
        index_by_an_object,
        nothing,
        shape_of_a_tracer,
        rule_that_returns_a_dict,
        stack_of_what_is_no_sequence,
    ],
)
def test_messages_name_no_class_of_ours(transform, fun):
    x = pnp.arange(3.0) if transform is pb.vmap else 1.0
    said = ""
    try:
        transform(fun)(x)
    except Exception as error:
        said = str(error)
    assert not any(name in said for name in INTERNAL)


def test_a_traced_array_describes_itself():
    assert "got a traced array of type i32[]" in refused(pb.jit(decimals_of_a_tracer), 1)


def test_a_structure_is_shown_as_a_tree():
    message = refused(pb.grad(nothing), 1.0)
    assert "must return a scalar, got None" in message


def test_a_tracer_prints_as_an_array():
    seen = []

    def f(x):
        seen.extend([repr(x), f"{x}"])
        return x

    pb.jit(f)(1.0)
    assert seen[0] == seen[1]
    assert seen[0].startswith("Array<f32[]> in the tracing of f (defined at ")
    pb.grad(f)(np.float32(2))
    assert seen[3] == "2.0"


@pytest.mark.parametrize("spec", [".2f", "d", ">10"])
def test_a_format_needs_the_value(spec):
    with pytest.raises(pb.errors.ConcretizationTypeError, match="the format"):
        pb.jit(lambda x: format(x, spec) and x)(1)


def test_a_format_of_a_known_value():
    def f(x):
        assert f"{x:.2f}" == "1.50"
        return x

    assert pb.grad(f)(1.5) == 1
