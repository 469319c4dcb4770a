"""`check_rules`: right rules pass, planted errors are found and named, and nothing else is."""

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback.test_util import Report, RuleCheckError

X = np.array([0.5, -1.25, 2.0], np.float32)


def product(forward=1.0, reverse=1.0):
    """x * w["w"] with both rules, each of which may be off by a factor in w."""
    f = pb.custom_rules(lambda x, w: x * w["w"])
    f.defjvp(lambda p, t: (f(*p), t[0] * p[1]["w"] + forward * p[0] * t[1]["w"]))
    f.defvjp(lambda x, w: (f(x, w), (x, w["w"])), lambda r, ct: (ct * r[1], {"w": reverse * ct * r[0]}))
    return f


def lines(fun, *args, **kwargs):
    report = pb.check_rules(fun, *args, raise_on_error=False, **kwargs)
    assert report.ok == (not report.failures)
    return report.failures


def sine(derivative):
    f = pb.custom_jvp(pnp.sin)
    f.defjvp(lambda p, t: (f(*p), derivative(p[0]) * t[0]))
    return f


# --- what is right passes ---


@pytest.mark.parametrize("order", [1, 2])
def test_right_rules_pass(order):
    report = pb.check_rules(product(), X, {"w": 2 * X}, order=order)
    assert report.ok
    assert report.notes == []
    assert str(report).endswith("checks, all passed")


def test_double_precision():
    with pb.enable_x64(True):
        assert pb.check_rules(sine(pnp.cos), np.linspace(-2.0, 2.0, 5), order=2).ok
        # 1e-7 is far below what single precision could see
        (line,) = lines(sine(lambda x: pnp.cos(x) + 3e-6), np.float64(1.0), modes=["jvp"])
    assert line == "jvp, arg 0: 0.5403053, finite difference 0.5403023"


@pytest.mark.parametrize(
    "fun",
    [
        lambda z: pnp.sin(z) * z,
        lambda z: pnp.sin(z) * pnp.conj(z),
        lambda z: pnp.real(z) ** 2 * pnp.imag(z),
    ],
    ids=["holomorphic", "conjugate", "real"],
)
def test_complex_arguments(fun):
    assert pb.check_rules(fun, np.array([1 + 2j, 0.3 - 0.5j], np.complex64), order=2).ok


def test_complex_rule_with_a_conjugate_too_many():
    f = pb.custom_vjp(lambda z: z * (1 + 2j))
    f.defvjp(lambda z: (z * (1 + 2j), None), lambda _, ct: (ct * (1 - 2j),))
    failures = lines(f, np.complex64(1j))
    assert failures == ["vjp, arg 0: (1-2j), finite difference (1+2j)"]


def test_structures_integers_and_fixed_arguments():
    f = pb.custom_jvp(lambda name, p, n: {"y": (p["a"][0] * p["a"][1] * n, n)}, nondiff_argnums=(0,))
    f.defjvp(
        lambda name, p, t: (
            f(name, *p),
            {"y": (p[1] * (t[0]["a"][0] * p[0]["a"][1] + p[0]["a"][0] * t[0]["a"][1]), t[1])},
        )
    )
    assert pb.check_rules(f, "name", {"a": [X, np.float32(3.0)]}, 2).ok


def test_low_precision():
    assert pb.check_rules(lambda x: x * pnp.sin(x), pnp.array([1.0, 2.0], pb.dtypes.bfloat16)).ok


def test_undecorated_functions():
    assert pb.check_rules(lambda x: pnp.sum(pnp.tanh(x) ** 2), X, order=2).ok


# --- planted errors ---


def test_a_factor_two_in_the_vjp():
    f = pb.custom_vjp(lambda x, w: x * w["w"])
    f.defvjp(lambda x, w: (f(x, w), (x, w["w"])), lambda r, ct: (ct * r[1], {"w": 2 * ct * r[0]}))
    assert lines(f, 2.0, {"w": 3.0}) == ["vjp, arg 1, leaf ['w']: 4.0, finite difference 2.0"]


def test_a_factor_two_in_the_jvp():
    failures = lines(product(forward=2.0), 2.0, {"w": 3.0}, modes=["jvp"])
    assert failures == ["jvp, arg 1, leaf ['w']: 4.0, finite difference 2.0"]


