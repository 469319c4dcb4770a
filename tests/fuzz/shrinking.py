"""A failing program made small: statements dropped, functions opened, arguments made smaller, as long as it fails."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from fuzz.case import kind_of
from fuzz.oracles import Finding, check
from fuzz.program import FLAT, Block, Program, Step, Type


def shrink(program: Program, finding: Finding, tries: int = 400) -> tuple[Program, Finding]:
    """A smaller program that fails in the same check in the same way."""
    changed = True
    while changed and tries > 0:
        changed = False
        for candidate in smaller(program):
            tries -= 1
            if tries <= 0:
                break
            found = outcome(candidate, finding.check)
            if found and found.kind == finding.kind:
                program, finding, changed = candidate, found, True
                break
    return program, finding


def outcome(program: Program, name: str) -> Finding | None:
    try:
        return check(program, name)
    except Exception:  # the candidate is no program
        return None


def smaller(program: Program) -> Iterator[Program]:
    """Programs with a little less in them, the boldest first."""
    for block in smaller_blocks(program.block):
        yield without_unused(program.but(block))
    for i, x in enumerate(program.args):
        for y in smaller_arrays(x):
            yield replace(program, args=(*program.args[:i], y, *program.args[i + 1 :]))
    yield from shorter_axes(program)


def smaller_blocks(block: Block) -> Iterator[Block]:
    for i in range(len(block.results)):
        if len(block.results) > 1:
            yield replace(block, results=(block.results[i],))
    if block.pack != FLAT:
        yield replace(block, pack=FLAT)
    for i in reversed(range(len(block.steps))):
        yield from without(block, i)
    for i, step in enumerate(block.steps):
        for j, inner in enumerate(step.blocks):
            for less in smaller_blocks(inner):
                if len(less.results) != len(inner.results) or less.pack != inner.pack:
                    continue  # the call would not fit
                blocks = (*step.blocks[:j], less, *step.blocks[j + 1 :])
                yield replace(block, steps=(*block.steps[:i], replace(step, blocks=blocks), *block.steps[i + 1 :]))


def without(block: Block, i: int) -> Iterator[Block]:
    """The function with a statement opened, or replaced by its operand, or by a constant."""
    step = block.steps[i]
    before, after = block.steps[:i], block.steps[i + 1 :]
    for inner in step.blocks:
        if len(inner.results) == len(step.outs) and len(inner.params) <= len(step.operands):
            names = dict(zip(inner.params, step.operands, strict=False))
            opened = tuple(renamed(s, names) for s in inner.steps)
            names |= dict(zip(step.outs, (names.get(r, r) for r in inner.results), strict=True))
            yield rename(replace(block, steps=before + opened + after), names)
    if len(step.outs) == 1:
        for operand in dict.fromkeys(step.operands):
            yield rename(replace(block, steps=before + after), {step.outs[0]: operand})
    if step.op != "constant":
        constants = tuple(
            Step("constant", (out,), (of,), constant(of)) for out, of in zip(step.outs, step.types, strict=True)
        )
        yield replace(block, steps=before + constants + after)


def constant(of: Type) -> str:
    return f'np.full({of.shape}, {"True" if of.kind == "b" else "1" if of.kind in "iu" else "0.5"}, "{of.dtype}")'


def rename(block: Block, names: dict) -> Block:
    return replace(
        block,
        steps=tuple(renamed(s, names) for s in block.steps),
        results=tuple(names.get(r, r) for r in block.results),
    )


def renamed(step: Step, names: dict) -> Step:
    return replace(
        step,
        operands=tuple(names.get(o, o) for o in step.operands),
        blocks=tuple(rename(b, names) for b in step.blocks),
    )


def without_unused(program: Program) -> Program:
    """Without statements whose values nobody reads, and without such arguments."""
    block = live(program.block)
    used = read_by(block)
    kept = [i for i, p in enumerate(block.params) if p in used]
    if not any(kind_of(program.args[i]) in "fc" for i in kept):
        return program.but(block)
    return program.but(
        replace(block, params=tuple(block.params[i] for i in kept)), tuple(program.args[i] for i in kept)
    )


def live(block: Block) -> Block:
    needed, kept = set(block.results), []
    for step in reversed(block.steps):
        if needed & set(step.outs):
            step = replace(step, blocks=tuple(map(live, step.blocks)))
            kept.append(step)
            needed |= set(step.operands)
            for inner in step.blocks:
                needed |= read_by(inner)
    return replace(block, steps=tuple(reversed(kept)))


def read_by(block: Block) -> set:
    names = set(block.results)
    for step in block.steps:
        names |= set(step.operands)
        for inner in step.blocks:
            names |= read_by(inner)
    return names


def smaller_arrays(x) -> Iterator:
    """Simpler numbers in the same shape."""
    if isinstance(x, float):
        if x != 1.0:
            yield 1.0
        return
    for simple in (np.ones_like(x), np.round(x.astype(np.float64)).astype(x.dtype) if kind_of(x) == "f" else x):
        if simple.tobytes() != x.tobytes():
            yield simple


def shorter_axes(program: Program) -> Iterator[Program]:
    """Every axis of some length one shorter."""
    lengths = {n for x in program.args for n in np.shape(x)}
    for n in sorted(lengths):
        if n > 1:
            for to in (1, n - 1):
                args = (
                    x if isinstance(x, float) else x[tuple(slice(to if m == n else m) for m in x.shape)]
                    for x in program.args
                )
                yield replace(program, args=tuple(args))
