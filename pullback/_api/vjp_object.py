"""The object that `vjp` returns: a backward pass with the values it needs, as a pytree.

Until someone looks at its residuals it holds the tape of the forward pass, and a call walks that. Looked at, flattened
or pickled, it is a jaxpr, the form of the map, and residuals in three places: the values of arguments, where the
backward pass needs them as they are, the structured residuals of rules, and the others.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

from pullback._api.gradient_entries import DidntWant, DontWant, GradRef, GradValue, NotNeeded, NotSaveable, is_entry
from pullback._api.linear_functions import LinearFunction, Structure
from pullback._api.residuals import Residual, SavedResiduals, traced_residuals
from pullback._api.taps import collected_logs
from pullback._api.users_tangents import WrongCotangent, as_tangent, describe_mismatch, received
from pullback._core.arguments import argument_path
from pullback._core.array import is_array_like, lift
from pullback._core.errors import boundary, described, function_name
from pullback._core.refs import Ref
from pullback._core.tree import PyTreeDef, register_pytree_node, tree_flatten, tree_unflatten
from pullback._core.tree_paths import keystr, skeleton, tree_flatten_with_path
from pullback._core.types import ShapedArray, ShapeDtypeStruct, is_differentiable
from pullback._core.typing import AnyValue, PyTree
from pullback._higher_order.custom.backward import structured_residuals
from pullback._transforms.accumulators import GradAccum, NullAccum, RefAccum
from pullback._transforms.linear_forms import LinearForm, form_of, record_form
from pullback._transforms.linearize import Linearized
from pullback._transforms.transpose import cannot_fail, pull

# where a residual is: the leaf of an argument; a structured residual and its leaf; or among the others
Place = tuple[str, int, int]


class VJP(LinearFunction):
    """The pullback that `vjp` returns: from a cotangent of the result to cotangents of the arguments.

    It is a pytree whose leaves are the residuals, the arrays that it needs: `jit` returns it and takes it, so that the
    forward and the backward pass are two programs, or two processes. `saved()` shows what it holds.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> y, f_vjp = pb.vjp(lambda x, w: pnp.sin(x) * w, 2., 3.)
    >>> print(*f_vjp(1.))
    -1.2484405 0.9092974
    >>> f_vjp.args_res
    [NotNeeded(), Array(3., dtype=float32, weak_type=True)]
    >>> f_vjp
    <vjp of <lambda>: f32[] to (f32[], f32[]), 3 residuals of 12 bytes>
    """

    __slots__ = (
        "_args",
        "_entries",
        "_form",
        "_ids",
        "_opaque",
        "_places",
        "_refs",
        "_saveable",
        "_structured",
        "_values",
    )

    def __init__(
        self,
        fun: Any,
        linear: Linearized,
        in_avals: Sequence[ShapedArray],
        in_tree: PyTreeDef,
        out_avals: Sequence[ShapedArray],
        out_tree: PyTreeDef,
        args: Sequence[Any] = (),
        saveable: Sequence[bool] | None = None,
        refs: Sequence[int] = (),
    ):
        super().__init__(fun, linear, in_avals, in_tree, out_avals, out_tree)
        # all residuals exist by now, so one that has the id of an argument is that argument
        self._ids = {id(x): i for i, x in enumerate(args)}
        self._form: LinearForm | None = None
        self._entries: Sequence[Any] | None = None
        # the arguments that are Refs
        self._refs = tuple(refs)
        if saveable is not None and not all(saveable):
            self._saveable = saveable
            self._settle()
            self._linear = None
        else:
            self._saveable = (True,) * len(in_avals)

    def describe(self) -> str:
        """The object, for messages."""
        return f"the vjp of {function_name(self.fun)}"

    # --- calls ---

    @boundary
    def __call__(self, *args: PyTree, **kwargs: PyTree) -> tuple[Any, ...]:
        """The cotangents of the arguments.

        It takes one argument, the cotangent of the result, with the result's structure.
        """
        if len(args) != 1 or kwargs:
            raise TypeError(
                f"{self.describe()} takes one argument, the cotangent of the result, got {len(args)}"
                f"{' and the keywords ' + ', '.join(kwargs) if kwargs else ''}. The cotangent of a result "
                "with several parts is one pytree of the same structure."
            )
        (cotangent,) = args
        leaves, tree = tree_flatten(cotangent)
        if tree != self.out_tree:
            raise WrongCotangent(
                f"{self.describe()}: the cotangent must have the structure of the result, "
                + describe_mismatch(skeleton(self.out_tree), cotangent)
            )

        def where(i):
            path = tree_flatten_with_path(cotangent)[0][i][0]
            return f"{self.describe()}: the cotangent{' at ' + keystr(path) if path else ''}"

        cts = [
            as_tangent(ct, aval, functools.partial(where, i), WrongCotangent)
            for i, (ct, aval) in enumerate(zip(leaves, self.out_avals, strict=True))
        ]
        if self._entries is not None or self._refs:
            results = self._into(cts, self._entries or [GradValue()] * len(self.in_avals))
        else:
            results = received(pull(self.linear, cts), self.in_avals)
        return tree_unflatten(self.in_tree, results)

    @boundary
    def with_logs(self, cotangent: PyTree) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The cotangents of a call, and the values logged by rules set with `defvjp_with_logs`, by name.

        Raises: ValueError if a name is logged twice.
        """
        cotangents, found = collected_logs(self, cotangent)
        logs: dict[str, Any] = {}
        for name, value in found:
            if name in logs:
                raise ValueError(f"{self.describe()}: several values are logged as {name!r}. Give each its own name.")
            logs[name] = value
        return cotangents, logs

    # --- gradients into Refs ---

    @boundary
    def with_refs(self, *entries: PyTree) -> VJP:
        """The same backward pass, with a destination for the gradient of each argument.

        Args:
          entries: one per argument, each with the argument's structure, made of: a Ref of the argument's shape and
            dtype, to which every call adds the gradient, in place; `GradValue()` for a gradient that is returned; and
            `DontWant()` for one that is not computed. A Ref that occurs several times gets the sum.

        Returns: a new object, whose calls return `GradRef()` and `DidntWant()` in these places. If a call fails, the
          Refs stay as they were. This object is unchanged.
        Raises: ValueError for another structure, and for a Ref of another shape or dtype; TypeError for other entries
          and for a Ref for an argument without derivative.

        >>> import pullback as pb, pullback.numpy as pnp
        >>> total = pb.new_ref(pnp.zeros(2))
        >>> for x in (1., 2., 3.):
        ...     _, f_vjp = pb.vjp(lambda w: (w * x).sum(), pnp.ones(2))
        ...     _ = f_vjp.with_refs(total)(1.)
        >>> total
        Ref([6., 6.], dtype=float32)
        """
        leaves, tree = tree_flatten(entries, is_leaf=_is_destination)
        if tree != self.in_tree:
            raise ValueError(
                f"with_refs of {self.describe()}: the entries (Ref, GradValue() or DontWant()) must have the structure "
                f"of the arguments, {describe_mismatch(skeleton(self.in_tree), _as_leaves(entries))}"
            )
        for i, (entry, aval) in enumerate(zip(leaves, self.in_avals, strict=True)):
            where = f"with_refs of {self.describe()}: the entry of {self._path(i)}"
            if isinstance(entry, Ref):
                if not is_differentiable(aval):
                    raise TypeError(
                        f"{where} is a Ref, but a value of type {aval.str_short()} has no derivative: use GradValue() "
                        "or DontWant()"
                    )
                RefAccum(aval.to_tangent_aval(), entry, where)
            elif not isinstance(entry, (GradValue, DontWant)):
                raise TypeError(f"{where} must be a Ref, GradValue() or DontWant(), got {described(entry)}")
        bound = self._copied()
        bound._entries = tuple(leaves)
        return bound

    def _into(self, cts: Sequence[Any], entries: Sequence[Any]) -> list[Any]:
        """The results of a call with destinations."""
        for i in self._refs:
            if isinstance(entries[i], GradValue):
                raise ValueError(
                    f"{self.describe()}: {self._path(i)} is a Ref, whose gradient goes to another one: say which, by "
                    "f_vjp.with_refs(...), with an entry for each argument, or DontWant()."
                )
        into: list[GradAccum | None] = []
        for entry, aval in zip(entries, self.in_avals, strict=True):
            if isinstance(entry, Ref):
                into.append(RefAccum(aval.to_tangent_aval(), entry))
            else:
                into.append(NullAccum(aval) if isinstance(entry, DontWant) else None)
        refs = [accum for accum in into if isinstance(accum, RefAccum)]
        linear = self.linear
        if not cannot_fail(linear):
            for accum in refs:
                accum.hold()
        results = received(pull(linear, cts, into=into), self.in_avals)
        for accum in refs:
            accum.check()
        for accum in refs:
            accum.release()
        return [
            GradRef() if isinstance(entry, Ref) else DidntWant() if isinstance(entry, DontWant) else result
            for entry, result in zip(entries, results, strict=True)
        ]

    # --- residuals ---

    @property
    def args_res(self) -> list[Any]:
        """The values of arguments that the backward pass needs as they are, by argument.

        `NotNeeded()` stands for the others, `NotSaveable()` for those that were not to be saved: put them back,
        `f_vjp.args_res[0] = x`, or `f_vjp.args_res = [...]`, an entry for each argument, before the call.
        """
        self._settle()
        return self._args

    @args_res.setter
    @boundary
    def args_res(self, values: Sequence[PyTree]) -> None:
        self._args: list[Any] = self.replace(args_res=values)._args

    @property
    def structured_residuals(self) -> list[Any]:
        """The structured residuals of rules that have some, an entry for each of their applications."""
        self._settle()
        return self._structured

    @property
    def opaque_residuals(self) -> list[Any]:
        """The other arrays that the backward pass needs."""
        self._settle()
        return self._opaque

    @boundary
    def replace(
        self,
        *,
        args_res: Sequence[PyTree] | None = None,
        structured_residuals: Sequence[PyTree] | None = None,
        opaque_residuals: Sequence[PyTree] | None = None,
    ) -> VJP:
        """A copy with other residuals: `args_res` has an entry for each argument.

        Raises: ValueError for another number of entries, and for values of other types than those they replace.

        >>> import pullback as pb
        >>> _, f_vjp = pb.vjp(lambda x, w: x * w, 3., 2., saveable_args=(True, False))
        >>> print(*f_vjp.replace(args_res=[3., 2.])(1.))
        2.0 3.0
        """
        new = self._copied()
        for name, given in (("_args", args_res), ("_structured", structured_residuals), ("_opaque", opaque_residuals)):
            if given is None:
                continue
            if len(given) != len(getattr(new, name)):
                raise ValueError(
                    f"replace of {self.describe()}: expected {len(getattr(new, name))} entries of "
                    f"{'args_res' if name == '_args' else name[1:] + '_residuals'}, got {len(given)}"
                )
            setattr(new, name, list(given))
        for value, aval, place in new._residuals():
            if not isinstance(value, (NotSaveable, NotNeeded)):
                new._checked(value, aval, place)
        return new

    @boundary
    def saved(self) -> SavedResiduals:
        """What the backward pass keeps: of each residual the type, the bytes, and the line that made it.

        To find the lines the function is traced once more, abstractly. They are not known if it chooses its operations
        by values, in Python, and in another process.

        >>> import pullback as pb, pullback.numpy as pnp
        >>> pb.vjp(lambda x, w: pnp.sin(x) * w, 2., 3.)[1].saved()
        3 residuals of 12 bytes
                    4 bytes  f32[] output of cos from ...
                    4 bytes  f32[] output of sin from ...
                    4 bytes  f32[] from argument 'w'
        """
        structs = [ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type) for aval in self.in_avals]
        kept = list(self._residuals())
        sources = ["of unknown origin"] * len(kept)
        try:
            traced = [k.residual for k in traced_residuals(self.fun, self.in_tree.unflatten(structs), {})]
        except Exception:
            traced = []
        if [(r.aval.shape, r.aval.dtype) for r in traced] == [(aval.shape, aval.dtype) for _, aval, _ in kept]:
            sources = [r.source for r in traced]
        return SavedResiduals(
            [
                Residual(aval, f"from {self._path(place[1])}" if place[0] == "args" else source)
                for (_, aval, place), source in zip(kept, sources, strict=True)
            ]
        )

    def __repr__(self) -> str:
        residuals = [Residual(aval, "") for _, aval, _ in self._residuals()]
        nbytes = sum([r.nbytes for r in residuals])
        outs = ", ".join([aval.str_short() for aval in self.out_avals])
        ins = ", ".join([aval.str_short() for aval in self.in_avals])
        return (
            f"<{self.describe().removeprefix('the ')}: {outs} to ({ins}), {len(residuals)} residuals of {nbytes} bytes>"
        )

    # --- the state: a tape, or a form and residuals, or both ---

    def _settle(self) -> None:
        """Sort the residuals by place."""
        if self._form is not None:
            return
        assert self._linear is not None
        form, values = form_of(self._linear)
        structured: dict[int, tuple[int, int]] = {}
        self._structured: list[Any] = []
        for record, _ in self._linear.needed():
            found = structured_residuals(record.primitive, record.inputs, record.params)
            if found is not None:
                leaves, tree = tree_flatten(found)
                for j, leaf in enumerate(leaves):
                    structured.setdefault(id(leaf), (len(self._structured), j))
                self._structured.append(tree.unflatten(leaves))
        args: list[Any] = [NotNeeded()] * len(self.in_avals)
        places: list[Place] = []
        self._opaque: list[Any] = []
        for value in values:
            i = self._ids.get(id(value))
            if i is not None:
                args[i] = value if self._saveable[i] else NotSaveable()
                places.append(("args", i, 0))
            elif id(value) in structured:
                places.append(("structured", *structured[id(value)]))
            else:
                places.append(("opaque", len(self._opaque), 0))
                self._opaque.append(value)
        self._args = list(self.in_tree.unflatten(args))
        self._places = tuple(places)
        self._values = values
        self._form = form

    def _residuals(self) -> Iterator[tuple[Any, ShapedArray, Place]]:
        """The residuals as they are now, with their types and places, in the order of the form."""
        self._settle()
        assert self._form is not None
        args: Any = None
        structured = [tree_flatten(entry)[0] for entry in self._structured]
        for aval, place in zip(self._form.jaxpr.in_avals, self._places, strict=False):
            kind, i, j = place
            if kind == "args":
                args = self._argument_leaves() if args is None else args
                yield args[i], aval, place
            else:
                yield self._opaque[i] if kind == "opaque" else structured[i][j], aval, place

    def _argument_leaves(self) -> list[Any]:
        try:
            return self.in_tree.flatten_up_to(tuple(self._args))
        except ValueError as error:
            raise ValueError(
                f"{self.describe()}: args_res must have the structure of the arguments, one entry for each: {error}"
            ) from None

    @property
    def linear(self) -> Linearized:
        """The map on a tape."""
        if self._form is None:
            assert self._linear is not None
            return self._linear
        residuals = list(self._residuals())
        missing = [self._path(place[1]) for value, _, place in residuals if isinstance(value, (NotSaveable, NotNeeded))]
        if missing:
            raise ValueError(
                f"{self.describe()} needs the value of {', '.join(missing)}, which was not saved, as saveable_args "
                "asked. Put it back before the call: f_vjp.args_res[i] = value, or f_vjp.replace(args_res=...)."
            )
        values = [self._checked(*residual) for residual in residuals]
        if self._linear is None or any(a is not b for a, b in zip(values, self._values, strict=True)):
            self._linear = record_form(self._form, values)
            self._values = values
        return self._linear

    def _checked(self, value: AnyValue, aval: ShapedArray, place: Place) -> Any:
        if type(aval) is not ShapedArray:
            return value
        x = lift(value) if is_array_like(value) else value
        got = getattr(x, "aval", None)
        if got is aval:
            return x
        if got is None or got.shape != aval.shape or got.dtype != aval.dtype:
            kind, i, _ = place
            what = f"the value of {self._path(i)} in args_res" if kind == "args" else f"{kind}_residuals[{i}]"
            raise ValueError(
                f"{self.describe()}: {what} must be of type {aval.str_short()}, got "
                f"{described(value) if got is None else got.str_short()}"
            )
        return x

    def _path(self, i: int) -> str:
        path = tree_flatten_with_path(skeleton(self.in_tree))[0][i][0]
        return argument_path(self.fun, path[0].idx, path[1:])

    def _copied(self) -> VJP:
        children, structure = self.flatten()
        new = self.unflatten(structure, children)
        new._linear, new._values = self._linear, self._values
        new._args, new._opaque, new._structured = list(new._args), list(new._opaque), list(new._structured)
        return new

    def flatten(self) -> tuple[Any, Structure]:
        """The residuals, and the Refs if there are some, and the static part."""
        self._settle()
        assert self._form is not None
        # what is no entry is a Ref, or stands for one
        refs = [entry for entry in self._entries or () if not is_entry(entry)]
        kinds = self._entries and tuple([type(entry) if is_entry(entry) else Ref for entry in self._entries])
        types = (
            tuple(self.in_avals),
            self.in_tree,
            tuple(self.out_avals),
            self.out_tree,
            self._places,
            kinds,
            self._refs,
        )
        return (self._args, self._structured, self._opaque, refs), Structure(self.fun, self._form, types)

    @classmethod
    def unflatten(cls, structure: Structure, children: Any) -> VJP:
        """The function from its static part and residuals."""
        self = cls.__new__(cls)
        self.fun, self._form = structure.fun, structure.form
        self.in_avals, self.in_tree, self.out_avals, self.out_tree, self._places, kinds, self._refs = structure.types
        self._args, self._structured, self._opaque, refs = children
        self._saveable, self._ids, self._values = (), {}, []
        self._linear = self._structure = None
        given = iter(refs)
        self._entries = kinds and tuple([next(given) if kind is Ref else kind() for kind in kinds])
        return self

    def __copy__(self) -> VJP:
        return self._copied()


def _is_destination(x: AnyValue) -> bool:
    return isinstance(x, Ref) or is_entry(x)


def _as_leaves(entries: PyTree) -> Any:
    """Entries with placeholders that count as leaves, for a comparison of structures."""
    leaves, tree = tree_flatten(entries, is_leaf=_is_destination)
    return tree.unflatten([0.0] * len(leaves))


register_pytree_node(VJP, VJP.flatten, VJP.unflatten)

__all__ = ["VJP"]
