"""dot_product_attention: JAX's results with heads in groups, masks, lengths and windows; stability; refusals."""

import jax
import ml_dtypes
import numpy as np
import pytest
from agreement import all_close

import pullback as pb
from pullback import nn
from pullback.test_util import check_grads

RNG = np.random.default_rng(0)
B, T, S, N, K, H = 2, 3, 6, 4, 2, 5
Q = RNG.standard_normal((B, T, N, H)).astype(np.float32)
KEYS, VALUES = RNG.standard_normal((2, B, S, K, H)).astype(np.float32)
BIAS = RNG.standard_normal((B, N, T, S)).astype(np.float32)
MASK = RNG.random((B, N, T, S)) < 0.5
MASK[0, 0, 0] = False  # a query that sees nothing
LENGTHS = {"query_seq_lengths": np.array([2, 3], np.int32), "key_value_seq_lengths": np.array([4, 0], np.int32)}

CASES = {
    "bias and mask": ((BIAS, MASK), {"scale": 0.3}),
    "causal": ((), {"is_causal": True, "return_residual": True}),
    "lengths": ((), {**LENGTHS, "return_residual": True}),
    "window": ((BIAS[:1, :1],), {"local_window_size": (1, 2)}),
    "small mask": ((BIAS[0, 0], MASK[:, :1, :, :1]), {"local_window_size": 1, "is_causal": True}),
}


@pytest.mark.parametrize("case", CASES)
def test_results_are_those_of_jax(case):
    arrays, settings = CASES[case]

    def run(attention, x):
        return attention(*x, **settings)

    x = (Q, KEYS, VALUES, *arrays)
    expected = jax.jit(lambda *x: run(jax.nn.dot_product_attention, x))(*x)
    all_close(run(nn.dot_product_attention, x), expected)
    all_close(pb.jit(lambda *x: run(nn.dot_product_attention, x))(*x), expected)


def test_the_definition_for_heads_in_groups():
    for heads in (1, 2, 4):
        keys, values = RNG.standard_normal((2, S, heads, H)).astype(np.float32)
        got = nn.dot_product_attention(Q[0], keys, values)
        for i in range(N):
            j = i // (N // heads)
            weights = np.exp(Q[0, :, i] @ keys[:, j].T / np.sqrt(H))
            expected = weights / weights.sum(-1, keepdims=True) @ values[:, j]
            np.testing.assert_allclose(got[:, i], expected, rtol=1e-5, atol=1e-5)


def test_half_precision():
    x = [*(a.astype(ml_dtypes.bfloat16) for a in (Q, KEYS, VALUES)), BIAS]
    expected = jax.jit(lambda *x: jax.nn.dot_product_attention(*x, return_residual=True))(*x)
    all_close(nn.dot_product_attention(*x, return_residual=True), expected)
    half = nn.dot_product_attention(*(a.astype(np.float16) for a in (Q, KEYS, VALUES)), is_causal=True)
    all_close(half, np.asarray(nn.dot_product_attention(Q, KEYS, VALUES, is_causal=True)).astype(np.float16))


def test_large_products_do_not_overflow():
    out, sums = nn.dot_product_attention(100 * Q, 100 * KEYS, VALUES, scale=1.0, return_residual=True)
    assert np.isfinite(out).all()
    assert np.isfinite(sums).all()
    gradient = pb.grad(lambda *x: nn.dot_product_attention(*x, mask=MASK).sum(), (0, 1, 2))
    gradients = gradient(100 * Q, 100 * KEYS, VALUES)
    assert all(np.isfinite(g).all() for g in gradients)


def test_a_query_that_sees_nothing_gets_the_mean():
    out = nn.dot_product_attention(Q, KEYS, VALUES, mask=np.zeros((1, 1, 1, 1), bool))
    np.testing.assert_allclose(out, np.repeat(VALUES.mean(1, keepdims=True), 2, 2).repeat(T, 1), rtol=1e-5, atol=1e-6)


