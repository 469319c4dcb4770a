"""docs/accuracy.md: its text, and one line for each function, dtype and order."""

import platform
from collections.abc import Callable
from importlib.metadata import version

from .compare import Cell, Line
from .libraries import COLUMNS
from .reasons import why

HEADER = """# Accuracy

How far the functions of pullback and their derivatives are from the exact values, beside JAX and PyTorch on the same
numbers. `make accuracy` measures and prints this page (benchmarks/accuracy/); tests/test_accuracy.py holds a part.

## Method

- **Numbers.** Each function is tried from the smallest normal number of the dtype to the largest, more densely where
  exponentials vanish and overflow, and next to the points where the function has a zero, a pole or an end: some
  hundred numbers for a function of one argument, 800 for several arguments. Three grids are thinner: `comb` has its
  points with k <= n alone, beyond which it is 0; the probabilities of `multinomial` are at least 1e-12, and the last
  one, 1 less the others, at least 1e-6; the derivatives of `dirichlet` are taken along three of its five arguments,
  which the other two equal by symmetry.
- **Exact values** are mpmath's, of the very arguments in binary; derivatives are closed forms, or central differences
  with as many digits as it takes for two evaluations to agree to 80 bits.
- **Orders.** 0 is the value, 1 and 2 the first and second derivative, by forward mode; of functions of several
  arguments the derivatives along each argument, and the cell is the worst of them.
- **Error** is |result − exact| in units. A unit is 1 ulp of the exact value (the distance of its two neighbours in the
  dtype); or, where that is more, the change of the exact value when the arguments move by half an ulp each. So where a
  function is well conditioned, the error is in ulp; where it is not, such as next to a zero, errors are measured by
  what the rounding of the arguments alone would do.
- **A cell** is the worst error over all numbers, with the arguments where it is. `∞` is nan, or an infinity far from
  the end of the range.
- **Lost** counts the results that are 0, infinite or nan, and beyond the goal, though the exact value is a normal
  number: eager / compiled / JAX / PyTorch.
- **Subnormal** results may be kept or flushed to zero: an error below the smallest normal number counts as none; of
  derivatives one below 16 times that number, as they may pass through a subnormal number on their way.
- **Complex** functions have a line for the real part and one for the imaginary part, as functions of the parts of the
  argument.
- **Goals**, in units: 4 for values (32 for special functions), 16 (64) for first derivatives, 64 (256) for second
  ones. Eager runs NumPy and SciPy kernels; compiled is XLA with its default options, as JAX.

"""

SUBNORMALS = """## Subnormal numbers

Compiled code treats subnormal numbers as zero: numbers smaller than 1.18e-38 in float32, 2.2e-308 in float64. That is
the mode in which the engine runs the processor; it cannot be changed, and JAX has it, too. As arguments they count as
zero: compiled, `log` of one is -inf and `x == 0` is true of it; as results they become 0. Eager code keeps them, as
NumPy does: `log(1e-40)` is -92.1. Derivatives follow: eager, the derivative of `sqrt` at 5e-324 is 2.2e161; compiled it
is that at 0, inf.

Exceptions, compiled: `arctan2` of two subnormal numbers is nan (`findings/xla_subnormal_arctan2.sh`); `power` takes a
subnormal exponent of 0 for what it is; and where a program asks for `x > 0` and `x < inf` at once, XLA looks at the
bits and finds a subnormal number to be positive, which `x > 0` alone does not (`findings/xla_subnormal_positive.sh`).
Sorts of 1,000 elements and more, and `argmax` and `argmin` along rows, which NumPy computes in compiled programs too,
tell subnormal numbers apart, as eager ones do; smaller sorts take all of them for equal.

"""

EDGES = """## Signed zeros, infinities and branch cuts

Eager and compiled code give the same values, those of IEEE 754 and of the C standard's Annex G (which NumPy follows but
for the lines in brackets; JAX has the compiled values of XLA, which are others in most lines):

| expression | value |
|---|---|
| `sign(-0.)` | 0 |
| `[-inf, -0.] ** 0.5` | `[inf, 0]` (NumPy takes a root: `[nan, -0]`) |
| `sqrt(-1-0j)`, `sqrt(-1+0j)` | `-1j`, `1j`: on a branch cut the sign of the zero says on which side |
| `arccos(2.5-0j)`, `arcsin(2.5-0j)` | `1.567j`, `1.571-1.567j` |
| `arccosh(0.5-0j)`, `arcsinh(-0+2.5j)` | `-1.047j`, `-1.567+1.571j` |
| `sin(200j)`, `cos(200j)` in complex64 | `0+infj`, `inf-0j` |
| `exp(-inf+nanj)`, `exp(-inf+infj)` | 0 |
| `expm1(inf+0j)` | `inf+0j` (NumPy: `inf+nanj`) |
| `1 / (inf+infj)`, `1 / (-0+0j)` | `0-0j`, `-inf+nanj` (NumPy: `nan+nanj`) |
| `z / abs(z)` as `sign(inf+0j)` | 1 |

A remainder of 0 has the sign of the first operand, as in JAX: `remainder(-1., 1.)` is -0 and `remainder(1., -1.)` 0;
NumPy gives it the sign of the second. `floor_divide(x, y)` comes from `(x - remainder) / y` and has the zeros of that,
as in JAX: `floor_divide(-0., 1.)` is 0 and `floor_divide(-1., -2.)` -0; NumPy has the sign of `x / y`.

Not the same in both: `cumsum` of -0. is -0 eager and 0 compiled, where XLA adds to a first 0;
nor which zero `maximum(0., -0.)` and `minimum(0., -0.)` give: compiled 0 and -0, eager what NumPy's loop for the
processor makes of them. The two zeros compare equal.

"""

