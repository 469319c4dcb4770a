"""What `vjp` returns, as an object: its residuals, what is not to be saved, copies, and two programs."""

import copy
import pickle
import subprocess
import sys

import jax
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.ad import NotNeeded, NotSaveable
from pullback.debug import counters
from pullback.tree_util import tree_leaves, tree_map, tree_structure

X = np.array([1.0, 2.0, 3.0], np.float32)
W = np.array([0.5, -1.0, 2.0], np.float32)


def layer(params, x):
    return (pnp.sin(params["w"] * x) + params["b"]).sum()


PARAMS = {"w": W, "b": np.float32(0.25)}


def test_residuals_by_place():
    _, f_vjp = pb.vjp(layer, PARAMS, X)
    (params, x) = f_vjp.args_res
    np.testing.assert_array_equal(params["w"], W)
    assert params["b"] == NotNeeded()
    np.testing.assert_array_equal(x, X)
    (cosine,) = f_vjp.opaque_residuals
    np.testing.assert_allclose(cosine, np.cos(W * X), rtol=1e-6)
    assert f_vjp.structured_residuals == []
    assert len(tree_leaves(f_vjp)) == 3
    _, theirs = jax.vjp(lambda params, x: (jax.numpy.sin(params["w"] * x) + params["b"]).sum(), PARAMS, X)
    assert len(jax.tree.leaves(theirs)) == 3


def test_equality_and_text():
    _, f_vjp = pb.vjp(layer, PARAMS, X)
    assert f_vjp == f_vjp
    assert f_vjp != pb.vjp(layer, PARAMS, X)[1]
    assert len({f_vjp, f_vjp}) == 1
    assert repr(f_vjp) == "<vjp of layer: f32[] to (f32[], f32[3], f32[3]), 3 residuals of 36 bytes>"


def test_what_is_not_saved_is_put_back():
    _, f_vjp = pb.vjp(layer, PARAMS, X, saveable_args=(False, True))
    expected = pb.vjp(layer, PARAMS, X)[1](1.0)
    assert f_vjp.args_res[0] == {"w": NotSaveable(), "b": NotNeeded()}
    assert len(tree_leaves(f_vjp)) == 2
    with pytest.raises(ValueError, match=r"the vjp of layer needs the value of argument 'params', leaf \['w'\], which"):
        f_vjp(1.0)
    full = f_vjp.replace(args_res=[PARAMS, X])
    f_vjp.args_res[0] = {"w": W, "b": None}
    for restored in (full, f_vjp, copy.copy(full), copy.deepcopy(full)):
        for got, want in zip(tree_leaves(restored(1.0)), tree_leaves(expected), strict=True):
            np.testing.assert_array_equal(got, want)
    # another value is used as it is given
    f_vjp.args_res = [{"w": W, "b": 0.0}, X]
    assert tree_structure(f_vjp.args_res) == tree_structure([{"w": 0, "b": 0}, 0])
    with pytest.raises(ValueError, match="expected 2 entries of args_res, got 1"):
        f_vjp.args_res = [X]
    (params, _) = f_vjp.replace(args_res=[{"w": 2 * W, "b": 0.0}, X])(1.0)
    np.testing.assert_allclose(params["w"], np.cos(W * X) * X, rtol=1e-6)
    (_, x) = f_vjp.replace(args_res=[{"w": 2 * W, "b": 0.0}, X])(1.0)
    np.testing.assert_allclose(x, np.cos(W * X) * 2 * W, rtol=1e-6)


def test_flags_of_what_may_be_saved():
    for flags in (False, (False, False), [{"w": False, "b": False}, False]):
        _, f_vjp = pb.vjp(layer, PARAMS, X, saveable_args=flags)
        assert tree_structure(f_vjp.args_res) == tree_structure([{"w": NotSaveable(), "b": NotNeeded()}, NotSaveable()])
    for flags in ((True,), (True, True, True), 3, ("no", True), ({"w": True}, True)):
        with pytest.raises(ValueError, match=r"vjp of layer: .*saveable_args"):
            pb.vjp(layer, PARAMS, X, saveable_args=flags)


