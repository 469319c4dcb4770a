"""Statements that read and write parts of arrays."""

from fuzz.grammar import Draw, Unsuitable, family


def an_index(d: Draw, x) -> tuple[str, list]:
    """The text of an index of a value, and the values that stand in it."""
    n = x.shape[0]
    rows = [d.integer(-n, n - 1) for _ in range(d.integer(1, 3))]
    texts = [
        str(d.integer(-n, n - 1)),
        "::-1",
        "1:",
        ":-1",
        "::2",
        "None, 0",
        "..., 0",
        f"np.array({rows})",
        f"L.host({rows})",
        f"np.array({[rows]})",
        f"L.host({[d.chance(0.6) for _ in range(n)]})",
    ]
    if x.ndim >= 2:
        m = x.shape[1]
        columns = [d.integer(-m, m - 1) for _ in rows]
        texts += [
            f"np.array({rows}), np.array({columns})",
            f":, np.array({columns})",
            f"0, ::{d.choice([-1, 2])}",
            f"np.array({rows}), 1:",
            f"np.array({rows})[:, None], np.array({columns})",
        ]
    text, used = d.choice(texts), []
    if d.chance(0.3):
        i = d.whole(lambda v: v.ndim <= 1 and 0 not in v.shape)
        text, used = f"$1 % {n}", [i]
    if "True" not in text and "False" in text:
        text = "0"
    return text, used


@family(3)
def getitem(d: Draw):
    x = d.inexact(lambda v: v.ndim and 0 not in v.shape)
    index, used = an_index(d, x)
    d.add("getitem", f"$0[{index}]", [x, *used])


@family(3)
def at(d: Draw):
    x = d.inexact(lambda v: v.ndim and 0 not in v.shape)
    index, used = an_index(d, x)
    method = d.choice(["set", "add", "multiply", "get", "set", "add"] + ["min", "max"] * (x.kind == "f"))
    if method == "get":
        d.add("at", f"$0.at[{index}].get()", [x, *used])
        return
    u = d.inexact(lambda v: v.dtype == x.dtype and v.ndim == 0) if d.chance(0.4) else None
    update = f"${1 + len(used)}" if u else d.choice([str(d.constant()), f"$0[{index}] * 2", f"np.sin($0[{index}])"])
    repeats = "array(" in index or "host(" in index or bool(used and used[0].ndim)
    if method == "set" and repeats:
        raise Unsuitable  # which of two writes to one place lasts is nobody's promise
    # JAX does not differentiate products at places named twice
    traits = frozenset({"no jax"} if method == "multiply" and repeats else ())
    d.add("at", f"$0.at[{index}].{method}({update})", [x, *used, *([u] if u else [])], traits=traits)


@family(2)
def take(d: Draw):
    x = d.inexact(lambda v: v.ndim and 0 not in v.shape)
    axis = d.axis(x)
    n = x.shape[axis]
    rows = [d.integer(-n, n - 1) for _ in range(d.integer(1, 3))]
    if d.chance(0.4):
        i = d.whole(lambda v: v.ndim <= 1 and 0 not in v.shape)
        d.add("take", f"np.take($0, $1, axis={axis}, mode='{d.choice(['wrap', 'clip'])}')", [x, i])
    elif d.chance(0.5) and x.ndim == 1:
        d.add("take", f"np.take_along_axis($0, np.array({rows}), 0)", [x])
    else:
        d.add("take", f"np.take($0, np.array({rows}), axis={axis})", [x])


@family(2)
def dynamic(d: Draw):
    x = d.inexact(lambda v: v.ndim and 0 not in v.shape)
    sizes = tuple(d.integer(1, n) for n in x.shape)
    try:
        i = d.whole(lambda v: v.ndim == 0)
        start, used = "$1", [i]
    except Unsuitable:
        start, used = str(d.integer(-1, 2)), []
    starts = f"({start}, {'0, ' * (x.ndim - 1)})"
    if d.chance(0.5):
        d.add("dynamic_slice", f"lax.dynamic_slice($0, {starts}, {sizes})", [x, *used])
    elif d.chance(0.5):
        d.add(
            "dynamic_slice", f"lax.dynamic_index_in_dim($0, {start}, {d.axis(x)}, keepdims={d.chance(0.5)})", [x, *used]
        )
    else:
        d.add(
            "dynamic_update",
            f"lax.dynamic_update_slice($0, lax.dynamic_slice(-$0, {starts}, {sizes}), ({'0, ' * x.ndim}))",
            [x, *used],
        )


@family(1)
def segments(d: Draw):
    x = d.real(lambda v: v.ndim and 0 not in v.shape)
    ids = [d.integer(0, 2) for _ in range(x.shape[0])]
    d.add(
        "segment",
        d.choice(
            [
                f"t.ops.segment_sum($0, np.array({ids}), num_segments=3)",
                f"np.bincount(np.array({ids}), $0, length=4)"
                if x.ndim == 1
                else f"np.zeros((3, *$0.shape[1:]), $0.dtype).at[np.array({ids})].add($0)",
            ]
        ),
        [x],
    )
