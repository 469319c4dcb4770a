"""A better form, where one is known, told from the operations that made an inaccurate result."""

from __future__ import annotations

from typing import Any

from pullback._analysis.inaccuracy.suspects import Suspect

_SQUARES = ("square", "mul", "integer_pow", "pow")
_LINEAR = ("div", "mul", "reduce_sum", "total", "add", "scale", "convert_element_type", "dot_general")
_DIFFERENCES = {
    ("exp", "1"): "expm1(x) for exp(x) - 1",
    ("cos", "1"): "2 * sin(x / 2)**2 for 1 - cos(x)",
    ("logistic", "1"): "sigmoid(-x) for 1 - sigmoid(x)",
    ("erf", "1"): "erfc(x) for 1 - erf(x)",
    ("tanh", "1"): "2 * sigmoid(-2 * x) for 1 - tanh(x)",
    ("sqrt", "sqrt"): "(a - b) / (sqrt(a) + sqrt(b)) for sqrt(a) - sqrt(b)",
    ("log", "log"): "log1p((a - b) / b) for log(a) - log(b)",
    ("exp", "exp"): "expm1 or sinh: exp(b) * expm1(a - b) for exp(a) - exp(b)",
    ("sin", "sin"): "2 * cos((a + b) / 2) * sin((a - b) / 2) for sin(a) - sin(b)",
    ("cos", "cos"): "-2 * sin((a + b) / 2) * sin((a - b) / 2) for cos(a) - cos(b)",
    ("tan", "tan"): "sin(a - b) / (cos(a) * cos(b)) for tan(a) - tan(b)",
    ("atan", "atan"): "arctan2(a - b, 1 + a * b) for arctan(a) - arctan(b)",
    ("div", "div"): "a common denominator, (a * d - b * c) / (b * d) for a / b - c / d",
    ("mul", "mul"): "for a determinant numpy.linalg.slogdet or det, which pivot; for a**2 - b**2 (a - b) * (a + b)",
}


def advice(suspect: Suspect) -> str | None:
    """The better form for an operation that lost digits; None where none is known."""
    name, one, _, three = suspect.made
    kind, parts = suspect.kind, set(_names(three))
    if kind == "cancellation":
        return _for_cancellation(one, three)
    if name == "log" and kind == "sensitive":
        if "exp" in parts:
            return "numpy.logaddexp(0, x), or nn.softplus, for log(1 + exp(x))"
        return "log1p(x) for log(1 + x)" if one[1] in ("add", "sub") else None
    if kind in ("overflow", "underflow") and name in ("exp", "exp2"):
        return (
            "subtract the largest exponent first: nn.logsumexp, nn.softmax, numpy.logaddexp and nn.softplus do; or a "
            "custom rule (custom_jvp) that gives the derivative in closed form"
        )
    if kind in ("overflow", "underflow") and name in ("reduce_prod", "cumprod"):
        return "a sum of logarithms; for a determinant numpy.linalg.slogdet"
    if kind in ("overflow", "underflow") and name in _SQUARES:
        if len(one) == 2 or one[1] == one[2]:
            return "numpy.hypot or numpy.linalg.norm, which scale, for a root of a sum of squares"
        return "a sum of logarithms, or scaled factors; for a determinant numpy.linalg.slogdet"
    if kind in ("invalid", "pole"):
        return _for_nan(suspect, parts)
    if kind == "accumulation":
        return "numpy.sum of all terms, which adds them in pairs; or a compensated sum, or float64 for the sum alone"
    return None


def _for_cancellation(one: Any, three: Any) -> str | None:
    a, b = [*one[1:], "", ""][:2]
    if _is_mean(three[1:2], squared=True) and len(three) == 3 and _is_mean(three[2:3], squared=False):
        return "numpy.var, or the mean of (x - mean(x))**2: two passes for E[x**2] - E[x]**2"
    for pair in ((a, b), (b, a)):
        if pair in _DIFFERENCES:
            return _DIFFERENCES[pair]
    if "1" in (a, b) and {a, b} & {"square", "integer_pow", "mul"} and "tanh" in _names(three):
        return "1 / cosh(x)**2 for 1 - tanh(x)**2"
    if "sqrt" in (a, b) and "neg" in (a, b):
        return "multiply by the conjugate: (a**2 - b**2) / (a + b) for a - b, where the squares are known"
    return None


def _for_nan(suspect: Suspect, parts: set[str]) -> str | None:
    if parts & {"exp", "exp2"}:
        return "nn.logsumexp, nn.softmax, numpy.logaddexp or nn.softplus, or a custom rule (custom_jvp)"
    if parts & {"sqrt", "rsqrt", "div", "norm", "mul"}:
        return (
            "numpy.linalg.norm, whose derivative at 0 is 0; or a safe root: where(s > 0, sqrt(where(s > 0, s, 1)), 0)"
        )
    return None


def _is_mean(trees: Any, squared: bool) -> bool:
    """Whether a tree is a mean of squares, or else the square of a mean."""
    if not trees or not isinstance(trees[0], tuple):
        return False
    tree = trees[0]
    names = _names(tree)
    if "reduce_sum" not in names and "total" not in names:
        return False
    place = min(names.index(n) for n in ("reduce_sum", "total") if n in names)
    outside, inside = names[:place], names[place + 1 :]
    if squared:
        return any(n in _SQUARES for n in inside[:1]) and all(n in _LINEAR for n in outside)
    return any(n in _SQUARES for n in outside)


def _names(tree: Any) -> list[str]:
    """The names in a tree, from the root."""
    if not isinstance(tree, tuple):
        return [tree]
    return [name for part in tree for name in _names(part)]
