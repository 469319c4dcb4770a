"""dot_general: values in every dtype and layout, derivatives, batching, refusals."""

import jax
import numpy as np
import pytest
from agreement import Sampler, check_batching, check_derivative, check_value, close
from jax import lax

import pullback as pb
import pullback.numpy as pnp
from pullback._ops import dot

DTYPES = ["bool", "int8", "uint32", "float16", "bfloat16", "float32", "complex64"]

# shapes and dimension numbers: ((lhs contracting, rhs contracting), (lhs batch, rhs batch))
CASES = [
    ((3, 4), (4, 5), (((1,), (0,)), ((), ()))),
    ((4, 3), (5, 4), (((0,), (1,)), ((), ()))),
    ((4,), (4,), (((0,), (0,)), ((), ()))),
    ((2, 3, 4), (4, 5), (((2,), (0,)), ((), ()))),
    ((2, 3, 4), (2, 4, 5), (((2,), (1,)), ((0,), (0,)))),
    ((3, 2, 4), (4, 5, 2), (((2,), (0,)), ((1,), (2,)))),
    ((2, 3, 4, 5), (5, 4, 2), (((3, 2), (0, 1)), ((0,), (2,)))),
    ((2, 3, 4, 5), (4, 6, 3, 2), (((2,), (0,)), ((1, 0), (2, 3)))),
    ((3,), (5,), (((), ()), ((), ()))),
    ((3, 2), (2, 3), (((), ()), ((0, 1), (1, 0)))),
    ((3, 0), (0, 5), (((1,), (0,)), ((), ()))),
    ((0, 3), (3, 5), (((1,), (0,)), ((), ()))),
    # axes of length 1 moved: another order of the same lengths
    ((1, 2, 1), (1,), (((), ()), ((2,), (0,)))),
    ((1,), (2, 1, 1), (((), ()), ((0,), (1,)))),
    ((1, 2, 1), (1, 1, 2), (((2,), (0,)), ((0,), (1,)))),
    ((2, 1, 3), (1, 2, 3), (((2,), (2,)), ((1,), (0,)))),
]


data = Sampler()


@pytest.mark.parametrize(("left", "right", "numbers"), CASES)
def test_dot_general(left, right, numbers):
    x, y = data(left), data(right)
    f = lambda x, y: dot.dot_general(x, y, numbers)  # noqa: E731
    check_value(f, lambda x, y: lax.dot_general(x, y, numbers), x, y)
    if x.size and y.size:
        check_derivative(f, x, y)
    check_batching(f, x, y)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("numbers", [(((1,), (0,)), ((), ())), (((1,), (0,)), ((0,), (1,)))])
def test_every_dtype(dtype, numbers):
    x, y = data((3, 3), dtype), data((3, 3), dtype)
    check_value(lambda x, y: dot.dot_general(x, y, numbers), lambda x, y: lax.dot_general(x, y, numbers), x, y)


@pytest.mark.parametrize(
    ("dtype", "preferred"),
    [("int8", "int32"), ("uint8", "uint32"), ("bfloat16", "float32"), ("float16", "float32"), ("float32", "float32")],
)
def test_preferred_element_type(dtype, preferred):
    x, y = data((3, 60), dtype), data((60, 2), dtype)
    numbers = (((1,), (0,)), ((), ()))
    f = lambda x, y: dot.dot_general(x, y, numbers, preferred_element_type=preferred)  # noqa: E731
    for run in (f, pb.jit(f)):
        got = run(x, y)
        assert got.dtype == preferred
        np.testing.assert_allclose(got, np.asarray(x, np.float64) @ np.asarray(y, np.float64), rtol=1e-5, atol=1e-4)


def test_derivatives_of_a_wide_product_of_narrow_factors():
    x, y = data((3, 4), "bfloat16"), data((4, 2), "bfloat16")

    def total(x, y):
        return dot.dot_general(x, y, (((1,), (0,)), ((), ())), preferred_element_type="float32").sum()

    gx, gy = pb.grad(total, argnums=(0, 1))(x, y)
    jx, jy = jax.grad(
        lambda x, y: lax.dot_general(x, y, (((1,), (0,)), ((), ())), preferred_element_type="float32").sum(),
        argnums=(0, 1),
    )(x, y)
    close(gx, jx)
    close(gy, jy)


def test_second_derivatives():
    x = data((3, 3))
    f = lambda x: dot.dot_general(x, x, (((1,), (0,)), ((), ()))).sum()  # noqa: E731
    close(pb.hessian(f)(x), jax.hessian(lambda x: (x @ x).sum())(x))


def test_vmap_of_vmap():
    x, y = data((2, 3, 4)), data((5, 4, 3))
    for first in (0, 1, 2):
        f = pb.vmap(pb.vmap(dot.dot, in_axes=(None, 0)), in_axes=(first, None))
        x_ = np.moveaxis(x, 0, first)
        close(f(x_, y), np.einsum("bij,cjk->bcik", x, y))


def test_dot_and_batch_matmul():
    x, y = data((3, 4)), data((4, 5))
    check_value(dot.dot, lax.dot, x, y)
    check_value(dot.dot, lax.dot, x[0], y)
    check_value(dot.dot, lax.dot, x, y[:, 0])
    check_value(
        lambda x, y: dot.dot(x, y, dimension_numbers=(((0,), (1,)), ((), ()))),
        lambda x, y: lax.dot(x, y, dimension_numbers=(((0,), (1,)), ((), ()))),
        x,
        data((2, 3)),
    )
    check_value(dot.batch_matmul, lax.batch_matmul, data((2, 3, 4)), data((2, 4, 5)))


