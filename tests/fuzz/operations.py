"""Statements of array operations: elementwise, reductions, shapes, integers."""

import numpy as np

from fuzz.grammar import Draw, Unsuitable, broadcast, family, strong

SMOOTH = [
    "sin",
    "cos",
    "arctan",
    "sinh",
    "cosh",
    "tanh",
    "arcsinh",
    "exp",
    "exp2",
    "expm1",
    "square",
    "negative",
    "deg2rad",
    "sinc",
    "positive",
]
# what keeps an argument inside of a domain
GUARDED = {
    "log": "np.square({}) + 0.5",
    "log2": "np.square({}) + 0.5",
    "log10": "np.abs({}) + 0.25",
    "log1p": "np.square({})",
    "sqrt": "np.square({}) + 0.25",
    "cbrt": "np.abs({}) + 0.5",
    "reciprocal": "np.square({}) + 0.5",
    "arcsin": "0.875 * np.tanh({})",
    "arccos": "0.75 * np.sin({})",
    "arctanh": "0.75 * np.tanh({})",
    "arccosh": "np.square({}) + 1.5",
    "tan": "np.tanh({})",
}
DOMAINS = {
    "log": lambda x: x > 0.1,
    "log2": lambda x: x > 0.1,
    "log10": lambda x: x > 0.1,
    "log1p": lambda x: x > -0.8,
    "sqrt": lambda x: x > 0.05,
    "cbrt": lambda x: abs(x) > 0.05,
    "reciprocal": lambda x: abs(x) > 0.1,
    "arcsin": lambda x: abs(x) < 0.9,
    "arccos": lambda x: abs(x) < 0.9,
    "arctanh": lambda x: abs(x) < 0.9,
    "arccosh": lambda x: x > 1.1,
    "tan": lambda x: abs(x) < 1.2,
}
COMPLEX = ["sin", "cos", "tanh", "exp", "square", "negative", "conj", "real", "imag", "abs", "sinh", "cosh"]
STEPS = ["floor", "ceil", "trunc", "rint", "sign", "round"]


@family(8)
def smooth(d: Draw):
    x = d.real()
    d.add("elementwise", f"np.{d.choice(SMOOTH)}($0)", [x])


@family(4)
def guarded(d: Draw):
    x, name = d.real(), d.choice(GUARDED)
    inside = d.session.edge or (not d.varying and np.all(DOMAINS[name](x.numbers)))
    d.add("elementwise", f"np.{name}($0)" if inside else f"np.{name}({GUARDED[name].format('$0')})", [x])


@family(2)
def activation(d: Draw):
    x = d.real()
    name = d.choice(
        [
            "lax.logistic",
            "lax.erf",
            "lax.erfc",
            "t.nn.softplus",
            "t.nn.silu",
            "t.nn.gelu",
            "t.nn.elu",
            "t.nn.log_sigmoid",
            "t.nn.softmax",
            "t.nn.log_softmax",
            "t.nn.relu",
        ]
    )
    if "softmax" in name and not x.ndim:
        raise Unsuitable
    d.add("activation", f"{name}($0)", [x])


@family(1)
def steps(d: Draw):
    x = d.real()
    name = d.choice(STEPS)
    d.add("step", f"np.{name}($0)", [x])


@family(2)
def complex_function(d: Draw):
    z = d.value(lambda v: v.kind == "c")
    d.add("complex", f"np.{d.choice(COMPLEX)}($0)", [z])


@family(8)
def binary(d: Draw):
    x = d.inexact()
    y = d.like(x, lambda v: v.name != x.name or d.chance(0.2))
    if "c" in (x.kind, y.kind):
        text = d.choice(["$0 + $1", "$0 - $1", "$0 * $1", "$0 / ($1 * np.conj($1) + 1)"])
    else:
        text = d.choice(
            [
                "$0 + $1",
                "$0 - $1",
                "$0 * $1",
                "$0 * $1",
                "$0 / (np.square($1) + 0.5)",
                "np.arctan2($0, np.square($1) + 0.5)",
                "np.hypot($0, np.abs($1) + 0.25)",
                "np.logaddexp($0, $1)",
                "np.maximum($0, $1)",
                "np.minimum($0, $1)",
                "(np.abs($0) + 0.5) ** $1",
                "np.where($0 > $1, $0, $1)",
                "np.where($1 > 0, np.sin($0), $1)",
            ]
        )
    d.add("binary", text, [x, y])


