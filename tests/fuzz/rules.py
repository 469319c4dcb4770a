"""Statements that call functions with derivative rules of their own.

The rules are right by construction: they are made of the derivative of the plain function.
"""

from fuzz.grammar import Draw, Unsuitable, family
from fuzz.operands import args, arrays, operands
from fuzz.program import FLAT, every_step, has


def closure_traits(block, d: Draw) -> frozenset:
    """JAX's custom rules may not close over what is differentiated; ours may."""
    return frozenset({"no jax"}) if any(v.name in used_names(block) for v in d.values) else frozenset()


def used_names(block) -> set:
    used = set(block.results)
    for step in every_step(block):
        used.update(step.operands)
        for inner in step.blocks:
            used.update(inner.results)
    return used


@family(2, nested=True)
def custom_jvp(d: Draw):
    values = operands(d)
    pack = d.pack()
    block = d.function(arrays(values), d.integer(1, 3), d.integer(1, 2), pack, closes=d.chance(0.3))
    if has(block, "no jvp"):
        raise Unsuitable
    g = d.fresh("g")
    style = d.choice(["plain", "symbolic zeros", "nondiff", "defjvps", "jit"])
    setup = [
        f"{g} = t.custom_jvp($f0)",
        f"@{g}.defjvp",
        f"def {g}_rule(primals, tangents):",
        "    return t.jvp($f0, primals, tangents)",
    ]
    call = f"{g}({args(values, pack)})"
    if style == "symbolic zeros":
        setup[1:3] = [
            f"def {g}_rule(primals, tangents):",
            "    tangents = t.tree.map(L.dense, tangents, is_leaf=lambda x: hasattr(x, 'dtype'))",
        ]
        setup += [f"{g}.defjvp({g}_rule, symbolic_zeros=True)"]
    elif style == "nondiff":
        setup = [
            f"{g} = t.custom_jvp(lambda h, *xs: h(*xs), nondiff_argnums=(0,))",
            f"@{g}.defjvp",
            f"def {g}_rule(h, primals, tangents):",
            "    return t.jvp(h, primals, tangents)",
        ]
        call = f"{g}($f0, {args(values, pack)})"
    elif style == "defjvps" and pack == FLAT and len(block.results) == 1 and all(v.kind in "fc" for v in values):
        rules = []
        for i in range(len(values)):
            xs = ", ".join(f"x{j}" for j in range(len(values)))
            moved = ", ".join("y" if j == i else f"x{j}" for j in range(len(values)))
            rules.append(f"lambda tangent, out, {xs}: t.jvp(lambda y: $f0({moved}), (x{i},), (tangent,))[1]")
        setup = [f"{g} = t.custom_jvp($f0)", f"{g}.defjvps({', '.join(rules)})"]
    elif style == "jit":
        call = f"t.jit({g})({args(values, pack)})"
    d.add(
        "custom_jvp",
        call,
        values,
        outs=len(block.results),
        blocks=(block,),
        leaves=True,
        setup="\n".join(setup),
        traits=closure_traits(block, d),
    )