def test_modes_that_disagree():
    failures = lines(product(reverse=2.0), 2.0, {"w": 3.0})
    assert failures[0] == "vjp, arg 1, leaf ['w']: 4.0, finite difference 2.0"
    (adjoint,) = failures[1:]
    assert adjoint.startswith("adjoint, arg 1, leaf ['w'], <Jt, c>: ")
    assert "but <t, Jᵀc>" in adjoint


def test_the_worst_entry_has_an_index():
    f = pb.custom_vjp(lambda x: pnp.sum(x**2))
    f.defvjp(lambda x: (pnp.sum(x**2), x), lambda x, ct: (ct * x * pnp.array([2.0, 2.0, 3.0]),))
    assert lines(f, np.array([1.0, 2.0, 3.0], np.float32)) == ["vjp, arg 0, index 2: 9.0, finite difference 6.0"]
    (line,) = lines(sine(lambda x: pnp.cos(x) + (x > 1.0)), X, modes=["jvp"])
    assert line == "jvp, arg 0, index 2, result [2]: 0.5839, finite difference -0.4161"


def test_small_errors_are_seen_by_the_complex_step():
    (line,) = lines(sine(lambda x: pnp.cos(x) * 1.001), np.float32(1.0), modes=["jvp"])
    assert line == "jvp, arg 0: 0.5408, complex step 0.5403"


def test_a_jvp_that_is_not_linear():
    f = pb.custom_jvp(lambda x: x * 2.0)
    f.defjvp(lambda p, t: (p[0] * 2.0, 2.0 * pnp.abs(t[0])))
    failures = lines(f, 1.0, modes=["jvp"])
    assert any(line.startswith("jvp, arg 0, linearity: ") for line in failures)


def test_a_value_that_is_not_the_function():
    f = pb.custom_jvp(lambda x: x * 2.0)
    f.defjvp(lambda p, t: (p[0] * 3.0, 2.0 * t[0]))
    assert "jvp, value: 6.0, of the function 4.0" in lines(f, 2.0, modes=["jvp"])


def test_a_rule_that_loses_terms_at_second_order():
    f = pb.custom_vjp(pnp.sin)
    f.defvjp(lambda x: (f(x), pb.lax.stop_gradient(pnp.cos(x))), lambda c, ct: (c * ct,))
    assert lines(f, 1.0) == []
    assert lines(f, 1.0, order=2, modes=("vjp",)) == ["vjp of vjp, arg 0: 0.0, finite difference -0.8415"]


def with_remat_rules(rem_factor=1.0, bwd_factor=1.0):
    """The sine, right without checkpoint."""
    f = pb.custom_vjp(lambda x: pnp.sin(x))
    f.defvjp(lambda x: (f(x), x), lambda x, ct: (ct * pnp.cos(x),))
    f.defremat(
        lambda x: (f(x), None),
        lambda _, x: (rem_factor * f(x), pnp.cos(x)),
        lambda cosine, ct: (bwd_factor * ct * cosine,),
    )
    return f


def test_right_rules_for_checkpoint_pass():
    assert pb.check_rules(with_remat_rules(), np.float32(0.5)).ok
    f = pb.custom_remat(pnp.sin, lambda p, x: (f(x), None), lambda _, x: (f(x), x), lambda x, ct: (ct * pnp.cos(x),))
    assert pb.check_rules(f, np.float32(0.5), order=2).ok


@pytest.mark.parametrize("factors", [(2.0, 1.0), (1.0, 2.0)], ids=["rem", "bwd"])
def test_a_factor_two_in_the_rules_for_checkpoint(factors):
    """sin(2x) is the derivative of the square at x = 0.5."""
    report = pb.check_rules(with_remat_rules(*factors), np.float32(0.5), raise_on_error=False)
    line = "vjp of the square of the result under checkpoint, arg 0: 1.683, finite difference 0.8415"
    assert line in report.failures
    assert not any("under checkpoint" not in failure for failure in report.failures)


def test_a_rule_that_fails():
    f = pb.custom_vjp(lambda x: x * 2.0)
    f.defvjp(lambda x: (x * 2.0, None), lambda _, ct: (pnp.ones(3),))
    (line,) = lines(f, 1.0)
    assert line.startswith("vjp: raised RuleError: ")


def test_nan_from_a_rule():
    (line, *_) = lines(sine(lambda x: x * np.nan), np.float32(1.0), modes=["jvp"])
    assert line == "jvp, arg 0: nan, finite difference 0.5403"


