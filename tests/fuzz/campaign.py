"""Programs drawn and checked one after the other, with an account of them."""

import time
from collections import Counter

from fuzz.accepted import reason_to_accept
from fuzz.oracles import Finding, check
from fuzz.program import Program, every_step
from fuzz.programs import draw_program
from fuzz.report import test_text
from fuzz.shrinking import shrink


class Campaign:
    """Counts programs, what they found, what of that is accepted, and the statements that were refused."""

    def __init__(self, log: str | None = None, shrinks: bool = True):
        self.programs = 0
        self.findings: list[tuple[int, Finding]] = []
        self.accepted: Counter = Counter()
        self.refused: Counter = Counter()
        self.statements = 0
        self.log, self.shrinks = log, shrinks
        self.start = time.monotonic()

    def run(self, seed: int) -> None:
        """Draw and check the program of a seed."""
        program, refused = draw_program(seed)
        self.programs += 1
        self.statements += sum(1 for _ in every_step(program.block))
        self.refused.update(refused)
        finding = check(program)
        if finding is None:
            return
        if (reason := reason_to_accept(program, finding)) is not None:
            self.accepted[reason] += 1
            return
        self.findings.append((seed, finding))
        self.tell(f"# seed {seed}: {finding}")
        small, finding = shrink(program, finding) if self.shrinks else (program, finding)
        if (reason := reason_to_accept(small, finding)) is not None:
            self.findings.pop()
            self.accepted[reason] += 1
            self.tell(f"# accepted: {reason}")
            return
        self.tell(self.described(small, finding))

    def described(self, program: Program, finding: Finding) -> str:
        return f"\n{test_text(program, finding)}\n# {str(finding).replace(chr(10), chr(10) + '# ')}\n"

    def tell(self, text: str) -> None:
        print(text, flush=True)
        if self.log:
            with open(self.log, "a", encoding="utf-8") as file:
                print(text, file=file)

    def summary(self, seed: int) -> str:
        seconds = time.monotonic() - self.start
        lines = [
            f"{self.programs} programs of {self.statements} statements, "
            f"seeds {seed} to {seed + self.programs - 1}, "
            f"in {seconds:.0f} s ({self.programs / seconds:.1f} a second): "
            f"{len(self.findings)} unexplained differences",
            *(f"  {count} accepted: {reason}" for reason, count in self.accepted.most_common()),
            *(f"  {count} refused: {reason}" for reason, count in self.refused.most_common(10)),
        ]
        return "\n".join(lines + [f"  seed {at}: {found.check}" for at, found in self.findings])