@family(5)
def with_number(d: Draw):
    x, c = d.inexact(), d.constant()
    text = d.choice(
        [
            f"$0 * {c}",
            f"$0 + {c}",
            f"{c} - $0",
            "$0 / 4",
            f"$0 ** {d.choice([2, 3])}",
            "2 * $0",
            "-$0",
            f"{c} / ($0 * $0 + 4)" if x.kind == "f" else "$0 * 1j",
        ]
    )
    d.add("number", text, [x])


@family(1)
def clip(d: Draw):
    x = d.real()
    d.add(
        "clip",
        d.choice(
            [
                "np.clip($0, -0.75, 1.25)",
                "np.clip($0, -0.5, None)",
                "np.clip($0, np.min($0), 0.5)",
                "np.nan_to_num($0)",
                "np.fmax($0, 0.25)",
                "np.copysign($0, 1.0)",
            ]
        ),
        [x],
    )


@family(4)
def reduction(d: Draw):
    x = d.inexact(lambda v: 0 not in v.shape)
    axes = ["", "keepdims=True"]
    if x.ndim:
        axes += [f"axis={d.axis(x)}", f"axis={d.axis(x)}, keepdims=True"]
    if x.ndim > 1:
        axes += ["axis=(0, -1)"]
    axis = d.choice(axes)
    names = ["sum", "mean"] if x.kind == "c" else ["sum", "sum", "mean", "var", "max", "min", "prod"]
    if x.kind == "f" and "(" not in axis and np.prod(x.shape) > 1:
        names += ["median", "std", "ptp"]
    name = d.choice(names)
    x_text = "np.tanh($0)" if name == "prod" else "$0"
    if name == "std":
        if "axis" in axis and x.shape[int(axis.split("=")[1].split(",")[0])] < 2:
            raise Unsuitable
        if d.varying or (not d.session.edge and np.min(np.std(x.numbers)) < 0.05):
            raise Unsuitable
    d.add("reduction", f"np.{name}({x_text}{', ' * bool(axis)}{axis})", [x])


@family(1.5)
def logsumexp(d: Draw):
    x = d.real(lambda v: v.ndim and 0 not in v.shape)
    d.add("reduction", f"t.nn.logsumexp($0, axis={d.axis(x)})" if d.chance(0.7) else "t.nn.logsumexp($0)", [x])


@family(2)
def along_axis(d: Draw):
    x = d.real(lambda v: v.ndim and 0 not in v.shape)
    axis = d.axis(x)
    name = d.choice(["cumsum", "cumprod", "sort", "diff", "flip"])
    if name == "diff" and x.shape[axis] < 2:
        raise Unsuitable
    running = f"lax.cum{d.choice(['max', 'min', 'logsumexp', 'sum', 'prod'])}"
    d.add(
        "along axis",
        f"np.{name}($0, axis={axis})"
        if d.chance(0.7)
        else f"{running}($0, axis={axis % x.ndim}, reverse={d.chance(0.5)})",
        [x],
    )


@family(4)
def rearrange(d: Draw):
    x = d.inexact()
    size = int(np.prod(x.shape))
    texts = [
        "np.ravel($0)",
        "$0[None]",
        "$0[..., None]",
        "np.transpose($0)",
        "np.reshape($0, -1)",
        f"np.broadcast_to($0, {(2, *x.shape)})",
        "np.squeeze($0)",
    ]
    if x.ndim:
        axis = d.axis(x)
        texts += [
            f"np.moveaxis($0, {axis}, 0)",
            f"np.roll($0, {d.integer(-2, 2)}, axis={axis})",
            f"np.repeat($0, 2, axis={axis})",
            f"np.flip($0, {axis})",
            f"np.expand_dims($0, {axis})",
            f"np.stack([$0, $0 * 2], axis={axis})",
            f"np.concatenate([$0, -$0], axis={axis})",
            f"np.pad($0, {d.choice([1, (0, 2), (1, 0)])})",
            f"np.pad($0, 1, mode='{d.choice(['edge', 'wrap'])}')",
            "np.tile($0, 2)",
            "$0.T",
            "$0.reshape(-1)",
            f"np.swapaxes($0, 0, {axis})",
        ]
    if x.ndim >= 2:
        texts += [
            "np.tril($0)",
            "np.triu($0, 1)",
            "np.diagonal($0)",
            "np.trace($0)",
            "np.rot90($0)",
            "lax.transpose($0, tuple(range($0.ndim))[::-1])",
        ]
    if x.ndim == 1:
        texts += ["np.diag($0)", "np.outer($0, $0)", "np.vander($0, 3)"]
    if size and size % 2 == 0:
        texts += ["np.reshape($0, (2, -1))", "np.reshape($0, (-1, 2), order='F')", "np.split(np.ravel($0), 2)[1]"]
    d.add("rearrange", d.choice(texts), [x])


