"""The comparisons: each quantity of a program with its reference, with compiled code, with JAX and with differences."""

import inspect
import textwrap
import warnings
from dataclasses import dataclass

import jax
import numpy as np

from fuzz.bounds import disagreement, double_case, leaves, spread, wide
from fuzz.case import Case, coarsest, draw_data, function, in_double_precision
from fuzz.libraries import JAX, PULLBACK
from fuzz.program import FLAT, Program
from fuzz.quantities import QUANTITIES, Quantity
from pullback._api.differences import difference

COMPILED_RATE, JAX_RATE, DIFFERENCES, SECOND = 1 / 30, 1 / 30, 0.6, 0.2
COMPILED, OF_JAX = "compiled ", "JAX's "
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


@dataclass(frozen=True)
class Finding:
    """A comparison that failed."""

    check: str
    message: str

    def __str__(self):
        return f"{self.check}: {self.message}"

    @property
    def kind(self) -> str:
        """What went wrong, without its numbers: the error's class, or that the values differ."""
        first = self.message.split(":")[0]
        return first if first.isidentifier() else "differs"


class Checker:
    """The checks of one program: those drawn for its seed, or `only` the one of that name."""

    def __init__(self, program: Program, only: str | None = None):
        rng = np.random.default_rng((program.seed, 1))
        self.program = program
        self.data = draw_data(program, rng)
        self.eps = coarsest(program)
        self.double = in_double_precision(program)
        draws = rng.random(4 + len(QUANTITIES))
        edge = 6 if program.edge else 1
        self.only = only
        self.compiled = draws[0] < COMPILED_RATE * edge
        self.jax_too = draws[1] < JAX_RATE * edge and not program.has("no jax")
        second = draws[2] < SECOND  # second derivatives are compared with each other: all or none
        self.by_differences = draws[3] < DIFFERENCES
        self.chosen = [
            q
            for q, draw in zip(QUANTITIES.values(), draws[4:], strict=True)
            if q.suits(program, self.data) and (second if q.second else draw < q.rate)
        ]
        with PULLBACK.t.enable_x64(program.x64):
            self.case = Case(PULLBACK, program, function(program, PULLBACK), self.data)
        self.references: dict[str, list] = {}

    def finding(self) -> Finding | None:
        """The first check that fails."""
        with np.errstate(all="ignore"), PULLBACK.t.enable_x64(self.program.x64):
            for name in self.names():
                try:
                    message = self.run(name)
                except Exception as error:
                    message = f"{type(error).__name__}: {error}"
                if message:
                    return Finding(name, message)
        return None

    def names(self) -> list[str]:
        """The checks to do."""
        if self.only is not None:
            return [self.only]
        # a reference would be compared with nothing but itself
        names = ["repeated", *(q.name for q in self.chosen if q.name != q.like or not self.double)]
        if self.by_differences and not self.program.edge and self.double and not self.program.has("no jvp"):
            names.append("differences")
        if self.compiled:
            names += [COMPILED + q.name for q in self.sampled()]
        if self.jax_too:
            names += [OF_JAX + q.name for q in self.sampled() if not q.ours]
        return names

    def run(self, name: str) -> str | None:
        """Do one check."""
        if name.startswith(COMPILED):
            return self.compiled_quantity(QUANTITIES[name.removeprefix(COMPILED)])
        if name.startswith(OF_JAX):
            return self.jax_quantity(QUANTITIES[name.removeprefix(OF_JAX)])
        if name in QUANTITIES:
            return self.eager(QUANTITIES[name])
        return {"repeated": self.repeated, "differences": self.differences}[name]()

    def sampled(self) -> list[Quantity]:
        """What is compiled: values always, and one of the others at random."""
        others = [q for q in self.chosen if q.name != "value"]
        rng = np.random.default_rng((self.program.seed, 2))
        return [QUANTITIES["value"], *([others[rng.integers(len(others))]] if others else [])]

    def reference(self, name: str) -> list[np.ndarray]:
        """A quantity in double precision, or, where arguments are not finite, in the program's own."""
        if name not in self.references:
            run = QUANTITIES[name].run
            if self.program.edge or self.double:
                self.references[name] = leaves(run(self.case))
            else:
                with PULLBACK.t.enable_x64(True):
                    self.references[name] = leaves(run(double_case(self.case)))
        return self.references[name]

    def compare(self, q: Quantity, got: list, extra: float = 1.0) -> str | None:
        want = self.reference(q.like)
        found = disagreement(self.case, QUANTITIES[q.like].run, got, want, self.eps, extra)
        if found is None or q.name == q.like:
            return found
        # rounding errors that cancel in the one may not in the other
        return disagreement(self.case, q.run, got, want, self.eps, extra)

    def repeated(self) -> str | None:
        first, second = (PULLBACK.t.tree.leaves(QUANTITIES["value"].run(self.case)) for _ in range(2))
        same = all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in zip(first, second, strict=True))
        return None if same else "two runs differ"

    def eager(self, q: Quantity) -> str | None:
        return self.compare(q, leaves(q.run(self.case)))

    def compiled_quantity(self, q: Quantity) -> str | None:
        def run(args, tangents):
            return PULLBACK.t.tree.leaves(q.run(self.traced(PULLBACK, args, tangents)))

        got = PULLBACK.t.jit(run)(self.case.args, self.case.vs)
        plain = PULLBACK.t.tree.leaves(q.run(self.case))
        return types_differ(got, plain) or self.compare(q, leaves(got))

    def jax_quantity(self, q: Quantity) -> str | None:
        with jax.enable_x64(self.program.x64):
            fun = function(self.program, JAX)
            case = Case(JAX, self.program, fun, self.data)

            def run(args, tangents):
                return jax.tree.leaves(q.run(self.traced(JAX, args, tangents, fun)))

            expected = jax.jit(run, compiler_options=QUICK)(case.args, case.vs)
            plain = PULLBACK.t.tree.leaves(q.run(self.case))
            # JAX's derivatives at scalars of weak type are weak as it happens
            return types_differ(plain, expected, weakness=q.like in ("value", "looped")) or self.compare(
                q, [wide(x) for x in expected]
            )

    def traced(self, library, args, tangents, fun=None) -> Case:
        """The case with traced arguments."""
        case = Case(library, self.program, fun or self.case.fun, self.data)
        case.args, case.vs = list(args), tuple(tangents)
        case.xs = tuple(case.args[i] for i in case.active)
        return case

    def differences(self) -> str | None:
        """The jvp against central differences, the vjp against it by the adjoint product."""
        c = self.case
        tangents = PULLBACK.t.jvp(c.f, c.xs, c.vs)[1]
        numeric = difference(c.f, c.xs, [wide(v) for v in c.vs])
        for i, (got, want, error, kink) in enumerate(
            zip(tangents, numeric.value, numeric.error, numeric.kink, strict=True)
        ):
            got = wide(got)
            bound = 1e-10 * np.abs(want) + 20 * error + 1e-12
            bad = ~(np.abs(got - want) <= bound) & ~kink & np.isfinite(error) & (error < 1e-3 * (1 + np.abs(want)))
            # a value that jumps when it is rounded has no derivative there
            if np.any(bad) and np.any(bad & np.isfinite(spread(c, lambda case: case.f(*case.xs), self.eps)[i])):
                return f"tangent {i} is\n{got!r}, by differences\n{want!r}, with errors of\n{error!r}"
        return None


def types_differ(got, want, weakness: bool = True) -> str | None:
    """The shapes, dtypes and weak types of two lists of arrays of either library."""
    described = [[(tuple(x.shape), x.dtype.name, weakness and bool(x.weak_type)) for x in xs] for xs in (got, want)]
    return None if described[0] == described[1] else f"types {described[0]}, expected {described[1]}"


def check(program: Program, only: str | None = None) -> Finding | None:
    """The first check of a program that fails; `only` names one to do alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Checker(program, only).finding()


def assert_passes(make, args, name: str, *, x64: bool, pack: str = FLAT, edge: bool = False) -> None:
    """Do one check of a function as a failing program's report shows it."""
    found = check(Program(textwrap.dedent(inspect.getsource(make)), pack, tuple(args), x64, 0, edge), name)
    assert found is None, str(found)