def test_a_rule_that_cannot_be_batched_or_compiled_is_a_note():
    f = pb.custom_jvp(lambda x: x * 2.0)
    f.defjvp(lambda p, t: (p[0] * 2.0, 2.0 * t[0] if p[0] > 0 else t[0] + t[0]))
    report = pb.check_rules(f, 1.0, modes=["jvp"])
    assert [note.split(":")[0] for note in report.notes] == ["jvp, vmap", "jvp, jit"]


# --- notes ---


def test_a_vjp_alone_passes_forward_over():
    f = pb.custom_vjp(lambda x: x * 2.0)
    f.defvjp(lambda x: (x * 2.0, None), lambda _, ct: (2.0 * ct,))
    assert pb.check_rules(f, 1.0).notes == ["jvp: skipped, the function has a vjp rule alone"]


def test_a_rule_that_differs_from_autodiff_is_a_note():
    report = pb.check_rules(product(reverse=2.0), 2.0, {"w": 3.0}, modes=["vjp"], raise_on_error=False)
    assert "vjp, arg 1, leaf ['w']: 4.0, autodiff of the function 2.0" in report.notes


def test_kinks_are_not_decided():
    report = pb.check_rules(pb.nn.relu, np.array([0.0, 1.0, -2.0], np.float32))
    assert report.notes == ["arg 0: a kink at 1 of its entries, so finite differences do not decide there"]


def test_the_edge_of_a_domain_is_not_decided():
    # one step away from the pole: differences cannot tell, and must not say otherwise
    report = pb.check_rules(lambda x: pnp.log(x), np.array([0.001, 1.0], np.float32), order=2)
    assert report.ok
    assert any("no accurate difference" in note for note in report.notes)


@pytest.mark.parametrize("x", [0.99, 0.9999, 0.0])
def test_steps_may_leave_the_domain(x):
    assert pb.check_rules(pnp.arcsin, np.float32(x)).ok
    assert pb.check_rules(lambda x: pnp.sqrt(x), np.float32(x + 1e-3), order=2).ok


def test_small_functions_have_small_tolerances():
    f = pb.custom_jvp(lambda x: 1e-7 * pnp.abs(x))
    f.defjvp(lambda p, t: (f(*p), 2e-7 * pnp.sign(p[0]) * t[0]))
    assert lines(f, np.float32(2.0), modes=["jvp"]) == ["jvp, arg 0: 2e-07, finite difference 1e-07"]


def test_large_leaves_are_sampled():
    report = pb.check_rules(lambda x: pnp.sum(x**2), np.ones((10, 10), np.float32))
    assert report.notes == ["arg 0: finite differences at 16 of 100 entries"]


# --- the report and the arguments ---


def test_failures_raise_with_the_report():
    with pytest.raises(RuleCheckError, match="1 failed\n  vjp, arg 1, leaf") as caught:
        pb.check_rules(product(reverse=2.0), 2.0, {"w": 3.0}, modes=["vjp"])
    assert isinstance(caught.value, AssertionError)
    report = pb.check_rules(product(reverse=2.0), 2.0, {"w": 3.0}, modes=["vjp"], raise_on_error=False)
    assert isinstance(report, Report)
    assert str(report) == str(caught.value)


def test_tolerances_of_the_caller():
    assert pb.check_rules(sine(lambda x: pnp.cos(x) * 1.01), np.float32(1.0), rtol=0.05).ok
    assert not pb.check_rules(sine(lambda x: pnp.cos(x) * 1.01), np.float32(1.0), rtol=0.001, raise_on_error=False).ok


def test_wrong_arguments():
    with pytest.raises(ValueError, match="modes must hold 'jvp', 'vjp' or both, got \\['fwd'\\]"):
        pb.check_rules(pnp.sin, 1.0, modes=["fwd"])
    with pytest.raises(ValueError, match="order must be at least 1"):
        pb.check_rules(pnp.sin, 1.0, order=0)
    with pytest.raises(TypeError, match="nothing to differentiate"):
        pb.check_rules(pnp.sin, 1)
    with pytest.raises(TypeError, match="give the arguments at which to check it"):
        pb.check_rules(pnp.sin)
    with pytest.raises(TypeError, match=r"argument 'x'.*expected an array"):
        pb.check_rules(lambda x: x, "text")
    with pytest.raises(TypeError, match="got \\(Array") as caught:
        pb.check_rules(pnp.sin, (1.0,))
    assert "check_rules(f, x, y)" in "".join(caught.value.__notes__)
