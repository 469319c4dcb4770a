"""Statements that hold functions: branches, loops and equations."""

from fuzz.grammar import Draw, Unsuitable, Value, family, strong
from fuzz.operands import args, arrays, operands
from fuzz.program import packed


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
    d.add(
        "cond",
        f"lax.cond({condition}, $f0, $f1, {args(values, pack)})",
        [*values, read],
        outs=len(types),
        blocks=(yes, no),
        leaves=True,
    )


@family(1, nested=True)
def switch(d: Draw):
    values = operands(d)
    pack = d.pack()
    first = d.function(arrays(values), d.integer(1, 3), d.integer(1, 2), pack)
    types = result_types(d, first, values)
    others = [d.function(arrays(values), d.integer(0, 2), types, pack) for _ in range(d.integer(1, 2))]
    index = str(d.integer(-1, 3))
    read = []
    if d.chance(0.7):
        read = [d.whole(lambda v: v.ndim == 0)]
        index = f"${len(values)}"
    blocks = (first, *others)
    names = ", ".join(f"$f{i}" for i in range(len(blocks)))
    d.add(
        "switch",
        f"lax.switch({index}, [{names}], {args(values, pack)})",
        [*values, *read],
        outs=len(types),
        blocks=blocks,
        leaves=True,
    )


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
        (v,) = inner.add(
            "carry",
            inner.choice(["np.tanh($0)", "np.sin($0)"]) if type.kind == "f" else "$0 / (1 + np.real($0 * np.conj($0)))",
            [v],
        )
    elif type.kind in "iu":
        (v,) = inner.add("carry", "$0 % 5", [v])
    return inner.fit(v, type)


@family(2.5, nested=True)
def scan(d: Draw):
    carry = operands(d, 2, strong)
    rows = []
    if d.chance(0.8):
        first = d.inexact(lambda v: v.ndim and 0 not in v.shape)
        rows = [first] + [d.value(lambda v: v.ndim and v.shape[0] == first.shape[0]) for _ in range(d.integer(0, 1))]
    count = len(carry)
    ys = d.integer(0, 2)

    def finish(inner, own):
        carried = [bounded_carry(inner, own, v.type) for v in carry]
        return carried + [inner.values[-1 - i] if inner.values[-1 - i].kind in "fc" else carried[0] for i in range(ys)]

    samples = [*arrays(carry), *(x.array[0] for x in rows)]
    block = d.function(samples, d.integer(1, 4), varying=True, finish=finish)
    step = f"lambda c, x: (lambda r: (r[:{count}], r[{count}:]))(tuple(t.tree.leaves($f0(*c{', *x' if rows else ''}))))"
    length = rows[0].shape[0] if rows else d.integer(0, 4)
    extra = d.choice(["", "", ", reverse=True", ", unroll=2"])
    xs = f"({''.join(f'${count + i}, ' for i in range(len(rows)))})" if rows else f"None, length={length}"
    if not length and ys:
        raise Unsuitable
    d.add(
        "scan",
        f"lax.scan({step}, ({''.join(f'${i}, ' for i in range(count))}), {xs}{extra})",
        [*carry, *rows],
        outs=count + ys,
        blocks=(block,),
        leaves=True,
    )


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
    if d.chance(0.15):
        i = d.whole(lambda v: v.ndim == 0 and v.dtype == "int32")
        bound, read, traits = f"${len(carry)} % 4", [i], frozenset({"no vjp"})
    block = d.function(
        [index, *arrays(carry)],
        d.integer(1, 3),
        varying=True,
        finish=lambda inner, own: [bounded_carry(inner, own, v.type) for v in carry],
    )
    d.add(
        "fori_loop",
        f"lax.fori_loop(0, {bound}, lambda i, c: tuple(t.tree.leaves($f0(i, *c))), "
        f"({''.join(f'${i}, ' for i in range(len(carry)))}))",
        [*carry, *read],
        outs=len(carry),
        blocks=(block,),
        leaves=True,
        traits=traits,
    )


@family(1, nested=True)
def while_loop(d: Draw):
    carry = operands(d, 2, strong)
    block = d.function(
        arrays(carry),
        d.integer(1, 3),
        varying=True,
        finish=lambda inner, own: [bounded_carry(inner, own, v.type) for v in carry],
    )
    state = "".join(f"${i}, " for i in range(len(carry)))
    steps = d.integer(0, 4)
    test = f"lambda s: s[0] < {steps}"
    body = "lambda s: (s[0] + 1, tuple(t.tree.leaves($f0(*s[1]))))"
    if d.chance(0.8):
        d.add(
            "while_loop",
            f"L.bounded_while({test}, {body}, (0, ({state})), {steps + d.integer(0, 3)})[1]",
            carry,
            outs=len(carry),
            blocks=(block,),
            leaves=True,
        )
    else:
        d.add(
            "while_loop",
            f"lax.while_loop({test}, {body}, (0, ({state})))[1]",
            carry,
            outs=len(carry),
            blocks=(block,),
            leaves=True,
            traits=frozenset({"no vjp"}),
        )


@family(0.7)
def associative_scan(d: Draw):
    x = d.real(lambda v: v.ndim and 0 not in v.shape)
    axis, reverse = d.axis(x) % x.ndim, d.chance(0.4)
    if d.chance(0.6):
        d.add(
            "associative_scan",
            f"lax.associative_scan(np.{d.choice(['add', 'maximum', 'multiply'])}, np.sin($0), "
            f"reverse={reverse}, axis={axis})",
            [x],
        )
    else:
        # affine maps one after the other
        d.add(
            "associative_scan",
            "lax.associative_scan(lambda f, g: (f[0] * g[0], f[1] * g[0] + g[1]), "
            f"(np.tanh($0), np.cos($0)), reverse={reverse}, axis={axis})[1]",
            [x],
        )


@family(0.7)
def custom_root(d: Draw):
    """The solution of y + sin(y) / 4 = x, by iterations that contract."""
    x = d.real(lambda v: strong(v) and v.dtype in ("float32", "float64"))
    d.add(
        "custom_root",
        "lax.custom_root(lambda y: y + 0.25 * np.sin(y) - $0, np.zeros_like($0), "
        "lambda f, y: lax.fori_loop(0, 30, lambda i, z: z - f(z), y), lambda g, y: y / g(np.ones_like(y)))",
        [x],
    )


@family(0.7)
def custom_linear_solve(d: Draw):
    b = d.real(lambda v: v.ndim == 1 and 1 <= v.shape[0] <= 4 and v.dtype in ("float32", "float64") and strong(v))
    n, m = b.shape[0], d.fresh("m")
    setup = f'{m} = np.outer(np.tanh($0), np.cos($1)) + {n + 1} * np.eye({n}, dtype="{b.dtype}")'
    other = d.real(lambda v: v.type == b.type and strong(v))
    solve = f"lambda f, y: np.linalg.solve({m}, y), lambda f, y: np.linalg.solve({m}.T, y)"
    d.add("custom_linear_solve", f"lax.custom_linear_solve(lambda v: {m} @ v, $1, {solve})", [other, b], setup=setup)
