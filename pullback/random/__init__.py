"""Random numbers as pure functions of keys: the same key gives the same numbers, and the same as JAX's.

Make a key with `key` (or `PRNGKey`), and new keys of it with `split`, one for each use.
"""
from pullback.random.choices import (
    categorical as categorical,
    choice as choice,
    permutation as permutation,
)
from pullback.random.continuous import (
    cauchy as cauchy,
    double_sided_maxwell as double_sided_maxwell,
    exponential as exponential,
    gumbel as gumbel,
    laplace as laplace,
    logistic as logistic,
    lognormal as lognormal,
    maxwell as maxwell,
    pareto as pareto,
    rayleigh as rayleigh,
    triangular as triangular,
    wald as wald,
    weibull_min as weibull_min,
)
from pullback.random.counts import (
    binomial as binomial,
    geometric as geometric,
    multinomial as multinomial,
    poisson as poisson,
)
from pullback.random.gammas import (
    ball as ball,
    beta as beta,
    chisquare as chisquare,
    dirichlet as dirichlet,
    f as f,
    gamma as gamma,
    generalized_normal as generalized_normal,
    loggamma as loggamma,
    t as t,
)
from pullback.random.keys import (
    PRNGKey as PRNGKey,
    PRNGKeyArray as PRNGKeyArray,
    clone as clone,
    fold_in as fold_in,
    key as key,
    key_data as key_data,
    key_dtype as key_dtype,
    key_impl as key_impl,
    split as split,
    wrap_key_data as wrap_key_data,
)
from pullback.random.samplers import (
    bernoulli as bernoulli,
    bits as bits,
    normal as normal,
    rademacher as rademacher,
    randint as randint,
    truncated_normal as truncated_normal,
    uniform as uniform,
)
