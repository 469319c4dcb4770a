"""Statements that hold functions: control flow, transformations and functions with derivative rules of their own.

The rules are right by construction: they are made of the derivative of the plain function.
"""

import numpy as np

from fuzz.grammar import Draw, Unsuitable, Value, family
from fuzz.program import FLAT, every_step, has, packed


def operands(d: Draw, most: int = 3, test=lambda v: True) -> list:
    """Some values, of which at least one is differentiable."""
    first = d.inexact(test)
    rest = [d.value(test) for _ in range(d.integer(0, most - 1))]
    return [first, *rest]


def args(values, pack: str = FLAT, first: int = 0) -> str:
    return packed(pack, [f"${first + i}" for i in range(len(values))])


def arrays(values) -> list:
    return [v.array for v in values]


# --- control flow ---


def predicate(d: Draw, position: int):
    """The text of a condition, and the value it reads."""
    x = d.value(lambda v: v.kind in "fiub" and 0 not in v.shape)
    if x.kind == "b":
        return f"np.any(${position})", x
    return d.choice([f"np.sum(${position}) > 0", f"np.mean(${position}) < 0.375"]), x


@family(2, nested=True)
def cond(d: Draw):
    values = operands(d)
    condition, read = predicate(d, len(values))
    pack = d.pack()
    yes = d.function(arrays(values), d.integer(1, 3), d.integer(1, 2), pack)
    types = result_types(d, yes, values)
    no = d.function(arrays(values), d.integer(0, 3), types, pack)
    d.add("cond", f"lax.cond({condition}, $f0, $f1, {args(values, pack)})", [*values, read], outs=len(types),
          blocks=(yes, no), leaves=True)


@family(1, nested=True)
def switch(d: Draw):
    values = operands(d)
    pack = d.pack()
    first = d.function(arrays(values), d.integer(1, 3), d.integer(1, 2), pack)
    types = result_types(d, first, values)
    others = [d.function(arrays(values), d.integer(0, 2), types, pack) for _ in range(d.integer(1, 2))]
    index = str(d.integer(-1, 3))
    read = []
    if d.chance(.7):
        read = [d.whole(lambda v: v.ndim == 0)]
        index = f"${len(values)}"
    blocks = (first, *others)
    names = ", ".join(f"$f{i}" for i in range(len(blocks)))
    d.add("switch", f"lax.switch({index}, [{names}], {args(values, pack)})", [*values, *read], outs=len(types),
          blocks=blocks, leaves=True)


def result_types(d: Draw, block, values) -> list:
    """The types that a function returns; Unsuitable if one is weak, which other branches could not match."""
    space = dict(d.space)
    exec("\n".join(block.lines()), space)
    space.update(operands=arrays(values))
    names = [f"operands[{i}]" for i in range(len(values))]
    outs = d.space["t"].tree.leaves(eval(f"{block.name}({packed(block.pack, names)})", space))
    if any(getattr(x, "weak_type", False) for x in outs):
        raise Unsuitable
    return [Value("", x).type for x in outs]


def bounded_carry(inner: Draw, own, type):
    """A new value of the carry that stays bounded however often the function runs."""
    candidates = [v for v in own[::-1] if v.kind == type.kind] or own[::-1]
    v = inner.fit(candidates[0], type)
    if type.kind in "fc":
        v, = inner.add("carry", inner.choice(["np.tanh($0)", "np.sin($0)"]) if type.kind == "f" else
                       "$0 / (1 + np.real($0 * np.conj($0)))", [v])
    elif type.kind in "iu":
        v, = inner.add("carry", "$0 % 5", [v])
    return inner.fit(v, type)


def strong(v) -> bool:
    return not getattr(v.array, "weak_type", False)


@family(2.5, nested=True)
def scan(d: Draw):
    carry = operands(d, 2, strong)
    rows = []
    if d.chance(.8):
        first = d.inexact(lambda v: v.ndim and 0 not in v.shape)
        rows = [first] + [d.value(lambda v: v.ndim and v.shape[0] == first.shape[0]) for _ in range(d.integer(0, 1))]
    count = len(carry)
    ys = d.integer(0, 2)

    def finish(inner, own):
        carried = [bounded_carry(inner, own, v.type) for v in carry]
        return carried + [inner.values[-1 - i] if inner.values[-1 - i].kind in "fc" else carried[0] for i in range(ys)]

    samples = [*arrays(carry), *(x.array[0] for x in rows)]
    block = d.function(samples, d.integer(1, 4), varying=True, finish=finish)
    step = (f"lambda c, x: (lambda r: (r[:{count}], r[{count}:]))"
            f"(tuple(t.tree.leaves($f0(*c{', *x' if rows else ''}))))")
    length = rows[0].shape[0] if rows else d.integer(0, 4)
    extra = d.choice(["", "", ", reverse=True", ", unroll=2"])
    xs = f"({''.join(f'${count + i}, ' for i in range(len(rows)))})" if rows else f"None, length={length}"
    if not length and ys:
        raise Unsuitable
    d.add("scan", f"lax.scan({step}, ({''.join(f'${i}, ' for i in range(count))}), {xs}{extra})",
          [*carry, *rows], outs=count + ys, blocks=(block,), leaves=True)


