"""scipy.signal against SciPy in double precision; derivatives against differences."""

import numpy as np
import pytest
import scipy.signal
from agreement import Sampler, check_derivative
from refusals import raises

import pullback as pb
import pullback.numpy as pnp
from pullback.scipy import signal

data = Sampler()
SHAPES = [((7,), (4,)), ((4,), (7,)), ((5, 6), (3, 2)), ((3, 2), (5, 6)), ((5, 5), (5, 5)), ((4, 3, 5), (2, 3, 2))]
KINDS = ("float64", "complex128")


@pytest.fixture(autouse=True)
def double():
    with pb.enable_x64():
        yield


def near(got, expected):
    for ours, right in zip(got, expected, strict=True):
        assert ours.shape == right.shape
        assert ours.dtype == right.dtype
        np.testing.assert_allclose(ours, right, atol=1e-10)


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_convolutions(shapes, dtype):
    x, y = (data(shape, dtype) for shape in shapes)
    for mode in ("full", "same", "valid"):
        for name in ("convolve", "correlate"):
            expected = getattr(scipy.signal, name)(x, y, mode, "direct")
            near([getattr(signal, name)(x, y, mode, method) for method in ("auto", "fft")], [expected] * 2)
        expected = scipy.signal.fftconvolve(x, y, mode)
        near([signal.fftconvolve(x, y, mode), pb.jit(signal.fftconvolve, static_argnums=2)(x, y, mode)], [expected] * 2)


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("shapes", [pair for pair in SHAPES if len(pair[0]) == 2], ids=str)
def test_convolutions_of_matrices(shapes, dtype):
    x, y = (data(shape, dtype) for shape in shapes)
    for mode in ("full", "same", "valid"):
        for around, value in (("fill", 0), ("fill", 1.5), ("wrap", 0), ("symm", 0)):
            for name in ("convolve2d", "correlate2d"):
                expected = getattr(scipy.signal, name)(x, y, mode, around, value)
                near([getattr(signal, name)(x, y, mode, around, value)], [expected])


def test_convolutions_along_some_axes():
    x, y = data((3, 6, 4), "float64"), data((3, 3, 1), "float64")
    near([signal.fftconvolve(x, y, "same", axes=1)], [scipy.signal.fftconvolve(x, y, "same", axes=1)])
    one, two = data((5, 2), "float64"), data((3, 4), "float64")
    near([signal.convolve(one, two)], [scipy.signal.convolve(one, two, method="direct")])
    assert signal.convolve(np.array(2.0), np.array(3.0)) == 6
    assert signal.convolve(pnp.ones(3, "bfloat16"), pnp.ones(2, "bfloat16"), method="fft").dtype == "bfloat16"
    with pb.enable_x64(False):
        assert signal.convolve(np.arange(3), np.arange(2)).dtype == "float32"
        for method in ("direct", "fft"):
            check_derivative(lambda x, y, m=method: signal.convolve(x, y, "same", m), data((4, 5)), data((2, 3)))


@pytest.mark.parametrize("dtype", KINDS)
def test_trends(dtype):
    x = data((6, 50), dtype)
    for axis in (0, 1, -1):
        for kind in ("constant", "linear"):
            near([signal.detrend(x, axis, kind)], [scipy.signal.detrend(x, axis, kind)])
    for bp in ([3, 10], 7, np.array([0, 50])):
        near([signal.detrend(x, 1, bp=bp)], [scipy.signal.detrend(x, 1, bp=bp)])
    assert signal.detrend(np.ones(1)).tolist() == [0]
    assert signal.detrend(np.ones((2, 0))).shape == (2, 0)


OPTIONS = [
    {"nperseg": 50},
    {"nperseg": 16},
    {"nperseg": 15, "noverlap": 4, "nfft": 20, "fs": 3.0},
    {"nperseg": 10, "window": "hamming"},
    {"nperseg": 16, "noverlap": 0, "window": np.ones(16)},
    {"nperseg": 16, "return_onesided": False, "detrend": "linear"},
]