@family(1.5)
def join(d: Draw):
    x = d.inexact(lambda v: v.ndim)
    y = d.inexact(lambda v: v.shape[1:] == x.shape[1:] and v.ndim == x.ndim)
    text = d.choice(
        ["np.concatenate([$0, $1])", "np.concatenate([$1, $0, $1])"]
        + ["np.vstack([$0, $1])"] * (x.ndim > 1)
        + ["np.stack([$0, $1], -1)"] * (x.shape == y.shape)
    )
    d.add("join", text, [x, y])


@family(1)
def constant_array(d: Draw):
    dtype = d.session.dtype
    n = d.integer(1, 4)
    text = d.choice(
        [
            f'np.arange({n}, dtype="{dtype}")',
            f'np.full(({n}, 2), {d.constant()}, "{dtype}")',
            f'np.eye({n}, dtype="{dtype}")',
            f'np.array({d.constant()}, "{dtype}")',
            f"np.asarray({d.constant()})",
            f'np.linspace(-1, 1, {n + 1}, dtype="{dtype}")',
            f'np.arange({n}, dtype="int32")',
            f'np.array({d.integer(0, 3)}, "int32")',
        ]
    )
    d.add("constant", text)


@family(2)
def cast(d: Draw):
    x = d.value()
    if x.kind == "c":
        text = d.choice(["np.real($0)", "np.imag($0)", "np.abs($0 + 3)"])
    else:
        wide = d.session.dtype == "float64"
        options = ([d.session.dtype] if x.dtype != d.session.dtype else []) + ["int32", "bool"]
        if d.chance(0.5) and x.kind == "f" and d.session.dtype in ("float32", "float64"):
            options = ["complex128" if wide else "complex64"]
        elif d.session.dtype in ("bfloat16", "float16", "float32") and d.chance(0.3):
            options = ["float32", d.session.dtype]
        text = f'$0.astype("{d.choice(options)}")'
    d.add("cast", text, [x])


@family(2)
def integers(d: Draw):
    x = d.whole()
    y = d.whole(lambda v: broadcast(v.shape, x.shape))
    text = d.choice(
        [
            "$0 + $1",
            "$0 - $1",
            "$0 * $1",
            "$0 // ($1 * $1 + 1)",
            "$0 % 3",
            "np.maximum($0, $1)",
            "$0 & $1",
            "$0 | $1",
            "$0 ^ $1",
            "$0 << 1",
            "$0 >> 1",
            "~$0",
            "np.abs($0)",
            "np.sum($0)",
            "np.cumsum($0)",
            "np.where($0 > $1, $0, -1)",
            "np.clip($0, 0, 3)",
            "np.sign($0)",
            "-$0",
            "np.sort(np.ravel($0))",
            "$0 == $1",
            "$0 < $1",
            "np.bitwise_count($0)",
            "np.gcd($0, 6)",
        ]
    )
    d.add("integer", text, [x, y])


@family(2)
def meets_integers(d: Draw):
    x = d.inexact()
    i = d.value(lambda v: v.kind in "iub" and broadcast(v.shape, x.shape))
    d.add(
        "mixed",
        d.choice(["$0 * $1", "$0 + $1", "$1 - $0", "np.where($1, $0, 0)", "np.where($1 > 0, $0, np.sin($0))"]),
        [x, i],
    )


@family(1.5)
def positions(d: Draw):
    x = d.real(lambda v: v.ndim and 0 not in v.shape)
    axis = d.axis(x)
    d.add(
        "position",
        d.choice(
            [
                f"np.argmax($0, axis={axis})",
                f"np.argmin($0, axis={axis})",
                "np.argsort(np.ravel($0))",
                "$0 > 0.125",
                "np.sum($0 > 0)",
                "np.isfinite($0)",
                "np.any($0 > 1)",
                "np.searchsorted(np.sort(np.ravel($0)), 0.0625)",
            ]
        ),
        [x],
    )


