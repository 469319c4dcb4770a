"""A picture of each function of `pullback.rules`: its value and derivative along a line, beside those of the function
without the rule. `python -m website.rule_pictures FOLDER` draws them; `make docs` shows them on the page about rules.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import pullback as pb
import pullback.numpy as pnp
from pullback import rules

KEY = pb.random.key(0)
POINTS = 301


class Slice(NamedTuple):
    """A function of one number `t`, which uses a rule; the same without it, if there is such; from where to where."""

    formula: str
    rule: Callable[[Any], Any]
    low: float
    high: float
    plain: Callable[[Any], Any] | None = None


def half_square(t: Any) -> Any:
    return t**2 / 2


def clipped_norm(t: Any) -> Any:
    return (rules.clip_gradient_norm(pnp.stack([t, pnp.ones(())]), 1.0) ** 2).sum() / 2


def plain_norm(t: Any) -> Any:
    return (t**2 + 1) / 2


def choice_of_three(t: Any) -> Any:
    return pnp.stack([t, pnp.zeros(()), pnp.full((), 0.6)])


def bounded_minimum(t: Any) -> Any:
    """The minimizer of x**2 / 2 - t x where x is at most 1."""
    one = pnp.ones((1, 1))
    return rules.quadratic_program(one, -t[None], g=one, h=pnp.ones(1)).x[0]


def transported(t: Any) -> Any:
    cost = pnp.stack([t, 1 + 0 * t, 1 + 0 * t, 0 * t]).reshape(2, 2)
    return rules.sinkhorn(cost, epsilon=0.3)[0, 0]


def nearest_orthogonal(t: Any) -> Any:
    return rules.project_orthogonal(pnp.stack([1 + 0 * t, t, 0 * t - 0.5, 1 + 0 * t]).reshape(2, 2))[0, 1]


def smoothed_sign(t: Any) -> Any:
    return rules.perturbed(pnp.sign, KEY, samples=2000, noise=0.3)(t)


def smoothed_choice(t: Any) -> Any:
    return rules.perturbed_argmax(choice_of_three(t), KEY, samples=2000, noise=0.3)[0]


SLICES = {
    "binarize": Slice("binarize(t)", rules.binarize, -2, 2),
    "clip_gradient": Slice(
        "clip_gradient(t, -1, 1)**2 / 2", lambda t: half_square(rules.clip_gradient(t, -1.0, 1.0)), -2, 2, half_square
    ),
    "clip_gradient_norm": Slice("half the square of clip_gradient_norm([t, 1], 1)", clipped_norm, -2, 2, plain_norm),
    "fake_quantize": Slice(
        "fake_quantize(t, -1, 1, bits=2)", lambda t: rules.fake_quantize(t, -1.0, 1.0, bits=2), -2, 2
    ),
    "perturbed": Slice("perturbed(sign, key, noise=0.3)(t)", smoothed_sign, -1.5, 1.5, pnp.sign),
    "perturbed_argmax": Slice("perturbed_argmax([t, 0, 0.6], key, noise=0.3)[0]", smoothed_choice, -1, 2),
    "project_l1_ball": Slice(
        "project_l1_ball([t, 0.4])[0]", lambda t: rules.project_l1_ball(pnp.stack([t, 0.4 + 0 * t]))[0], -2, 2
    ),
    "project_l2_ball": Slice(
        "project_l2_ball([t, 0.5])[0]", lambda t: rules.project_l2_ball(pnp.stack([t, 0.5 + 0 * t]))[0], -2, 2
    ),
    "project_orthogonal": Slice("project_orthogonal([[1, t], [-0.5, 1]])[0, 1]", nearest_orthogonal, -1.5, 2),
    "project_simplex": Slice(
        "project_simplex([t, 0, 0.6])[0]", lambda t: rules.project_simplex(choice_of_three(t))[0], -1, 2
    ),
    "quadratic_program": Slice("the x that minimizes x**2 / 2 - t x, at most 1", bounded_minimum, -1, 2),
    "reverse_gradient": Slice(
        "reverse_gradient(t)**2 / 2", lambda t: half_square(rules.reverse_gradient(t)), -2, 2, half_square
    ),
    "safe_arccos": Slice("safe_arccos(t)", rules.safe_arccos, -1.2, 1.2, pnp.arccos),
    "safe_arcsin": Slice("safe_arcsin(t)", rules.safe_arcsin, -1.2, 1.2, pnp.arcsin),
    "safe_divide": Slice("safe_divide(t, t)", lambda t: rules.safe_divide(t, t), -2, 2, lambda t: t / t),
    "safe_log": Slice("safe_log(t)", rules.safe_log, -1, 3, pnp.log),
    "safe_norm": Slice(
        "safe_norm([t, 0])",
        lambda t: rules.safe_norm(pnp.stack([t, 0 * t])),
        -2,
        2,
        lambda t: pnp.sqrt(t**2),
    ),
    "safe_sqrt": Slice("safe_sqrt(t)", rules.safe_sqrt, -1, 3, pnp.sqrt),
    "scale_gradient": Slice(
        "scale_gradient(t, 0.5)**2 / 2", lambda t: half_square(rules.scale_gradient(t, 0.5)), -2, 2, half_square
    ),
    "sinkhorn": Slice("sinkhorn([[t, 1], [1, 0]], epsilon=0.3)[0, 0]", transported, -1, 3),
    "soft_rank": Slice("soft_rank([t, 0, 0.6])[0]", lambda t: rules.soft_rank(choice_of_three(t))[0], -2, 3),
    "soft_sort": Slice("soft_sort([t, 0, 0.6], 0.2)[0]", lambda t: rules.soft_sort(choice_of_three(t), 0.2)[0], -1, 2),
    "soft_threshold": Slice("soft_threshold(t, 0.5)", lambda t: rules.soft_threshold(t, 0.5), -2, 2),
    "soft_top_k": Slice(
        "soft_top_k([t, 0, 0.6], 1, 0.3)[0]", lambda t: rules.soft_top_k(choice_of_three(t), 1, 0.3)[0], -2, 3
    ),
    "spike": Slice("spike(t)", rules.spike, -3, 3),
    "stop_gradient_where": Slice(
        "stop_gradient_where(t > 1, t)**2 / 2",
        lambda t: half_square(rules.stop_gradient_where(t > 1, t)),
        -2,
        2,
        half_square,
    ),
    "straight_through": Slice("straight_through(round)(t)", rules.straight_through(pnp.round), -2, 2, pnp.round),
    "with_gradient_of": Slice(
        "with_gradient_of(sign(t), tanh(t))",
        lambda t: rules.with_gradient_of(pnp.sign(t), pnp.tanh(t)),
        -2,
        2,
        pnp.sign,
    ),
}


def sampled(fun: Callable[[Any], Any], low: float, high: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, values and derivatives."""
    points = np.linspace(low, high, POINTS, dtype=np.float32)
    values, slopes = pb.jit(pb.vmap(pb.value_and_grad(fun)))(points)
    return points, np.asarray(values), np.asarray(slopes)


