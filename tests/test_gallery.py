"""The programs of the gallery run, and what they compute is right."""

import importlib
import itertools
import sys

import numpy as np
import pytest
import scipy.special
import scipy.stats

import pullback as pb
import pullback.numpy as pnp
from examples.gallery.__main__ import NAMES, main


def program(name):
    """A program of the gallery."""
    return importlib.import_module(f"examples.gallery.{name}")


def test_every_program_is_tested():
    assert NAMES == sorted(name.removeprefix("test_") for name in globals() if name.removeprefix("test_") in NAMES)


def test_a_name_of_no_program_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gallery", "kalman"])
    with pytest.raises(SystemExit):
        main()
    assert "there is no program 'kalman': bilevel, " in capsys.readouterr().err


@pytest.mark.parametrize("name", NAMES)
def test_form(name):
    module = program(name)
    title = module.__doc__.partition("\n")[0]
    assert title.endswith(".")
    assert callable(module.run)
    assert callable(module.draw)


def test_pinn():
    result = program("pinn").run()
    assert float(result["largest error"]) < 0.02  # of a solution whose largest value is 1
    assert float(result["loss"][-1]) < 1e-3 * float(result["loss"][0])


def test_kalman_filter():
    result = program("kalman_filter").run()
    assert result["slope at the end"] < 1e-6
    np.testing.assert_allclose(result["noise"][1], 2.0, rtol=0.2)  # 120 measurements: a standard error of 7 %
    assert result["error of the filter"] < 0.6 * result["error of a measurement"]


def test_kalman_filter_has_the_likelihood_of_a_gaussian_vector():
    """The measurements are jointly Gaussian: their covariance by unrolling the motion."""
    module = program("kalman_filter")
    with pb.enable_x64():
        seen = module.measurements()[1][:5]
        log_noise = np.log([0.3, 1.0])
        cov, columns = np.eye(2) * 1e-2, []
        state_cov = np.zeros((5, 5))
        for i in range(5):
            cov = module.MOVE @ cov @ module.MOVE.T + 0.09 * module.PUSH
            columns.append(cov)
            for j in range(i + 1):
                state_cov[i, j] = state_cov[j, i] = (np.linalg.matrix_power(module.MOVE, i - j) @ columns[j])[0, 0]
        full = state_cov + np.eye(5)
        expected = -0.5 * (seen @ np.linalg.solve(full, seen) + np.linalg.slogdet(2 * np.pi * full)[1])
        np.testing.assert_allclose(module.log_likelihood(log_noise, seen), expected, rtol=1e-10)


def test_sinkhorn():
    module = program("sinkhorn")
    result = module.run()
    assert result["last"] < 0.02 * result["first"]
    np.testing.assert_allclose(np.linalg.norm(result["end"], axis=1), 1.0, atol=0.15)
    with pb.enable_x64():
        cost = module.costs(np.asarray(result["start"], float)[:6], np.asarray(result["circle"], float)[::10])
        plan = pb.jit(pb.grad(module.transport))(cost)
        np.testing.assert_allclose(plan.sum(0), 1 / 6, rtol=1e-6)  # the last half round makes these right
        np.testing.assert_allclose(plan.sum(1), 1 / 6, rtol=2e-2)  # and 200 rounds nearly those


def test_hmc():
    result = program("hmc").run()
    assert 0.6 < float(result["accepted"]) < 1.0
    # E[x] = 0, E[y] = 1, var(x) = 1, var(y) = 2.25; 64 chains of 500 points that depend on one another
    np.testing.assert_allclose(result["mean"], [0.0, 1.0], atol=0.15)
    np.testing.assert_allclose(result["variance"], [1.0, 2.25], rtol=0.25)


def test_dp_sgd():
    module = program("dp_sgd")
    assert module.run()["right"] > 0.9
    xs, labels = module.examples(20)
    each = pb.vmap(pb.grad(module.loss), (None, 0, 0))({"w": pnp.zeros(2), "b": 0.0}, 10.0 * xs, labels)
    clipped = pb.vmap(module.clipped)(each)
    norms = np.sqrt((np.asarray(clipped["w"]) ** 2).sum(1) + np.asarray(clipped["b"]) ** 2)
    assert norms.max() <= module.BOUND * (1 + 1e-6)
    assert (norms > 0.999).any()


