"""Mutable arrays: making and ending references."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback._core.array import Array, ArrayLike, ConcreteArray, array_of, lift
from pullback._core.cells import Cell, staging_of
from pullback._core.errors import boundary, described
from pullback._core.public_array import ExtendedArray
from pullback._core.refs import Ref, RefType, handle_of, make_ref
from pullback._core.tree import tree_flatten
from pullback._core.types import ShapedArray, ShapeDtypeStruct, make_aval
from pullback._core.typing import AnyValue
from pullback._ops.own_types import by_parts
from pullback._ops.shape import convert_element_type, zeros_like_aval


@boundary
def new_ref(init_val: ArrayLike, *, memory_space: None = None, kind: str | None = None) -> Ref:
    """A mutable array that holds a copy of `init_val`, to be read as `ref[...]` and written as `ref[...] = x`.

    Args:
      init_val: an array or a number, or a value of a type of one's own. The reference keeps its type.
      memory_space: None: there is one memory.
      kind: None, or "no_grad_no_remat", which JAX uses and which changes nothing here.

    A function that makes references for itself can be differentiated, batched and compiled as any other. It may also
    access references from outside, which it takes as arguments, each one once, or closes over:

    - in compiled functions, loops and branches, which read what a reference holds at the call, and write to it;
    - where derivatives are taken, to read constants, and to write what has no derivative: `lax.stop_gradient(x)`;
    - under `vmap`, to read; if it is mapped, each example has a reference of its own, and may write to it;
    - in rules: a bwd rule may write to a reference that its function takes or closes over. What a function with rules
      writes has no derivative, and so cannot be written to a reference made in the function that is differentiated.

    Such a function must not return a Ref. Under `checkpoint` a write happens once, not again in the recomputation. If
    a function fails while it is traced, or a backward pass, references are as they were before.
    Raises: TypeError for anything but an array or a number.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> def f(x):
    ...     ref = pb.new_ref(pnp.zeros(3))
    ...     ref[1] = pnp.sin(x)
    ...     ref[1] += 1.
    ...     return ref[...].sum()
    >>> print(pb.grad(f)(0.))
    1.0
    """
    if memory_space is not None:
        raise ValueError(f"new_ref: memory_space must be None, got {memory_space!r}: there is one memory")
    if kind not in (None, "no_grad_no_remat"):
        raise ValueError(f"new_ref: kind must be None or 'no_grad_no_remat', got {kind!r}")
    if isinstance(init_val, Ref):
        raise TypeError(
            f"new_ref: a Ref holds an array, but got {described(init_val)}. For a second Ref with the same content, "
            "read the first: new_ref(ref[...])."
        )
    if isinstance(init_val, ExtendedArray):
        (leaf,), tree = tree_flatten(init_val)
        return handle_of(new_ref(leaf).cell, tree=tree)
    try:
        x = lift(init_val)
    except TypeError as error:
        raise TypeError(f"new_ref: {error}") from None
    if type(x.aval) is not ShapedArray:
        # parts are copied, since a compiled function may write to their memory
        ty: Any = x.aval
        return make_ref(by_parts(_copied, ty, x))
    aval = x.aval.strip_weak_type()
    if type(x) is ConcreteArray and (x is init_val or x.aval is not aval):
        return make_ref(array_of(aval, np.array(x.value)), alone=True)
    return make_ref(convert_element_type(x, aval.dtype, False))


def _copied(x: Array) -> Array:
    return array_of(x.aval, np.array(x.value)) if type(x) is ConcreteArray else x


@boundary
def empty_ref(ty: AnyValue, memory_space: None = None) -> Ref:
    """A mutable array of a type, such as a `ShapeDtypeStruct`, that holds zeros.

    TypeError for what is no type of an array.

    >>> import pullback as pb
    >>> pb.empty_ref(pb.ShapeDtypeStruct((2,), "float32"))
    Ref([0., 0.], dtype=float32)
    """
    if memory_space is not None:
        raise ValueError(f"empty_ref: memory_space must be None, got {memory_space!r}: there is one memory")
    if isinstance(ty, RefType):
        return handle_of(empty_ref(ty.inner).cell, tree=ty.tree)
    if not isinstance(ty, (ShapedArray, ShapeDtypeStruct)):
        raise TypeError(
            f"empty_ref: expected the type of an array, such as ShapeDtypeStruct((3,), 'float32'), got {described(ty)}"
        )
    return make_ref(zeros_like_aval(make_aval(ty.shape, ty.dtype)))


@boundary
def freeze(ref: Ref) -> Array:
    """End the use of a reference, and return what it holds.

    It may be called where the reference was made, not in a function that gets it as an argument or closes over it.
    TypeError for anything but a whole Ref, ValueError elsewhere, RuntimeError for one whose use has ended.

    >>> import pullback as pb
    >>> ref = pb.new_ref(1.)
    >>> ref[...] += 1.
    >>> print(pb.freeze(ref))
    2.0
    """
    cell = _ended("freeze", ref)
    content = ref[...]
    _end(cell, "freeze")
    return content


@boundary
def free_ref(ref: Ref) -> None:
    """End the use of a reference, and free what it holds; the errors are those of `freeze`.

    >>> import pullback as pb
    >>> ref = pb.new_ref(1.)
    >>> pb.free_ref(ref)
    >>> ref
    Ref(f32[], ended by free_ref)
    """
    _end(_ended("free_ref", ref), "free_ref")


def _ended(function: str, ref: Any) -> Cell:
    """The cell of a reference that is to be ended here."""
    if not isinstance(ref, Ref):
        raise TypeError(f"{function}: expected a Ref, got {described(ref)}")
    if ref.path:
        raise TypeError(f"{function}: expected a whole Ref, got a part of {ref.cell.described()}, made by .at[...]")
    trace = staging_of(ref.cell, "frozen" if function == "freeze" else "freed")
    if trace is not None:
        raise ValueError(
            f"{function}: {ref.cell.described()} is an argument of {trace.describe()}, or closed over by it, and can "
            "be ended only where it was made. Return what it holds, ref[...]."
        )
    return ref.cell


def _end(cell: Cell, function: str) -> None:
    cell.end = function
    cell.content = None