@family(1, nested=True)
def lax_map(d: Draw):
    x = d.inexact(lambda v: v.ndim and 0 not in v.shape)
    block = d.function([x.array[0]], d.integer(1, 3), 1, varying=True)
    d.add("map", "lax.map($f0, $0)", [x], blocks=(block,))


@family(1.5, nested=True)
def fori_loop(d: Draw):
    carry = operands(d, 2, strong)
    index = d.space["np"].asarray(1)
    n = d.integer(0, 4)
    bound, read, traits = str(n), [], frozenset()
    if d.chance(.15):
        i = d.whole(lambda v: v.ndim == 0 and v.dtype == "int32")
        bound, read, traits = f"${len(carry)} % 4", [i], frozenset({"no vjp"})
    block = d.function([index, *arrays(carry)], d.integer(1, 3), varying=True,
                       finish=lambda inner, own: [bounded_carry(inner, own, v.type) for v in carry])
    d.add("fori_loop", f"lax.fori_loop(0, {bound}, lambda i, c: tuple(t.tree.leaves($f0(i, *c))), "
          f"({''.join(f'${i}, ' for i in range(len(carry)))}))", [*carry, *read], outs=len(carry), blocks=(block,),
          leaves=True, traits=traits)


@family(1, nested=True)
def while_loop(d: Draw):
    carry = operands(d, 2, strong)
    block = d.function(arrays(carry), d.integer(1, 3), varying=True,
                       finish=lambda inner, own: [bounded_carry(inner, own, v.type) for v in carry])
    state = "".join(f"${i}, " for i in range(len(carry)))
    steps = d.integer(0, 4)
    test = f"lambda s: s[0] < {steps}"
    body = "lambda s: (s[0] + 1, tuple(t.tree.leaves($f0(*s[1]))))"
    if d.chance(.8):
        d.add("while_loop", f"L.bounded_while({test}, {body}, (0, ({state})), {steps + d.integer(0, 3)})[1]",
              carry, outs=len(carry), blocks=(block,), leaves=True)
    else:
        d.add("while_loop", f"lax.while_loop({test}, {body}, (0, ({state})))[1]", carry, outs=len(carry),
              blocks=(block,), leaves=True, traits=frozenset({"no vjp"}))


# --- transformations ---


@family(1.5, nested=True)
def wrapped(d: Draw):
    values = operands(d)
    pack = d.pack()
    block = d.function(arrays(values), d.integer(1, 4), d.integer(1, 2), pack)
    how = d.choice(["t.jit", "t.checkpoint", "t.checkpoint", "t.checkpoint",
                    "(lambda f: t.checkpoint(f, policy=t.checkpoint_policies.dots_saveable))"])
    d.add(how.split(".")[1].split("(")[0], f"{how}($f0)({args(values, pack)})", values, outs=len(block.results),
          blocks=(block,), leaves=True)


@family(2, nested=True)
def vmap(d: Draw):
    first = d.inexact(lambda v: v.ndim and 0 not in v.shape)
    axis = d.axis(first)
    size = first.shape[axis]
    values, axes = [first], [axis]
    for _ in range(d.integer(0, 2)):
        v = d.value()
        fitting = [i for i in range(-v.ndim, v.ndim) if v.shape[i] == size]
        values.append(v)
        axes.append(d.choice(fitting) if fitting and d.chance(.6) else None)
    samples = [v.array if a is None else d.space["np"].take(v.array, 0, axis=a)
               for v, a in zip(values, axes, strict=True)]
    outs = d.integer(1, 2)
    block = d.function(samples, d.integer(1, 4), outs, varying=True)
    inner = "t.jit($f0)" if d.chance(.1) else "$f0"
    out_axes = d.choice(["", "", ", out_axes=-1"])
    d.add("vmap", f"t.vmap({inner}, in_axes={tuple(axes)}{out_axes})({args(values)})", values, outs=outs,
          blocks=(block,), leaves=True)


@family(1.2, nested=True)
def derivative(d: Draw):
    """A derivative as a part of the program."""
    values = operands(d, 2)
    block = d.function(arrays(values), d.integer(1, 4), 1)
    if any(v.kind == "c" for v in values):
        raise Unsuitable
    loss = "lambda *xs: np.sum(np.real($f0(*xs)))"
    names = args(values)
    reverse, forward = not has(block, "no vjp"), not has(block, "no jvp")
    texts = []
    if reverse:
        texts += [f"t.grad({loss})({names})", f"t.value_and_grad({loss})({names})[1]",
                  f"t.vjp({loss}, {names})[1](np.ones((), t.eval_shape({loss}, {names}).dtype))[0]"]
    floats = all(v.kind == "f" for v in values)
    if forward and floats:
        texts += [f"t.jvp($f0, ({''.join(f'${i}, ' for i in range(len(values)))}), "
                  f"({''.join(f'np.cos(${i}), ' if strong(v) else f'${i}, ' for i, v in enumerate(values))}))[1]",
                  f"t.linearize($f0, {names})[1]({names})"]
    if len(values) == 1 and reverse and forward and np.prod(values[0].shape) <= 6 and floats:
        texts += [f"t.jacfwd($f0)({names})", f"t.jacrev($f0)({names})", f"t.hessian({loss})({names})"]
    traits = frozenset({"no jvp"}) if not forward else frozenset()
    d.add("derivative", d.choice(texts), values, blocks=(block,), traits=traits)


