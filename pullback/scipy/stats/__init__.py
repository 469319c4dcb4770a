"""Probability distributions, as in `scipy.stats`: densities, distribution functions and their inverses.

A module for each distribution. `pdf` (of whole numbers `pmf`) is the density, `cdf` the distribution function and
`sf = 1 - cdf`, each with a `log`; `ppf` and `isf` are the inverses of `cdf` and `sf`. All are differentiable. `loc`
shifts a distribution and `scale` stretches it.
"""

import typing as _typing

from pullback._core.lazy import attributes as _attributes
from pullback.scipy.stats import bernoulli as bernoulli
from pullback.scipy.stats import beta as beta
from pullback.scipy.stats import betabinom as betabinom
from pullback.scipy.stats import binom as binom
from pullback.scipy.stats import cauchy as cauchy
from pullback.scipy.stats import chi2 as chi2
from pullback.scipy.stats import dirichlet as dirichlet
from pullback.scipy.stats import expon as expon
from pullback.scipy.stats import gamma as gamma
from pullback.scipy.stats import gennorm as gennorm
from pullback.scipy.stats import geom as geom
from pullback.scipy.stats import gumbel_l as gumbel_l
from pullback.scipy.stats import gumbel_r as gumbel_r
from pullback.scipy.stats import laplace as laplace
from pullback.scipy.stats import logistic as logistic
from pullback.scipy.stats import multinomial as multinomial
from pullback.scipy.stats import multivariate_normal as multivariate_normal
from pullback.scipy.stats import nbinom as nbinom
from pullback.scipy.stats import norm as norm
from pullback.scipy.stats import pareto as pareto
from pullback.scipy.stats import poisson as poisson
from pullback.scipy.stats import t as t
from pullback.scipy.stats import truncnorm as truncnorm
from pullback.scipy.stats import uniform as uniform
from pullback.scipy.stats import vonmises as vonmises
from pullback.scipy.stats import wrapcauchy as wrapcauchy
from pullback.scipy.stats._kernel_density import gaussian_kde as gaussian_kde
from pullback.scipy.stats._summaries import mode as mode
from pullback.scipy.stats._summaries import rankdata as rankdata
from pullback.scipy.stats._summaries import sem as sem

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
