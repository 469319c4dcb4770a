"""Exported functions whose shapes have variables, at the sizes of arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pullback._core.dimension_values import evaluated, solved
from pullback._core.types import ShapedArray
from pullback._xla.symbolic import is_symbolic, static_artifact
from pullback.export._calling import place
from pullback.export._exported import Exported, later
from pullback.export._program import program_to_bytes
from pullback.export._reading import program_of_bytes


class AtSizes(Exported):
    """An exported function with values, numbers as a rule, for the variables in its shapes."""

    def __init__(self, general: Exported, values: Mapping[str, Any]):
        super().__init__(
            general.fun_name,
            general.in_tree,
            [_at(aval, values) for aval in general.in_avals],
            general.out_tree,
            [_at(aval, values) for aval in general.out_avals],
            general._in_named_shardings,
            general._out_named_shardings,
            general.nr_devices,
            general.platforms,
            general.disabled_safety_checks,
            self._static_module,
            general.calling_convention_version,
            general.module_kept_var_idx,
            False,
            self._read if general.has_program else None,
            None,
        )
        self._general, self._values = general, values

    def _static_module(self) -> bytes:
        ins = [self.in_words[i] for i in self.module_kept_var_idx]
        if any(is_symbolic(aval.shape) for aval in ins):
            raise NotImplementedError(
                f"the exported function {self.fun_name}: its file holds no program, and a module with symbolic sizes "
                "is no part of another one that has some: call it with arrays"
            )
        try:
            several = len(self.platforms) > 1
            return static_artifact(self._general.mlir_module_serialized, ins, self.out_words, several)
        except ValueError as error:
            raise ValueError(f"the exported function {self.fun_name}: {error}") from None

    def _read(self) -> Any:
        general = self._general
        if general._stored_program is None:
            general._stored_program = program_to_bytes(general)
        return program_of_bytes(general._stored_program, self, self._values)

    def has_vjp(self) -> bool:
        return self._general.has_vjp()

    def vjp(self) -> Exported:
        if self._vjp is None and not self.has_program:
            avals = [*self.in_words, *(aval.to_tangent_aval() for aval in self.out_words)]
            self._vjp = at_sizes(self._general.vjp(), avals)
        return super().vjp()


def _at(aval: Any, values: Mapping[str, Any]) -> Any:
    return ShapedArray(tuple([evaluated(d, values) for d in aval.shape]), aval.dtype, getattr(aval, "weak_type", False))


def at_sizes(exported: Exported, avals: Sequence[Any]) -> Exported:
    """The function for arguments of these types. ValueError, naming the argument, for types that do not fit."""
    key = tuple(avals)
    known = exported._at_sizes.get(key)
    if known is None:
        for i, (expected, got) in enumerate(zip(exported.in_words, avals, strict=True)):
            if expected.ndim != got.ndim or expected.dtype != got.dtype:
                raise ValueError(
                    f"{place(exported, i)} must have the type {expected.str_short()}, got {got.str_short()}"
                )
        shapes = [aval.shape for aval in exported.in_words]
        values = solved(shapes, [aval.shape for aval in avals], lambda i: place(exported, i))
        known = exported._at_sizes[key] = AtSizes(exported, values)
    return known


later.at_sizes = at_sizes
later.read_program = program_of_bytes