def test_flash_attention():
    result = program("flash_attention").run()
    assert result["error of values"] < 1e-5
    assert result["error of gradients"] < 1e-4
    blocks, plain = np.asarray(result["kept"], float).T
    np.testing.assert_allclose(blocks[1:] / blocks[:-1], 2.0, rtol=0.1)  # as the length
    assert plain[-1] / plain[-2] > 3.5  # nearly as its square


def test_flash_attention_has_right_rules():
    module = program("flash_attention")
    keys = pb.random.split(pb.random.key(1), 3)
    report = pb.check_rules(module.attention, *(pb.random.normal(key, (16, 4)) for key in keys), raise_on_error=False)
    assert report.ok, report


def test_bilevel():
    module = program("bilevel")
    result = module.run()
    assert result["errors"][-1] < 0.9 * result["errors"][0]
    assert result["penalties"][:2].max() < result["penalties"][2:].min()  # the two features that matter are kept
    with pb.enable_x64():
        train, held_out = module.data(0), module.data(1)
        at, step = np.full(10, -1.0), 1e-4 * np.eye(10)[3]
        difference = module.outer(at + step, train, held_out) - module.outer(at - step, train, held_out)
        slope = pb.grad(module.outer)(at, train, held_out)[3]
        np.testing.assert_allclose(slope, difference / 2e-4, rtol=1e-5)


def test_rendering():
    module = program("rendering")
    disc = module.run()["disc"]
    np.testing.assert_allclose(disc["centre"], module.TRUTH["centre"], atol=0.02)  # half a pixel
    np.testing.assert_allclose(disc["radius"], module.TRUTH["radius"], atol=0.02)


def test_neural_ode():
    result = program("neural_ode").run(60)
    assert result["last"] < 0.05
    assert result["losses"][-1] < 0.2 * result["losses"][60]


def test_equilibrium():
    module = program("equilibrium")
    result = module.run()
    assert result["right"] > 0.9
    with pb.enable_x64():
        params = pb.tree.map(lambda p: np.asarray(p, float), result["params"])
        x, step = np.array([0.3, -0.6]), 1e-5
        z = module.layer(params, x)
        w = 0.9 * params["w"] / max(1.0, np.linalg.norm(params["w"]))
        np.testing.assert_allclose(z, np.tanh(w @ z + params["u"] @ x + params["b"]), rtol=1e-10)
        slope = pb.grad(module.score, 1)(params, x)
        for i, unit in enumerate(np.eye(2)):
            difference = module.score(params, x + step * unit) - module.score(params, x - step * unit)
            np.testing.assert_allclose(slope[i], difference / (2 * step), rtol=1e-6)


def test_gaussian_process():
    module = program("gaussian_process")
    result = module.run()
    np.testing.assert_allclose(result["noise"], 0.2, rtol=0.35)  # of 40 points: a standard error of 11 %
    inside = result["at"] <= 10
    misses = np.abs(np.asarray(result["mean"]) - np.sin(result["at"]))[inside]
    assert (misses < 3 * np.asarray(result["deviation"])[inside] + 1e-3).mean() > 0.95
    with pb.enable_x64():  # beside the density of a Gaussian vector
        log_params, x, y = np.log([1.5, 0.9, 0.3]), result["x"], result["y"]
        cov = np.asarray(module.kernel(log_params, x, x)) + 0.09 * np.eye(40)
        expected = 0.5 * y @ np.linalg.solve(cov, y) + 0.5 * np.linalg.slogdet(cov)[1]
        np.testing.assert_allclose(module.negative_log_likelihood(log_params, x, y), expected, rtol=1e-9)


def test_control():
    result = program("control").run()
    angle, velocity = result["last"]
    assert abs(abs(angle) - np.pi) < 0.1  # upright, on either side
    assert abs(velocity) < 0.1
    assert abs(result["controls"]).max() <= 1.0


def test_heat():
    module = program("heat")
    assert module.run()["largest relative error"] < 0.1  # the noise is 1e-4 of the largest temperature
    with pb.enable_x64():  # in the end the temperature falls evenly along an even rod
        later = module.temperatures(np.log(np.full(module.CELLS, 50.0)))[-1]
        np.testing.assert_allclose(later, 1.0 - (np.arange(module.CELLS) + 0.5) / module.CELLS, atol=1e-6)


def test_spikes():
    result = program("spikes").run()
    assert result["best"] < 0.25 * result["first"]
    assert 2 <= len(result["fires at"]) <= 6  # four are wanted; which steps they hit is decided by rounding