@pytest.mark.parametrize(
    "precision", [None, "highest", "float32", dot.Precision.HIGH, ("default", dot.Precision.HIGHEST)]
)
def test_precision_is_read_and_carried(precision):
    x, y = data((3, 4)), data((4, 5))
    close(pb.jit(lambda x, y: dot.dot(x, y, precision=precision))(x, y), x @ y)


PRODUCTS = {
    "matmul": lambda x: x @ x,
    "einsum": lambda x: pnp.einsum("ij,jk,kl", x, x, x),
    "tensordot": lambda x: pnp.tensordot(x, x),
    "dot": lambda x: dot.dot(x, x),
    "convolution": lambda x: pb.lax.conv(x[None], x[:, :, None], (1,), "VALID"),
    "gradient": pb.grad(lambda x: (x @ x).sum()),
}


@pytest.mark.parametrize("name", ["default", "bfloat16", "high", "tensorfloat32", "float32", "highest"])
def test_the_option_says_the_precision_of_products_that_name_none(name):
    """`default_matmul_precision`, whose values mean what they mean to JAX."""
    x = np.ones((3, 3), "float32")
    with jax.default_matmul_precision(name):
        word = jax.make_jaxpr(jax.numpy.matmul)(x, x).eqns[0].params["precision"][0].name
    with pb.default_matmul_precision(name):
        for product in PRODUCTS.values():
            text = pb.jit(product).lower(x).as_text()
            assert text.count(f"<precision {word}>") == text.count("<precision") > 0
        exact = pb.jit(lambda x: pnp.matmul(x, x, precision="high")).lower(x).as_text()
        assert exact.count("<precision HIGH>") == 2
    assert pb.jit(PRODUCTS["matmul"]).lower(x).as_text().count("<precision DEFAULT>") == 2


def test_refusals():
    x = np.zeros((2, 3), "float32")
    with pytest.raises(TypeError, match=r"contracting axes must have equal lengths, got \(3,\)"):
        dot.dot_general(x, x, (((1,), (0,)), ((), ())))
    with pytest.raises(TypeError, match=r"batch axes must have equal lengths"):
        dot.dot_general(x, x, (((), ()), ((0,), (1,))))
    with pytest.raises(ValueError, match="distinct axes"):
        dot.dot_general(x, x, (((1,), (1,)), ((1,), (1,))))
    with pytest.raises(TypeError, match="one dtype"):
        dot.dot_general(x, x.astype("int32"), (((1,), (1,)), ((), ())))
    with pytest.raises(TypeError, match="shapes"):
        dot.dot(x, x)
    with pytest.raises(ValueError, match="precision"):
        dot.dot(x, x.T, precision="exact")
    with pytest.raises(TypeError, match="two tangents"):
        pb.linear_transpose(lambda x: dot.dot(x, x), np.zeros(3, "float32"))(np.float32(1))


@pytest.mark.parametrize(
    ("shapes", "numbers", "moved"),
    [
        (((8, 2, 3), (4, 2, 3)), (((2,), (2,)), ((1,), (1,))), ((2, 8, 3), (2, 4, 3))),
        (((8, 2, 3, 5), (5, 3, 2, 4)), (((2, 3), (1, 0)), ((1,), (2,))), ((2, 8, 15), (2, 15, 4))),
        (((3, 2, 8), (2, 3, 4)), (((0,), (1,)), ((1,), (0,))), ((2, 3, 8), (2, 3, 4))),
        # vectors, and stacks in front already, stay
        (((3, 2), (4, 3, 2)), (((0,), (1,)), ((1,), (2,))), ((3, 2), (4, 3, 2))),
        (((2, 8, 3), (2, 4, 3)), (((2,), (2,)), ((0,), (0,))), ((2, 8, 3), (2, 4, 3))),
    ],
)
def test_stacked_axes_are_brought_to_the_front_with_the_others_in_order(shapes, numbers, moved):
    x, y = (np.random.default_rng(0).standard_normal(s, dtype="float32") for s in shapes)
    program = pb.jit(lambda x, y: pb.lax.dot_general(x, y, numbers)).lower(x, y)
    (line,) = [line for line in program.as_text().splitlines() if "stablehlo.dot_general" in line]
    types = ", ".join(f"tensor<{'x'.join(map(str, s))}xf32>" for s in moved)
    assert f"({types}) ->" in line
    close(program.compile()(x, y), lax.dot_general(x, y, numbers))


def test_products_of_many_small_matrices_are_sums():
    random = np.random.default_rng(0)
    for m, k, n, count, are in ((4, 4, 4, 8, True), (2, 7, 8, 50, True), (4, 8, 4, 50, False), (4, 4, 9, 50, False)):
        x, y = random.standard_normal((count, m, k), "f4"), random.standard_normal((k, count, n), "f4")
        program = pb.jit(lambda x, y: pnp.einsum("bmk,kbn->bmn", x, y)).lower(x, y)
        assert ("dot_general" not in program.as_text()) == are
        exact = np.einsum("bmk,kbn->bmn", np.float64(x), np.float64(y))
        bound = k * np.finfo("f4").eps * np.einsum("bmk,kbn->bmn", abs(x), abs(y))
        assert (np.abs(program.compile()(x, y) - exact) <= bound).all()
    # few, single vectors, and dtypes that are widened
    for shapes, dtype in ((((7, 4, 4), (7, 4, 4)), "f4"), (((8, 1, 4), (8, 4, 4)), "f4"), (((8, 4, 4),) * 2, "f2")):
        x, y = (np.ones(shape, dtype) for shape in shapes)
        assert "dot_general" in pb.jit(pnp.matmul).lower(x, y).as_text()
