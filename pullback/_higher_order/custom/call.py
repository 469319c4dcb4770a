"""One call of a function with rules, on flat lists of arrays: the parameter of `custom_call_p`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

from pullback._core.typing import AnyValue
from pullback._higher_order.custom.captures import StandIns

Rule = Any  # a function, or None where there is no such rule


@dataclass(frozen=True, eq=False, slots=True)
class RematRules:
    """How the derivative of a call is recomputed under `checkpoint`, which saves the residuals of `fwd` alone.

    Without `fwd` the function runs in the forward pass and nothing is saved; without `rem` and `bwd` the vjp rule of
    the call does the rest.
    """

    # fwd(policy, primals, active) -> (outs, residuals, static)
    fwd: Rule = None
    # rem(static, residuals, primals, active) -> (outs, residuals, static): of fwd, to those of bwd
    rem: Rule = None
    # bwd(static, residuals, cotangents) -> cotangents_in
    bwd: Rule = None
    # whether what fwd saves depends on the policy
    by_policy: bool = False


class CustomCall(Protocol):
    """A flat function and its rules. Primals are arrays; tangents and cotangents may be symbolic zeros everywhere.

    `UserCall` is the call of a decorated function, `DerivedCall` one that a transformation made from another.
    """

    @property
    def fun(self) -> Callable[..., Sequence[Any]]:
        """`fun(*operands) -> outs`"""

    @property
    def jvp(self) -> Rule:
        """`jvp(primals, tangents) -> (outs, tangents_out)`"""

    @property
    def fwd(self) -> Rule:
        """`fwd(primals, active) -> (outs, residuals, static)`

        `active` flags the primals that are differentiated; None requests the derivative of the rule itself. `static` is
        the rest of the bwd rule's input, which is not arrays.
        """

    @property
    def bwd(self) -> Rule:
        """`bwd(static, residuals, cotangents) -> cotangents_in`, None for a cotangent that is zero"""

    @property
    def accumulate(self) -> Rule:
        """`accumulate(static, residuals, cotangents, accumulators)`, if the author of `bwd` wrote it so.

        `accumulators` has a `GradAccum` for the index of each operand that is differentiated.
        """

    @property
    def transpose(self) -> Rule:
        """`transpose(cotangents, operands) -> cotangents_in`, if the function is linear in some operands."""

    @property
    def vmap(self) -> Rule:
        """`vmap(size, batched, operands) -> (outs, batched)`, or None if the rule does not apply"""

    @property
    def linearize(self) -> Rule:
        """The jvp rule for tangents that are recorded, if it is another one than `jvp`."""

    @property
    def batch(self) -> Rule:
        """`batch(trace, operands, dims) -> (outs, out_dims)` in place of the call; None if the rule does not apply."""

    @property
    def remat(self) -> RematRules | None:
        """What takes the place of `fwd` and `bwd` under `checkpoint`, if anything does."""

    @property
    def captured(self) -> Sequence[Any]:
        """The tracers that function and rules refer to. The first operands are their values, without (co)tangents."""

    @property
    def contents(self) -> int:
        """The number of last results that are contents of references, which have no derivative."""

    @property
    def held(self) -> Sequence[str | None]:
        """For each captured tracer, the nondifferentiable argument that holds it, or None."""

    @property
    def forward(self) -> str | None:
        """The source of forward mode without a jvp rule: "transpose" of bwd, derivative of "fwd" or of "primal".

        A call without any derivative rule is differentiated as its function is, if it is "primal".
        """

    @property
    def identity(self) -> Any:
        """The identity of the decorated function, by which `order` observes calls; None if there is none."""

    @property
    def dce(self) -> Rule:
        """`dce(used) -> (call, operands, results)`: one that computes fewer results, with flags for what it takes.

        None instead of a result is the same call.
        """

    @property
    def key(self) -> Any:
        """What equal calls have in common, hashable; None for a call that is equal to itself only."""

    @property
    def rules_key(self) -> Any:
        """Equal, and hashable, for calls whose rules are the same functions of their operands; None if none is known.

        A rule that calls its function is written to a file once, by this key.
        """

    @property
    def definable(self) -> Sequence[str]:
        """The methods by which the function can be given a derivative, for messages."""

    @property
    def name(self) -> str:
        """The name of the function, for messages."""

    @property
    def label(self) -> str:
        """The function, its definition and the line of the call, for messages."""

    @property
    def jvp_label(self) -> Callable[[], str]:
        """`jvp_label()` is the jvp rule and its definition, for messages."""


def _unnamed() -> str:
    return "a jvp rule"


@dataclass(frozen=True, eq=False, slots=True)
class DerivedCall:
    """A `CustomCall` with stored parts."""

    fun: Callable[..., Sequence[Any]]
    name: str
    label: str
    jvp: Rule = None
    fwd: Rule = None
    bwd: Rule = None
    vmap: Rule = None
    linearize: Rule = None
    batch: Rule = None
    remat: RematRules | None = None
    accumulate: Rule = None
    transpose: Rule = None
    captured: Sequence[Any] = ()
    contents: int = 0
    held: Sequence[str | None] = ()
    forward: str | None = None
    identity: Any = None
    key: Any = None
    rules_key: Any = None
    dce: Rule = None
    definable: Sequence[str] = ()
    jvp_label: Callable[[], str] = _unnamed

    def __eq__(self, other: object) -> bool:
        return self is other or (
            self.key is not None and isinstance(other, DerivedCall) and bool(self.key == other.key)
        )

    def __hash__(self) -> int:
        return object.__hash__(self) if self.key is None else hash(self.key)

    def __str__(self) -> str:
        rules = [rule for rule, given in (("jvp", self.jvp), ("vjp", self.bwd), ("vmap", self.vmap)) if given]
        return f"{self.name} with {' and '.join(rules) or 'no'} rule"


_PARTS = [field.name for field in fields(DerivedCall)]


def replaced(call: CustomCall, **changes: AnyValue) -> DerivedCall:
    """The call with some of its parts replaced.

    It is equal to no other call, unless a new `key` says so, or a `rules_key` that its rules are, and has no `dce`.
    A new `bwd` rule takes the place of `accumulate` too.
    """
    if "bwd" in changes:
        changes.setdefault("accumulate", None)
    return DerivedCall(
        **{part: getattr(call, part) for part in _PARTS if part not in ("key", "rules_key", "dce")} | changes
    )


def closing_over(
    call: CustomCall, tracers: Sequence[Any], fun: Callable | None = None, held: Sequence[str | None] = ()
) -> DerivedCall:
    """The call with values for `tracers` as leading operands, substituted where its function and rules refer to them.

    `fun` is a function that already takes these values; `held` names the arguments that hold some of them.
    """
    n = len(tracers)

    def run(values, rule, *args):
        return StandIns(tracers, values).run(rule, *args)

    def plain(*operands):
        return run(operands[:n], call.fun, *operands[n:])

    def jvp(primals, tangents):
        return run(primals[:n], call.jvp, primals[n:], tangents[n:])

    def linearize(primals, tangents):
        return run(primals[:n], call.linearize, primals[n:], tangents[n:])

    def fwd(primals, active):
        outs, residuals, static = run(primals[:n], call.fwd, primals[n:], active and active[n:])
        return outs, [*primals[:n], *residuals], static

    def bwd(static, residuals, cts):
        return [None] * n + list(run(residuals[:n], call.bwd, static, residuals[n:], cts))

    def remat_fwd(policy, primals, active):
        return run(primals[:n], given.fwd, policy, primals[n:], active and active[n:])

    def rem(static, residuals, primals, active):
        outs, residuals, static = run(primals[:n], given.rem, static, residuals, primals[n:], active and active[n:])
        return outs, [*primals[:n], *residuals], static

    def remat_bwd(static, residuals, cts):
        return [None] * n + list(run(residuals[:n], given.bwd, static, residuals[n:], cts))

    given = call.remat or RematRules()
    remat = call.remat if given.fwd is None else RematRules(remat_fwd, rem, remat_bwd, given.by_policy)

    def transpose(cts, operands):
        return [None] * n + list(run(operands[:n], call.transpose, cts, operands[n:]))

    def vmap(size, batched, operands):
        if any(batched[:n]):
            return None  # the rule covers arguments only
        return run(operands[:n], call.vmap, size, batched[n:], operands[n:])

    def batch(trace, operands, dims):
        if any(dim is not None for dim in dims[:n]):
            return None
        return run(operands[:n], call.batch, trace, operands[n:], dims[n:])

    return replaced(
        call,
        fun=fun or plain,
        jvp=jvp if call.jvp else None,
        fwd=fwd if call.fwd else None,
        bwd=bwd if call.bwd else None,
        vmap=vmap if call.vmap else None,
        linearize=linearize if call.linearize else None,
        batch=batch if call.batch else None,
        remat=remat,
        transpose=transpose if call.transpose else None,
        captured=(*tracers, *call.captured),
        rules_key=call.rules_key and ("closing over", call.rules_key, n),
        held=(*(held or [None] * n), *call.held),
    )
