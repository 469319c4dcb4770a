"""Errors begin with the name of the function that was called, also where it is made of other functions."""

import inspect
from functools import partial

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax, nn, random

V, M = pnp.arange(3.0), pnp.ones((2, 3))
KEY = random.key(0)

# what takes no array first, or takes anything there; and what leaves the refusal to Python or to opt_einsum
OTHER_ARGUMENTS = {
    "can_cast",
    "einsum_path",
    "finfo",
    "frombuffer",
    "fromiter",
    "frompyfunc",
    "fromstring",
    "get_printoptions",
    "iinfo",
    "iscomplexobj",
    "isdtype",
    "isrealobj",
    "isscalar",
    "issubdtype",
    "iterable",
    "load",
    "printoptions",
    "promote_types",
    "result_type",
    "savez",
    "set_printoptions",
    "vectorize",
}
FUNCTIONS = {
    name: f
    for name, f in ((n, getattr(pnp, n)) for n in pnp.__all__)
    if inspect.isfunction(f) and name not in OTHER_ARGUMENTS
}


def required(f):
    return [
        p.name
        for p in inspect.signature(f).parameters.values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]


def message_of(call):
    with pytest.raises((TypeError, ValueError, NotImplementedError, IndexError)) as info:
        call()
    return str(info.value)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_no_array(name):
    f = FUNCTIONS[name]
    assert message_of(lambda: f(*["text"] * max(len(required(f)), 1))).startswith(f"{f.__name__}: ")


WITH_AXIS = [
    name for name, f in FUNCTIONS.items() if "axis" in inspect.signature(f).parameters and "axis" not in required(f)
]


@pytest.mark.parametrize("name", WITH_AXIS)
def test_an_axis_out_of_bounds(name):
    f = FUNCTIONS[name]
    joins = name in ("concat", "concatenate", "stack")
    assert message_of(lambda: f(*[[M, M] if joins else M] * len(required(f)), axis=9)).startswith(f"{f.__name__}: ")


CALLS = {
    "ptp": partial(pnp.ptp, pnp.zeros((0,))),
    "nanmax": partial(pnp.nanmax, V, where=V > 1),
    "nanmin": partial(pnp.nanmin, V, axis=(0, 0)),
    "nanmean": partial(pnp.nanmean, pnp.arange(3), axis=1),
    "nanvar": partial(pnp.nanvar, V, ddof="1"),
    "std": partial(pnp.std, V, ddof="1"),
    "count_nonzero": partial(pnp.count_nonzero, V, axis="x"),
    "nancumsum": partial(pnp.nancumsum, V, axis=(0,)),
    "nancumprod": partial(pnp.nancumprod, V, axis=1),
    "trace": partial(pnp.trace, V),
    "diag": partial(pnp.diag, M, 1.5),
    "diagflat": partial(pnp.diagflat, M, 1.5),
    "vdot": partial(pnp.vdot, V, M),
    "identity": partial(pnp.identity, -1),
    "matvec": partial(pnp.matvec, M, pnp.ones(4)),
    "vecmat": partial(pnp.vecmat, V, M),
    "vecdot": partial(pnp.vecdot, pnp.ones((2, 3)), pnp.ones((4, 3))),
    "multi_dot": partial(pnp.linalg.multi_dot, [M, M]),
    "vstack": partial(pnp.vstack, [V, pnp.ones(4)]),
    "hstack": partial(pnp.hstack, [M, pnp.ones((3, 3))]),
    "dstack": partial(pnp.dstack, [V, pnp.ones(4)]),
    "column_stack": partial(pnp.column_stack, [V, pnp.ones(4)]),
    "concat": partial(pnp.concat, [M, V]),
    "append": partial(pnp.append, M, V, axis=0),
    "block": partial(pnp.block, [[M], [pnp.ones((2, 4))]]),
    "full": partial(pnp.full, (2, 2), V),
    "full_like": partial(pnp.full_like, M, pnp.ones(2)),
    "allclose": partial(pnp.allclose, V, pnp.ones(4)),
    "isclose": partial(pnp.isclose, V, pnp.ones(4)),
    "corrcoef": partial(pnp.corrcoef, pnp.ones((1, 1, 1))),
    "cov": partial(pnp.cov, V, pnp.ones(4)),
    "around": partial(pnp.around, V, 1.5),
    "round": partial(pnp.round, pnp.array([True])),
    "fromfunction": partial(pnp.fromfunction, 1, (2, 2)),
    "logspace": partial(pnp.logspace, 0, 1, -1),
    "geomspace": partial(pnp.geomspace, 1, 2, 2.5),
    "linspace": partial(pnp.linspace, 0, 1, 2.5),
    "arange": partial(pnp.arange, 1j),
    "histogram": partial(pnp.histogram, V, bins=np.ones((2, 2))),
    "histogram_bin_edges": partial(pnp.histogram_bin_edges, V, bins="auto"),
    "unique_values": partial(pnp.unique_values, V[:0], size=2),
    "tril_indices_from": partial(pnp.tril_indices_from, V),
    "triu_indices_from": partial(pnp.triu_indices_from, pnp.ones((1, 1, 1))),
    "tril_indices": partial(pnp.tril_indices, 2, "k"),
    "extract": partial(pnp.extract, pnp.ones(9, bool), V),
    "partition": partial(pnp.partition, V, 1.5),
    "split": partial(pnp.split, V, 1.5),
    "softmax": partial(nn.softmax, V, axis=1),
    "log_softmax": partial(nn.log_softmax, V, axis=1),
    "logsumexp": partial(nn.logsumexp, V, axis=1),
    "logmeanexp": partial(nn.logmeanexp, V, axis=1),
    "standardize": partial(nn.standardize, V, axis=1),
    "lognormal": partial(random.lognormal, 3),
    "normal": partial(random.normal, KEY, (-1,)),
    "uniform": partial(random.uniform, KEY, (1.5,)),
    "randint": partial(random.randint, KEY, (2,), 0, 1j),
}


