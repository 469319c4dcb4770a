"""References through two and three wrappers: what the program does without any is what it does in all of them."""

import itertools

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax


def program(x, table, total, local):
    """Reads and writes three references in turn; `local` is differentiated, the others get constants only."""
    total[...] += 1.0
    row = table[1]
    table[0] = row + total[...]
    local[0] = x * local[1] + row.sum()
    local.addupdate(pnp.sin(local[0]), 1)
    before = pb.ref.swap(table, (1, slice(0, 1)), lax.stop_gradient(2 * pnp.ones(1) * total[...]))
    return local[0] * local[1] + before[0]


def compiled(f):
    return pb.jit(f)


def checkpointed(f):
    return pb.checkpoint(f)


def branch(f):
    def other(x, *refs):
        refs[1][...] = 100.0
        return 0.0 * x

    return lambda x, *refs: lax.cond(x > -100.0, f, other, x, *refs)


def switch(f):
    def other(x, *refs):
        return x

    return lambda x, *refs: lax.switch(pnp.int32(x > -100.0), [other, f, other], x, *refs)


def scan(f):
    def looped(x, *refs):
        def step(y, _):
            y = f(y, *refs)
            return y, None

        return lax.scan(step, x, None, length=2)[0]

    return looped


def scan_over_parts(f):
    def looped(x, table, total, local):
        def step(y, inputs):
            (entry,) = inputs
            entry[...] += 1.0
            return f(y, table, total, local), None

        counts = pb.new_ref(pnp.zeros(2))
        last = lax.scan(step, x, (counts,))[0]
        return last + counts[...].sum() - 2.0

    return looped


def for_loop(f):
    return lambda x, *refs: lax.fori_loop(0, 2, as_step(f, refs), x)


def as_step(f, refs):
    def step(i, y):
        return f(y, *refs)

    return step


def bounded_while(f):
    def looped(x, *refs):
        def more(state):
            return state[0] < 2

        def step(state):
            return state[0] + 1, f(state[1], *refs)

        return lax.while_loop(more, step, (0, x), max_steps=5)[1]

    return looped


def batched(f):
    """A batch of one, whose references are mapped."""

    def wrapped(x, *refs):
        grown = [pb.new_ref(ref[...][None]) for ref in refs]
        y = pb.vmap(f)(pnp.asarray(x)[None], *grown)
        for ref, new in zip(refs, grown, strict=True):
            ref[...] = new[0]
        return y[0]

    return wrapped


def closed_over(f):
    def wrapped(x, *refs):
        return pb.jit(lambda y: f(y, *refs))(x)

    return wrapped


def once(f):
    return f


def twice(f):
    def wrapped(x, *refs):
        return f(f(x, *refs), *refs)

    return wrapped


WRAPPERS = {
    compiled: once,
    checkpointed: once,
    branch: once,
    switch: once,
    scan: twice,
    scan_over_parts: twice,
    for_loop: twice,
    bounded_while: twice,
    batched: once,
    closed_over: once,
}


def run(wrapped, x, derivative):
    """The value or derivative, and what the references hold then."""
    table, total = pb.new_ref(0.25 * pnp.arange(4.0).reshape(2, 2)), pb.new_ref(0.0)

    def differentiable(x):
        local = pb.new_ref(pnp.array([0.5, -0.25]))
        y = wrapped(x, table, total, local)
        return y + local[...].sum()

    return [np.asarray(v) for v in (derivative(differentiable)(x), table[...], total[...])]


def value(f):
    return f


def gradient(f):
    return pb.grad(f)


def compiled_gradient(f):
    return pb.jit(pb.grad(f))


def forward(f):
    return pb.jacfwd(f)


PAIRS = list(itertools.product(WRAPPERS, WRAPPERS))


MORE = [pytest.param(f, marks=pytest.mark.long) for f in (value, compiled_gradient, forward)]


@pytest.mark.parametrize("derivative", [gradient, *MORE], ids=lambda f: f.__name__)
@pytest.mark.parametrize(("outer", "inner"), PAIRS, ids=lambda f: f.__name__)
def test_pairs_of_wrappers(outer, inner, derivative):
    expected = run(WRAPPERS[outer](WRAPPERS[inner](program)), 0.3, derivative)
    found = run(outer(inner(program)), 0.3, derivative)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("inner", WRAPPERS, ids=lambda f: f.__name__)
def test_second_derivatives(inner):
    for second in (pb.hessian, lambda f: pb.jacrev(pb.grad(f))):
        expected = run(WRAPPERS[inner](program), 0.3, second)
        found = run(inner(program), 0.3, second)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.long
@pytest.mark.parametrize("wrappers", [*itertools.product(WRAPPERS, repeat=3)])
def test_triples_of_wrappers(wrappers):
    a, b, c = wrappers
    expected = run(WRAPPERS[a](WRAPPERS[b](WRAPPERS[c](program))), 0.3, gradient)
    found = run(a(b(c(program))), 0.3, gradient)
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-4)
