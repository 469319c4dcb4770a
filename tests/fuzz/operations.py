"""Statements of array operations."""

import numpy as np

from fuzz.grammar import Draw, Unsuitable, broadcast, family

SMOOTH = ["sin", "cos", "arctan", "sinh", "cosh", "tanh", "arcsinh", "exp", "exp2", "expm1", "square", "negative",
          "deg2rad", "sinc", "positive"]
# what keeps an argument inside of a domain
GUARDED = {
    "log": "np.square({}) + 0.5", "log2": "np.square({}) + 0.5", "log10": "np.abs({}) + 0.25", "log1p": "np.square({})",
    "sqrt": "np.square({}) + 0.25", "cbrt": "np.abs({}) + 0.5", "reciprocal": "np.square({}) + 0.5",
    "arcsin": "0.875 * np.tanh({})", "arccos": "0.75 * np.sin({})", "arctanh": "0.75 * np.tanh({})",
    "arccosh": "np.square({}) + 1.5", "tan": "np.tanh({})",
}
DOMAINS = {
    "log": lambda x: x > .1, "log2": lambda x: x > .1, "log10": lambda x: x > .1, "log1p": lambda x: x > -.8,
    "sqrt": lambda x: x > .05, "cbrt": lambda x: abs(x) > .05, "reciprocal": lambda x: abs(x) > .1,
    "arcsin": lambda x: abs(x) < .9, "arccos": lambda x: abs(x) < .9, "arctanh": lambda x: abs(x) < .9,
    "arccosh": lambda x: x > 1.1, "tan": lambda x: abs(x) < 1.2,
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
    name = d.choice(["lax.logistic", "lax.erf", "lax.erfc", "t.nn.softplus", "t.nn.silu", "t.nn.gelu", "t.nn.elu",
                     "t.nn.log_sigmoid", "t.nn.softmax", "t.nn.log_softmax", "t.nn.relu"])
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
    y = d.like(x, lambda v: v.name != x.name or d.chance(.2))
    if "c" in (x.kind, y.kind):
        text = d.choice(["$0 + $1", "$0 - $1", "$0 * $1", "$0 / ($1 * np.conj($1) + 1)"])
    else:
        text = d.choice(["$0 + $1", "$0 - $1", "$0 * $1", "$0 * $1", "$0 / (np.square($1) + 0.5)", "np.arctan2($0, $1)",
                         "np.hypot($0, $1)", "np.logaddexp($0, $1)", "np.maximum($0, $1)", "np.minimum($0, $1)",
                         "(np.abs($0) + 0.5) ** $1", "np.where($0 > $1, $0, $1)", "np.where($1 > 0, np.sin($0), $1)"])
    d.add("binary", text, [x, y])


@family(5)
def with_number(d: Draw):
    x, c = d.inexact(), d.constant()
    text = d.choice([f"$0 * {c}", f"$0 + {c}", f"{c} - $0", "$0 / 4", f"$0 ** {d.choice([2, 3])}", "2 * $0", "-$0",
                     f"{c} / ($0 * $0 + 4)" if x.kind == "f" else "$0 * 1j"])
    d.add("number", text, [x])


@family(1)
def clip(d: Draw):
    x = d.real()
    d.add("clip", d.choice(["np.clip($0, -0.75, 1.25)", "np.clip($0, -0.5, None)", "np.clip($0, np.min($0), 0.5)",
                            "np.nan_to_num($0)", "np.fmax($0, 0.25)", "np.copysign($0, 1.0)"]), [x])


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
        if not d.session.edge and np.min(np.std(x.numbers)) < .05:
            raise Unsuitable
    d.add("reduction", f"np.{name}({x_text}{', ' * bool(axis)}{axis})", [x])


@family(1.5)
def logsumexp(d: Draw):
    x = d.real(lambda v: v.ndim and 0 not in v.shape)
    d.add("reduction", f"t.nn.logsumexp($0, axis={d.axis(x)})" if d.chance(.7) else "t.nn.logsumexp($0)", [x])


@family(2)
def along_axis(d: Draw):
    x = d.real(lambda v: v.ndim and 0 not in v.shape)
    axis = d.axis(x)
    name = d.choice(["cumsum", "cumprod", "sort", "diff", "flip"])
    if name == "diff" and x.shape[axis] < 2:
        raise Unsuitable
    running = f"lax.cum{d.choice(['max', 'min', 'logsumexp', 'sum', 'prod'])}"
    d.add("along axis", f"np.{name}($0, axis={axis})" if d.chance(.7) else
          f"{running}($0, axis={axis % x.ndim}, reverse={d.chance(.5)})", [x])


@family(4)
def rearrange(d: Draw):
    x = d.inexact()
    size = int(np.prod(x.shape))
    texts = ["np.ravel($0)", "$0[None]", "$0[..., None]", "np.transpose($0)", "np.reshape($0, -1)",
             f"np.broadcast_to($0, {(2, *x.shape)})", "np.squeeze($0)"]
    if x.ndim:
        axis = d.axis(x)
        texts += [f"np.moveaxis($0, {axis}, 0)", f"np.roll($0, {d.integer(-2, 2)}, axis={axis})",
                  f"np.repeat($0, 2, axis={axis})", f"np.flip($0, {axis})", f"np.expand_dims($0, {axis})",
                  f"np.stack([$0, $0 * 2], axis={axis})", f"np.concatenate([$0, -$0], axis={axis})",
                  f"np.pad($0, {d.choice([1, (0, 2), (1, 0)])})", f"np.pad($0, 1, mode='{d.choice(['edge', 'wrap'])}')",
                  "np.tile($0, 2)", "$0.T", "$0.reshape(-1)", f"np.swapaxes($0, 0, {axis})"]
    if x.ndim >= 2:
        texts += ["np.tril($0)", "np.triu($0, 1)", "np.diagonal($0)", "np.trace($0)", "np.rot90($0)",
                  "lax.transpose($0, tuple(range($0.ndim))[::-1])"]
    if x.ndim == 1:
        texts += ["np.diag($0)", "np.outer($0, $0)", "np.vander($0, 3)"]
    if size and size % 2 == 0:
        texts += ["np.reshape($0, (2, -1))", "np.reshape($0, (-1, 2), order='F')", "np.split(np.ravel($0), 2)[1]"]
    d.add("rearrange", d.choice(texts), [x])


@family(1.5)
def join(d: Draw):
    x = d.inexact(lambda v: v.ndim)
    y = d.inexact(lambda v: v.shape[1:] == x.shape[1:] and v.ndim == x.ndim)
    text = d.choice(["np.concatenate([$0, $1])", "np.concatenate([$1, $0, $1])"]
                    + ["np.vstack([$0, $1])"] * (x.ndim > 1)
                    + ["np.stack([$0, $1], -1)"] * (x.shape == y.shape))
    d.add("join", text, [x, y])


@family(1)
def constant_array(d: Draw):
    dtype = d.session.dtype
    n = d.integer(1, 4)
    text = d.choice([f'np.arange({n}, dtype="{dtype}")', f'np.full(({n}, 2), {d.constant()}, "{dtype}")',
                     f'np.eye({n}, dtype="{dtype}")', f'np.array({d.constant()}, "{dtype}")',
                     f"np.asarray({d.constant()})",
                     f'np.linspace(-1, 1, {n + 1}, dtype="{dtype}")', f'np.arange({n}, dtype="int32")',
                     f"np.array({d.integer(0, 3)})"])
    d.add("constant", text)


@family(2)
def cast(d: Draw):
    x = d.value()
    if x.kind == "c":
        text = d.choice(["np.real($0)", "np.imag($0)", "np.abs($0 + 3)"])
    else:
        wide = d.session.dtype == "float64"
        options = ([d.session.dtype] if x.dtype != d.session.dtype else []) + ["int32", "bool"]
        if d.chance(.5) and x.kind == "f" and d.session.dtype in ("float32", "float64"):
            options = ["complex128" if wide else "complex64"]
        elif d.session.dtype in ("bfloat16", "float16", "float32") and d.chance(.3):
            options = ["float32", d.session.dtype]
        text = f'$0.astype("{d.choice(options)}")'
    d.add("cast", text, [x])


@family(2)
def integers(d: Draw):
    x = d.whole()
    y = d.whole(lambda v: broadcast(v.shape, x.shape))
    text = d.choice(["$0 + $1", "$0 - $1", "$0 * $1", "$0 // ($1 * $1 + 1)", "$0 % 3", "np.maximum($0, $1)", "$0 & $1",
                     "$0 | $1", "$0 ^ $1", "$0 << 1", "$0 >> 1", "~$0", "np.abs($0)", "np.sum($0)", "np.cumsum($0)",
                     "np.where($0 > $1, $0, -1)", "np.clip($0, 0, 3)", "np.sign($0)", "-$0", "np.sort(np.ravel($0))",
                     "$0 == $1", "$0 < $1", "np.bitwise_count($0)", "np.gcd($0, 6)"])
    d.add("integer", text, [x, y])


@family(2)
def meets_integers(d: Draw):
    x = d.inexact()
    i = d.value(lambda v: v.kind in "iub" and broadcast(v.shape, x.shape))
    d.add("mixed", d.choice(["$0 * $1", "$0 + $1", "$1 - $0", "np.where($1, $0, 0)",
                             "np.where($1 > 0, $0, np.sin($0))"]), [x, i])


@family(1.5)
def positions(d: Draw):
    x = d.real(lambda v: v.ndim and 0 not in v.shape)
    axis = d.axis(x)
    d.add("position", d.choice([f"np.argmax($0, axis={axis})", f"np.argmin($0, axis={axis})",
                                "np.argsort(np.ravel($0))", "$0 > 0.125",
                                "np.sum($0 > 0)", "np.isfinite($0)", "np.any($0 > 1)",
                                "np.searchsorted(np.sort(np.ravel($0)), 0.0625)"]), [x])


# --- indexing ---


def an_index(d: Draw, x) -> tuple[str, list]:
    """The text of an index of a value, and the values that stand in it."""
    n = x.shape[0]
    rows = [d.integer(-n, n - 1) for _ in range(d.integer(1, 3))]
    texts = [str(d.integer(-n, n - 1)), "::-1", "1:", ":-1", "::2", "None, 0", "..., 0", f"np.array({rows})",
             f"np.array({[rows]})", f"np.array({[d.chance(.6) for _ in range(n)]})"]
    if x.ndim >= 2:
        m = x.shape[1]
        columns = [d.integer(-m, m - 1) for _ in rows]
        texts += [f"np.array({rows}), np.array({columns})", f":, np.array({columns})", f"0, ::{d.choice([-1, 2])}",
                  f"np.array({rows}), 1:", f"np.array({rows})[:, None], np.array({columns})"]
    text, used = d.choice(texts), []
    if d.chance(.3):
        i = d.whole(lambda v: v.ndim <= 1 and 0 not in v.shape)
        text, used = f"$1 % {n}", [i]
    if "True" not in text and "False" in text:
        text = "0"
    return text, used


@family(3)
def getitem(d: Draw):
    x = d.inexact(lambda v: v.ndim and 0 not in v.shape)
    index, used = an_index(d, x)
    d.add("getitem", f"$0[{index}]", [x, *used])


@family(3)
def at(d: Draw):
    x = d.inexact(lambda v: v.ndim and 0 not in v.shape)
    index, used = an_index(d, x)
    method = d.choice(["set", "add", "multiply", "get", "set", "add"] + ["min", "max"] * (x.kind == "f"))
    if method == "get":
        d.add("at", f"$0.at[{index}].get()", [x, *used])
        return
    u = d.inexact(lambda v: v.dtype == x.dtype and v.ndim == 0) if d.chance(.4) else None
    update = f"${1 + len(used)}" if u else d.choice([str(d.constant()), f"$0[{index}] * 2", f"np.sin($0[{index}])"])
    if method in ("set", "multiply") and ("np.array(" in index or (used and used[0].ndim)):
        # which of two writes to one place lasts is nobody's promise, and products there have no derivative rule
        raise Unsuitable
    d.add("at", f"$0.at[{index}].{method}({update})", [x, *used, *([u] if u else [])])


@family(2)
def take(d: Draw):
    x = d.inexact(lambda v: v.ndim and 0 not in v.shape)
    axis = d.axis(x)
    n = x.shape[axis]
    rows = [d.integer(-n, n - 1) for _ in range(d.integer(1, 3))]
    if d.chance(.4):
        i = d.whole(lambda v: v.ndim <= 1 and 0 not in v.shape)
        d.add("take", f"np.take($0, $1, axis={axis}, mode='{d.choice(['wrap', 'clip'])}')", [x, i])
    elif d.chance(.5) and x.ndim == 1:
        d.add("take", f"np.take_along_axis($0, np.array({rows}), 0)", [x])
    else:
        d.add("take", f"np.take($0, np.array({rows}), axis={axis})", [x])


@family(2)
def dynamic(d: Draw):
    x = d.inexact(lambda v: v.ndim and 0 not in v.shape)
    sizes = tuple(d.integer(1, n) for n in x.shape)
    try:
        i = d.whole(lambda v: v.ndim == 0)
        start, used = "$1", [i]
    except Unsuitable:
        start, used = str(d.integer(-1, 2)), []
    starts = f"({start}, {'0, ' * (x.ndim - 1)})"
    if d.chance(.5):
        d.add("dynamic_slice", f"lax.dynamic_slice($0, {starts}, {sizes})", [x, *used])
    elif d.chance(.5):
        d.add("dynamic_slice", f"lax.dynamic_index_in_dim($0, {start}, {d.axis(x)}, keepdims={d.chance(.5)})",
              [x, *used])
    else:
        d.add("dynamic_update", f"lax.dynamic_update_slice($0, lax.dynamic_slice(-$0, {starts}, {sizes}), "
              f"({'0, ' * x.ndim}))", [x, *used])


@family(1)
def segments(d: Draw):
    x = d.real(lambda v: v.ndim and 0 not in v.shape)
    ids = [d.integer(0, 2) for _ in range(x.shape[0])]
    d.add("segment", d.choice([f"t.ops.segment_sum($0, np.array({ids}), num_segments=3)",
                               f"np.bincount(np.array({ids}), $0, length=4)" if x.ndim == 1 else
                               f"np.zeros((3, *$0.shape[1:]), $0.dtype).at[np.array({ids})].add($0)"]), [x])


# --- linear algebra ---


@family(4)
def product(d: Draw):
    x = d.inexact(lambda v: 1 <= v.ndim <= 3 and 0 not in v.shape)
    y = d.inexact(lambda v: 1 <= v.ndim <= 3 and v.dtype == x.dtype and v.shape[0 if v.ndim == 1 else -2] == x.shape[-1]
                  and not (v.ndim == 3 and x.ndim == 3 and v.shape[0] != x.shape[0]))
    texts = ["$0 @ $1", "np.matmul($0, $1)"]
    if x.ndim <= 2 and y.ndim <= 2:
        texts += ["np.dot($0, $1)"]
    if x.ndim == y.ndim == 2:
        texts += ["np.einsum('ij,jk->ki', $0, $1)", "np.tensordot($0, $1, 1)", "np.einsum('ij,jk->', $0, $1)",
                  "lax.dot_general($0, $1, (((1,), (0,)), ((), ())))", "np.einsum('ij,jk->i', $0, $1)"]
    if x.ndim == y.ndim == 1:
        texts += ["np.vdot($0, $1)", "np.inner($0, $1)", "np.einsum('i,i->', $0, $1)"]
    d.add("product", d.choice(texts), [x, y])


@family(1)
def self_product(d: Draw):
    x = d.inexact(lambda v: v.ndim in (1, 2) and 0 not in v.shape)
    d.add("product", d.choice(["$0 @ $0.T", "np.outer($0, $0)", "np.kron($0, $0[:1])",
                               "np.einsum('...i,...i->...', $0, $0)", "np.linalg.norm($0 + 2)"]), [x])


@family(1.5)
def square_matrix(d: Draw):
    """A well-conditioned matrix, and what may be done with it."""
    x = d.real(lambda v: v.ndim >= 2 and v.shape[-1] == v.shape[-2] and 1 <= v.shape[-1] <= 4
               and v.dtype in ("float32", "float64"))
    n = x.shape[-1]
    bounded = "np.tanh($0)"
    general = f'({bounded} + {2 * n} * np.eye({n}, dtype="{x.dtype}"))'
    positive = f'({bounded} @ np.swapaxes({bounded}, -1, -2) + {n} * np.eye({n}, dtype="{x.dtype}"))'
    spread = f'({bounded} + np.swapaxes({bounded}, -1, -2) + np.diag(8 * np.arange({n}, dtype="{x.dtype}")))'
    texts = [f"np.linalg.inv({general})", f"np.linalg.det({general} / {2 * n})", f"np.linalg.slogdet({general})[1]",
             f"np.linalg.cholesky({positive})", f"np.linalg.eigvalsh({spread})", f"np.linalg.solve({general}, $0)",
             f"np.linalg.qr({general})[1]", f"np.linalg.svd({spread} + 4, compute_uv=False)",
             f"lax.linalg.triangular_solve(np.tril({general}), $0, left_side=True, lower=True)",
             f"np.linalg.matrix_power({bounded}, 3)", f"np.square(np.linalg.eigh({spread})[1])",
             f"np.linalg.pinv({general})"]
    d.add("linear algebra", d.choice(texts), [x])


@family(1)
def solve_vector(d: Draw):
    b = d.real(lambda v: v.ndim == 1 and 1 <= v.shape[0] <= 4 and v.dtype in ("float32", "float64"))
    d.add("linear algebra", f'np.linalg.solve(np.outer(np.tanh($0), np.sin($0)) + 3 * np.eye({b.shape[0]}, '
          f'dtype="{b.dtype}"), $0)', [b])
