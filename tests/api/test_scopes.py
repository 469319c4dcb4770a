"""Names of parts of programs: in equations, in what transformations make of them, and in compiled programs."""

import re

import numpy as np

import pullback as pb
import pullback.numpy as pnp


def layer(x):
    with pb.named_scope("layer"):
        with pb.named_scope('a "quoted" \\ name'):
            x = pnp.sin(x)
        return x * 3


def scopes_of(f, *args):
    return {eqn.primitive.name: eqn.scopes for eqn in pb.make_jaxpr(f)(*args).eqns}


def names_in(f, *args):
    """The names in the metadata of a compiled program."""
    return set(re.findall(r'op_name="([^"]*)"', pb.jit(f).lower(*args).compile().as_text()))


def test_equations():
    inner = 'a "quoted" \\ name'
    assert scopes_of(lambda x: layer(pnp.exp(x)), 1.0) == {
        "exp": (),
        "sin": ("layer", inner),
        "mul": ("layer",),
    }
    # what transformations make of equations is in the same part
    closed = pb.make_jaxpr(layer)(1.0)
    again = pb.extend.core.jaxpr_as_fun(closed)
    assert scopes_of(lambda x: again(x)[0], 1.0)["sin"] == ("layer", inner)
    assert scopes_of(pb.grad(layer), 1.0)["cos"] == ("layer", inner)
    assert scopes_of(pb.vmap(layer), pnp.ones(2))["sin"] == ("layer", inner)


def test_functions_that_are_traced_on_their_own():
    """Their equations have the names inside of them alone, as they may be called from several parts."""

    def f(x):
        with pb.named_scope("outside"):
            return pb.jit(layer)(x)

    (eqn,) = pb.make_jaxpr(f)(1.0).eqns
    assert eqn.scopes == ("outside",)
    assert eqn.params["jaxpr"].eqns[-1].scopes == ("layer",)


def test_compiled_programs():
    def f(x):
        with pb.named_scope("loop"):
            return pb.lax.scan(lambda c, t: (pnp.sin(c) * t, c), x, pnp.ones(3))[0]

    assert any(name.startswith("layer/") for name in names_in(lambda x: pnp.exp(layer(x)), 1.0))
    assert any(name.startswith("loop/") for name in names_in(f, 1.0))
    assert any("loop/" in name for name in names_in(pb.grad(f), 1.0))
    assert names_in(lambda x: pnp.sin(x), 1.0) == set()
    assert "named" in scopes_of(pb.named_call(pnp.sin, name="named"), 1.0)["sin"]
    np.testing.assert_allclose(pb.jit(layer)(0.5), 3 * np.sin(0.5), rtol=1e-6)


def test_operations_with_bodies_in_compiled_programs():
    def f(x):
        with pb.named_scope("order"):
            y = pnp.sort(x)
        with pb.named_scope("total"):
            return pnp.sum(y)

    assert {"order/sort", "total/reduce_sum"} <= names_in(f, np.ones(5, np.float32))


def test_a_name_with_an_at_sign_in_compiled_programs():
    """XLA ends a name at "@", and would drop the operation's too."""

    def f(x):
        with pb.named_scope("layer@2"):
            return pnp.sin(x)

    (name,) = names_in(f, 1.0)
    assert name.endswith("sin")
    assert name.startswith("layer")
    assert scopes_of(f, 1.0) == {"sin": ("layer@2",)}


def test_errors_leave_no_name():
    @pb.named_scope("broken")
    def broken(x):
        raise ValueError("broken")

    try:
        broken(1.0)
    except ValueError:
        pass
    assert scopes_of(pnp.sin, 1.0) == {"sin": ()}