@pytest.mark.parametrize("name", CALLS)
def test_functions_made_of_others(name):
    assert message_of(CALLS[name]).startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("call", "error", "parts"),
    [
        (partial(pnp.arange, 1j), ValueError, ["start", "real", "1j", "linspace"]),
        (partial(pnp.arange, 0, 3j, 1), ValueError, ["stop", "3j"]),
        (partial(pnp.linspace, 0, 1, 2.5), TypeError, ["num must be an integer", "2.5 of type float"]),
        (partial(pnp.histogram, V, bins=np.ones((2, 2))), ValueError, ["a number or a vector of edges", "(2, 2)"]),
        (partial(pnp.histogram, V, bins=-1), ValueError, ["non-negative", "-1"]),
        (partial(pnp.tril_indices_from, V), ValueError, ["expected a matrix", "(3,)"]),
        (partial(pnp.full, (2, 2), V), ValueError, ["fill_value must broadcast", "(2, 2)", "(3,)"]),
        (partial(pnp.vstack, [V, pnp.ones(4)]), ValueError, ["(1, 3), (1, 4)", "axis 0"]),
        (partial(pnp.matvec, M, pnp.ones(4)), ValueError, ["must have one length", "(2, 3) and (4,)"]),
        (partial(pnp.matvec, M, "text"), TypeError, ["argument 1", "'text'"]),
        (lambda: V.at[0].set(1.0, mode="near"), ValueError, ["at[...].set", "'near'", "clip"]),
        (lambda: V.at[5].get(mode="near"), ValueError, ["at[...].get", "'near'"]),
        (partial(pnp.take, V, 0, mode="near"), ValueError, ["take", "'near'"]),
        (partial(random.fold_in, KEY, "text"), TypeError, ["fold_in", "'text'"]),
        (partial(lax.convert_element_type, "text", "float32"), TypeError, ["convert_element_type", "'text'"]),
        (partial(pnp.einsum, "ij,j", M, "text"), TypeError, ["argument 2", "'text'"]),
        (partial(pb.jit(partial(pnp.linspace, 0, 1)), 3), TypeError, ["static"]),
        (partial(pb.jit(partial(pnp.sum, M)), 1), TypeError, ["static"]),
    ],
)
def test_what_they_say(call, error, parts):
    with pytest.raises(error) as info:
        call()
    for part in parts:
        assert part in str(info.value), str(info.value)


