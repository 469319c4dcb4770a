"""Code as users write it, with the types that a checker is to see; `test_types.py` has mypy and pyright read it."""

from collections.abc import Callable
from typing import Any, Protocol, assert_type

import numpy as np

import pullback as pb
import pullback.numpy as pnp
from pullback import Array, lax, nn, random
from pullback.custom_batching import custom_vmap, sequential_vmap
from pullback.experimental.hijax import AxisData, HiPrim, ShapedArray, linearize_from_jvp, vjp_from_lin
from pullback.typing import ArrayLike, DTypeLike, PyTree


class Loss(Protocol):
    def __call__(self, x: Array, scale: float = 1.0) -> Any: ...


class LossAndGradient(Protocol):
    def __call__(self, x: Array, scale: float = 1.0) -> tuple[Array, Any]: ...


def loss(x: Array, scale: float = 1.0) -> Array:
    return pnp.sum(pnp.sin(x)) * scale


def loss_and_name(x: Array) -> tuple[Array, str]:
    return loss(x), "loss"


def transformations(x: Array) -> None:
    gradient: Loss = pb.grad(loss)
    gradient(x, scale=2.0)
    value_and_gradient: LossAndGradient = pb.value_and_grad(loss)
    assert_type(value_and_gradient(x)[0], Array)
    assert_type(pb.grad(loss_and_name, has_aux=True)(x)[1], str)
    assert_type(pb.jacrev(loss_and_name, has_aux=True)(x)[1], str)
    assert_type(pb.value_and_grad(loss_and_name, has_aux=True)(x)[0], tuple[Array, str])
    assert_type(pb.vmap(loss)(x), Array)
    assert_type(pb.vmap(loss)(x, scale=2.0), Array)
    assert_type(pb.jvp(loss, (x,), (x,)), tuple[Array, Array])
    assert_type(pb.jvp(loss_and_name, (x,), (x,), has_aux=True), tuple[Array, Array, str])
    assert_type(pb.vjp(loss, x)[0], Array)
    assert_type(pb.linearize(loss_and_name, x, has_aux=True)[2], str)
    assert_type(pb.make_jaxpr(loss)(x), pb.core.ClosedJaxpr)
    assert_type(pb.checkpoint(loss)(x, scale=2.0), Array)
    assert_type(pb.checkpoint(policy=pb.checkpoint_policies.dots_saveable)(loss)(x), Array)


@pb.jit
def compiled(x: Array, *, n: int) -> Array:
    return x * n


@pb.jit(static_argnames="n")
def compiled_with_options(x: Array, *, n: int) -> Array:
    return x * n


def compilation(x: Array) -> None:
    assert_type(compiled(x, n=2), Array)
    assert_type(compiled_with_options(x, n=2), Array)
    assert_type(pb.jit(loss)(x, scale=2.0), Array)
    assert_type(compiled.lower(x, n=2).as_text(), str)


@pb.custom_jvp
def root(x: Array, degree: int = 2) -> Array:
    return x ** (1 / degree)


