"""Differences that are meant to be, each with its reason."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from fuzz.oracles import Finding
from fuzz.program import Program


@dataclass(frozen=True)
class Accepted:
    """`check` is a pattern of the names of checks, `source` one of the program's text, `message` of what was found."""

    reason: str
    check: str = ""
    source: str = ""
    message: str = ""
    also: Callable[[Program], bool] = lambda program: True

    def covers(self, program: Program, finding: Finding) -> bool:
        return bool(
            re.match(self.check, finding.check)
            and re.search(self.source, program.source)
            and re.search(self.message, finding.message)
            and self.also(program)
        )


ACCEPTED: list[Accepted] = [
    Accepted(
        "XLA multiplies by a bool that was made a number as if it chose: 0 times infinity is 0 "
        "(findings/xla_times_bool_selects.sh)",
        check="compiled|JAX's",
        message=r"is -?0\.0, not nan",
        also=lambda program: program.edge,
    ),
    Accepted(
        "JAX's complex functions of infinite numbers give other nans than NumPy's and ours",
        check="JAX's",
        message=r"(nan|inf)[+-]\S+j\)?, not|not \(?\S*(nan|inf)\S*j\)?",
        also=lambda program: program.edge,
    ),
    Accepted(
        "XLA computes float64 convolutions of groups as one with zeros between groups: 0 times infinity is nan "
        "(findings/xla_grouped_convolution_nan.sh)",
        source="conv_general_dilated",
        message=r"is nan, not",
        also=lambda program: program.edge,
    ),
    Accepted(
        "XLA refuses a Fourier transform that is decomposed; ours keeps its layout (findings/xla_fft_layout.sh)",
        check="JAX's",
        message="RET_CHECK failure.*fft_thunk",
    ),
    Accepted(
        "JAX refuses starts of a slice that are integers of two types; ours may differ",
        check="JAX's",
        message="index arguments to dynamic_(update_)?slice must be integers of the same type",
    ),
    Accepted(
        "a cumulative sum of -0 is -0 eagerly, as NumPy's, and 0 compiled (docs/accuracy.md)",
        check="compiled|JAX's",
        source="cumsum|cumulative_sum",
        message=r"is -?(\S+), not -?\1 ",
        also=lambda program: program.edge,
    ),
    Accepted(
        "JAX's trapezoid of what ends in an infinity is nan (findings/jax_trapezoid_infinite_end.sh)",
        check="JAX's",
        source="trapezoid",
        message="is nan, not",
        also=lambda program: program.edge,
    ),
    Accepted(
        "the weak types that tests/numpy/test_result_types.py lists as different",
        check="JAX's",
        message="^types",
        source="hypot|deg2rad|rad2deg|sinc|logit|heaviside|copysign|mish|"
        "soft_sign|log_ndtr|gcd|lcm|kl_div|rel_entr|angle",
    ),
    Accepted(
        "sums of integers are wider under x64, and so do branches not fit in the reference in double precision",
        message=r"expected [ui]32\[[\d,]*\], got [ui]64",
    ),
    Accepted(
        "which sign a nan has is nobody's promise, and copysign and signbit tell",
        check="compiled|JAX's",
        source="copysign|signbit",
        message=r"is -?(\S+), not -?\1 ",
        also=lambda program: program.edge,
    ),
    Accepted(
        "where a tie of min or max meets a tie of a sort, shares multiply (docs/conventions.md)",
        check="differences",
        source=r"(\.min\(|\.max\(|minimum|maximum|relu|clip)[\s\S]*(quantile|median|sort|percentile)",
    ),
    Accepted(
        "JAX's eigh of one nan has the eigenvector 1; ours, as LAPACK's of larger matrices, nan",
        check="JAX's",
        message=r"is -?1\.0(?:\+0\.?0?j)?, not nan",
        source="eigh",
        also=lambda program: program.edge,
    ),
    Accepted(
        "JAX's derivatives lose digits in the tails of sigmoids; ours have formulas of their own",
        check="JAX's (?!value|looped$|batched$)",
        message=r"difference \S+e-(0[6-9]|[1-9]\d)",
        source=r"tanh|logistic|sigmoid|softplus|silu|gelu|elu|expm1|erf|softmax|ndtr|expit|logaddexp|logsumexp",
    ),
]


def reason_to_accept(program: Program, finding: Finding) -> str | None:
    return next((one.reason for one in ACCEPTED if one.covers(program, finding)), None)