def test_geomspace_across_zero_is_nan():
    """As in NumPy between numbers of different signs; the ends are what was asked for."""
    assert np.isnan(pnp.geomspace(-1.0, 1.0, 3)).tolist() == [False, True, False]
    assert np.isnan(pnp.geomspace(0.0, 1.0, 3)).tolist() == [False, True, False]
    np.testing.assert_allclose(pnp.geomspace(1j, 1.0, 3), np.geomspace(1j, 1.0, 3), atol=1e-6)


def test_randint_drops_the_fraction_of_bounds():
    assert random.randint(KEY, (4,), 0.9, 5.5).tolist() == random.randint(KEY, (4,), 0, 5).tolist()


def test_around_and_round_are_one():
    assert pnp.around(pnp.array([1.25, -2.5]), 1).tolist() == pnp.round(pnp.array([1.25, -2.5]), 1).tolist()


def sum_of_all(m, k):
    return m.sum()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (partial(pnp.diag_indices, (1, 5)), TypeError, "diag_indices: "),
        (partial(pnp.mask_indices, 3, sum_of_all), ValueError, "mask_indices: mask_func must return an array"),
        (
            partial(pnp.place, V, V > 1, pnp.ones(0), inplace=False),
            ValueError,
            "place: vals must have at least one value",
        ),
        (partial(pnp.put, V, 1.5, 1.0, inplace=False), TypeError, "put: ind must be of integers"),
        (partial(pnp.unique, V, size="a"), TypeError, "unique: "),
        (partial(nn.one_hot, pnp.arange(3), -1), ValueError, "one_hot: num_classes must not be negative"),
        (partial(nn.initializers.variance_scaling, -1.0, "fan_in", "normal"), ValueError, "variance_scaling: scale"),
        (partial(random.rademacher, KEY, (2,), bool), ValueError, "rademacher: "),
        (partial(random.rademacher, KEY, (2,), "uint8"), ValueError, "rademacher: "),
        (partial(random.geometric, KEY, 1j * pnp.ones(2)), TypeError, "geometric: "),
        (partial(random.binomial, KEY, 3, 1j * pnp.ones(2)), TypeError, "binomial: "),
        (partial(random.generalized_normal, KEY, pnp.ones(3), (2,)), (TypeError, ValueError), "generalized_normal: "),
        (partial(random.weibull_min, KEY, 1.0, pnp.ones(3), (2,)), ValueError, "weibull_min: "),
        (partial(random.normal, KEY, ("a",)), TypeError, "normal: "),
        (partial(pb.ad_checkpoint.checkpoint_name, "s", "a"), TypeError, "checkpoint_name: "),
        (partial(pb.lax.stop_gradient, "s"), TypeError, "stop_gradient: "),
        (partial(pb.custom_derivatives.zero_from_primal, "s"), TypeError, "zero_from_primal: "),
        (
            partial(lax.conv, pnp.ones((1, 1, 4)), pnp.ones((1, 1, 2)), 1, "SAME"),
            TypeError,
            "must be a sequence of ints",
        ),
        (partial(pb.tree_util.treedef_children, 3), TypeError, "treedef_children: expected the structure of a tree"),
        (partial(pb.tree_util.treedef_is_leaf, 3), TypeError, "treedef_is_leaf: expected the structure of a tree"),
        (partial(pb.tree_util.keystr, (), separator=3), TypeError, "keystr: expected a path"),
        (
            partial(pb.tree_util.register_pytree_node_class, 3),
            TypeError,
            "register_pytree_node_class: expected a class",
        ),
        (partial(pb.core.dce, pb.make_jaxpr(pnp.sin)(1.0)), TypeError, "dce: expected a Jaxpr, got ClosedJaxpr"),
    ],
)
def test_what_was_refused_in_other_words_once(call, error, message):
    with pytest.raises(error) as info:
        call()
    assert message in str(info.value)