@pytest.mark.filterwarnings("ignore:.*")
@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_spectra(options, dtype):
    x = data((3, 50), dtype)
    for around in ("zeros", "even", "odd", "constant", None):
        near(signal.stft(x, boundary=around, **options), scipy.signal.stft(x, boundary=around, **options))
    back = {key: value for key, value in options.items() if key not in ("detrend", "return_onesided")}
    back["input_onesided"] = options.get("return_onesided", dtype == "float64")
    z = scipy.signal.stft(x, **options)[2]
    near(signal.istft(z, **back)[1:], scipy.signal.istft(z, **back)[1:])
    for more in ({}, {"scaling": "spectrum", "average": "median"}):
        near(signal.welch(x, **options, **more), scipy.signal.welch(x, **options, **more))
        y = 1.3 * x[:, ::-1]
        near(signal.csd(x, y, **options, **more), scipy.signal.csd(x, y, **options, **more))


def test_spectra_along_other_axes_and_of_other_lengths():
    x = data((50, 3), "float64")
    near(signal.stft(x, nperseg=16, axis=0), scipy.signal.stft(x, nperseg=16, axis=0))
    near(signal.welch(x, nperseg=16, axis=0), scipy.signal.welch(x, nperseg=16, axis=0))
    z = scipy.signal.stft(x, nperseg=16, axis=0)[2]
    near(signal.istft(z, nperseg=16, freq_axis=0)[1:], scipy.signal.istft(z, nperseg=16, freq_axis=0)[1:])
    short = data((40,), "float64")
    near(signal.csd(x[:, 0], short, nperseg=16), scipy.signal.csd(x[:, 0], short, nperseg=16))
    assert [v.shape for v in signal.stft(np.zeros((2, 0)))] == [(2, 0)] * 3
    with pytest.warns(UserWarning, match="nperseg=256 is more than the signal's length 50"):
        signal.stft(x, axis=0)

    def there_and_back(x):
        return signal.istft(signal.stft(x, nperseg=8)[2], nperseg=8)[1]

    np.testing.assert_allclose(pb.jit(there_and_back)(short), short, atol=1e-12)
    np.testing.assert_allclose(pb.jacobian(there_and_back)(short), np.eye(40), atol=1e-12)
    with pb.enable_x64(False):
        check_derivative(lambda x: signal.welch(x, nperseg=8, average="median")[1], data((40,)))


def test_refusals():
    x = np.ones((5, 5))
    with raises(ValueError, "convolve: mode must be 'full', 'same' or 'valid', got 'half'"):
        signal.convolve(x, x, "half")
    with raises(ValueError, "correlate: in1 and in2 must have the same number of dimensions, got shapes (5, 5)"):
        signal.correlate(x, np.ones(2))
    with raises(ValueError, "convolve2d: in1 and in2 must have 2 dimensions"):
        signal.convolve2d(np.ones(2), np.ones(2))
    with raises(ValueError, "convolve2d: boundary must be 'fill', 'wrap' or 'symm', got 'zero'"):
        signal.convolve2d(x, x, boundary="zero")
    with raises(ValueError, "convolve: with mode 'valid' one of in1 and in2 must be as large as the other"):
        signal.convolve(np.ones((5, 2)), np.ones((2, 5)), "valid")
    with raises(ValueError, "convolve: in1 and in2 must have entries"):
        signal.convolve(np.ones(0), np.ones(2))
    with raises(ValueError, "fftconvolve: axis 2 is out of bounds"):
        signal.fftconvolve(x, x, axes=2)
    with raises(ValueError, "detrend: type must be 'constant' or 'linear', got 'square'"):
        signal.detrend(x, type="square")
    with raises(ValueError, "stft: noverlap must be less than nperseg, 4, got 4"):
        signal.stft(x, nperseg=4, noverlap=4)
    with raises(ValueError, "welch: nfft must be at least nperseg, 4, got 3"):
        signal.welch(x, nperseg=4, nfft=3)
    with raises(ValueError, "csd: average must be 'mean' or 'median', got 'mode'"):
        signal.csd(x, x, nperseg=4, average="mode")
    with raises(ValueError, "istft: time_axis and freq_axis must differ"):
        signal.istft(x, time_axis=-2)
    with raises(TypeError, "stft: nperseg must be an integer, got 4.0"):
        signal.stft(x, nperseg=4.0)
