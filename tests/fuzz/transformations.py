"""Statements that transform functions: a program may differentiate, batch and compile its parts."""

import numpy as np

from fuzz.grammar import Draw, Unsuitable, family, strong
from fuzz.operands import args, arrays, operands
from fuzz.program import has


@family(1.5, nested=True)
def wrapped(d: Draw):
    values = operands(d)
    pack = d.pack()
    block = d.function(arrays(values), d.integer(1, 4), d.integer(1, 2), pack)
    how = d.choice(
        [
            "t.jit",
            "t.checkpoint",
            "t.checkpoint",
            "t.checkpoint",
            "(lambda f: t.checkpoint(f, policy=t.checkpoint_policies.dots_saveable))",
        ]
    )
    d.add(
        how.split(".")[1].split("(")[0],
        f"{how}($f0)({args(values, pack)})",
        values,
        outs=len(block.results),
        blocks=(block,),
        leaves=True,
    )


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
        axes.append(d.choice(fitting) if fitting and d.chance(0.6) else None)
    samples = [
        v.array if a is None else d.space["np"].take(v.array, 0, axis=a) for v, a in zip(values, axes, strict=True)
    ]
    outs = d.integer(1, 2)
    block = d.function(samples, d.integer(1, 4), outs, varying=True)
    inner = "t.jit($f0)" if d.chance(0.1) else "$f0"
    out_axes = d.choice(["", "", ", out_axes=-1"])
    d.add(
        "vmap",
        f"t.vmap({inner}, in_axes={tuple(axes)}{out_axes})({args(values)})",
        values,
        outs=outs,
        blocks=(block,),
        leaves=True,
    )


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
        texts += [
            f"t.grad({loss})({names})",
            f"t.value_and_grad({loss})({names})[1]",
            f"t.vjp({loss}, {names})[1](np.ones((), t.eval_shape({loss}, {names}).dtype))[0]",
        ]
    floats = all(v.kind == "f" for v in values)
    if forward and floats:
        texts += [
            f"t.jvp($f0, ({''.join(f'${i}, ' for i in range(len(values)))}), "
            f"({''.join(f'np.cos(${i}), ' if strong(v) else f'${i}, ' for i, v in enumerate(values))}))[1]",
            f"t.linearize($f0, {names})[1]({names})",
        ]
    if len(values) == 1 and reverse and forward and np.prod(values[0].shape) <= 6 and floats:
        texts += [f"t.jacfwd($f0)({names})", f"t.jacrev($f0)({names})", f"t.hessian({loss})({names})"]
    traits = frozenset({"no jvp"}) if not forward else frozenset()
    d.add("derivative", d.choice(texts), values, blocks=(block,), traits=traits)


@family(1, nested=True)
def collective(d: Draw):
    """A batch whose rows see one another."""
    x = d.real(lambda v: v.ndim and 0 not in v.shape and strong(v))
    axis = d.axis(x)
    block = d.function([d.space["np"].take(x.array, 0, axis=axis)], d.integer(1, 3), 1, varying=True)
    text = d.choice(
        [
            "y - lax.pmean(y, 'rows')",
            "y * lax.psum(np.sin(y), 'rows')",
            "y + lax.axis_index('rows')",
            "np.tanh(lax.pmax(y, 'rows')) + y",
            "lax.psum(y, 'rows')",
        ]
    )
    if any(step.types and step.types[-1].kind not in "fc" for step in block.steps[-1:]):
        raise Unsuitable
    out = d.choice(["", ", out_axes=-1"])
    d.add(
        "collective",
        f"t.vmap(lambda *xs: (lambda y: {text})(np.real($f0(*xs))), in_axes={axis}, axis_name='rows'{out})($0)",
        [x],
        blocks=(block,),
        traits=frozenset({"no jax"} if "pmax" in text else ()),
    )


@family(0.6, nested=True)
def with_auxiliary(d: Draw):
    """Functions that return something beside what is differentiated."""
    values = operands(d, 2, lambda v: v.kind == "f")
    block = d.function(arrays(values), d.integer(1, 3), 1)
    if has(block, "no vjp"):
        raise Unsuitable
    loss = "lambda *xs: (lambda y: (np.sum(np.real(y)), np.sin(np.real(y))))($f0(*xs))"
    names = args(values)
    texts = [
        f"t.grad({loss}, has_aux=True)({names})",
        f"t.value_and_grad({loss}, has_aux=True)({names})",
        f"t.grad({loss}, argnums={tuple(range(len(values)))}, has_aux=True)({names})",
    ]
    text = d.choice(texts)
    outs = 2 if text is texts[0] else 3 if text is texts[1] else len(values) + 1
    traits = frozenset({"no jvp"}) if has(block, "no jvp") else frozenset()
    d.add("derivative", text, values, outs=outs, blocks=(block,), leaves=True, traits=traits)


@family(0.6, nested=True)
def vectorized(d: Draw):
    x = d.real(lambda v: v.ndim and 0 not in v.shape)
    block = d.function(
        [x.array[(0,) * x.ndim]],
        d.integer(1, 3),
        varying=True,
        finish=lambda inner, own: [inner.fit(own[-1], own[0].type)],
    )
    d.add(
        "vectorize",
        d.choice(["np.vectorize($f0)($0)", "np.apply_along_axis(t.vmap($f0), -1, $0)"]),
        [x],
        blocks=(block,),
    )


@family(0.6, nested=True)
def staged(d: Draw):
    """A function traced by hand and evaluated."""
    values = operands(d)
    block = d.function(arrays(values), d.integer(1, 4), d.integer(1, 2))
    d.add(
        "staged",
        f"L.eval_jaxpr(t.make_jaxpr($f0)({args(values)}), {args(values)})",
        values,
        outs=len(block.results),
        blocks=(block,),
        leaves=True,
    )


@family(0.5, nested=True)
def transposed(d: Draw):
    """The transpose of a linear map."""
    x = d.real(strong)
    block = d.function([x.array], d.integer(1, 3), 1)
    if has(block, "no jvp") or has(block, "no vjp"):
        raise Unsuitable
    d.add(
        "linear_transpose",
        "(lambda lin: t.linear_transpose(lin, $0)(np.cos(lin($0)))[0])"
        "(t.linearize(lambda x: np.real($f0(x)).astype($0.dtype), $0)[1])",
        [x],
        blocks=(block,),
    )
