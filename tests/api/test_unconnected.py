"""`grad(..., unconnected=)`: what stands for the gradient at a leaf on which the result does not depend."""

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.dtypes import float0


def loss(params, x):
    return pnp.sum(params["used"] * x)


def params():
    return {"used": pnp.array([1.0, 2.0]), "unused": [pnp.ones((2, 3))]}


def test_zeros_are_the_default():
    for g in (pb.grad(loss)(params(), 3.0), pb.grad(loss, unconnected="zero")(params(), 3.0)):
        np.testing.assert_array_equal(g["unused"][0], np.zeros((2, 3), np.float32))
        np.testing.assert_array_equal(g["used"], [3.0, 3.0])


def test_none_stands_for_the_leaf():
    g = pb.grad(loss, unconnected="none")(params(), 3.0)
    assert g["unused"] == [None]
    np.testing.assert_array_equal(g["used"], [3.0, 3.0])
    value, g = pb.value_and_grad(loss, (0, 1), unconnected="none")(params(), 3.0)
    assert float(value) == 9.0
    assert g[0]["unused"] == [None]
    assert float(g[1]) == 3.0


def test_the_error_names_the_leaf():
    message = r"grad of loss with unconnected='error': .* argument 'params', leaf \['unused'\]\[0\]"
    with pytest.raises(ValueError, match=message):
        pb.grad(loss, unconnected="error")(params(), 3.0)
    with pytest.raises(ValueError, match=r"value_and_grad of .* argument 'y'\."):
        pb.value_and_grad(lambda x, y: x * 2.0, (0, 1), unconnected="error")(1.0, 2.0)
    with pytest.raises(ValueError, match="argument 'y'"):
        pb.grad(lambda x, y: x * 2.0, -1, unconnected="error")(1.0, 2.0)


def test_connected_leaves_are_no_error():
    assert float(pb.grad(lambda x: x**2, unconnected="error")(3.0)) == 6.0
    # the dependence is structural: a derivative that vanishes at the point is a derivative
    assert float(pb.grad(lambda x: x**2, unconnected="error")(0.0)) == 0.0


def test_stop_gradient_and_none_from_a_rule_are_unconnected():
    assert pb.grad(lambda x: lax.stop_gradient(x) * 2.0, unconnected="none")(3.0) is None
    f = pb.custom_vjp(lambda x, y: x * y)
    f.defvjp(lambda x, y: (x * y, (x, y)), lambda res, ct: (ct * res[1], None))
    g = pb.grad(f, (0, 1), unconnected="none")(2.0, 5.0)
    assert float(g[0]) == 5.0
    assert g[1] is None


def test_a_constant_function():
    assert pb.grad(lambda x: 1.0, unconnected="none")(3.0) is None
    with pytest.raises(ValueError, match="argument 'x'"):
        pb.grad(lambda x: 1.0, unconnected="error")(3.0)


def test_through_jit_and_vmap():
    g = pb.grad(pb.jit(lambda x, y: pnp.sin(x)), (0, 1), unconnected="none")(0.0, 1.0)
    assert float(g[0]) == 1.0
    assert g[1] is None
    g = pb.jit(pb.grad(loss, unconnected="none"))(params(), 3.0)
    assert g["unused"] == [None]
    g = pb.vmap(pb.grad(lambda x, y: x**2, (0, 1), unconnected="none"))(pnp.array([1.0, 2.0]), pnp.ones(2))
    np.testing.assert_array_equal(g[0], [2.0, 4.0])
    assert g[1] is None


def test_integers_keep_float0():
    for choice in ("zero", "none", "error"):
        g = pb.grad(lambda x, n: x * n, (0, 1), allow_int=True, unconnected=choice)(2.0, 3)
        assert float(g[0]) == 3.0
        assert g[1].dtype == float0


def test_auxiliary_results():
    g, aux = pb.grad(lambda x, y: (x * 2.0, y), (0, 1), has_aux=True, unconnected="none")(1.0, 5.0)
    assert float(g[0]) == 2.0
    assert g[1] is None
    assert float(aux) == 5.0


def test_a_wrong_choice_is_refused():
    with pytest.raises(ValueError, match="unconnected must be one of 'zero', 'none', 'error', got None"):
        pb.grad(loss, unconnected=None)


def two_results(params, x):
    return {"sum": pnp.sum(params["used"]) * x, "sine": pnp.sin(params["used"])}


def test_jacrev_takes_the_same_choices():
    x = pnp.float32(3.0)
    zeros = pb.jacrev(two_results)(params(), x)
    for j in (zeros, pb.jacrev(two_results, unconnected="zero")(params(), x)):
        np.testing.assert_array_equal(j["sine"]["unused"][0], np.zeros((2, 2, 3), np.float32))
    j = pb.jacrev(two_results, unconnected="none")(params(), x)
    assert j["sum"]["unused"] == j["sine"]["unused"] == [None]
    for result in ("sum", "sine"):
        np.testing.assert_array_equal(j[result]["used"], zeros[result]["used"])
    with pytest.raises(ValueError, match=r"jacrev of two_results with unconnected='error': .* leaf \['unused'\]\[0\]"):
        pb.jacrev(two_results, unconnected="error")(params(), x)
    # an argument that one of the results depends on is connected
    j = pb.jit(pb.jacrev(two_results, 1, unconnected="error"))(params(), x)
    np.testing.assert_array_equal(j["sine"], np.zeros(2, np.float32))
    with pytest.raises(ValueError, match="jacrev: unconnected must be one of"):
        pb.jacrev(loss, unconnected="zeros")


def test_hessian_takes_the_same_choices():
    def cubes(p):
        return pnp.sum(p["used"] ** 3)

    p = {"used": pnp.array([1.0, 2.0]), "unused": pnp.ones(3)}
    np.testing.assert_array_equal(pb.hessian(cubes)(p)["unused"]["used"], np.zeros((3, 2), np.float32))
    h = pb.hessian(cubes, unconnected="none")(p)
    assert h["unused"] is None
    np.testing.assert_allclose(h["used"]["used"], [[6.0, 0.0], [0.0, 12.0]])
    with pytest.raises(ValueError, match=r"hessian of cubes with unconnected='error': .* leaf \['unused'\]"):
        pb.hessian(cubes, unconnected="error")(p)