def test_derivatives():
    def fun(q, k, v, bias):
        return nn.dot_product_attention(q, k, v, bias, mask=MASK[0], is_causal=True, return_residual=False)

    with pb.enable_x64(True):
        args = [np.float64(x) for x in (Q[0], KEYS[0], VALUES[0], BIAS[0])]
        check_grads(fun, args, order=2)
        check_grads(
            lambda q, k, v: nn.dot_product_attention(q, k, v, **LENGTHS, return_residual=True)[1][:1, :2],
            [np.float64(x) for x in (Q, KEYS, VALUES)],
            order=1,
        )


def test_batches_of_calls():
    got = pb.vmap(lambda q, n: nn.dot_product_attention(q, KEYS[0], VALUES[0], query_seq_lengths=n))(
        Q, np.array([[2], [1]])
    )
    for i, n in enumerate((2, 1)):
        expected = nn.dot_product_attention(Q[i], KEYS[0], VALUES[0])
        np.testing.assert_allclose(got[i, :n], expected[:n], rtol=1e-6, atol=1e-6)
        assert not got[i, n:].any()


@pytest.mark.parametrize(
    ("args", "settings", "error", "match"),
    [
        ((Q, KEYS, VALUES[:, :5]), {}, ValueError, "key and value must have one shape"),
        ((Q, KEYS[..., :4], VALUES[..., :4]), {}, ValueError, "key and value must have .* the batch and size of query"),
        ((Q[0], KEYS, VALUES), {}, ValueError, "query, key and value must all have shapes"),
        ((Q[:, :, :3], KEYS, VALUES), {}, ValueError, "the number of heads of query must be a multiple"),
        ((Q, KEYS, VALUES.astype(np.float16)), {}, TypeError, "query, key and value must have one floating dtype"),
        (
            (Q, KEYS, VALUES, BIAS[:, :2]),
            {},
            ValueError,
            r"bias must broadcast to .* = \(2, 4, 3, 6\), got \(2, 2, 3, 6\)",
        ),
        ((Q, KEYS, VALUES, None, BIAS), {}, TypeError, "mask must be bools"),
        ((Q, KEYS, VALUES), {"query_seq_lengths": 2}, ValueError, r"query_seq_lengths must have shape \(2,\)"),
        ((Q, KEYS, VALUES), {"key_value_seq_lengths": Q}, TypeError, "key_value_seq_lengths must be integers"),
        (
            (Q, KEYS, VALUES),
            {"local_window_size": (1, 2, 3)},
            TypeError,
            "local_window_size must be an integer or a pair",
        ),
        (
            (Q, KEYS, VALUES),
            {"implementation": "cudnn"},
            ValueError,
            "implementation must be None or 'xla', got 'cudnn'",
        ),
    ],
)
def test_refusals(args, settings, error, match):
    with pytest.raises(error, match=f"dot_product_attention: {match}"):
        nn.dot_product_attention(*args, **settings)


def test_the_compiled_program_moves_no_products_and_selects_nothing():
    # XLA makes one loop of the products and the softmax between them: not across a transposed product, nor a selection
    length, size = 12, 16  # many small products would be sums
    x = np.zeros((B, length, N, size), np.float32)

    def loss(q, k, v):
        return nn.dot_product_attention(q, k, v).sum()

    for function in (nn.dot_product_attention, pb.grad(loss)):
        text = pb.jit(function).lower(x, x, x).as_text()
        pairs = f"tensor<{B}x{N}x{length}x{length}x"
        for line in text.splitlines():
            assert "stablehlo.select" not in line or f"tensor<{B}x{N}x{length}x1x" in line
            assert "stablehlo.transpose" not in line or pairs not in line
            assert "stablehlo.dot_general" not in line or f"tensor<{B * N}x" in line.rpartition("->")[2]
        assert text.count("stablehlo.dot_general") >= 2
