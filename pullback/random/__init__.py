"""Random numbers as pure functions of keys: the same key gives the same numbers, equal to those of JAX.

Make a key with `key` (or `PRNGKey`), and derive new keys from it with `split`, one for each use.

Every function raises TypeError for anything but a key, ValueError for an array of keys in place of a single one,
TypeError for parameters that are not real numbers and for a shape that is not made of integers, and ValueError for a
dtype of another kind, a negative length, or a shape that the parameters do not broadcast to. Floats are float32 and
integers int32 by default, float64 and int64 with 64-bit types. Parameters outside of a distribution's range raise
nothing; most functions give nan for them.
"""

import typing as _typing

from pullback._core.lazy import attributes as _attributes
from pullback.random.choices import categorical as categorical
from pullback.random.choices import choice as choice
from pullback.random.choices import permutation as permutation
from pullback.random.continuous import cauchy as cauchy
from pullback.random.continuous import double_sided_maxwell as double_sided_maxwell
from pullback.random.continuous import exponential as exponential
from pullback.random.continuous import gumbel as gumbel
from pullback.random.continuous import laplace as laplace
from pullback.random.continuous import logistic as logistic
from pullback.random.continuous import lognormal as lognormal
from pullback.random.continuous import maxwell as maxwell
from pullback.random.continuous import pareto as pareto
from pullback.random.continuous import rayleigh as rayleigh
from pullback.random.continuous import triangular as triangular
from pullback.random.continuous import wald as wald
from pullback.random.continuous import weibull_min as weibull_min
from pullback.random.counts import binomial as binomial
from pullback.random.counts import geometric as geometric
from pullback.random.counts import multinomial as multinomial
from pullback.random.counts import poisson as poisson
from pullback.random.gammas import ball as ball
from pullback.random.gammas import beta as beta
from pullback.random.gammas import chisquare as chisquare
from pullback.random.gammas import dirichlet as dirichlet
from pullback.random.gammas import f as f
from pullback.random.gammas import gamma as gamma
from pullback.random.gammas import generalized_normal as generalized_normal
from pullback.random.gammas import loggamma as loggamma
from pullback.random.gammas import t as t
from pullback.random.keys import PRNGKey as PRNGKey
from pullback.random.keys import PRNGKeyArray as PRNGKeyArray
from pullback.random.keys import clone as clone
from pullback.random.keys import fold_in as fold_in
from pullback.random.keys import key as key
from pullback.random.keys import key_data as key_data
from pullback.random.keys import key_dtype as key_dtype
from pullback.random.keys import key_impl as key_impl
from pullback.random.keys import split as split
from pullback.random.keys import wrap_key_data as wrap_key_data
from pullback.random.samplers import bernoulli as bernoulli
from pullback.random.samplers import bits as bits
from pullback.random.samplers import normal as normal
from pullback.random.samplers import rademacher as rademacher
from pullback.random.samplers import randint as randint
from pullback.random.samplers import truncated_normal as truncated_normal
from pullback.random.samplers import uniform as uniform
from pullback.random.vectors import multivariate_normal as multivariate_normal
from pullback.random.vectors import orthogonal as orthogonal

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__, {"random_gamma_p": "pullback.random.gamma_sampler:random_gamma_p"})