@family(1.5)
def calculus(d: Draw):
    x = d.real(lambda v: v.ndim and v.shape[-1] >= 2 and 0 not in v.shape)
    texts = [
        "np.gradient($0, axis=-1)",
        "np.trapezoid($0)",
        "np.quantile($0, 0.375)",
        "np.cov(np.ravel($0))",
        "np.interp(0.125, np.arange(2), $0[..., :2].ravel()[:2])",
        "np.ediff1d($0)",
        "np.unwrap($0)",
        "np.polyval(np.ravel($0)[:3], 0.5)",
        "np.convolve(np.ravel($0), np.ravel($0)[:2])",
        "np.ptp($0, axis=-1)",
        "lax.top_k($0, 2)[0]",
        "np.partition($0, 1)[..., :1]",
        "np.nansum($0)",
        "np.nanmax($0, axis=-1)",
        "np.average($0, axis=-1)",
        "np.percentile($0, 60.0, axis=-1)",
        "t.nn.standardize($0 + np.arange($0.shape[-1]) * 3)",
        "t.nn.one_hot(np.argmax($0, -1), 3) * np.sum($0)",
        "np.fft.irfft(np.fft.rfft($0) * 2)",
        "np.real(np.fft.fft($0))",
        "np.abs(np.fft.ifft($0) + 3)",
    ]
    text = d.choice(texts)
    if ("fft" in text or "quantile" in text) and x.dtype not in ("float32", "float64"):
        raise Unsuitable
    d.add("calculus", text, [x])


@family(1)
def selection(d: Draw):
    x = d.real()
    y = d.like(x, lambda v: v.kind == "f")
    d.add(
        "selection",
        d.choice(
            [
                "np.select([$0 > 0.5, $1 < -0.25], [np.sin($0), $1], 0.125)",
                "np.piecewise($0, [$0 < 0, $0 > 1], [lambda z: z * 2, np.cos, 0.5])",
                "np.heaviside($0, 0.5) * $1",
                "np.fmin($0, $1)",
                "lax.clamp(np.full_like($0, -0.5), $0, np.full_like($0, 0.75))",
                "np.where($0 > 0, np.log(np.where($0 > 0, $0, 1)), $1)",
                "np.where(np.isnan($0), 0, $0) + $1",
                "np.copysign($0, $1)",
            ]
        ),
        [x, y],
    )


@family(1)
def special(d: Draw):
    x = d.real(lambda v: v.dtype in ("float32", "float64"))
    d.add(
        "special",
        "t.scipy.special."
        + d.choice(
            [
                "expit($0)",
                "ndtr($0)",
                "xlogy(np.square($0) + 0.5, np.square($0) + 0.25)",
                "entr(np.square($0) + 0.25)",
                "erfinv(0.75 * np.tanh($0))",
                "logit(0.25 + 0.5 * np.square(np.sin($0)))",
                "i0e($0)",
                "i1e($0)",
                "gammaln(np.square($0) + 0.5)",
                "digamma(np.square($0) + 0.5)",
                "logsumexp($0)",
                "xlog1py(np.tanh($0), 0.5)",
            ]
        ),
        [x],
    )


@family(0.7)
def windows(d: Draw):
    x = d.real(lambda v: v.ndim == 2 and min(v.shape) >= 2 and v.dtype in ("float32", "float64") and strong(v))
    d.add(
        "window",
        d.choice(
            [
                "lax.reduce_window($0, -np.inf, lax.max, (2, 2), (1, 1), 'VALID')",
                "lax.reduce_window($0, 0.0, lax.add, (2, 1), (1, 1), 'SAME')",
                "lax.conv_general_dilated($0[None, None], np.tanh($0[None, None, :2, :2]), (1, 1), 'SAME')[0, 0]",
                "lax.conv($0[None, None], $0[None, None, :1, :2], (1, 1), 'VALID')[0, 0]",
                "t.lax.reduce($0, np.zeros((), $0.dtype), lax.add, (1,))",
            ]
        ),
        [x],
    )


@family(0.5)
def random_numbers(d: Draw):
    key = f"t.random.key({d.integer(0, 9)})"
    if d.session.dtype != "float64":
        raise Unsuitable  # the numbers of another precision would be others
    if d.chance(0.3):
        key = f"t.random.split({key})[1]"
    d.add(
        "random",
        d.choice(
            [
                f"np.clip(t.random.normal({key}, (2, 3)), -3, 3)",
                f"t.random.uniform({key}, (3,)) + 0.25",
                f"t.random.bernoulli({key}, 0.5, (2,))",
                f"t.random.randint({key}, (2,), 0, 3)",
                f"t.random.permutation({key}, 4)",
            ]
        ),
    )
