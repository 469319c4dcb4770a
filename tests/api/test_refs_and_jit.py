"""References in compiled functions: closed over, passed, aliased; traces and programs; stages; make_jaxpr."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.debug import counters


def test_a_closed_over_reference_is_read_at_each_call_and_written():
    ref, scale = pb.new_ref(pnp.zeros(3)), pb.new_ref(2.0)

    @pb.jit
    def f(x):
        ref[1] += scale[...] * x
        return ref[...].sum()

    assert f(1.0) == 2
    scale[...] = 10.0
    assert f(1.0) == 12
    ref[0] = 100.0
    assert f(1.0) == 122
    np.testing.assert_array_equal(ref[...], [100, 22, 0])
    assert scale[...] == 10


def test_arguments_are_read_and_written():
    @pb.jit
    def f(state, x):
        before = state["a"][0]
        state["a"][...] = x
        state["b"].addupdate(x[1])
        return before

    a, b = pb.new_ref(pnp.arange(3.0)), pb.new_ref(1.0)
    assert f({"a": a, "b": b}, pnp.array([5.0, 6.0, 7.0])) == 0
    assert f(x=pnp.array([1.0, 2.0, 3.0]), state={"a": a, "b": b}) == 5
    np.testing.assert_array_equal(a[...], [1, 2, 3])
    assert b[...] == 9


def test_one_program_serves_all_references_of_a_type():
    @pb.jit
    def f(ref, x):
        ref[...] += x
        return ref[0]

    with pb.debug.counters() as before:
        for i in range(3):
            ref = pb.new_ref(pnp.full(2, i, pnp.float32))
            assert f(ref, 1.0) == i + 1
            assert ref[1] == i + 1
    assert before["traces"] == 1
    with pytest.raises(ValueError, match="neither broadcast nor convert"):
        f(pb.new_ref(pnp.zeros(2, int)), 1.0)


def test_arrays_read_before_stay_as_they_were():
    ref = pb.new_ref(pnp.zeros(1000))
    add = pb.jit(lambda: ref.addupdate(pnp.ones(1000)))
    seen = []
    for _ in range(4):
        add()
        seen.append(ref[...])
    add()
    ref[0] = -1.0
    assert [int(x[0]) for x in seen] == [1, 2, 3, 4]
    assert [int(x[7]) for x in seen] == [1, 2, 3, 4]
    assert ref[7] == 5


def test_what_was_written_by_the_user_stays_as_it_was():
    value = pnp.ones(1000)
    ref = pb.new_ref(value)
    double = pb.jit(lambda r: r.__setitem__(..., 2 * r[...]))
    double(ref)
    ref[...] = value
    double(ref)
    double(ref)
    assert value[3] == 1
    assert ref[3] == 4


def test_a_program_updates_in_place():
    ref = pb.new_ref(pnp.zeros(100_000))
    step = pb.jit(lambda i: ref.addupdate(1.0, i))
    step(0)
    address = ref.cell.content.buffer.unsafe_buffer_pointer()
    for i in range(1, 5):
        step(i)
    assert ref.cell.content.buffer.unsafe_buffer_pointer() == address
    np.testing.assert_array_equal(ref[:6], [1, 1, 1, 1, 1, 0])


def test_parts_are_passed():
    ref = pb.new_ref(pnp.zeros((2, 3)))

    @pb.jit
    def f(row, x):
        row[1] = x
        return row[...].sum()

    assert f(ref.at[1], 2.0) == 2
    assert f(ref.at[0], 5.0) == 5
    np.testing.assert_array_equal(ref[...], [[0, 5, 0], [0, 2, 0]])


def test_compiled_calls_in_compiled_calls():
    outer, count = pb.new_ref(pnp.zeros(2)), pb.new_ref(0)

    @pb.jit
    def inner(ref, x):
        count[...] += 1
        ref[0] += x
        return ref[...] * x

    @pb.jit
    def f(ref, x):
        local = pb.new_ref(x * pnp.ones(2))
        a = inner(ref, x)
        b = inner(local, x)
        return a + b + inner(outer, 1.0), local[...]

    ref = pb.new_ref(pnp.array([1.0, 2.0]))
    for call in (1, 2):
        total, local = f(ref, 2.0)
        first = 1 + 2 * call
        np.testing.assert_array_equal(total, [2 * first + 8 + call, 4 + 4 + 0])
        np.testing.assert_array_equal(local, [4, 2])
        np.testing.assert_array_equal(ref[...], [first, 2])
        np.testing.assert_array_equal(outer[...], [call, 0])
        assert count[...] == 3 * call


def test_a_new_closure_each_time():
    def total(xs):
        ref = pb.new_ref(0.0)

        @pb.jit
        def add_all():
            lax.map(ref.addupdate, xs)

        add_all()
        return ref[...]

    for n in (2, 3):
        assert total(pnp.ones(n)) == n


def test_static_arguments():
    ref = pb.new_ref(1.0)
    f = pb.jit(lambda r, n: r.__setitem__(..., r[...] + n), static_argnums=1)
    f(ref, 2)
    f(ref, 3)
    assert ref[...] == 6
    g = pb.jit(lambda r, x: r[...] * x, static_argnums=0)
    assert g(ref, 2.0) == 12
    ref[...] = 10.0
    assert g(ref, 2.0) == 20


def test_donation_concerns_arrays_alone():
    ref, x = pb.new_ref(pnp.ones(3)), pnp.ones(3)
    f = pb.jit(lambda r, x: (x + r[...], 2 * x), donate_argnums=(0, 1))
    f(ref, x)
    assert x.is_deleted()
    np.testing.assert_array_equal(ref[...], [1, 1, 1])


def test_threads_update_one_reference_and_their_own():
    shared = pb.new_ref(pnp.zeros(1000))
    step = pb.jit(lambda own, x: (shared.addupdate(1.0, x), own.addupdate(2.0, x)))
    own = [pb.new_ref(pnp.zeros(1000)) for _ in range(4)]
    step(own[0], 999)

    def work(k):
        for _ in range(50):
            step(own[k], k)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    for k in range(4):
        assert shared[k] == 50
        assert own[k][k] == 100
        assert own[k][(k + 1) % 4] == 0


def test_without_compilation():
    ref = pb.new_ref(0.0)
    f = pb.jit(lambda r: r.addupdate(1.0))
    with pb.disable_jit():
        f(ref)
    with pb.debug_nans(True):
        f(ref)
    assert ref[...] == 2


def test_stages():
    ref, closed = pb.new_ref(pnp.zeros(2)), pb.new_ref(1.0)

    def f(r, x):
        r[0] += x * closed[...]
        closed[...] += 1.0
        return r[...].sum()

    compiled = pb.jit(f).lower(ref, 1.0).compile()
    np.testing.assert_array_equal(ref[...], [0, 0])
    assert compiled(ref, 3.0) == 3
    assert compiled(ref, 3.0) == 9
    assert (ref[0], closed[...]) == (9, 3)
    assert pb.jit(f).lower(ref, 1.0).out_info == pb.eval_shape(f, ref, 1.0) == pb.ShapeDtypeStruct((), "float32")
    with pytest.raises(TypeError, match=r"must have type Ref\{f32\[2\]\}, got f32\[2\]"):
        compiled(pnp.zeros(2), 1.0)
    with pytest.raises(TypeError, match=r"must have type Ref\{f32\[2\]\}, got Ref\{f32\[3\]\}"):
        compiled(pb.new_ref(pnp.zeros(3)), 1.0)
    with pytest.raises(ValueError, match="are the same"):
        pb.jit(lambda r: r[...] + closed[...]).lower(closed.at[...])


def test_make_jaxpr_shows_contents_and_effects():
    closed = pb.new_ref(pnp.ones(2))

    def f(x, ref, other):
        ref[...] = x + other[0]
        return closed[...] * x

    jaxpr = pb.make_jaxpr(f)(pnp.zeros(2), pb.new_ref(pnp.zeros(2)), pb.new_ref(pnp.ones(3)))
    assert [v.shape for v in jaxpr.in_avals] == [(2,), (2,), (3,)]
    assert len(jaxpr.consts) == 1
    assert len(jaxpr.out_avals) == 2
    assert str(jaxpr.effects) == "[ReadEffect(0: f32[2]), WriteEffect(2: f32[2]), ReadEffect(3: f32[3])]"
    assert str(jaxpr).endswith("with ReadEffect(0: f32[2]), WriteEffect(2: f32[2]), ReadEffect(3: f32[3])")
    product, written = pb.core.eval_jaxpr(jaxpr.jaxpr, jaxpr.consts, pnp.arange(2.0), pnp.zeros(2), pnp.ones(3))
    np.testing.assert_array_equal(product, [0, 1])
    np.testing.assert_array_equal(written, [1, 2])
    assert pb.make_jaxpr(lambda x: pb.new_ref(x)[...])(1.0).effects == []
    np.testing.assert_array_equal(closed[...], [1, 1])


def test_tracing_alone_writes_nothing():
    ref = pb.new_ref(pnp.zeros(2))

    def f(r):
        r[0] = 5.0

    pb.make_jaxpr(f)(ref)
    pb.eval_shape(f, ref)
    pb.jit(f).lower(ref)
    np.testing.assert_array_equal(ref[...], [0, 0])


def test_an_error_while_tracing_leaves_references_as_they_were():
    ref = pb.new_ref(pnp.zeros(2))

    @pb.jit
    def f(r):
        r[0] = 1.0
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        f(ref)
    np.testing.assert_array_equal(ref[...], [0, 0])


def test_an_error_while_running_leaves_references_as_they_were():
    ref = pb.new_ref(pnp.arange(2.0))

    def fail(x):
        if x > 1:
            raise RuntimeError("stopped")
        return x

    @pb.jit
    def f(x):
        ref[0] += pb.pure_callback(fail, pb.ShapeDtypeStruct((), "float32"), x)

    f(1.0)
    with pytest.raises(RuntimeError, match="stopped"):
        f(2.0)
    np.testing.assert_array_equal(ref[...], [1, 1])


def refused(error, message, action, *args):
    with pytest.raises(error, match=message):
        action(*args)


def test_two_names_of_one_reference():
    ref, other = pb.new_ref(pnp.zeros(2)), pb.new_ref(pnp.zeros(2))
    pair = pb.jit(lambda a, b: a[0] + b[0])
    nested = pb.jit(lambda tree: tree["a"][0])
    closing = pb.jit(lambda a: a[0] + ref[0])
    twice = "argument 'a' of <lambda> and the one that is argument 'b' of <lambda> are the same"
    for _ in range(2):
        assert pair(ref, other) == closing(other) == nested({"a": ref, "b": other}) == 0
        refused(ValueError, "are the same", pair, ref, ref)
        refused(ValueError, "are the same", pair, ref, ref.at[0:2])
        refused(ValueError, r"\['a'\].*\['b'\].*are the same", nested, {"a": ref, "b": ref})
        refused(ValueError, "made at.*argument 'a'.*are the same", closing, ref)
        refused(ValueError, "are the same", pb.grad(lambda x: x * pair(ref, ref)), 1.0)
    refused(ValueError, twice, pb.make_jaxpr(lambda a, b: a[0]), ref, ref)
    refused(ValueError, "are the same", pb.eval_shape, lambda a, b: a[0], ref, ref)
    refused(ValueError, "are the same", pb.checkpoint(lambda a, b: a[0]), ref, ref)
    refused(ValueError, "are the same", pb.checkpoint(lambda a: a[0] + ref[0]), ref)
    assert pb.grad(lambda x, a, b: x * (a[0] + b[0] + 1))(1.0, ref, ref) == 1


def by_types(f):
    return partial(pb.eval_shape, f)


def test_refusals():
    ref = pb.new_ref(pnp.zeros(2))
    for trace in (pb.jit, pb.make_jaxpr, pb.checkpoint, by_types):
        refused(ValueError, "must not return a Ref.*argument 'r' of", trace(lambda r: r), ref)
        refused(ValueError, "must not return a Ref.*made at", trace(lambda r: {"a": ref}), 1.0)
        refused(ValueError, "must not return a Ref.*made at", trace(lambda x: pb.new_ref(x)), 1.0)
        refused(ValueError, "can be ended only where it was made", trace(lambda r: pb.freeze(r)), ref)
        refused(ValueError, "can be ended only where it was made", trace(lambda x: pb.free_ref(ref)), 1.0)
        refused(TypeError, "Read it first", trace(lambda r: r + 1), ref)
    frozen = pb.jit(lambda x: ref[0] + x)
    assert frozen(1.0) == 1
    pb.freeze(ref)
    refused(RuntimeError, "its use was ended by freeze", frozen, 1.0)
    refused(RuntimeError, "its use was ended by freeze", pb.jit(lambda r: r[0]), ref)


def test_a_reference_that_leaks():
    kept = []
    pb.jit(lambda x: kept.append(pb.new_ref(x)))(1.0)
    pb.jit(lambda r: kept.append(r))(pb.new_ref(1.0))
    for ref in kept:
        refused(pb.errors.UnexpectedTracerError, "after", lambda r=ref: r[...])
        refused(pb.errors.UnexpectedTracerError, "after", lambda r=ref: r.__setitem__(..., 1.0))
        assert repr(ref) == "Ref(f32[], traced)"


def test_counters_of_warm_calls():
    ref = pb.new_ref(pnp.zeros(2))
    f = pb.jit(lambda: ref.addupdate(1.0, 0))
    f()
    with counters() as counted:
        for _ in range(5):
            f()
    assert counted["traces"] == counted["compiles"] == 0
    assert ref[0] == 6
