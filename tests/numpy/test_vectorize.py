"""vectorize: leading axes broadcast, core dimensions go to the function."""

import jax.numpy as jnp
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp

rng = np.random.default_rng(0)


@pytest.mark.parametrize(
    "shapes", [((), ()), ((3,), ()), ((3, 1), (4,)), ((2, 1, 3), (1, 3)), ((0, 2), (2,)), ((1,), (1,))]
)
def test_scalars_broadcast(shapes):
    xs = [rng.standard_normal(s).astype("float32") for s in shapes]

    def make(np_):
        return np_.vectorize(lambda x, y: np_.sin(x) * y)

    np.testing.assert_allclose(make(pnp)(*xs), make(jnp)(*xs), rtol=1e-6)
    np.testing.assert_allclose(pb.jit(make(pnp))(*xs), make(jnp)(*xs), rtol=1e-6)


@pytest.mark.parametrize(("a", "b"), [((2, 3), (3,)), ((4, 2, 3), (3,)), ((4, 1, 2, 3), (5, 3)), ((1, 2, 3), (4, 3))])
def test_core_dimensions(a, b):
    x, y = rng.standard_normal(a).astype("float32"), rng.standard_normal(b).astype("float32")
    got = pnp.vectorize(pnp.dot, signature="(m,n),(n)->(m)")(x, y)
    expected = jnp.vectorize(jnp.dot, signature="(m,n),(n)->(m)")(x, y)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_excluded_arguments_are_passed_whole():
    f = pnp.vectorize(lambda x, c, *, flip=False: x + len(c) if flip else x - len(c), excluded={1, "flip"})
    assert f(np.ones(3, "float32"), "ab", flip=True).tolist() == [3.0, 3.0, 3.0]


def test_errors_name_what_is_wrong():
    f = pnp.vectorize(pnp.dot, signature="(m,n),(n)->(m)")
    with pytest.raises(ValueError, match=r"core\s+dimension n"):
        f(np.ones((2, 3)), np.ones(4))
    with pytest.raises(ValueError, match="lacks the core"):
        f(np.ones(3), np.ones(3))
    with pytest.raises(ValueError, match="must look like"):
        pnp.vectorize(pnp.dot, signature="m,n->m")
    with pytest.raises(ValueError, match="do not broadcast"):
        pnp.vectorize(pnp.add)(np.ones(2), np.ones(3))