@family(2, nested=True)
def custom_vjp(d: Draw):
    values = operands(d)
    pack = d.pack()
    block = d.function(arrays(values), d.integer(1, 3), d.integer(1, 2), pack, closes=d.chance(0.3))
    if has(block, "no vjp"):
        raise Unsuitable
    g = d.fresh("g")
    style = d.choice(["arguments", "pull", "symbolic zeros", "nondiff", "gradient", "forward", "optimized", "remat"])
    call = f"{g}({args(values, pack)})"
    traits = closure_traits(block, d) | {"no jvp"}
    fwd, bwd = f"{g}_fwd", f"{g}_bwd"
    if style in ("arguments", "optimized"):
        option = ", optimize_remat=True" if style == "optimized" else ""
        setup = [
            f"{g} = t.custom_vjp($f0)",
            f"def {fwd}(*xs):",
            "    return $f0(*xs), xs",
            f"def {bwd}(saved, ct):",
            "    return t.vjp($f0, *saved)[1](ct)",
            f"{g}.defvjp({fwd}, {bwd}{option})",
        ]
    elif style == "remat":
        # what is kept is the first argument: in the backward pass the others are those of the call
        setup = [
            f"{g} = t.custom_vjp($f0)",
            f"def {fwd}(*xs):",
            "    return $f0(*xs), xs[0]",
            f"def {g}_rem(kept, *xs):",
            "    return t.vjp($f0, kept, *xs[1:])",
            f"def {bwd}(pull, ct):",
            "    return pull(ct)",
            f"{g}.defremat({fwd}, {g}_rem, {bwd})",
        ]
        traits = traits | {"no jax"}
    elif style == "pull":
        setup = [
            f"{g} = t.custom_vjp($f0)",
            f"def {fwd}(*xs):",
            "    return t.vjp($f0, *xs)",
            f"def {bwd}(pull, ct):",
            "    return pull(ct)",
            f"{g}.defvjp({fwd}, {bwd})",
        ]
    elif style == "symbolic zeros":
        setup = [
            f"{g} = t.custom_vjp($f0)",
            f"def {fwd}(*xs):",
            "    xs = t.tree.map(lambda x: x.value, xs, is_leaf=lambda x: hasattr(x, 'perturbed'))",
            "    return $f0(*xs), xs",
            f"def {bwd}(saved, ct):",
            "    ct = t.tree.map(L.dense, ct, is_leaf=lambda x: hasattr(x, 'dtype'))",
            "    return t.vjp($f0, *saved)[1](ct)",
            f"{g}.defvjp({fwd}, {bwd}, symbolic_zeros=True)",
        ]
    elif style == "nondiff":
        setup = [
            f"{g} = t.custom_vjp(lambda h, *xs: h(*xs), nondiff_argnums=(0,))",
            f"def {fwd}(h, *xs):",
            "    return t.vjp(h, *xs)",
            f"def {bwd}(h, pull, ct):",
            "    return pull(ct)",
            f"{g}.defvjp({fwd}, {bwd})",
        ]
        call = f"{g}($f0, {args(values, pack)})"
    elif style == "gradient":
        setup = ["@t.custom_gradient", f"def {g}(*xs):", "    return t.vjp($f0, *xs)"]
    else:
        # forward mode by transposing the backward rule
        setup = [
            f"{g} = t.custom_vjp($f0, jvp='transpose')",
            f"def {fwd}(*xs):",
            "    return t.vjp($f0, *xs)",
            f"def {bwd}(pull, ct):",
            "    return pull(ct)",
            f"{g}.defvjp({fwd}, {bwd})",
        ]
        traits = (traits | {"no jax"}) - {"no jvp"}
    d.add(
        "custom_vjp",
        call,
        values,
        outs=len(block.results),
        blocks=(block,),
        leaves=True,
        setup="\n".join(setup),
        traits=traits,
    )


@family(0.8, nested=True)
def custom_vmap(d: Draw):
    values = operands(d, 2)
    block = d.function(arrays(values), d.integer(1, 3), 1, closes=False)
    g = d.fresh("g")
    setup = [
        f"{g} = t.custom_batching.custom_vmap($f0)",
        f"@{g}.def_vmap",
        f"def {g}_rule(axis_size, in_batched, *xs):",
        "    axes = tuple(0 if batched else None for batched in in_batched)",
        "    return t.vmap($f0, axes, axis_size=axis_size)(*xs), True",
    ]
    d.add(
        "custom_vmap",
        f"{g}({args(values)})",
        values,
        blocks=(block,),
        setup="\n".join(setup),
        traits=frozenset({"no jax"}),
    )


@family(0.6, nested=True)
def both_rules(d: Draw):
    """A function with a rule for each mode."""
    values = operands(d, 2)
    block = d.function(arrays(values), d.integer(1, 3), 1, closes=d.chance(0.3))
    if has(block, "no jvp") or has(block, "no vjp"):
        raise Unsuitable
    g = d.fresh("g")
    setup = [
        f"{g} = t.custom_rules($f0)",
        f"{g}.defjvp(lambda primals, tangents: t.jvp($f0, primals, tangents))",
        f"{g}.defvjp(lambda *xs: t.vjp($f0, *xs), lambda pull, ct: pull(ct))",
    ]
    d.add(
        "custom_rules",
        f"{g}({args(values)})",
        values,
        blocks=(block,),
        setup="\n".join(setup),
        traits=frozenset({"no jax"}),
    )


@family(1, nested=True)
def primitive_class(d: Draw):
    """A function as a primitive class with one of its rules."""
    values = operands(d)
    pack = d.pack()
    block = d.function(arrays(values), d.integer(1, 3), d.integer(1, 2), pack, closes=d.chance(0.3))
    if has(block, "no jvp") or has(block, "no vjp"):
        raise Unsuitable
    kind = d.choice(["Wrapped", "Reverse", "Accumulating", "Forward", "Linearized", "Batched"])
    d.add(
        "primitive_class",
        f"L.as_class($f0, {kind!r})({args(values, pack)})",
        values,
        outs=len(block.results),
        blocks=(block,),
        leaves=True,
        traits=frozenset({"no jax"}),
    )