# --- functions with rules ---


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
    block = d.function(arrays(values), d.integer(1, 3), d.integer(1, 2), pack, closes=d.chance(.3))
    if has(block, "no jvp"):
        raise Unsuitable
    g = d.fresh("g")
    style = d.choice(["plain", "symbolic zeros", "nondiff", "defjvps", "jit"])
    setup = [f"{g} = t.custom_jvp($f0)", f"@{g}.defjvp", f"def {g}_rule(primals, tangents):",
             "    return t.jvp($f0, primals, tangents)"]
    call = f"{g}({args(values, pack)})"
    if style == "symbolic zeros":
        setup[1:3] = [f"def {g}_rule(primals, tangents):",
                      "    tangents = t.tree.map(L.dense, tangents, is_leaf=lambda x: hasattr(x, 'dtype'))"]
        setup += [f"{g}.defjvp({g}_rule, symbolic_zeros=True)"]
    elif style == "nondiff":
        setup = [f"{g} = t.custom_jvp(lambda h, *xs: h(*xs), nondiff_argnums=(0,))", f"@{g}.defjvp",
                 f"def {g}_rule(h, primals, tangents):", "    return t.jvp(h, primals, tangents)"]
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
    d.add("custom_jvp", call, values, outs=len(block.results), blocks=(block,), leaves=True, setup="\n".join(setup),
          traits=closure_traits(block, d))


@family(2, nested=True)
def custom_vjp(d: Draw):
    values = operands(d)
    pack = d.pack()
    block = d.function(arrays(values), d.integer(1, 3), d.integer(1, 2), pack, closes=d.chance(.3))
    if has(block, "no vjp"):
        raise Unsuitable
    g = d.fresh("g")
    style = d.choice(["arguments", "pull", "symbolic zeros", "nondiff", "gradient", "forward"])
    call = f"{g}({args(values, pack)})"
    traits = closure_traits(block, d) | {"no jvp"}
    fwd, bwd = f"{g}_fwd", f"{g}_bwd"
    if style == "arguments":
        setup = [f"{g} = t.custom_vjp($f0)", f"def {fwd}(*xs):", "    return $f0(*xs), xs", f"def {bwd}(saved, ct):",
                 "    return t.vjp($f0, *saved)[1](ct)", f"{g}.defvjp({fwd}, {bwd})"]
    elif style == "pull":
        setup = [f"{g} = t.custom_vjp($f0)", f"def {fwd}(*xs):", "    return t.vjp($f0, *xs)", f"def {bwd}(pull, ct):",
                 "    return pull(ct)", f"{g}.defvjp({fwd}, {bwd})"]
    elif style == "symbolic zeros":
        setup = [f"{g} = t.custom_vjp($f0)", f"def {fwd}(*xs):",
                 "    xs = t.tree.map(lambda x: x.value, xs, is_leaf=lambda x: hasattr(x, 'perturbed'))",
                 "    return $f0(*xs), xs", f"def {bwd}(saved, ct):",
                 "    ct = t.tree.map(L.dense, ct, is_leaf=lambda x: hasattr(x, 'dtype'))",
                 "    return t.vjp($f0, *saved)[1](ct)", f"{g}.defvjp({fwd}, {bwd}, symbolic_zeros=True)"]
    elif style == "nondiff":
        setup = [f"{g} = t.custom_vjp(lambda h, *xs: h(*xs), nondiff_argnums=(0,))", f"def {fwd}(h, *xs):",
                 "    return t.vjp(h, *xs)", f"def {bwd}(h, pull, ct):", "    return pull(ct)",
                 f"{g}.defvjp({fwd}, {bwd})"]
        call = f"{g}($f0, {args(values, pack)})"
    elif style == "gradient":
        setup = ["@t.custom_gradient", f"def {g}(*xs):", "    return t.vjp($f0, *xs)"]
    else:
        # forward mode by transposing the backward rule
        setup = [f"{g} = t.custom_vjp($f0, jvp='transpose')", f"def {fwd}(*xs):", "    return t.vjp($f0, *xs)",
                 f"def {bwd}(pull, ct):", "    return pull(ct)", f"{g}.defvjp({fwd}, {bwd})"]
        traits = (traits | {"no jax"}) - {"no jvp"}
    d.add("custom_vjp", call, values, outs=len(block.results), blocks=(block,), leaves=True, setup="\n".join(setup),
          traits=traits)
