"""The primitives under JAX's names, for jaxprs that programs read and for tables of rules that they keep."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, NoReturn

from pullback._core.primitive import Primitive
from pullback._core.typing import AnyValue

# module of the package -> the primitives in it that have the name, and the meaning, of one of JAX's
_HERE = {
    "_higher_order.call": "jit_p",
    "_higher_order.checkpoint": "name_p",
    "_ops.cholesky": "cholesky_p",
    "_ops.eig": "eig_p",
    "_ops.eigh": "eigh_p",
    "_ops.hessenberg": "hessenberg_p tridiagonal_p",
    "_ops.lu": "lu_p lu_pivots_to_permutation_p",
    "_ops.philox": "rng_bit_generator_p",
    "_ops.qr": "householder_product_p qr_p",
    "_ops.random_bits": "random_bits_p random_fold_in_p random_seed_p random_split_p threefry2x32_p",
    "_ops.schur": "schur_p",
    "_ops.svd": "svd_p",
    "_ops.triangular_solve": "triangular_solve_p",
    "_ops.tridiagonal": "tridiagonal_solve_p",
    "random.gamma_sampler": "random_gamma_p",
}
_RENAMED = {
    "cholesky_update_p": "pullback.lax.linalg:cholesky_update_p",
    "ormqr_p": "pullback.lax.linalg:ormqr_p",
    "symmetric_product_p": "pullback.lax.linalg:symmetric_product_p",
    "add_jaxvals_p": "pullback.lax:add_p",
    "remat_p": "pullback._higher_order.checkpoint:checkpoint_p",
}

# primitives of JAX's that are functions of other primitives here, or that nothing here needs
ABSENT = frozenset(
    "call_p closed_call_p custom_jvp_call_p custom_lin_p custom_vjp_call_p dce_sink_p device_put_p "
    "empty2_p eq_to_p get_p le_to_p lt_to_p ragged_all_to_all_p remat_opt_p "
    "rng_uniform_p select_and_gather_add_p select_and_scatter_add_p select_and_scatter_p sharding_constraint_p "
    "swap_p".split()
)


class AbsentPrimitive(Primitive):
    """A primitive of JAX's that occurs in no jaxpr here: a key in tables of rules, which no operation has."""

    __slots__ = ()

    def bind(self, /, *args: AnyValue, **params: AnyValue) -> NoReturn:
        """Refuse to apply it."""
        raise NotImplementedError(
            f"{self.name}_p.bind: there is no primitive '{self.name}' here; call the function instead, of which other "
            "primitives are the parts. The name exists for tables of rules, in which it never matches."
        )


@cache
def absent(name: str) -> AbsentPrimitive:
    """The stand-in for a primitive in `ABSENT`."""
    return AbsentPrimitive(name.removesuffix("_p"), multiple_results=True)


_IN_LAX = (
    "abs_p acos_p acosh_p add_p after_all_p all_gather_p all_to_all_p and_p approx_top_k_p argmax_p argmin_p "
    "asin_p asinh_p atan2_p atan_p atanh_p axis_index_p bessel_i0e_p bessel_i1e_p bitcast_convert_type_p "
    "broadcast_in_dim_p cbrt_p ceil_p clamp_p clz_p complex_p concatenate_p cond_p conj_p conv_general_dilated_p "
    "convert_element_type_p copy_p cos_p cosh_p create_token_p cumlogsumexp_p cummax_p cummin_p cumprod_p "
    "cumsum_p digamma_p div_p dot_general_p dynamic_slice_p dynamic_update_slice_p eq_p erf_inv_p erf_p erfc_p "
    "exp2_p exp_p expm1_p fft_p floor_p gather_p ge_p gt_p igamma_grad_a_p igamma_p igammac_p imag_p "
    "integer_pow_p iota_p is_finite_p le_p lgamma_p linear_solve_p log1p_p log_p logistic_p lt_p max_p min_p "
    "mul_p mulhi_p ne_p neg_p nextafter_p not_p optimization_barrier_p or_p pad_p pmax_p pmin_p polygamma_p "
    "population_count_p pow_p ppermute_p psum_p real_p reduce_and_p reduce_max_p reduce_min_p reduce_or_p "
    "reduce_p reduce_precision_p reduce_prod_p reduce_sum_p reduce_window_max_p reduce_window_min_p "
    "reduce_window_p reduce_window_sum_p reduce_xor_p regularized_incomplete_beta_p rem_p reshape_p rev_p round_p "
    "rsqrt_p scan_p scatter_add_p scatter_max_p scatter_min_p scatter_mul_p scatter_p scatter_sub_p select_n_p "
    "shift_left_p shift_right_arithmetic_p shift_right_logical_p sign_p sin_p sinh_p slice_p sort_p split_p "
    "sqrt_p square_p squeeze_p stack_p stage_p stop_gradient_p sub_p tan_p tanh_p tile_p top_k_p transpose_p "
    "unstack_p while_p xor_p zeta_p "
)

# name -> module:attribute, for `lazy.attributes`
PRIMITIVES: dict[str, str] = {
    **{name: f"pullback.lax:{name}" for name in _IN_LAX.split()},
    **{name: f"pullback.{module}:{name}" for module, names in _HERE.items() for name in names.split()},
    **_RENAMED,
    **{name: f"pullback._api.primitive_names:{name}" for name in ABSENT},
}


def __getattr__(name: str) -> Any:
    if name in ABSENT:
        return absent(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def subset(names: Iterable[str]) -> dict[str, str]:
    """The places of some primitives, for a module that has them among its names."""
    return {name: PRIMITIVES[name] for name in names}
