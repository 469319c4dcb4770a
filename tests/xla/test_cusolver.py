"""LAPACK's routines on NVIDIA's devices: JAX's custom calls, which lowers for a device that is not there too."""

import re

import jax
import numpy as np
import pytest
from jax import lax as jlax

import pullback as pb
import pullback.numpy as pnp
from pullback import lax

F, C = np.float32, np.complex64


def struct(shape, dtype=F):
    return jax.ShapeDtypeStruct(shape, dtype)


def custom_calls(text):
    """The custom calls of a module: target, options, layouts, memory that is reused, types."""
    found = []
    for line in text.splitlines():
        if "custom_call" not in line or "LayoutConstraint" in line or "Sharding" in line:
            continue
        target = re.search(r'@(\w+)\(|call_target_name = "(\w+)"', line)
        options = re.findall(r"backend_config = \{(.*?)\}", line)[0]
        one = line.replace("dense<[0]>", "dense<0>")  # two spellings of a vector's layout
        layouts = re.findall(r"(operand|result)_layouts = \[(.*?)\](?=, |\}|$)", one)
        aliases = re.findall(r"output_tuple_indices = \[(\d*)\], operand_index = (\d+)", line)
        types = re.findall(r"tensor<[^>]*?(?:<\w+>)?>", line[line.rindex(" : ") :])
        found.append((target[1] or target[2], sorted(options.split(", ")), layouts, aliases, types))
    return found


def ours(f, *args):
    xs = [pb.ShapeDtypeStruct(x.shape, x.dtype) for x in args]
    return custom_calls(pb.jit(f).trace(*xs).lower(lowering_platforms=("cuda",)).as_text())


def theirs(f, *args):
    return custom_calls(jax.jit(f).trace(*args).lower(lowering_platforms=("cuda",)).as_text())


def svd(full=False, vectors=True):
    def of(module):
        def decompose(x):
            return module.linalg.svd(x, full_matrices=full, compute_uv=vectors)

        return decompose

    return of


def qr(pivoting):
    def of(module):
        def decompose(x):
            return module.linalg.qr(x, full_matrices=False, pivoting=pivoting)

        return decompose

    return of


def eig(left, right):
    def of(module):
        def decompose(x):
            return module.linalg.eig(x, compute_left_eigenvectors=left, compute_right_eigenvectors=right)

        return decompose

    return of


def named(name):
    def of(module):
        return getattr(module.linalg, name)

    return of


CASES = {
    "cholesky": (named("cholesky"), [struct((4, 5, 5))]),
    "lu": (named("lu"), [struct((7, 5))]),
    "qr": (qr(False), [struct((4, 7, 5))]),
    "complex qr": (qr(False), [struct((7, 5), C)]),
    "pivoted qr": (qr(True), [struct((4, 7, 5))]),
    "eigh": (named("eigh"), [struct((4, 5, 5))]),
    "complex eigh": (named("eigh"), [struct((5, 5), C)]),
    "svd": (svd(), [struct((4, 7, 5))]),
    "wide svd": (svd(), [struct((5, 7), C)]),
    "full svd": (svd(full=True), [struct((7, 5))]),
    "singular values": (svd(vectors=False), [struct((7, 5))]),
    "svd, reduced": (svd(), [struct((60, 40))]),
    "svd, large": (svd(), [struct((1500, 1100))]),
    "svd, large and wide": (svd(full=True), [struct((1100, 1500))]),
    "singular values, large and wide": (svd(full=True, vectors=False), [struct((1100, 1500))]),
    "eig": (eig(True, True), [struct((5, 5))]),
    "complex eig": (eig(False, True), [struct((2, 5, 5), C)]),
    "eigenvalues": (eig(False, False), [struct((5, 5))]),
    "tridiagonal": (named("tridiagonal"), [struct((4, 5, 5))]),
    "tridiagonal solve": (named("tridiagonal_solve"), [*[struct((4, 5))] * 3, struct((4, 5, 2))]),
    "householder product": (named("householder_product"), [struct((4, 7, 5)), struct((4, 5))]),
}


