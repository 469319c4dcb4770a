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
    def __init__(self, log: str | None = None, shrinks: bool = True):
        self.programs = 0
        self.findings: list[tuple[int, Finding]] = []
        self.accepted: Counter = Counter()
        self.statements: Counter = Counter()
        self.log, self.shrinks = log, shrinks
        self.start = time.monotonic()

    def run(self, seed: int) -> None:
        """Draw and check the program of a seed."""
        program, _ = draw_program(seed)
        self.programs += 1
        self.statements.update(step.op for step in every_step(program.block))
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
        lines = [f"{self.programs} programs, seeds {seed} to {seed + self.programs - 1}, in {seconds:.0f} s "
                 f"({self.programs / seconds:.1f} a second): {len(self.findings)} unexplained differences",
                 *(f"  {count} accepted: {reason}" for reason, count in self.accepted.most_common())]
        return "\n".join(lines + [f"  seed {at}: {found.check}" for at, found in self.findings])
