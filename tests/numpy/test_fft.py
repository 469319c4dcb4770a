"""Fourier and cosine transforms: values, derivatives, batches, refusals."""

from functools import partial

import jax
import jax.numpy as jnp
import jax.scipy.fft
import numpy as np
import pytest
import scipy.fft
from agreement import Sampler, check_batching, check_value, close

import pullback as pb
import pullback.numpy as pnp
import pullback.scipy.fft as psf
from pullback import lax
from pullback._ops.fft import fft_p
from pullback.core import check_jaxpr
from pullback.errors import ConcretizationTypeError
from pullback.test_util import check_grads

data = Sampler()

ONE_AXIS = ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"]
MANY_AXES = ["fftn", "ifftn", "rfftn", "irfftn"]
REAL_ONLY = {"rfft", "rfft2", "rfftn", "ihfft"}
NORMS = [None, "backward", "ortho", "forward"]


def functions(name):
    """Ours and NumPy's, which computes in double precision."""
    return getattr(pnp.fft, name), getattr(np.fft, name)


def operand(name, shape, dtype="float32"):
    return data(shape, "float32" if name in REAL_ONLY else dtype)


def near(got, expected):
    """Equal up to rounding errors of single precision, relative to the largest element."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape
    assert got.dtype in (np.float32, np.complex64)
    assert np.iscomplexobj(got) == np.iscomplexobj(expected)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6 * max(1, np.abs(expected).max(initial=0)))


# --- values ---


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ONE_AXIS)
def test_one_axis(name, norm):
    """Every length, cut and filled up, on both axes: eager values, which need no compiler."""
    f, oracle = functions(name)
    for dtype in ("float32", "complex64"):
        for size in (1, 2, 5, 6):
            x = operand(name, (size, 3), dtype)
            for n in (None, 1, 4, 7):
                if n is None and size == 1 and name in ("irfft", "hfft"):
                    continue  # nothing: NumPy refuses it
                near(f(x, n, 0, norm), oracle(x, n, 0, norm))
            near(f(x.T, n=4, norm=norm), oracle(x.T, n=4, norm=norm))


@pytest.mark.parametrize("name", MANY_AXES)
def test_many_axes(name):
    f, oracle = functions(name)
    x = operand(name, (3, 4, 2, 3, 2), "complex64")
    for axes in ((0,), (1, 0), (-1, 1), (2, 0, 3), (0, 1, 2, 3), (4, 2, 0, 1, 3)):
        near(f(x, axes=axes), oracle(x, axes=axes))
        s = (4, 3, 1, 5, 2)[: len(axes)]
        for norm in NORMS:
            near(f(x, s, axes, norm), oracle(x, s, axes, norm))
    near(f(x), oracle(x))
    near(f(x, s=(3, 5)), oracle(x, s=(3, 5), axes=(-2, -1)))


@pytest.mark.parametrize("name", ["fft2", "ifft2", "rfft2", "irfft2"])
def test_two_axes(name):
    f, oracle = functions(name)
    x = operand(name, (3, 4, 5), "complex64")
    near(f(x), oracle(x))
    near(f(x, (5, 4), (1, 0), "ortho"), oracle(x, (5, 4), (1, 0), "ortho"))


@pytest.mark.parametrize(
    ("name", "shape", "options"),
    [
        ("fft", (3, 5), {"axis": 0, "norm": "ortho"}),
        ("ifft", (3, 4), {"n": 6}),
        ("rfft", (5,), {}),
        ("irfft", (2, 4), {"n": 7, "norm": "forward"}),
        ("hfft", (4,), {}),
        ("ihfft", (6,), {"norm": "forward"}),
        ("rfftn", (2, 3, 4), {"axes": (0, 2)}),
        ("irfftn", (3, 2, 4), {"s": (2, 2, 5)}),
        ("fftn", (2, 0, 3), {"axes": (0, 2)}),
    ],
)
def test_compiled_values_types_and_batches(name, shape, options):
    """Kernel, XLA and JAX agree, also under vmap."""
    f = lambda x: getattr(pnp.fft, name)(x, **options)  # noqa: E731
    x = operand(name, shape, "complex64")
    check_value(f, lambda x: getattr(jnp.fft, name)(x, **options), x)
    check_jaxpr(pb.make_jaxpr(f)(x))
    if x.size:
        check_batching(f, x)


def test_more_axes_than_the_compiler_takes():
    for name, shape in (("fftn", (2, 3, 1, 2, 2, 3, 2)), ("rfftn", (2, 2, 3, 2, 3)), ("irfftn", (2, 2, 3, 2, 3))):
        f, oracle = functions(name)
        x = operand(name, shape, "complex64")
        axes = tuple(range(1, x.ndim))
        near(pb.jit(lambda x, f=f, axes=axes: f(x, axes=axes))(x), oracle(x, axes=axes))


def test_nothing_to_transform():
    for shape, axis, reals in (((0, 3), -1, (0, 2)), ((3, 0), -1, (3, 0)), ((2, 0, 3), 0, (2, 0, 3))):
        x = np.ones(shape, "float32")
        for run in (lambda f: f, pb.jit):
            assert run(lambda x, axis=axis: pnp.fft.ifft(x, axis=axis))(x).shape == shape
            assert run(lambda x, axis=axis: pnp.fft.rfft(x, axis=axis, norm="ortho"))(x).shape == reals
    # JAX's lengths where NumPy has none
    assert pnp.fft.irfft(np.ones((2, 1), "complex64")).shape == (2, 0)
    assert pnp.fft.irfft(np.ones((2, 0), "complex64")).shape == (2, 0)
    near(pnp.fft.fft(np.ones((2, 0), "float32"), 3), np.zeros((2, 3), "complex64"))
    for f in (lambda x: pnp.real(pnp.fft.rfft(x)).sum(), lambda x: pnp.fft.irfft(x).sum()):
        assert pb.grad(f)(np.ones((2, 0), "float32")).shape == (2, 0)
    assert pnp.fft.fftn(np.float32(2)) == 2
    assert pnp.fft.fftn(np.ones(3, "float32"), axes=()).dtype == np.complex64


def test_dtypes():
    for dtype, wide in (
        ("int8", "complex64"),
        ("bool", "complex64"),
        ("float16", "complex64"),
        ("int64", "complex128"),
        ("float64", "complex128"),
        ("complex64", "complex64"),
        ("complex128", "complex128"),
    ):
        with pb.enable_x64(True):
            x = data((4,), dtype)
            for f in (pnp.fft.fft, lambda x: lax.fft(x, "fft", (4,))):
                assert f(x).dtype == wide
            if x.dtype.kind != "c":
                assert pnp.fft.rfft(x).dtype == lax.fft(x, "RFFT", (4,)).dtype == wide
            assert pnp.fft.irfft(x).dtype == np.zeros((), wide).real.dtype
    assert pnp.fft.fft(data((4,), "bfloat16")).dtype == pnp.fft.rfft(data((4,), "bfloat16")).dtype == np.complex64
    # one rounding at the end, 2**-24; a kernel of single precision would be off in the seventh digit already
    x = data((4096,), "complex64")
    np.testing.assert_allclose(np.asarray(pnp.fft.fft(x)), np.fft.fft(x.astype("complex128")), rtol=6e-8, atol=0)


def test_double_precision():
    with pb.enable_x64(True), jax.enable_x64(True):
        x = data((3, 5), "complex128")
        check_value(lambda x: pnp.fft.fftn(x, norm="ortho"), lambda x: jnp.fft.fftn(x, norm="ortho"), x)
        check_value(lambda x: pnp.fft.irfft(x, 9), lambda x: jnp.fft.irfft(x, 9), x)
        check_value(pnp.fft.rfft, jnp.fft.rfft, x.real)
        close(psf.dct(x), scipy.fft.dct(x))
        close(psf.idct(x), scipy.fft.idct(x))
        check_grads(lambda x: pnp.abs(pnp.fft.rfft(pnp.sin(x))), (x.real,), 2)
        check_value(lambda: pnp.fft.fftfreq(5, 0.3), lambda: jnp.fft.fftfreq(5, 0.3))


def test_lax_fft():
    x = data((2, 3, 4), "complex64")
    for kind, lengths in (("FFT", (4,)), ("IFFT", (3, 4)), ("IRFFT", (2, 3, 7)), ("irfft", (6,))):
        check_value(
            lambda x, kind=kind, lengths=lengths: lax.fft(x, kind, lengths),
            lambda x, kind=kind, lengths=lengths: jax.lax.fft(x, kind, lengths),
            x,
        )
    near(lax.fft(x.real, lax.FftType.RFFT, (3, 4)), np.fft.rfft2(x.real))
    near(lax.fft(x, lax.FftType.FFT, ()), x)
    assert {k.name: k.value for k in lax.FftType} == {k.name: k.value for k in jax.lax.FftType}


# --- derivatives ---

MAPS = [  # a transform, and shapes with odd, even and single lengths
    *((name, (size,), {}) for name in ("fft", "ifft", "rfft") for size in (1, 2, 5, 6)),
    *(("irfft", (n // 2 + 1,), {"n": n}) for n in (1, 2, 5, 6)),
    *(("hfft", (n // 2 + 1,), {"n": n}) for n in (5, 6)),
    ("ihfft", (5,), {}),
    ("fft", (5, 2), {"n": 3, "axis": 0, "norm": "ortho"}),
    ("rfft2", (3, 4), {}),
    ("rfft2", (3, 4), {"axes": (-1, 0)}),
    ("irfft2", (4, 3), {}),
    ("irfft2", (4, 3), {"s": (2, 7)}),
    ("rfftn", (2, 1, 3, 2, 5), {}),
    ("irfftn", (2, 3, 2, 2, 3), {"s": (2, 3, 2, 2, 5), "norm": "forward"}),
    ("ifftn", (2, 2, 2, 3), {}),
]


@pytest.mark.parametrize(("name", "shape", "options"), MAPS)
def test_both_modes_are_adjoint(name, shape, options):
    """The jvp is the map itself, and the vjp its transpose in the pairing Re(sum(ct * y)), which conjugates nothing."""
    f = lambda x: getattr(pnp.fft, name)(x, **options)  # noqa: E731
    x, t, u = (operand(name, shape, "complex64") for _ in range(3))
    y, dy = pb.jvp(f, (x,), (t,))
    close(dy, f(t))
    y, pullback = pb.vjp(f, x)
    ct = data(y.shape, y.dtype)
    back = np.asarray(pullback(ct)[0])
    assert back.dtype == x.dtype
    for v in (t, u):
        np.testing.assert_allclose(np.sum(ct * np.asarray(f(v))).real, np.sum(back * v).real, rtol=1e-4, atol=1e-4)
    # the transpose is a linear map, too, whose transpose is the first
    close(pb.vjp(lambda ct: pullback(ct)[0], ct)[1](t)[0], f(t), 10)


def test_cotangents_are_those_of_jax():
    for name, shape, options in (("fft", (5,), {}), ("rfft2", (3, 4), {}), ("irfft2", (3, 4), {"s": (3, 5)})):
        f, g = (lambda x, m=m, name=name, options=options: getattr(m, name)(x, **options) for m in (pnp.fft, jnp.fft))
        x = operand(name, shape, "complex64")
        y, pullback = jax.vjp(g, x)
        ct = data(y.shape, y.dtype)
        close(pb.vjp(f, x)[1](ct)[0], pullback(ct)[0], 10)
        close(pb.jit(lambda x, ct, f=f: pb.vjp(f, x)[1](ct)[0])(x, ct), pullback(ct)[0], 10)


def through_reals(library, name, **options):
    """A real function of two real arrays that has the transform inside, of a complex number if it takes one."""
    np_, lax_ = (pnp, lax) if library is pb else (jnp, jax.lax)
    transform = getattr(np_.fft, name)

    def f(x, y):
        z = np_.sin(x) * y if name in REAL_ONLY else lax_.complex(np_.sin(x), x * y)
        z = transform(z, **options)
        return np_.sum(np_.real(z) ** 3 + np_.real(z) * np_.imag(z)) / z.size

    return f


@pytest.mark.parametrize(
    ("name", "shape", "options"),
    [
        ("fft", (2, 3), {"n": 4, "axis": 0}),
        ("ifft2", (2, 3), {}),
        ("rfft", (5,), {}),
        ("rfftn", (3, 4), {"s": (2, 5)}),
        ("irfft", (4,), {}),
        ("irfft2", (2, 3), {"s": (2, 5), "norm": "ortho"}),
        ("hfft", (3,), {}),
        ("ihfft", (4,), {}),
    ],
)
def test_second_derivatives(name, shape, options):
    check_grads(through_reals(pb, name, **options), (data(shape), data(shape)), 2)


def test_gradients_of_batches_of_compiled_functions():
    x, y = data((2, 4, 3)), data((3, 2, 4))

    def run(t):
        f = through_reals(t, "irfft", n=5)
        batched = t.vmap(t.jit(t.vmap(f, (1, 0))), (0, 1))
        return (
            t.grad(lambda x, y: batched(x, y).sum(), (0, 1))(x, y),
            t.vmap(t.vmap(t.jit(t.grad(f)), (1, 0)), (0, 1))(x, y),
        )

    for got, expected in zip(
        jax.tree.leaves(run(pb), is_leaf=lambda x: isinstance(x, pb.Array)), jax.tree.leaves(run(jax)), strict=True
    ):
        close(got, expected, 10)


def test_batches():
    """Every axis that a batch can lie in: before the transformed axes it stays, among them it moves."""
    for name, options in (("fft", {"axis": 0}), ("rfft2", {}), ("irfftn", {"s": (3, 5), "axes": (1, 0)})):
        f = lambda x, name=name, options=options: getattr(pnp.fft, name)(x, **options)  # noqa: E731
        x = operand(name, (2, 3, 4, 3), "complex64")
        for axis in range(4):
            expected = np.stack([f(np.take(x, i, axis)) for i in range(x.shape[axis])], 1)
            close(pb.vmap(f, axis, 1)(x), expected)


# --- frequencies ---


def test_frequencies():
    for name in ("fftfreq", "rfftfreq"):
        f, oracle = functions(name)
        for n in (1, 4, 5):
            for d in (1, 0.3, np.float32(2)):
                close(f(n, d), oracle(n, d).astype("float32"))
    assert pnp.fft.fftfreq(0).shape == (0,)
    for dtype in ("float16", "bfloat16", "complex64"):
        assert pnp.fft.fftfreq(3, dtype=dtype).dtype == dtype
    check_value(lambda d: pnp.fft.fftfreq(5, d), lambda d: jnp.fft.fftfreq(5, d), np.float32(0.3))
    check_grads(lambda d: pnp.fft.rfftfreq(5, d), (0.3,), 2)


@pytest.mark.parametrize("dtype", ["int32", "float32", "complex64"])
def test_shifts(dtype):
    x = data((3, 4, 1), dtype)
    for name in ("fftshift", "ifftshift"):
        f, oracle = functions(name)
        for axes in (None, 0, -2, (0, 1), ()):
            np.testing.assert_array_equal(np.asarray(f(x, axes)), oracle(x, axes))
        assert f(x).dtype == dtype
    assert pnp.fft.fftshift(np.float32(1)) == 1


# --- cosine transforms ---


@pytest.mark.parametrize("norm", [None, "backward", "ortho"])
@pytest.mark.parametrize("name", ["dct", "idct"])
def test_cosine_transforms(name, norm):
    f, oracle = getattr(psf, name), getattr(scipy.fft, name)
    for dtype in ("float32", "complex64"):
        for size in (1, 2, 5, 6):
            x = data((size, 3), dtype)
            for n in (None, 1, 4, 7):
                near(f(x, 2, n, 0, norm), oracle(x, 2, n, 0, norm))
    near(f(np.arange(3)), oracle([0.0, 1.0, 2.0]))
    assert f(np.zeros((0, 3), "float16")).shape == (0, 3)


def test_cosine_transforms_of_several_axes():
    x = data((3, 4, 5))
    for f, oracle in ((psf.dctn, scipy.fft.dctn), (psf.idctn, scipy.fft.idctn)):
        for options in ({}, {"axes": (2, 0)}, {"s": (4, 2), "norm": "ortho"}, {"s": (7,), "axes": (1,)}, {"axes": ()}):
            near(f(x, **options), oracle(x, **options) if options.get("axes") != () else x)


def test_rules_of_cosine_transforms():
    x = data((2, 5))
    for f, oracle in ((psf.dct, jax.scipy.fft.dct), (psf.idct, jax.scipy.fft.idct)):
        check_value(lambda x, f=f: f(x, norm="ortho", n=4), lambda x, g=oracle: g(x, norm="ortho", n=4), x)
        t, u = data((2, 5)), data((2, 5))
        dy = pb.jvp(f, (x,), (t,))[1]
        close(dy, f(t), 10)
        np.testing.assert_allclose(np.vdot(u, dy), np.vdot(pb.vjp(f, x)[1](u)[0], t), rtol=1e-4, atol=1e-4)
    check_grads(lambda x: psf.idct(psf.dct(pnp.sin(x), n=4) ** 2, n=3), (x[0],), 2)
    check_batching(lambda x: psf.dctn(x, axes=(0,)), x)


# --- refusals ---

X = np.ones((2, 3), "float32")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (partial(pnp.fft.fft, X, 0), ValueError, "fft: n must be at least 1, got 0"),
        (partial(pnp.fft.irfft, X, -2), ValueError, "irfft: n must be at least 1, got -2"),
        (partial(pnp.fft.fft, X, 2.5), TypeError, "fft: n must be an integer, got 2.5"),
        (partial(pnp.fft.fft, X, axis=2), ValueError, "fft: axis 2 is out of bounds for an array of 2 axes"),
        (partial(pnp.fft.fft, X, axis=(0, 1)), TypeError, r"fft: axis must be an int, got \(0, 1\)"),
        (partial(pnp.fft.fft, 1.0), ValueError, "fft: axis -1 is out of bounds"),
        (partial(pnp.fft.fft, [1.0, 2.0]), TypeError, "fft: argument 0: .* Make an array of it first"),
        (
            partial(pnp.fft.hfft, X, norm="unit"),
            ValueError,
            "hfft: norm must be one of None, 'backward', 'forward', 'ortho', got 'unit'",
        ),
        (partial(pnp.fft.fftn, X, norm=1), ValueError, "fftn: norm must be one of .*, got 1"),
        (partial(pnp.fft.rfft, X * 1j), TypeError, r"rfft: expected real numbers, got c64\[2,3\]. Use fft"),
        (partial(pnp.fft.ihfft, X * 1j), TypeError, "ihfft: expected real numbers"),
        (partial(pnp.fft.fft2, X, axes=(0,)), ValueError, r"fft2: axes must be two ints, got \(0,\). .* there is fftn"),
        (partial(pnp.fft.fftn, X, axes=(0, 0)), ValueError, r"fftn: \(0, 0\) names an axis twice"),
        (partial(pnp.fft.fftn, X, s=(1, 2, 3)), ValueError, "fftn: s has 3 lengths, got an array of 2 axes"),
        (
            partial(pnp.fft.fftn, X, s=(2,), axes=(0, 1)),
            ValueError,
            r"fftn: s must have a length for each of the axes \(0, 1\), got \(2,\)",
        ),
        (partial(pnp.fft.ifftn, X, s=(2, -1)), ValueError, r"ifftn: s\[1\] must be at least 1, got -1"),
        (partial(pnp.fft.ifftn, X, s=3), TypeError, "ifftn: s must be a sequence of ints, .* got 3"),
        (partial(pnp.fft.rfftn, np.float32(1)), ValueError, "rfftn: expected at least one axis to transform"),
        (lambda: pb.jit(pnp.fft.fft)(X, 3), ConcretizationTypeError, "argument 'n'.*static_argnums"),
        (partial(pnp.fft.fftfreq, -1), ValueError, "fftfreq: n must be at least 0, got -1"),
        (partial(pnp.fft.rfftfreq, 2.5), TypeError, "rfftfreq: n must be an integer, got 2.5"),
        (partial(pnp.fft.fftfreq, 3, X), TypeError, r"fftfreq: d must be a real scalar, got f32\[2,3\]"),
        (
            partial(pnp.fft.fftfreq, 3, dtype="int32"),
            TypeError,
            "fftfreq: dtype must be a floating-point or complex one",
        ),
        (partial(pnp.fft.fftshift, X, 2), ValueError, "fftshift: axis 2 is out of bounds"),
        (partial(psf.dct, X, 3), NotImplementedError, "dct: only type 2 is available, got type=3"),
        (
            partial(psf.dct, X, norm="forward"),
            ValueError,
            "dct: norm must be one of None, 'backward', 'ortho', got 'forward'",
        ),
        (partial(psf.idct, X, n=-4), ValueError, "idct: n must be at least 1, got -4"),
        (partial(psf.dctn, X[:0]), ValueError, r"dctn: axis 0 of shape \(0, 3\) has no elements"),
        (partial(lax.fft, X, "DFT", (3,)), ValueError, "fft: fft_type must be an FftType or one of .*, got 'DFT'"),
        (partial(lax.fft, X * 1j, "RFFT", (3,)), TypeError, r"fft: RFFT takes real numbers, got c64\[2,3\]. Use FFT"),
        (partial(lax.fft, X, "FFT", 3), TypeError, "fft: fft_lengths must be a sequence of ints, .* got 3"),
        (
            partial(lax.fft, X, "FFT", (1, 2, 3)),
            ValueError,
            r"fft: fft_lengths .* at most the 2 of shape \(2, 3\), got",
        ),
        (
            partial(lax.fft, X, "IRFFT", (2, 7)),
            ValueError,
            r"fft: IRFFT with fft_lengths \(2, 7\) takes an operand .* lengths \(2, 4\), got shape \(2, 3\)",
        ),
        (partial(lax.fft, X, "FFT", (4,)), ValueError, r"lengths \(4,\), got shape \(2, 3\). Cut it or pad it"),
        (
            partial(fft_p.bind, X, fft_type=lax.FftType.FFT, fft_lengths=(3,)),
            TypeError,
            r"fft: FFT takes complex64 or complex128, got f32\[2,3\]. Convert it",
        ),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("decompose", [np.linalg.svdvals, np.linalg.inv, np.linalg.det])
def test_a_transform_and_a_decomposition_compose(decompose):
    """XLA for CPU refuses a transform whose result is laid out by columns, as LAPACK wants it."""
    x = np.arange(18.0).reshape(2, 3, 3) + 10 * np.eye(3)
    ours = getattr(pnp.linalg, decompose.__name__)
    with pb.enable_x64(True):
        for fun in (
            lambda x: ours(pnp.fft.fft(x)),
            lambda x: ours(pnp.fft.fft2(pnp.linalg.inv(x))),
            lambda x: pnp.fft.irfft(pnp.fft.rfft(ours(x))),
        ):
            close(pb.jit(fun)(x), fun(x))
        close(pb.jit(lambda x: ours(pnp.fft.fft(x)))(x), decompose(np.fft.fft(x)))