def test_values_of_wrong_types_are_refused():
    _, f_vjp = pb.vjp(layer, PARAMS, X, saveable_args=(True, False))
    where = "the vjp of layer: the value of argument 'x' in args_res must be of type"
    for wrong, got in ((X[:2], r"f32\[2\]"), (np.arange(3), r"i32\[3\]"), ("text", "'text'")):
        with pytest.raises(ValueError, match=rf"{where} f32\[3\], got {got}"):
            f_vjp.replace(args_res=[PARAMS, wrong])
        f_vjp.args_res[1] = wrong
        with pytest.raises(ValueError, match=rf"{where} f32\[3\], got {got}"):
            f_vjp(1.0)
    with pytest.raises(ValueError, match="expected 2 entries of args_res, got 1"):
        f_vjp.replace(args_res=[X])
    with pytest.raises(ValueError, match=r"opaque_residuals\[0\] must be of type f32\[3\]"):
        pb.vjp(layer, PARAMS, X)[1].replace(opaque_residuals=[1.0])


def test_memory_is_not_kept():
    x = pnp.asarray(X) + 0
    _, f_vjp = pb.vjp(lambda x: (x * x).sum(), x, saveable_args=False)
    assert tree_leaves(f_vjp) == []
    assert sys.getrefcount(x) <= 3