PROCESSORS = """## What differs by processor

Seen with jaxlib 0.10.2 by holding XLA to older instructions on one machine (`XLA_FLAGS=--xla_cpu_max_isa=...`; its own
are those of AVX-512 with bfloat16 and AMX), 4,096 random operands each:

| compiled | AVX2 | SSE4.2 |
|---|---|---|
| `exp`, `log` in float32 | the same bits | other last bits, in one of 76 and of 2,000 results |
| `tanh` in float32 | the same bits | other last bits, in one of four results |
| `x * y - 1` in float32 | the same bits | not fused: rounded once more, 5e-5 of the result where it cancels |
| a loop of products and sums in bfloat16 | rounded elsewhere: the last of 8 bits or two | as AVX2 |
| `sin`, `sqrt`, `power`, `erf`, sums, products of matrices, cumulative sums | the same bits | the same bits |
| anything in float16 and float8 | the same | does not compile (`findings/xla_float16_without_f16c.sh`); eager runs |

With one thread in place of two, arrays of up to 32,768 elements had the same bits. In larger ones one thread adds in
another order where a sum runs along leading axes or over all, in `softmax` too, and in `x[:, :500].T @ x[:, 500:]` of
3,000 rows, but in no other product of matrices that was tried. Two, four and eight threads had the same bits. XLA has
as many threads as processors or as `NPROC` says, and at least one for each of its devices: with the eight devices of
the tests it has eight anywhere, unless `XLA_FLAGS` says otherwise.

Eager code runs NumPy's loops and OpenBLAS's kernels, which differ by processor in the last bit, too. Both can be held
to older instructions: `NPY_DISABLE_CPU_FEATURES="X86_V3 X86_V4 AVX512_ICL AVX512_SPR" OPENBLAS_CORETYPE=Nehalem` takes
those of SSE4.2 (without `X86_V3`, with `Haswell`: AVX2), `OPENBLAS_NUM_THREADS` the threads.

The tests pass with XLA's own choice and held to AVX2, and held to SSE4.2, where those that compile half precision are
skipped: their bounds come from dtypes and conditioning. Those of functions and their derivatives pass with NumPy and
OpenBLAS held to the same, too, with one thread and with four.

"""


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    if cell.worst == 0:
        return "0"
    size = "∞" if cell.worst == float("inf") else f"{cell.worst:.2g}" if cell.worst < 100 else f"{cell.worst:.0e}"
    return f"{size} at {', '.join(f'{x:.6g}' for x in cell.where)}"


def table(lines: list[Line], last: Callable[[Line], str] | None = None, head: str = "") -> str:
    """One row for each line; `last` says what stands in a last column, under the title `head`."""
    columns = lines[0].cells if lines else COLUMNS
    titles = ["function", "dtype", "order", *columns, "lost", *([head] if last else [])]
    rows = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for line in lines:
        lost = " / ".join("-" if cell is None else str(cell.lost) for cell in line.cells.values())
        rows.append(
            f"| {line.name} | {line.dtype} | {line.order} | "
            + " | ".join(_cell(cell) for cell in line.cells.values())
            + f" | {lost} |"
            + (f" {last(line)} |" if last else "")
        )
    return "\n".join(rows) + "\n"


def summary(lines: list[Line]) -> str:
    text = [
        f"{len(lines)} lines. Missed goals: {sum(not line.good for line in lines)}. "
        f"Farther off than JAX, beyond the goal: {sum(line.behind for line in lines)}.",
        "",
    ]
    missed = [line for line in lines if not line.good]
    if missed:
        text += ["Goals missed, and why (reasons.py):", "", table(missed, why, "why")]
    return "\n".join(text)


def page(lines: list[Line]) -> str:
    packages = ("pullback", "jaxlib", "jax", "torch", "numpy", "scipy", "mpmath")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    where = f"Versions: {versions}; Python {platform.python_version()}, {platform.machine()}.\n\n"
    text = HEADER + where + SUBNORMALS + EDGES + PROCESSORS
    return text + "## Summary\n\n" + summary(lines) + "\n## All lines\n\n" + table(lines)