@root.defjvp
def root_jvp(primals: tuple[Array, int], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (x, degree), (t, _) = primals, tangents
    y = root(x, degree)
    return y, y / (degree * x) * t


def plain(x: Array) -> Array:
    return x


def with_its_gradient(x: Array) -> tuple[Array, Callable[[Array], Array]]:
    return x, plain


def saving(policy: object, x: Array) -> tuple[Array, None]:
    return x, None


def recomputing(saved: None, x: Array) -> tuple[Array, Array]:
    return x, x


def backwards(saved: Array, ct: Array) -> tuple[Array]:
    return (saved * ct,)


def counted_step(carry: Array, x: Array) -> tuple[Array, float]:
    return carry + x, 1.0


with_result_alone: pb.custom_vjp[Array] = pb.custom_vjp(plain)


class Layer:
    @pb.custom_vjp
    def forward(self, x: Array) -> Array:
        return x

    @pb.jit
    def fast(self, x: Array) -> Array:
        return x


def functions_with_rules(x: Array) -> None:
    assert_type(root(x, degree=3), Array)
    assert_type(root_jvp((x, 2), (x, x)), tuple[Array, Array])
    assert_type(with_result_alone(x), Array)
    assert_type(pb.custom_remat(plain, saving, recomputing, backwards)(x), Array)
    assert_type(pb.ad_checkpoint.checkpointed_scan(counted_step, x, x, levels=3)[0], Array)
    assert_type(Layer().forward(x), Array)
    assert_type(Layer().fast(x), Array)
    assert_type(custom_vmap(plain)(x), Array)
    assert_type(sequential_vmap(plain)(x), Array)
    assert_type(pb.custom_gradient(with_its_gradient)(x), Array)


def arrays(x: Array, y: np.ndarray) -> None:
    assert_type(x + 1, Array)
    assert_type(2.0 * x, Array)
    assert_type(x @ y, Array)
    assert_type(x < y, Array)
    assert_type(x[1:, None, ..., y], Array)
    assert_type(x.at[0].set(1.0), Array)
    assert_type(x.T.reshape(2, 3).sum(axis=(0, 1), keepdims=True), Array)
    assert_type(x.shape, tuple[int, ...])
    assert_type(list(x), list[Array])


def functions(x: Array, y: np.ndarray, key: ArrayLike) -> None:
    assert_type(pnp.sin(y), Array)
    assert_type(pnp.add(x, 1), Array)
    assert_type(pnp.divmod(x, 2), tuple[Array, Array])
    assert_type(pnp.where(x > 0, x, 0.0), Array)
    assert_type(pnp.where(x), tuple[Array, ...])
    assert_type(pnp.array([[1, 2], [3, 4]], dtype=pnp.float32), Array)
    assert_type(pnp.linalg.norm(x, ord="fro", axis=(0, 1)), Array)
    assert_type(pnp.linspace(0, 1), Array)
    assert_type(pnp.linspace(0, 1, retstep=True), tuple[Array, Array])
    assert_type(pnp.average(x, returned=True), tuple[Array, Array])
    assert_type(pnp.linalg.svd(x, compute_uv=False), Array)
    assert_type(random.split(random.key(0)), random.PRNGKeyArray)
    assert_type(random.split(random.PRNGKey(0), 3), Array)
    assert_type(lax.add(x, x), Array)
    assert_type(nn.relu(x=1.0), Array)
    assert_type(random.normal(key, (2, 3), dtype="float32"), Array)


def step(carry: Array, row: Array) -> tuple[Array, dict[str, Array]]:
    return carry + row, {"row": row}


def control_flow(x: Array) -> None:
    assert_type(lax.scan(step, x, x), tuple[Array, dict[str, Array]])
    assert_type(lax.cond(True, plain, plain, x), Array)
    assert_type(lax.switch(1, [plain, plain], x), Array)
    assert_type(lax.while_loop(pnp.any, plain, x), Array)
    assert_type(lax.map(plain, x), Array)


class Power(HiPrim):
    def __init__(self, aval: ShapedArray, n: int):
        self.in_avals = (aval,)
        self.out_aval = aval
        self.params = {"n": n}
        super().__init__()

    def expand(self, x: Array) -> Array:
        return x**self.n

    def vjp_fwd(self, nzs_in: tuple[bool], x: Array) -> tuple[Array, Array]:
        return self(x), x

    def vjp_bwd(self, res: Array, ct: Array, accum: pb.ad.GradAccum) -> None:
        accum.accum(self.n * res ** (self.n - 1) * ct)

    def jvp(self, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
        return self(*primals), self.n * primals[0] ** (self.n - 1) * tangents[0]

    def batch(self, axis_data: AxisData, args: tuple[Array], dims: tuple[int | None]) -> tuple[Array, int | None]:
        return Power(pb.typeof(args[0]), self.n)(*args), dims[0]


class Cube(Power):
    lin, linearized = linearize_from_jvp
    vjp_fwd, vjp_bwd_retval = vjp_from_lin


def primitive_classes(x: Array) -> None:
    cube = Power(pb.typeof(x), 3)
    assert_type(cube, Power)
    assert_type(cube.derived(), dict[str, str])


def annotated(x: ArrayLike, dtype: DTypeLike = pnp.float32) -> PyTree:
    return {"x": pnp.asarray(x, dtype), "y": pnp.zeros((2,), np.float32), "z": pnp.ones(3, dtype=float)}
