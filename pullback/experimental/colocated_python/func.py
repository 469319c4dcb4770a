"""Functions that run on the host of their arguments' devices, which must be this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pullback._api.devices import process_index
from pullback._api.placing import device_put
from pullback._api.typeof import typeof
from pullback._core.array import lift
from pullback._core.errors import boundary, function_name
from pullback._core.tree import tree_flatten, tree_unflatten
from pullback._core.tree_paths import tree_map
from pullback._core.typing import AnyValue, PyTree
from pullback._higher_order.bodies import check_same_structure, check_same_types, lift_tree

__all__ = ["ColocatedFunction"]


@dataclass(frozen=True)
class ColocatedFunction:
    """What `colocated_python` returns: a Python function that runs where the devices of its arguments are.

    Its results are arrays on those devices, or as the shardings of `out_specs_fn` say. ValueError without arguments and
    devices, or for arguments or results of other structures or types than was said; RuntimeError for devices of other
    processes.

    >>> ColocatedFunction(abs)(-2)
    Array(2, dtype=int32, weak_type=True)
    """

    fun: Callable[..., PyTree]
    in_specs: PyTree = None
    out_specs_fn: Callable[..., PyTree] | None = None
    devices: Sequence[Any] | None = None

    def specialize(
        self,
        in_specs: PyTree = None,
        out_specs_fn: Callable[..., PyTree] | None = None,
        devices: Sequence[Any] | None = None,
    ) -> ColocatedFunction:
        """Return this with more known: the types of arguments and of results, the devices.

        Args:
          in_specs: a pytree of `ShapeDtypeStruct`, of the structure of `(args, kwargs)`.
          out_specs_fn: from the types of the arguments to those of the results, which are put into their shardings.
          devices: where a function runs that has no arguments.
        """
        given = {"in_specs": in_specs, "out_specs_fn": out_specs_fn, "devices": devices}
        return replace(self, **{name: value for name, value in given.items() if value is not None})

    @boundary
    def __call__(self, *args: AnyValue, **kwargs: AnyValue) -> Any:
        """Run the function, synchronously."""
        name = f"colocated_python: {function_name(self.fun)}"
        leaves, tree = lift_tree(name, "arguments", (args, kwargs))
        devices = set(self.devices or ()).union(*([] if self.devices else [array.devices() for array in leaves]))
        if not devices:
            raise ValueError(f"{name} has no arguments, whose devices it would run on: give specialize(devices=...)")
        if elsewhere := sorted({device.process_index for device in devices} - {process_index()}):
            raise RuntimeError(
                f"{name}: the devices are of process {elsewhere[0]}, and Python runs in its own process alone here "
                f"(process {process_index()}): call the function there"
            )
        if self.in_specs is not None:
            expected, structure = tree_flatten(self.in_specs)
            check_same_structure(name, "arguments", structure, tree, "Give what in_specs said.")
            check_same_types(name, "arguments", tree, [x.aval for x in expected], [x.aval for x in leaves], "")
        result = tree_map(lift, self.fun(*args, **kwargs))
        if self.out_specs_fn is None:
            if len(devices) > 1:
                return result
            return device_put(result, next(iter(devices)))
        arg_types, kwarg_types = tree_unflatten(tree, [typeof(x) for x in leaves])
        specs = self.out_specs_fn(*arg_types, **kwarg_types)
        expected, structure = tree_flatten(specs)
        found, tree = tree_flatten(result)
        check_same_structure(name, "results", structure, tree, "Return what out_specs_fn said.")
        check_same_types(name, "results", tree, [x.aval for x in expected], [x.aval for x in found], "")
        put = [
            x if spec.sharding is None else device_put(x, spec.sharding)
            for x, spec in zip(found, expected, strict=True)
        ]
        return tree_unflatten(tree, put)