def test_greeks():
    """The closed forms, with SciPy's normal distribution."""
    result = program("greeks").run()
    spots = result["spots"]
    d1 = (np.log(spots / 100.0) + 0.07) / 0.2
    density, end = scipy.stats.norm.pdf(d1), 100.0 * np.exp(-0.05) * scipy.stats.norm.cdf(d1 - 0.2)
    np.testing.assert_allclose(result["delta"], scipy.stats.norm.cdf(d1), rtol=1e-9)
    np.testing.assert_allclose(result["gamma"], density / (spots * 0.2), rtol=1e-9)
    np.testing.assert_allclose(result["vega"], spots * density, rtol=1e-9)
    np.testing.assert_allclose(result["rho"], end, rtol=1e-9)
    np.testing.assert_allclose(result["theta"], -0.1 * spots * density - 0.05 * end, rtol=1e-9)
    np.testing.assert_allclose(result["implied volatility"], 0.2, rtol=1e-9)
    at = (np.log(1.1) + 0.07) / 0.2
    np.testing.assert_allclose(result["its slope by the price"], 1 / (110 * scipy.stats.norm.pdf(at)), rtol=1e-7)


def test_hidden_markov():
    module = program("hidden_markov")
    result = module.run()
    assert result["gain"] > 20
    assert result["right"] > 0.7
    assert result["emissions"][1][5] > 0.35  # the truth is 0.5
    with pb.enable_x64():  # beside the sum over all 32 paths
        move, emit, seen = (
            np.array([[0.3, -1.0], [0.1, 0.7]]),
            np.linspace(-1, 1, 12).reshape(2, 6) ** 3,
            [0, 5, 2, 2, 1],
        )
        p, q = scipy.special.softmax(move, 1), scipy.special.softmax(emit, 1)
        weights = {}
        for path in itertools.product((0, 1), repeat=5):
            steps = [p[a, b] for a, b in itertools.pairwise(path)]
            weights[path] = 0.5 * np.prod(steps) * np.prod([q[state, what] for state, what in zip(path, seen)])
        total = sum(weights.values())
        params = {"move": move, "emit": emit}
        np.testing.assert_allclose(module.log_likelihood(params, np.array(seen)), np.log(total), rtol=1e-12)
        third = sum(weight for path, weight in weights.items() if path[2] == 1) / total
        np.testing.assert_allclose(module.posterior(params, np.array(seen))[2, 1], third, rtol=1e-12)


def test_cluster():
    result = program("cluster").run()
    np.testing.assert_allclose(result["energy"], -44.326801, atol=1e-6)
    np.testing.assert_allclose(result["curvatures"][:6], 0.0, atol=1e-3)
    assert result["curvatures"][6] > 10


def test_variational():
    """Samples of 32 with steps that shrink leave an error of some hundredths of a standard deviation."""
    result = program("variational").run()
    deviations = np.sqrt(np.diag(result["exact covariance"]))
    np.testing.assert_allclose((np.asarray(result["mean"]) - result["exact mean"]) / deviations, 0.0, atol=0.2)
    np.testing.assert_allclose(
        (result["covariance"] - result["exact covariance"]) / np.outer(deviations, deviations), 0.0, atol=0.2
    )


def test_ranking():
    module = program("ranking")
    result = module.run()
    assert result["Spearman's correlation"] > 0.95
    assert result["direction"] @ module.WEIGHTS / np.linalg.norm(module.WEIGHTS) > 0.95
    expected = scipy.stats.spearmanr(result["scores"], result["values"]).statistic
    np.testing.assert_allclose(result["Spearman's correlation"], expected, rtol=1e-5)


def test_pagerank():
    module = program("pagerank")
    result = module.run()
    assert result["to"] == 0  # a link to the page itself
    assert result["after"] > result["before"]
    with pb.enable_x64():
        links = result["links"]
        moves = links / links.sum(1, keepdims=True)
        matrix = np.eye(module.PAGES) - module.FOLLOW * moves.T
        expected = np.linalg.solve(matrix, np.full(module.PAGES, (1 - module.FOLLOW) / module.PAGES))
        np.testing.assert_allclose(module.ranks(links), expected, rtol=1e-10)
        step = np.zeros_like(links)
        step[3, 7] = 1e-5
        difference = module.rank_of_first(links + step) - module.rank_of_first(links - step)
        np.testing.assert_allclose(result["gains"][3, 7], difference / 2e-5, rtol=1e-5)