def source(name: str) -> str:
    """The paper that a rule comes from, as its docstring says; empty if it says none."""
    text = " ".join((getattr(rules, name).__doc__ or "").split())
    for mark in ("Source: ", "See: "):
        if mark in text:
            said = text.partition(mark)[2]
            return said[: said.index(").") + 1] if ")." in said else said.partition(". ")[0]
    return ""


def draw(name: str, folder: Path) -> None:
    """A picture that can be seen on light and dark pages."""
    from matplotlib import pyplot

    grey = dict.fromkeys(("axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "text.color"), "#808080")
    style = {
        **grey,
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "legend.frameon": False,
        "svg.hashsalt": name,
    }
    shown = SLICES[name]
    with pyplot.rc_context(style):
        figure, panels = pyplot.subplots(1, 2, figsize=(6.4, 2.2), layout="constrained")
        kinds = [("with the rule", shown.rule, "-")]
        kinds += [("without", shown.plain, "--")] if shown.plain else []
        for label, fun, dashes in reversed(kinds):
            points, *curves = sampled(fun, shown.low, shown.high)
            for panel, curve in zip(panels, curves, strict=True):
                finite = np.where(np.abs(curve) < 20, curve, np.nan)  # poles would hide the rest
                panel.plot(points, finite, dashes, lw=1.5, label=label, color="C0" if dashes == "-" else "C1")
        for panel, title in zip(panels, ("value", "derivative"), strict=True):
            panel.set_title(title, fontsize=9)
        if shown.plain:
            panels[0].legend(fontsize=8)
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
        pyplot.close(figure)


def page(folder: Path) -> str:
    """The part of the page about rules that shows the pictures in a folder; empty if there are none."""
    names = [name for name in sorted(SLICES) if (folder / f"{name}.svg").is_file()]
    if not names:
        return ""
    lines = [
        "",
        "## A picture of each",
        "",
        "Values and derivatives along a line, computed by the rules when this page was built.",
        "",
    ]
    for name in names:
        paper = source(name)
        lines += [f"### {name}", "", f"`{SLICES[name].formula}`" + (f": {paper}." if paper else ""), ""]
        lines += [f"![The value of {name} and its derivative](pictures/rules/{name}.svg)", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    import matplotlib

    matplotlib.use("agg")
    into = Path(sys.argv[1])
    into.mkdir(parents=True, exist_ok=True)
    for each in SLICES:
        draw(each, into)
