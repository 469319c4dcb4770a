"""The primitives of the schema by their names, and the modules that they stand in.

A name in a file is looked up here: no file can have another module imported. Operations that call into this process
(callbacks, taps, references, functions of other libraries) are not among them. `tests/export/test_primitives.py` says
which new primitive is missing.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from pullback._core.primitive import Primitive

# module of the package -> names of primitives in it
_MODULES = {
    "_higher_order.apart": "apart",
    "_higher_order.call": "jit",
    "_higher_order.checkpoint": "checkpoint name",
    "_higher_order.control.cond": "cond",
    "_higher_order.control.scan": "scan",
    "_higher_order.control.when": "when",
    "_higher_order.control.while_loop": "while",
    "_higher_order.custom.primitive": "custom_call",
    "_higher_order.parts": "as_varying ended loose loose_tangent match vary_as",
    "_higher_order.reductions": "reduce reduce_window",
    "_higher_order.shard_map": "shard_map",
    "_higher_order.solvers.linear_solve": "linear_solve",
    "_higher_order.solvers.ode": "odeint odeint_adjoint odeint_tangent",
    "_higher_order.solvers.root": "root",
    "_ops.arg_extremes": "argmax argmin",
    "_ops.assemble": "bitcast_convert_type concatenate iota split",
    "_ops.barrier": "optimization_barrier",
    "_ops.bases": "exp2 log10 log2",
    "_ops.binomial_mass": "binomial_log_ratio harmonic log_gamma_bend share trial",
    "_ops.bessel": "bessel_i0e bessel_i1e confluent kummer",
    "_ops.beta": (
        "beta_density beta_hazard beta_log_density beta_moment beta_size log_beta log_betainc "
        "regularized_incomplete_beta"
    ),
    "_ops.cholesky": "cholesky",
    "_ops.collectives": "all_gather axis_index pmax pmin psum psum_scatter pvary",
    "_ops.compare": (
        "and eq ge gt le lt ne not or population_count select shift_left shift_right_arithmetic shift_right_logical xor"
    ),
    "_ops.compositions": (
        "after_all approx_top_k copy create_token igamma_grad_a scatter_sub select_n squeeze stack stage tile unstack"
    ),
    "_ops.confluent_hypergeometric": "hyp1f1",
    "_ops.conv": "conv_general_dilated",
    "_ops.cumulative": "cumlogsumexp cummax cummin cumprod cumsum",
    "_ops.dawson": "dawson",
    "_ops.determinants": "lu_cofactors lu_det lu_slogdet",
    "_ops.dimensions": "dimension_value",
    "_ops.dilogarithm": "spence",
    "_ops.dot": "dot_general",
    "_ops.dynamic_slicing": "dynamic_slice dynamic_slice_add dynamic_update_slice",
    "_ops.eig": "eig",
    "_ops.eigh": "eigh",
    "_ops.elementwise": "add cbrt div exp expm1 integer_pow log log1p mask max min mul neg pow rsqrt sqrt square sub",
    "_ops.entropy": "kl_div log_ratio rel_entr relative_step",
    "_ops.exchanges": "all_to_all ppermute",
    "_ops.exponential_integrals": "cosine_integral exp1 exp_quotient expi expn sine_integral",
    "_ops.faddeeva": "wofz",
    "_ops.fft": "fft",
    "_ops.fresnel": "fresnel_c fresnel_s",
    "_ops.gamma": "digamma gamma lgamma",
    "_ops.gather_scatter": "gather scatter scatter_add",
    "_ops.gauss_hypergeometric": "hyp2f1",
    "_ops.hessenberg": "hessenberg tridiagonal",
    "_ops.identity": "constant stop_gradient",
    "_ops.incomplete_gamma": (
        "gamma_density gamma_density_by_x gamma_density_twice_by_x gamma_hazard gamma_hazard_by_x "
        "gamma_log_derivative igamma igamma_derivative igammac log_gamma_density log_igamma log_minus_digamma"
    ),
    "_ops.integer_bits": "clz mulhi",
    "_ops.lengths": "angle_slope atan2 direction hypot norm",
    "_ops.lu": "lu lu_pivots_to_permutation lu_solve",
    "_ops.normal_tail": "log_ndtr normal_bend normal_hazard",
    "_ops.owens_t": "owens_t",
    "_ops.philox": "rng_bit_generator",
    "_ops.poch": "poch poch_at_root",
    "_ops.polar": "polar",
    "_ops.power_integral": "power_integral",
    "_ops.qr": "geqrf householder_product qr",
    "_ops.quantile_slope": "quantile_slope",
    "_ops.quotients": "fraction kinked quotient_or_nan",
    "_ops.random_bits": "random_bits random_fold_in random_seed random_split threefry2x32",
    "_ops.reduce": "reduce_and reduce_max reduce_min reduce_or reduce_precision reduce_prod reduce_xor",
    "_ops.remainders": "floor_quotient rem",
    "_ops.rounding": "ceil floor is_finite round trunc",
    "_ops.scaled_erfc": "erfcx",
    "_ops.scatter_extrema": "scatter_max scatter_min scatter_mul",
    "_ops.schur": "schur",
    "_ops.shape": "broadcast_in_dim convert_element_type reduce_sum reshape transpose",
    "_ops.sharding_constraint": "sharding_constraint",
    "_ops.sigmoids": "log_logistic_slope logistic logistic_slope logit soft_sign soft_sign_share tanh tanh_slope",
    "_ops.slicing": "pad rev slice slice_add",
    "_ops.softmax": "log_softmax log_softmax_parts logsumexp logsumexp_parts softmax",
    "_ops.softmax_slope": "softmax_pull softmax_push",
    "_ops.sort": "searchsorted sort",
    "_ops.special": (
        "clamp complement_power entr erf erf_inv erfc exponent gauss gcd logaddexp logaddexp2 nextafter scale signbit "
        "xlog1py xlogy"
    ),
    "_ops.stirling": "polygamma_step",
    "_ops.student": "student_density student_density_over_n student_excess student_log_density",
    "_ops.svd": "svd",
    "_ops.top_k": "top_k",
    "_ops.triangular_solve": "triangular_solve",
    "_ops.tridiagonal": "tridiagonal_solve",
    "_ops.trig": (
        "abs acos acosh acosh_slope asin asinh asinh_slope atan atan_slope atanh complex conj cos cosh imag "
        "one_minus_square real side sign sin sinh tan"
    ),
    "_ops.true_positions": "true_positions",
    "_ops.variance": "psum_invariant ruled_operand ruled_result total",
    "_ops.window": (
        "reduce_window_max reduce_window_max_position reduce_window_min reduce_window_min_position reduce_window_sum"
    ),
    "_ops.zeta": "polygamma zeta zeta_derivative",
    "experimental.sparse.transform": "todense",
    "lax.linalg": "cholesky_update ormqr symmetric_product",
    "random.gamma_sampler": "random_gamma",
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names.split()}


@cache
def primitive_named(name: Any) -> Primitive | None:
    """The primitive of that name, None if there is none in the schema."""
    module = _MODULE_OF.get(name)
    if module is None:
        return None
    found = vars(import_module(f"pullback.{module}")).values()
    return next(p for p in found if isinstance(p, Primitive) and p.name == name)


def is_in_schema(primitive: Primitive) -> bool:
    """Whether equations of a primitive have a place in files: a user's has none, even with the name of one of ours."""
    return primitive.name in _MODULE_OF and primitive_named(primitive.name) is primitive