@pytest.mark.parametrize("case", CASES)
def test_the_custom_calls_are_those_of_jax(case):
    make, args = CASES[case]
    expected = [call for call in theirs(make(jlax), *args) if call[0] != "cu_lu_pivots_to_permutation"]
    assert expected
    assert ours(make(lax), *args) == expected


def test_triangular_systems_are_an_operation_of_stablehlo():
    def solve(a, b):
        return lax.linalg.triangular_solve(a, b, left_side=True, lower=True, transpose_a=True, conjugate_a=True)

    a, b = pb.ShapeDtypeStruct((3, 3), C), pb.ShapeDtypeStruct((3, 2), C)
    text = pb.jit(solve).trace(a, b).lower(lowering_platforms=("gpu",)).as_text()
    (line,) = [line for line in text.splitlines() if "triangular_solve" in line]
    for part in ("left_side = true", "lower = true", "unit_diagonal = false", "transpose ADJOINT"):
        assert part in line
    assert "custom_call" not in text


def test_a_small_tridiagonal_system_is_one_of_the_least_size():
    avals = [pb.ShapeDtypeStruct((2,), F)] * 3 + [pb.ShapeDtypeStruct((2, 1), F)]
    text = pb.jit(lax.linalg.tridiagonal_solve).trace(*avals).lower(lowering_platforms=("cuda",)).as_text()
    ((target, *_, types),) = custom_calls(text)
    assert (target, types) == ("cusparse_gtsv2_ffi", ["tensor<3xf32>"] * 3 + ["tensor<3x1xf32>"] * 2)


@pytest.mark.parametrize(("name", "routine"), [("schur", "gees"), ("hessenberg", "gehrd")])
def test_what_the_plugin_lacks_is_refused_by_name(name, routine):
    traced = pb.jit(getattr(lax.linalg, name)).trace(pb.ShapeDtypeStruct((3, 3), F))
    assert "custom_call" in traced.lower().as_text()
    with pytest.raises(
        NotImplementedError, match=f"{name}: the routine '{routine}' of LAPACK is not available on 'cuda'"
    ):
        traced.lower(lowering_platforms=("cuda",))
    with pytest.raises(NotImplementedError, match="not found for platform cuda"):  # as in JAX
        jax.jit(getattr(jlax.linalg, name)).trace(struct((3, 3))).lower(lowering_platforms=("cuda",))


def test_calls_to_the_host_have_their_own_target():
    def f(x):
        return pb.pure_callback(np.sin, pb.ShapeDtypeStruct((3,), F), x)

    traced = pb.jit(f).trace(pb.ShapeDtypeStruct((3,), F))
    assert "xla_ffi_python_cpu_callback" in traced.lower().as_text()
    assert "xla_ffi_python_gpu_callback" in traced.lower(lowering_platforms=("cuda",)).as_text()


def test_random_bits_are_the_same_operations_on_all_platforms():
    def draw(key):
        return pb.random.normal(key, (3,))

    traced = pb.jit(draw).trace(pb.random.key(0))
    assert traced.lower(lowering_platforms=("cuda",)).as_text() == traced.lower().as_text()


def test_a_module_for_another_platform_is_not_compiled_here():
    lowered = pb.jit(pnp.sin).trace(1.0).lower(lowering_platforms=("cuda",))
    with pytest.raises(ValueError, match=r"compile: sin was lowered for 'cuda'.*jit\(f, backend='cuda'\)"):
        lowered.compile()
    with pytest.raises(ValueError, match="lower: lowering_platforms: expected one of 'cpu', 'cuda', got"):
        pb.jit(pnp.sin).trace(1.0).lower(lowering_platforms=("cpu", "cuda"))
