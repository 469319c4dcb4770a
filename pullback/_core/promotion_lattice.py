"""The lattices of dtypes by which operands are promoted: JAX's documented "Type promotion semantics", by names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# A weak node stands for Python scalars of its kind: it yields to every strong dtype of the same kind.
WEAK_INT, WEAK_FLOAT, WEAK_COMPLEX = "int*", "float*", "complex*"


def standard_edges(float8: Sequence[str]) -> dict[str, list[str]]:
    """The nodes next above each node."""
    return {
        "bool": [WEAK_INT],
        WEAK_INT: ["int4", "uint4", "uint8", "int8"],
        "int4": [],
        "uint4": [],
        "uint8": ["int16", "uint16"],
        "uint16": ["int32", "uint32"],
        "uint32": ["int64", "uint64"],
        "uint64": [WEAK_FLOAT],
        "int8": ["int16"],
        "int16": ["int32"],
        "int32": ["int64"],
        "int64": [WEAK_FLOAT],
        WEAK_FLOAT: [WEAK_COMPLEX, "bfloat16", "float16", *float8],
        **{name: [] for name in float8},
        "bfloat16": ["float32"],
        "float16": ["float32"],
        "float32": ["float64", "complex64"],
        "float64": ["complex128"],
        WEAK_COMPLEX: ["complex64"],
        "complex64": ["complex128"],
        "complex128": [],
    }


def strict_edges(integers: Sequence[str], floats: Sequence[str], complexes: Sequence[str]) -> dict[str, list[str]]:
    """The nodes next above each node if dtypes must agree: only Python numbers yield."""
    alone: dict[str, list[str]] = {name: [] for name in ("bool", *integers, *floats, *complexes)}
    return {
        **alone,
        WEAK_INT: [WEAK_FLOAT, *integers],
        WEAK_FLOAT: [WEAK_COMPLEX, *floats],
        WEAK_COMPLEX: [*complexes],
    }


def upper_bounds(edges: Mapping[str, Sequence[str]]) -> dict[str, frozenset[str]]:
    """Map every node to the nodes at or above it."""

    def above(name: str) -> frozenset[str]:
        return frozenset([name]).union(*map(above, edges[name]))

    return {name: above(name) for name in edges}
