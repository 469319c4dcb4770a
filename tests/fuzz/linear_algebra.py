"""Statements of products and decompositions. Matrices are made well-conditioned."""

from fuzz.grammar import Draw, family, strong


@family(4)
def product(d: Draw):
    x = d.inexact(lambda v: 1 <= v.ndim <= 3 and 0 not in v.shape)
    y = d.inexact(
        lambda v: (
            1 <= v.ndim <= 3
            and v.dtype == x.dtype
            and v.shape[0 if v.ndim == 1 else -2] == x.shape[-1]
            and not (v.ndim == 3 and x.ndim == 3 and v.shape[0] != x.shape[0])
        )
    )
    texts = ["$0 @ $1", "np.matmul($0, $1)"]
    if x.ndim <= 2 and y.ndim <= 2:
        texts += ["np.dot($0, $1)"]
    if x.ndim == y.ndim == 2:
        texts += [
            "np.einsum('ij,jk->ki', $0, $1)",
            "np.tensordot($0, $1, 1)",
            "np.einsum('ij,jk->', $0, $1)",
            "np.einsum('ij,jk->i', $0, $1)",
        ]
        if strong(x) and strong(y):
            texts += ["lax.dot_general($0, $1, (((1,), (0,)), ((), ())))"]
    if x.ndim == y.ndim == 1:
        texts += ["np.vdot($0, $1)", "np.inner($0, $1)", "np.einsum('i,i->', $0, $1)"]
    d.add("product", d.choice(texts), [x, y])


@family(1)
def self_product(d: Draw):
    x = d.inexact(lambda v: v.ndim in (1, 2) and 0 not in v.shape)
    d.add(
        "product",
        d.choice(
            [
                "$0 @ $0.T",
                "np.outer($0, $0)",
                "np.kron($0, $0[:1])",
                "np.einsum('...i,...i->...', $0, $0)",
                "np.linalg.norm($0 + 2)",
            ]
        ),
        [x],
    )


@family(1.5)
def square_matrix(d: Draw):
    """A well-conditioned matrix, and what may be done with it."""
    x = d.real(
        lambda v: (
            v.ndim >= 2 and v.shape[-1] == v.shape[-2] and 1 <= v.shape[-1] <= 4 and v.dtype in ("float32", "float64")
        )
    )
    n = x.shape[-1]
    bounded = "np.tanh($0)"
    general = f'({bounded} + {2 * n} * np.eye({n}, dtype="{x.dtype}"))'
    positive = f'({bounded} @ np.swapaxes({bounded}, -1, -2) + {n} * np.eye({n}, dtype="{x.dtype}"))'
    spread = f'({bounded} + np.swapaxes({bounded}, -1, -2) + np.diag(8 * np.arange({n}, dtype="{x.dtype}")))'
    texts = [
        f"np.linalg.inv({general})",
        f"np.linalg.det({general} / {2 * n})",
        f"np.linalg.slogdet({general})[1]",
        f"np.linalg.cholesky({positive})",
        f"np.linalg.eigvalsh({spread})",
        f"np.linalg.solve({general}, $0)",
        f"np.square(np.linalg.qr({general})[1])",
        f"np.linalg.svd({spread} + 4, compute_uv=False)",
        f"lax.linalg.triangular_solve(np.tril({general}), $0, left_side=True, lower=True)",
        f"np.linalg.matrix_power({bounded}, 3)",
        f"np.square(np.linalg.eigh({spread})[1])",
        f"np.linalg.pinv({general})",
    ]
    d.add("linear algebra", d.choice(texts), [x])


@family(1)
def solve_vector(d: Draw):
    b = d.real(lambda v: v.ndim == 1 and 1 <= v.shape[0] <= 4 and v.dtype in ("float32", "float64"))
    d.add(
        "linear algebra",
        f'np.linalg.solve(np.outer(np.tanh($0), np.sin($0)) + 3 * np.eye({b.shape[0]}, dtype="{b.dtype}"), $0)',
        [b],
    )
