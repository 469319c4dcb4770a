"""The option `debug_key_reuse`: which programs use a key twice, as JAX says too, and what the errors say."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax, random
from pullback.errors import KeyReuseError
from tests.random import key_programs

OURS = SimpleNamespace(jax=pb, jnp=pnp, random=random, lax=lax)
JAXS = SimpleNamespace(jax=jax, jnp=jax.numpy, random=jax.random, lax=jax.lax)
PROGRAMS = [name for name, fun in vars(key_programs).items() if callable(fun)]
# what JAX says otherwise
MISSED_BY_JAX = {
    "entry_set_then_drawn": "a key that is set in an array and drawn with itself",
    "compiled_returns_used_part": "a compiled function returns a key that it has used",
}
REFUSED_BY_JAX = {
    "checkpoint_once": "a recomputation gives the same numbers, as it should",
    "transposed": "a transposed array of keys has the same keys",
    "stacked": "stacked keys are those keys",
}


def reuses(program, namespace, error) -> bool:
    try:
        with namespace.jax.debug_key_reuse(True):
            program(namespace)
    except error:
        return True
    return False


@pytest.mark.parametrize("name", PROGRAMS)
def test_reuse_is_found_where_jax_finds_it(name):
    program = getattr(key_programs, name)
    ours, jaxs = reuses(program, OURS, KeyReuseError), reuses(program, JAXS, jax.errors.KeyReuseError)
    assert (ours, jaxs) == (
        (True, False) if name in MISSED_BY_JAX else (False, True) if name in REFUSED_BY_JAX else (jaxs, jaxs)
    )


def test_nothing_is_recorded_while_the_option_is_off():
    key = random.key(0)
    np.testing.assert_array_equal(random.normal(key, (3,)), random.normal(key, (3,)))
    with pb.debug_key_reuse():
        random.normal(key)
    random.normal(key)
    assert "use_key" not in str(pb.make_jaxpr(random.normal)(key))


def test_the_numbers_are_the_same():
    def draw():
        keys = random.split(random.key(3), (2, 3))
        return random.normal(keys[0, 1], (4,)), pb.jit(pb.vmap(random.uniform))(keys[1]), random.bits(keys.T[2, 0])

    plain = draw()
    with pb.debug_key_reuse():
        checked = draw()
    for a, b in zip(plain, checked, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_error_says_where_the_key_was_used_first():
    with pb.debug_key_reuse():
        key = random.key(0)
        random.uniform(key)  # the first use
        with pytest.raises(KeyReuseError) as caught:
            random.normal(key)
    text = str(caught.value)
    assert text.startswith("Previously-consumed key passed to normal at index 0: uniform used it first, at ")
    line = int(text.split("test_key_reuse.py:")[1].split()[0])
    with open(__file__) as file:
        assert "# the first use" in file.readlines()[line - 1]


def test_the_error_of_a_compiled_function_names_both_lines():
    def both(key):
        a = random.normal(key)
        return a + random.normal(key)

    with (
        pb.debug_key_reuse(),
        pytest.raises(KeyReuseError, match="In normal, argument 0 is already consumed") as caught,
    ):
        pb.jit(both)(random.key(0))
    first, second = both.__code__.co_firstlineno + 1, both.__code__.co_firstlineno + 2
    assert f":{first} (both)" in str(caught.value)
    assert f":{second} (both)" in str(caught.value)


def test_the_error_of_a_loop_says_what_to_do():
    key = random.key(0)
    with pb.debug_key_reuse(), pytest.raises(KeyReuseError, match=r"scan.*when repeatedly executed.*fold_in\(key, i\)"):
        lax.scan(lambda c, i: (c + random.normal(key), None), 0.0, pnp.arange(3))


SAMPLERS = {
    "ball": lambda k: random.ball(k, 3),
    "bernoulli": random.bernoulli,
    "beta": lambda k: random.beta(k, 1.0, 2.0),
    "binomial": lambda k: random.binomial(k, 3, 0.5),
    "bits": random.bits,
    "categorical": lambda k: random.categorical(k, pnp.zeros(3)),
    "cauchy": random.cauchy,
    "chisquare": lambda k: random.chisquare(k, 2.0),
    "choice": lambda k: random.choice(k, 5),
    "choice without replacement": lambda k: random.choice(k, 5, (2,), replace=False),
    "choice with p": lambda k: random.choice(k, 2, (2,), p=pnp.array([0.5, 0.5])),
    "dirichlet": lambda k: random.dirichlet(k, pnp.ones(3)),
    "double_sided_maxwell": lambda k: random.double_sided_maxwell(k, 0.0, 1.0),
    "exponential": random.exponential,
    "f": lambda k: random.f(k, 2.0, 3.0),
    "gamma": lambda k: random.gamma(k, 2.0),
    "generalized_normal": lambda k: random.generalized_normal(k, 2.0),
    "geometric": lambda k: random.geometric(k, 0.5),
    "gumbel": random.gumbel,
    "laplace": random.laplace,
    "logistic": random.logistic,
    "loggamma": lambda k: random.loggamma(k, 2.0),
    "maxwell": random.maxwell,
    "multinomial": lambda k: random.multinomial(k, 3, pnp.array([0.5, 0.5])),
    "multivariate_normal": lambda k: random.multivariate_normal(k, pnp.zeros(2), pnp.eye(2)),
    "normal": random.normal,
    "normal, complex": lambda k: random.normal(k, (), "complex64"),
    "orthogonal": lambda k: random.orthogonal(k, 2),
    "pareto": lambda k: random.pareto(k, 2.0),
    "permutation": lambda k: random.permutation(k, 4),
    "poisson": lambda k: random.poisson(k, 2.0),
    "rademacher": random.rademacher,
    "randint": lambda k: random.randint(k, (), 0, 5),
    "rayleigh": lambda k: random.rayleigh(k, 1.0),
    "split": random.split,
    "t": lambda k: random.t(k, 3.0),
    "triangular": lambda k: random.triangular(k, 0.0, 0.5, 1.0),
    "truncated_normal": lambda k: random.truncated_normal(k, -1.0, 1.0),
    "uniform": random.uniform,
    "wald": lambda k: random.wald(k, 1.0),
    "weibull_min": lambda k: random.weibull_min(k, 1.0, 2.0),
}


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("impl", ["threefry2x32", "unsafe_rbg"])
def test_a_sampler_uses_its_key_once(name, impl):
    with pb.debug_key_reuse():
        key = random.key(0, impl=impl)
        SAMPLERS[name](key)
        with pytest.raises(KeyReuseError):
            SAMPLERS[name](key)


def test_under_transformations():
    with pb.debug_key_reuse():
        keys = random.split(random.key(0), 3)
        pb.jvp(lambda x: x * random.normal(keys[0]), (1.0,), (1.0,))
        pb.vmap(lambda k, x: x + random.normal(k), (0, None))(keys[1:], 1.0)
        for i in range(3):
            with pytest.raises(KeyReuseError):
                keys[i]


def test_a_part_under_vmap():
    with pb.debug_key_reuse():
        keys = random.split(random.key(0), (2, 3))
        pb.vmap(lambda ks: random.normal(ks[0]))(keys)
        pb.vmap(random.normal)(keys[:, 1])
        with pytest.raises(KeyReuseError):
            random.normal(keys[1, 0])


def test_a_loop_that_splits_with_a_static_argument():
    with pb.debug_key_reuse():
        f = pb.jit(lambda key, n: random.normal(key, (n,)), static_argnums=1)
        key = random.key(0)
        for _ in range(3):
            key, now = random.split(key)
            f(now, 2)
        with pytest.raises(KeyReuseError):
            f(now, 2)


def test_an_exported_program_says_nothing_about_keys():
    with pb.debug_key_reuse():
        exported = pb.export.export(pb.jit(lambda words: random.normal(random.wrap_key_data(words))))(random.PRNGKey(0))
    assert pb.export.deserialize(exported.serialize()).call(random.PRNGKey(1)) == random.normal(random.key(1))
