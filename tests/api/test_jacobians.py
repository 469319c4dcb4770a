"""jacfwd, jacrev and hessian, against JAX, against each other and in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import all_close, close

import pullback as pb
import pullback.numpy as pnp

X = np.linspace(-1.0, 2.0, 6, dtype=np.float32).reshape(2, 3)
W = np.linspace(0.5, 1.0, 3, dtype=np.float32)
BOTH = pytest.mark.parametrize("name", ["jacfwd", "jacrev"])


def outer(np_):
    return lambda x, w: np_.tanh(x * w)[:, :2]


@BOTH
def test_shape_is_result_then_argument(name):
    got = getattr(pb, name)(outer(pnp), argnums=1)(X, W)
    assert got.shape == (2, 2, 3)
    close(got, getattr(jax, name)(outer(jnp), argnums=1)(X, W))


@BOTH
def test_matrix_of_a_linear_function(name):
    matrix = np.arange(12.0, dtype=np.float32).reshape(3, 4)
    close(getattr(pb, name)(lambda x: matrix @ x)(np.ones(4, np.float32)), matrix)


@BOTH
@pytest.mark.parametrize("argnums", [0, -1, (0, 1), [1], (1, 0)])
def test_argnums(name, argnums):
    got = getattr(pb, name)(outer(pnp), argnums=argnums)(X, W)
    assert (type(got) is tuple) == isinstance(argnums, (tuple, list))
    wanted = tuple(a % 2 for a in np.atleast_1d(argnums))
    expected = getattr(jax, name)(outer(jnp), argnums=wanted)(X, W)
    all_close(got if isinstance(got, tuple) else (got,), expected)


@BOTH
def test_pytrees_nest_the_argument_inside_of_the_result(name):
    def f(np_):
        return lambda p: {"a": np_.sin(p["x"]) * p["s"], "b": (p["s"] ** 2,)}

    p = {"x": W, "s": np.float32(2.0)}
    got, expected = getattr(pb, name)(f(pnp))(p), getattr(jax, name)(f(jnp))(p)
    assert got.keys() == {"a", "b"}
    assert got["b"][0].keys() == {"x", "s"}
    assert got["a"]["x"].shape == (3, 3)
    all_close(got, expected)


@BOTH
def test_scalars_and_empty_arrays(name):
    jacobian = getattr(pb, name)
    assert float(jacobian(lambda x: x**2)(3.0)) == 6.0
    assert jacobian(lambda x: x * 2)(np.ones((0, 2), np.float32)).shape == (0, 2, 0, 2)
    assert jacobian(lambda x: x[:0])(W).shape == (0, 3)
    assert jacobian(lambda x: pnp.ones(2) * x.sum())(np.ones(0, np.float32)).shape == (2, 0)


@BOTH
def test_a_result_that_does_not_depend_has_a_zero_jacobian(name):
    close(getattr(pb, name)(lambda x: pnp.ones(2))(W), np.zeros((2, 3), np.float32))


@BOTH
def test_has_aux(name):
    jacobian, aux = getattr(pb, name)(lambda x: (x**2, {"twice": 2 * x, "note": "text"}), has_aux=True)(W)
    close(jacobian, np.diag(2 * W))
    assert aux["note"] == "text"
    if name == "jacrev":
        close(aux["twice"], 2 * W)


def test_aux_of_jacfwd_is_the_value_not_a_batch_of_it():
    _, aux = pb.jacfwd(lambda x: (x**2, 2 * x), has_aux=True)(W)
    close(aux, 2 * W)


@BOTH
def test_holomorphic(name):
    z = np.array([1.0 + 1j, 2 - 0.5j], np.complex64)
    got = getattr(pb, name)(lambda z: z**2 + z[0], holomorphic=True)(z)
    close(got, getattr(jax, name)(lambda z: z**2 + z[0], holomorphic=True)(z))
    with pytest.raises(TypeError, match=f"{name} .*complex"):
        getattr(pb, name)(lambda z: z**2, holomorphic=True)(W)


def test_complex_without_holomorphic():
    z = np.array([1.0 + 1j, 2 - 0.5j], np.complex64)
    close(pb.jacrev(lambda z: pnp.real(z * pnp.conj(z)))(z), jax.jacrev(lambda z: jnp.real(z * jnp.conj(z)))(z))
    close(pb.jacfwd(lambda x: x * 1j)(W), jax.jacfwd(lambda x: x * 1j)(W))
    for function in (pb.jacfwd, pb.hessian):
        with pytest.raises(TypeError, match=rf"{function.__name__} of .*'z' has dtype complex64.*holomorphic=True"):
            function(lambda z: z.real.sum())(z)
    with pytest.raises(TypeError, match=r"jacrev of .*must be real.*holomorphic=True"):
        pb.jacrev(lambda x: x * 1j)(W)


def test_integers():
    with pytest.raises(TypeError, match=r"jacrev of .*argument 'x' has dtype int32.*allow_int=True"):
        pb.jacrev(lambda x: x * 2.0)(np.arange(3))
    for function in (pb.jacfwd, pb.hessian):
        with pytest.raises(TypeError, match=rf"{function.__name__} of .*argument 'x' has dtype int32.*Pass a float\.$"):
            function(lambda x: (x * 2.0).sum())(np.arange(3))
    close(
        pb.jacrev(lambda x: x * 2.0, allow_int=True)(np.arange(3)),
        jax.jacrev(lambda x: x * 2.0, allow_int=True)(np.arange(3)),
    )


@BOTH
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_dtypes(name, dtype):
    got = getattr(pb, name)(lambda x: x * x)(pnp.asarray(np.array([1.0, 2.0]), dtype=dtype))
    assert got.dtype.name == dtype
    np.testing.assert_array_equal(np.asarray(got).astype(float), [[2.0, 0.0], [0.0, 4.0]])


@pytest.mark.parametrize("inner", ["jacfwd", "jacrev"])
@pytest.mark.parametrize("outer_name", ["jacfwd", "jacrev"])
def test_second_derivatives_by_every_pair(inner, outer_name):
    def f(np_):
        return lambda x: np_.sum(np_.exp(x[0]) * x[1:] ** 3)

    got = getattr(pb, outer_name)(getattr(pb, inner)(f(pnp)))(W)
    close(got, jax.hessian(f(jnp))(W))
    close(got, pb.hessian(f(pnp))(W))
    np.testing.assert_array_equal(np.asarray(got), np.asarray(got).T)


def test_hessian_structure():
    got = pb.hessian(lambda p: p["x"].sum() * p["s"] ** 2)({"x": W, "s": np.float32(2.0)})
    assert got["x"]["x"].shape == (3, 3)
    assert got["x"]["s"].shape == (3,)
    close(got["s"]["x"], np.full(3, 4.0, np.float32))
    assert float(got["s"]["s"]) == pytest.approx(2 * W.sum())
    both = pb.hessian(lambda x, y: (x * y).sum(), argnums=(0, 1))(W, W)
    close(both[0][1], np.eye(3, dtype=np.float32))


def test_hessian_has_aux():
    matrix, aux = pb.hessian(lambda x: ((x**3).sum(), {"n": 3, "x": x}), has_aux=True)(W)
    close(matrix, np.diag(6 * W))
    assert aux["n"] == 3
    close(aux["x"], W)


def test_third_derivative_of_a_vector():
    third = pb.jacfwd(pb.jacrev(pb.jacfwd(lambda x: (x**4).sum())))(W)
    expected = np.zeros((3, 3, 3), np.float32)
    expected[range(3), range(3), range(3)] = 24 * W
    close(third, expected, scale=10)


@BOTH
def test_under_jit_and_vmap(name):
    f = getattr(pb, name)(lambda x: pnp.sin(x) * x[0])
    batch = np.stack([W, 2 * W])
    expected = np.stack([np.asarray(f(w)) for w in batch])
    close(pb.vmap(f)(batch), expected)
    close(pb.jit(pb.vmap(f))(batch), expected)


@BOTH
def test_other_arguments_by_keyword(name):
    close(getattr(pb, name)(lambda x, *, k: k * x)(W, k=3.0), 3 * np.eye(3, dtype=np.float32))


@pytest.mark.parametrize("name", ["jacfwd", "jacrev", "hessian"])
def test_what_is_no_function_is_refused(name):
    with pytest.raises(TypeError, match=rf"{name}: expected a function, got 3\.0 of type float"):
        getattr(pb, name)(3.0)
