"""Exported functions: what a file of one holds, as an object."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from pullback._core.dimensions import Dimension
from pullback._core.errors import boundary, described
from pullback._core.jaxpr import Jaxpr
from pullback._core.primitive import Primitive
from pullback._core.sharding import NamedSharding
from pullback._core.tree import PyTreeDef, tree_flatten
from pullback._core.tree_paths import equality_errors, keystr, skeleton
from pullback._core.typing import PyTree
from pullback._higher_order.bodies import lift_tree
from pullback._xla import mlir, portable
from pullback._xla.single_operations import single_equation
from pullback.export._types import DisabledSafetyCheck, NamedAxes, words_of


class _Later:
    """What methods call and modules above this one have: each module installs its own."""

    primitive: Primitive
    call_flat: Callable[[Exported, Sequence[Any]], list[Any]]
    export_vjp: Callable[[Exported], Exported]
    to_bytes: Callable[[Exported, int], bytearray]
    read_program: Callable[[bytes, Exported, Mapping[str, Any]], Jaxpr]
    at_sizes: Callable[[Exported, Sequence[Any]], Exported]


later = _Later()


class Exported:
    """A function that was exported: a StableHLO module, and the program that transformations work on.

    Attributes:
      fun_name: the name of the function.
      in_tree, out_tree: the structures of `(args, kwargs)`, without static arguments, and of the result.
      in_avals, out_avals: the types of their leaves.
      platforms: the platforms that the module is for.
      nr_devices: the number of devices that it is for.
      calling_convention_version: the number of the convention by which the module is called, one of JAX's.
      module_kept_var_idx: the numbers of the leaves that the module takes.
      disabled_safety_checks: the checks that were left out when the function was exported.
      ordered_effects, unordered_effects: what the function does besides returning results: nothing.
      uses_global_constants: whether shapes have variables.

    >>> import pullback as pb
    >>> from pullback import export
    >>> exported = export.export(pb.jit(lambda x: 2 * x))(pb.ShapeDtypeStruct((3,), "float32"))
    >>> exported.fun_name, exported.in_avals, exported.platforms, exported.nr_devices
    ('<lambda>', (ShapedArray(float32[3]),), ('cpu',), 1)
    >>> print(exported.call(pb.numpy.arange(3.)))
    [0. 2. 4.]
    """

    ordered_effects: tuple[Any, ...] = ()
    unordered_effects: tuple[Any, ...] = ()

    def __init__(
        self,
        fun_name: str,
        in_tree: PyTreeDef,
        in_avals: Sequence[Any],
        out_tree: PyTreeDef,
        out_avals: Sequence[Any],
        in_shardings: Sequence[NamedAxes | None],
        out_shardings: Sequence[NamedAxes | None],
        nr_devices: int,
        platforms: Sequence[str],
        disabled_safety_checks: Sequence[DisabledSafetyCheck],
        mlir_module_serialized: bytes | Callable[[], bytes],
        calling_convention_version: int,
        module_kept_var_idx: Sequence[int],
        uses_global_constants: bool,
        program: Callable[[], Jaxpr] | None,
        vjp: Exported | None,
    ):
        self.fun_name = fun_name
        self.in_tree = in_tree
        self.in_avals: tuple[Any, ...] = tuple(in_avals)
        self.out_tree = out_tree
        self.out_avals: tuple[Any, ...] = tuple(out_avals)
        self._in_named_shardings = tuple(in_shardings)
        self._out_named_shardings = tuple(out_shardings)
        self.nr_devices = nr_devices
        self.platforms: tuple[str, ...] = tuple(platforms)
        self.disabled_safety_checks: tuple[DisabledSafetyCheck, ...] = tuple(disabled_safety_checks)
        self._module = mlir_module_serialized
        self.calling_convention_version = calling_convention_version
        self.module_kept_var_idx: tuple[int, ...] = tuple(module_kept_var_idx)
        self.uses_global_constants = uses_global_constants
        self._load_program = program
        self._stored_program: bytes | None = None
        # by the types of arguments, the function at their sizes
        self._at_sizes: dict[tuple[Any, ...], Exported] = {}
        self._vjp = vjp

    def __repr__(self) -> str:
        types = [", ".join(aval.str_short() for aval in avals) for avals in (self.in_avals, self.out_avals)]
        return f"Exported(fun_name={self.fun_name!r}, in_avals=({types[0]}), out_avals=({types[1]}))"

    # --- what it holds ---

    @boundary
    def mlir_module(self) -> str:
        """The module as text.

        >>> import pullback as pb
        >>> from pullback import export
        >>> "stablehlo.sine" in export.export(pb.jit(pb.lax.sin))(1.).mlir_module()
        True
        """
        return str(mlir.of_artifact(self.mlir_module_serialized))

    def keep_program(self, data: bytes) -> None:
        """Have the program of a file, read when it is asked for."""
        self._stored_program = data
        self._load_program = lambda: later.read_program(data, self, {})

    @cached_property
    def is_symbolic(self) -> bool:
        """Whether the shapes of arguments have variables."""
        return any(isinstance(d, Dimension) for aval in self.in_avals for d in aval.shape)

    @cached_property
    def mlir_module_serialized(self) -> bytes:
        """The module, a portable artifact of StableHLO."""
        return self._module if isinstance(self._module, bytes) else self._module()

    @property
    def has_program(self) -> bool:
        """Whether it holds the program that all transformations follow from: files of JAX's hold none."""
        return self._load_program is not None

    @cached_property
    def program(self) -> Jaxpr:
        """The program, a jaxpr of the leaves; read when it is asked for. ValueError if there is none."""
        if self._load_program is None:
            raise ValueError(
                f"{self.fun_name}: this file holds a compiled form alone, as JAX writes it: there is no program to "
                "transform"
            )
        return self._load_program()

    @cached_property
    def in_words(self) -> tuple[Any, ...]:
        """The types of the arrays that the module takes: of keys those of their words."""
        return tuple(map(words_of, self.in_avals))

    @cached_property
    def out_words(self) -> tuple[Any, ...]:
        """The types of the arrays that the module returns."""
        return tuple(map(words_of, self.out_avals))

    @cached_property
    def symbol(self) -> str:
        """What names of the module begin with where it is a part of another one."""
        return "exported_" + hashlib.sha256(self.mlir_module_serialized).hexdigest()[:16]

    @cached_property
    def functions(self) -> str:
        """The functions of the module as parts of another one."""
        try:
            ins = [self.in_words[i] for i in self.module_kept_var_idx]
            several = len(self.platforms) > 1
            return portable.loaded(self.mlir_module_serialized, self.symbol, ins, self.out_words, several)
        except (ValueError, KeyError) as error:  # KeyError: a declaration without a name
            raise ValueError(f"the exported function {self.fun_name}: mlir_module_serialized: {error}") from None

    @property
    def in_shardings_hlo(self) -> tuple[None, ...]:
        """The placements of arguments in a form that is not written any more: none."""
        return (None,) * len(self.in_avals)

    @property
    def out_shardings_hlo(self) -> tuple[None, ...]:
        """The placements of results in a form that is not written any more: none."""
        return (None,) * len(self.out_avals)

    @boundary
    def in_shardings_jax(self, mesh: Any) -> tuple[NamedSharding | None, ...]:
        """The placements of the arguments on a mesh of devices, None where nothing is prescribed.

        ValueError for a mesh with other axes than the function was exported for.
        """
        return tuple([_on_mesh("in_shardings_jax", mesh, axes) for axes in self._in_named_shardings])

    @boundary
    def out_shardings_jax(self, mesh: Any) -> tuple[NamedSharding | None, ...]:
        """The placements of the results on a mesh of devices, None where nothing is prescribed.

        ValueError for a mesh with other axes than the function was exported for.
        """
        return tuple([_on_mesh("out_shardings_jax", mesh, axes) for axes in self._out_named_shardings])

    # --- what it does ---

    @boundary
    def call(self, *args: PyTree, **kwargs: PyTree) -> Any:
        """The result of the function, under any transformation that the file has rules for.

        Args:
          args, kwargs: arguments of the structure and types that the function was exported for.

        Raises: ValueError for arguments of another structure or type, on another platform, or on another number of
          devices; NotImplementedError for a transformation that a file of JAX's does not hold.

        >>> import pullback as pb
        >>> from pullback import export
        >>> exported = export.export(pb.jit(pb.lax.sin))(1.)
        >>> print(pb.grad(pb.grad(exported.call))(0.5))
        -0.47942555
        """
        _, tree = tree_flatten((args, kwargs))
        where = f"the exported function {self.fun_name}"
        if tree != self.in_tree:
            differences = [
                f"(args, kwargs){keystr(path)} is {got}, but was {expected}"
                for path, got, expected, _ in equality_errors((args, kwargs), skeleton(self.in_tree))
            ]
            raise ValueError(f"{where}: expected arguments of another structure: {'; '.join(differences)}")
        leaves, _ = lift_tree(where, "(args, kwargs)", (args, kwargs))
        return self.out_tree.unflatten(later.call_flat(self, leaves))

    def has_vjp(self) -> bool:
        """Whether it can be differentiated in reverse.

        >>> import pullback as pb
        >>> from pullback import export
        >>> export.export(pb.jit(pb.lax.sin))(1.).has_vjp()
        True
        """
        return self.has_program or self._vjp is not None

    @boundary
    def vjp(self) -> Exported:
        """The exported derivative: of the leaves of the arguments, then a cotangent for each leaf of the result.

        It returns a tuple with a cotangent for each leaf of the arguments. ValueError if the file holds none.

        >>> import pullback as pb
        >>> from pullback import export
        >>> print(*export.export(pb.jit(pb.lax.sin))(0.).vjp().call(0., 2.))
        2.0
        """
        if self._vjp is None:
            if not self.has_program:
                raise ValueError(f"vjp: the file of {self.fun_name} holds no derivative: serialize(vjp_order=1) does")
            self._vjp = later.export_vjp(self)
        return self._vjp

    @boundary
    def serialize(self, vjp_order: int = 0) -> bytearray:
        """The bytes of a file, which `deserialize` reads, and JAX's.

        Args:
          vjp_order: how many derivatives to store for JAX. `deserialize` here needs none.

        ValueError if there are no derivatives of that order, and for types of nodes that have no name in files;
        NotImplementedError, naming it, for a part of the function that has no place in files.

        >>> import pullback as pb
        >>> from pullback import export
        >>> data = export.export(pb.jit(pb.lax.sin))(1.).serialize()
        >>> print(pb.jvp(export.deserialize(data).call, (0.,), (3.,)))
        (Array(0., dtype=float32), Array(3., dtype=float32))
        """
        if not isinstance(vjp_order, int) or vjp_order < 0:
            raise ValueError(f"serialize: vjp_order must be a number from 0 on, got {described(vjp_order)}")
        return later.to_bytes(self, vjp_order)

    @cached_property
    def call_jaxpr(self) -> Jaxpr:
        """A jaxpr that calls the module, which eager calls run."""
        return single_equation(later.primitive, self.in_words, {"exported": self})


def _on_mesh(function: str, mesh: Any, axes: NamedAxes | None) -> NamedSharding | None:
    if axes is None:
        return None
    if mesh is None or mesh.abstract_mesh != axes.mesh:
        raise ValueError(f"{function}: the function was exported for {axes.mesh}, got {mesh}")
    return NamedSharding(mesh, axes.spec)