def test_programs():
    @pb.jit
    def forward(params, x):
        return pb.vjp(layer, params, x, saveable_args=(False, True))

    @pb.jit
    def backward(f_vjp, params, ct):
        return f_vjp.replace(args_res=[params, f_vjp.args_res[1]])(ct)

    expected = pb.vjp(layer, PARAMS, X)[1](1.0)
    for _ in range(2):
        _, f_vjp = forward(PARAMS, X)
        got = backward(f_vjp, PARAMS, np.float32(1.0))
    for a, b in zip(tree_leaves(got), tree_leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    with counters() as seen:
        backward(forward(PARAMS, X + 1)[1], PARAMS, np.float32(1.0))
    assert seen["compiles"] == 0


@pytest.mark.filterwarnings("ignore:Some donated buffers were not usable")
def test_donated_residuals():
    _, f_vjp = pb.vjp(layer, PARAMS, pnp.asarray(X))
    expected = f_vjp(1.0)[1]
    donating = pb.jit(lambda f_vjp, ct: f_vjp(ct)[1], donate_argnums=0)
    np.testing.assert_allclose(donating(f_vjp, np.float32(1.0)), expected, rtol=1e-6)
    with pytest.raises(RuntimeError, match=r"f32\[3\] has been deleted: its buffer was donated"):
        f_vjp(1.0)


def test_batches_and_loops():
    xs = np.stack([X, 2 * X])
    f_vjps = pb.vmap(lambda x: pb.vjp(layer, PARAMS, x)[1])(xs)
    got = pb.vmap(lambda f_vjp: f_vjp(1.0)[1])(f_vjps)
    np.testing.assert_allclose(got, np.cos(W * xs) * W, rtol=1e-6)
    rows = lax.scan(lambda c, f_vjp: (c, f_vjp(1.0)[1]), 0.0, f_vjps)[1]
    np.testing.assert_allclose(rows, np.cos(W * xs) * W, rtol=1e-6)
    doubled = tree_map(lambda leaf: 2 * leaf, pb.vjp(layer, PARAMS, X)[1])
    np.testing.assert_allclose(doubled(1.0)[1], 4 * np.cos(W * X) * W, rtol=1e-6)


def test_derivatives_of_the_call():
    def f(ct, x):
        return pb.vjp(layer, PARAMS, x)[1](ct)[1].sum()

    np.testing.assert_allclose(pb.grad(f)(1.0, X), (np.cos(W * X) * W).sum(), rtol=1e-6)
    np.testing.assert_allclose(pb.grad(f, 1)(1.0, X), -np.sin(W * X) * W**2, rtol=1e-5)
    _, tangent = pb.jvp(lambda x: f(1.0, x), (X,), (np.ones(3, np.float32),))
    np.testing.assert_allclose(tangent, (-np.sin(W * X) * W**2).sum(), rtol=1e-5)


def test_cotangents_are_checked():
    _, f_vjp = pb.vjp(lambda x: {"y": x * 2.0}, np.float32(1.0))
    assert float(f_vjp({"y": 1.0})[0]) == float(f_vjp({"y": np.float64(1.0)})[0]) == 2.0
    for wrong in (np.float16(1), np.int32(1), np.bool_(1), np.complex64(1), np.zeros((), pb.float0)):
        for kind in (TypeError, ValueError):
            with pytest.raises(kind, match=r"the cotangent at \['y'\]: expected dtype float32, got"):
                f_vjp({"y": wrong})
    with pytest.raises(ValueError, match=r"the cotangent at \['y'\]: expected shape \(\), got \(2,\)"):
        f_vjp({"y": np.ones(2, np.float32)})
    for wrong in (1.0, None, {}, [1.0], {"z": 1.0}):
        for kind in (TypeError, ValueError):
            with pytest.raises(kind, match="must have the structure of the result, at the top: expected a dict"):
                f_vjp(wrong)
    zero = pb.custom_derivatives.SymbolicZero(pb.typeof(np.float32(1)))
    assert float(f_vjp({"y": zero})[0]) == 0.0


SCRIPT = """
import pickle, sys
import numpy as np
f_vjp = pickle.load(sys.stdin.buffer)
sys.stdout.buffer.write(pickle.dumps([np.asarray(x) for x in f_vjp(np.float32(1.0))[0].values()]))
"""


def test_another_process_calls_it():
    def local(params, x):
        return pnp.take(layer(params, x) * params["w"], 1) + pb.jit(pnp.tanh)(params["b"])

    _, f_vjp = pb.vjp(local, PARAMS, X)
    ran = subprocess.run([sys.executable, "-c", SCRIPT], input=pickle.dumps(f_vjp), capture_output=True, check=True)
    for got, want in zip(pickle.loads(ran.stdout), f_vjp(1.0)[0].values(), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)


def test_the_report():
    def f(w, x):
        hidden = pnp.sin(w * x)
        return (hidden * w).sum()

    report = pb.vjp(f, W, X)[1].saved()
    assert report.nbytes == sum(r.nbytes for r in report.residuals) == 12 * len(report)
    text = repr(report)
    assert text.startswith("4 residuals of 48 bytes\n")
    assert "from argument 'w'" in text
    assert "from argument 'x'" in text
    assert "output of cos from " in text
    assert f"{__file__.rpartition('/')[2]}:{f.__code__.co_firstlineno + 1}" in text

    def by_value(x):
        return x * pnp.sin(x) if x > 0 else x

    sources = [r.source for r in pb.vjp(by_value, 2.0)[1].saved().residuals]
    assert sorted(set(sources)) == ["from argument 'x'", "of unknown origin"]


# --- fwd_and_bwd ---


@pytest.mark.parametrize("jitted", [True, False])
def test_forward_and_backward(jitted):
    runs = []

    def f(params, x):
        runs.append(x)
        return layer(params, x)

    expected = pb.grad(layer, (0, 1))(PARAMS, X)
    for argnums in (0, 1, (0, 1)):
        fwd, bwd = pb.fwd_and_bwd(f, argnums, jitted=jitted)
        for _ in range(2):
            value, f_vjp = fwd(PARAMS, X)
        np.testing.assert_allclose(value, layer(PARAMS, X), rtol=1e-6)
        want = expected[argnums] if isinstance(argnums, int) else expected
        for _ in range(2):
            got = bwd(f_vjp, np.float32(1.0))
            for a, b in zip(tree_leaves(got), tree_leaves(want), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-6)
    assert len(runs) == (3 if jitted else 6)


def test_auxiliary_results():
    fwd, bwd = pb.fwd_and_bwd(lambda x: (x * x, {"seen": x}), 0, has_aux=True)
    value, f_vjp, aux = fwd(3.0)
    assert (float(value), float(aux["seen"]), float(bwd(f_vjp, 1.0))) == (9.0, 3.0, 6.0)
    fwd, bwd = pb.fwd_and_bwd(lambda x: (x * x, "text"), 0, has_aux=True, jitted=False)
    value, f_vjp, aux = fwd(3.0)
    assert aux == "text"
    with pytest.raises(TypeError, match="text"):
        pb.fwd_and_bwd(lambda x: (x * x, "text"), 0, has_aux=True)[0](3.0)
    with pytest.raises(TypeError, match="argnums"):
        pb.fwd_and_bwd(layer)
    with pytest.raises(TypeError, match=r"expected what fwd returned, got 1\.0"):
        bwd(1.0, 1.0)
