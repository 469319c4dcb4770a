"""Whole programs, drawn from a seed."""

from collections import Counter

import ml_dtypes
import numpy as np

# these enter their families of statements
import fuzz.control_flow
import fuzz.indexing
import fuzz.linear_algebra
import fuzz.operations
import fuzz.rules
import fuzz.transformations  # noqa: F401
from fuzz.grammar import FAMILIES, Draw, Session, Value
from fuzz.libraries import PULLBACK
from fuzz.program import Block, Program, source_of

SHAPES = [
    (),
    (),
    (1,),
    (2,),
    (3,),
    (4,),
    (2, 3),
    (3, 2),
    (3, 3),
    (2, 2),
    (1, 3),
    (2, 1),
    (3, 1, 2),
    (2, 2, 2),
    (2, 3, 3),
]
EMPTY = [(0,), (2, 0), (0, 3)]
# most programs are in float64, where derivatives can be compared with differences
DTYPES = {"float64": 12, "float32": 4, "float16": 1, "bfloat16": 1}
EDGES = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 1e30, -1e30]


def draw_program(seed: int) -> tuple[Program, Counter]:
    """The program of a seed, and which statements pullback refused while it was drawn, and why."""
    rng = np.random.default_rng(seed)
    weights = np.array(list(DTYPES.values())) / sum(DTYPES.values())
    dtype = list(DTYPES)[rng.choice(len(DTYPES), p=weights)]
    edge = rng.random() < 0.06
    x64 = dtype == "float64" or (dtype != "float64" and rng.random() < 0.2)
    session = Session(rng, dtype, x64, edge, closures=rng.random() < 0.6, widest=100.0 if dtype == "float16" else 1e3)
    with PULLBACK.t.enable_x64(x64):
        args = draw_arguments(rng, dtype, edge)
        names = [f"x{i}" for i in range(len(args))]
        values = [Value(n, PULLBACK.np.asarray(x)) for n, x in zip(names, args, strict=True)]
        space = {
            "L": PULLBACK,
            "t": PULLBACK.t,
            "np": PULLBACK.np,
            "lax": PULLBACK.lax,
            "families": FAMILIES,
            **{v.name: v.array for v in values},
        }
        draw = Draw(session, space, values)
        draw.draw(int(rng.integers(2, 11)))
        results = results_of(draw, len(args))
        block = Block("program", tuple(names), tuple(draw.steps), results, draw.pack())
    return Program(source_of(block), block.pack, tuple(args), x64, seed, edge, block), session.refusals


def results_of(draw: Draw, inputs: int) -> tuple[str, ...]:
    """The last values, one of them differentiable if there is one."""
    made = draw.values[inputs:] or draw.values
    chosen = [made[-1 - i] for i in range(min(len(made), draw.integer(1, 3)))]
    if not any(v.kind in "fc" for v in chosen):
        inexact = [v for v in draw.values if v.kind in "fc"]
        chosen.append(inexact[-1])
    return tuple(v.name for v in chosen)


def draw_arguments(rng, dtype: str, edge: bool) -> list:
    """One to three arrays, of which the first is of the program's dtype."""
    args = [draw_array(rng, dtype, edge)]
    for _ in range(rng.integers(0, 3)):
        kind = rng.choice(["same", "same", "same", "weak", "int", "bool", "complex"])
        if kind == "same" or (kind == "complex" and dtype not in ("float32", "float64")):
            args.append(draw_array(rng, dtype, edge))
        elif kind == "weak":
            args.append(float(rng.integers(-8, 9) / 4))
        elif kind == "int":
            narrow = str(rng.choice(["int32", "int32", "int8", "uint8"]))
            args.append(rng.integers(-4, 5, shape_of(rng, edge)).astype(narrow))
        elif kind == "bool":
            args.append(rng.random(shape_of(rng, edge)) < 0.5)
        else:
            z = draw_array(rng, dtype, edge)
            both = np.stack([z, rng.permutation(z.ravel()).reshape(z.shape)], -1)
            args.append(both.view("complex64" if dtype == "float32" else "complex128")[..., 0])
    return args


def shape_of(rng, edge: bool) -> tuple[int, ...]:
    options = SHAPES + (EMPTY if edge or rng.random() < 0.1 else [])
    return options[rng.integers(len(options))]


def draw_array(rng, dtype: str, edge: bool) -> np.ndarray:
    """Numbers of few bits, few of which are equal."""
    shape = shape_of(rng, edge)
    if edge:
        values = rng.choice(EDGES, shape)
        if dtype == "float16":
            values = np.where(np.abs(values) == 1e30, np.sign(values) * 1e4, values)
    else:
        values = rng.integers(1, 17, shape) / 8 * rng.choice([-1.0, 1.0], shape)
        if dtype in ("float32", "float64"):
            values = values + rng.integers(-40, 41, shape) / 1024
    return np.asarray(values).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
