"""jit: what is traced and compiled when, static and donated arguments, what crosses its border, stages."""

import copy
import dataclasses
import functools
import gc
import inspect
import pickle
import threading
import weakref

import numpy as np
import pytest
from agreement import close

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.core import check_jaxpr
from pullback.debug import counters

W = np.linspace(0.5, 1.0, 3, dtype=np.float32)
BIG = np.arange(100_000, dtype=np.float32)


def counted(call):
    """What a call traced and compiled."""
    with counters() as seen:
        call()
    return seen["traces"], seen["compiles"]


# ---- tracing and caching


def test_one_trace_and_one_compile_per_kind_of_arguments():
    times = []

    @pb.jit
    def f(x, y=2.0):
        times.append(1)
        return {"r": x * y + 41.125}

    assert counted(lambda: f(1.0)) == (1, 1)
    assert counted(lambda: [f(4.0), f(-1.0)]) == (0, 0)
    assert len(times) == 1
    assert counted(lambda: f(np.ones(2, np.float32)))[0] == 1
    assert counted(lambda: f(np.zeros(2, np.float32))) == (0, 0)
    assert counted(lambda: f(pnp.asarray(W)[:2])) == (0, 0)


def test_the_weak_type_is_part_of_the_kind():
    f = pb.jit(lambda x: x + 1)
    assert f(1.0).weak_type
    assert not f(np.float32(1.0)).weak_type
    assert f(1).dtype == np.int32
    assert f(True).dtype == np.int32
    assert (pnp.ones(2, "bfloat16") + f(1.0)).dtype.name == "bfloat16"


def test_all_jits_of_one_function_share_its_programs():
    def f(x):
        return x * 17.5

    assert counted(lambda: pb.jit(f)(1.0)) == (1, 1)
    assert counted(lambda: [pb.jit(f)(2.0) for _ in range(3)]) == (0, 0)


def test_derived_functions_are_remembered_too():
    f = pb.jit(lambda x: pnp.sin(x) * 3.25)
    calls = [
        pb.grad(f),
        pb.jit(pb.grad(f)),
        lambda x: pb.vmap(f)(x * W),
        lambda x: pb.jvp(f, (x,), (x,))[1],
        pb.grad(pb.grad(f)),
    ]
    expected = [np.asarray(call(1.0)) for call in calls]
    assert counted(lambda: [call(1.0) for call in calls]) == (0, 0)
    for call, value in zip(calls, expected, strict=True):
        close(call(1.0), value)


def test_functions_are_freed_with_what_is_remembered_of_them():
    def made():
        table = pnp.asarray(BIG)

        @pb.custom_jvp
        def f(x):
            return x + table

        @f.defjvp
        def f_jvp(primals, tangents):
            return f(*primals), tangents[0] + 0 * table

        pb.jit(f)(1.0)
        pb.jit(pb.grad(lambda x: f(x).sum()))(1.0)
        pb.jit(lambda x: f(x) * 2)(1.0)
        return weakref.ref(table)

    table = made()
    gc.collect()
    assert table() is None


def test_a_wrapper_does_not_inherit_programs():
    def f(x):
        return x + 1

    pb.jit(f)(1.0)

    @functools.wraps(f)
    def g(x):
        return f(x) * 10

    assert float(pb.jit(g)(1.0)) == 20.0
    assert float(pickle.loads(pickle.dumps(increment))(1.0)) == 2.0
    assert float(pb.jit(copy.copy(f))(1.0)) == 2.0


def increment(x):
    return x + 1


def test_clear_cache():
    f = pb.jit(lambda x: x * 3.125)
    f(1.0)
    f.clear_cache()
    assert counted(lambda: f(1.0))[0] == 1


def test_options_that_change_the_meaning_of_a_function_trace_again():
    f = pb.jit(lambda x: x + np.float32(1))
    assert f(1.0).dtype == np.float32
    with pb.enable_x64():
        assert f(np.float64(1.0)).dtype == np.float64
    assert f(np.float64(1.0)).dtype == np.float32
    g = pb.jit(lambda x, y: x + y)
    g(pnp.ones((2, 3)), pnp.ones(3))
    pb.config.update("numpy_rank_promotion", "raise")
    try:
        with pytest.raises(ValueError, match="rank"):
            g(pnp.ones((2, 3)), pnp.ones(3))
    finally:
        pb.config.update("numpy_rank_promotion", "allow")


def test_an_option_set_by_another_thread_is_seen():
    with pb.enable_x64():
        pass
    f = pb.jit(lambda: pnp.ones(()) * 2)
    assert f().dtype == np.float32
    setter = threading.Thread(target=lambda: pb.config.update("enable_x64", True))
    setter.start()
    setter.join()
    try:
        assert f().dtype == np.float64
    finally:
        pb.config.update("enable_x64", False)


def test_disable_jit():
    seen = []

    @pb.jit
    def f(x):
        seen.append(x)
        return 1.0 if x > 0 else -1.0

    pb.config.update("disable_jit", True)
    try:
        assert f(3.0) == 1.0
        assert f(-3.0) == -1.0
    finally:
        pb.config.update("disable_jit", False)
    assert seen == [3.0, -3.0]


# ---- static arguments


def test_static_by_number_and_by_name():
    def power(x, n, *, times=1):
        return sum(x**n for _ in range(times))

    for f in (
        pb.jit(power, static_argnums=1, static_argnames="times"),
        pb.jit(power, static_argnames=["n", "times"]),
        functools.partial(pb.jit, static_argnums=(-1,), static_argnames=("n", "times"))(power),
    ):
        assert float(f(3.0, 2, times=2)) == 18.0
        assert float(f(3.0, n=2)) == 9.0
        assert float(f(x=3.0, n=1, times=3)) == 9.0


def test_a_new_static_value_traces_anew_and_an_equal_one_does_not():
    f = pb.jit(lambda x, n: x * n, static_argnums=1)
    assert counted(lambda: f(1.5, 3))[0] == 1
    assert counted(lambda: f(1.5, 3)) == (0, 0)
    assert counted(lambda: f(1.5, 4))[0] == 1


def test_static_values_that_are_equal_but_not_the_same():
    f = pb.jit(lambda x, n: x * (n[0] if isinstance(n, tuple) else n), static_argnums=1)
    assert f(1, 2).dtype == np.int32
    assert f(1, 2.0).dtype == np.float32
    assert f(1, (2,)).dtype == np.int32
    assert f(1, (2.0,)).dtype == np.float32
    assert [str(f(1.0, 0.0)), str(f(1.0, -0.0))] == ["0.0", "-0.0"]
    assert counted(lambda: [f(1.0, float("nan")) for _ in range(2)])[0] <= 2


@dataclasses.dataclass(frozen=True)
class Factor:
    value: object
    name: str = dataclasses.field(default="", compare=False)

    def __call__(self, x):
        return x * self.value


def test_static_dataclasses_and_functions_that_are_equal_but_not_the_same():
    """Equal as dataclasses are, by their fields: a program for 1 is none for 1.0."""
    f = pb.jit(lambda x, factor: factor(x), static_argnums=1)
    for value, dtype in ((1, "int32"), (1.0, "float32"), (True, "int32"), (1 + 0j, "complex64"), (1, "int32")):
        assert f(pnp.int32(3), Factor(value)).dtype == dtype
        assert pb.jit(Factor(value))(pnp.int32(3)).dtype == dtype
    assert [str(f(1.0, Factor(zero))) for zero in (0.0, -0.0)] == ["0.0", "-0.0"]
    with counters() as seen:
        f(pnp.int32(3), Factor(1.0, "another name"))
    assert seen["traces"] == 0


def test_a_static_argument_that_is_left_out():
    f = pb.jit(lambda x, n=3: x * n, static_argnums=1)
    assert float(f(2.0)) == 6.0
    assert float(f(2.0, 4)) == 8.0


def test_marks_that_the_signature_does_not_have_are_refused():
    def f(x, n):
        return x

    for options, text in [
        ({"static_argnames": "m"}, r"static_argnames='m', but the function has no parameter 'm': f\(x, n\)"),
        ({"static_argnums": 2}, r"static_argnums=2, but the function has 2 positional parameters"),
        ({"donate_argnames": ("x", "y")}, r"no parameter 'y'"),
        ({"donate_argnums": -3}, r"donate_argnums=-3"),
        ({"static_argnums": 1, "donate_argnames": "n"}, r"arguments \[1\] are both static and donated"),
    ]:
        with pytest.raises(ValueError, match=f"jit of f: .*{text}"):
            pb.jit(f, **options)
    assert float(pb.jit(lambda *a, **k: a[1] * k["n"], static_argnums=3, static_argnames="n")(1.0, 2.0, n=3)) == 6.0


def test_static_arguments_must_be_hashable():
    with pytest.raises(TypeError, match=r"<lambda>: static argument 's' must be hashable.*got \[1\] of type list"):
        pb.jit(lambda x, s: x, static_argnums=1)(1.0, [1])
    with pytest.raises(TypeError, match="static argument 's' must be hashable"):
        pb.jit(lambda x, s: x, static_argnames="s")(1.0, s=np.ones(2))


# ---- functions of all kinds


class Scale:
    def __init__(self, k):
        self.k = k

    @functools.partial(pb.jit, static_argnums=0)
    def method(self, x):
        return self.k * x

    @staticmethod
    @pb.jit
    def static(x):
        return x + 1

    def __call__(self, x):
        return self.k * x


def test_methods():
    assert float(Scale(3.0).method(2.0)) == 6.0
    assert float(Scale(4.0).method(2.0)) == 8.0
    assert float(Scale.static(2.0)) == 3.0
    assert float(pb.jit(Scale(5.0).method)(2.0)) == 10.0
    assert float(pb.jit(Scale(6.0))(2.0)) == 12.0
    assert float(pb.jit(functools.partial(lambda k, x: k * x, 7.0))(2.0)) == 14.0


def test_the_name_and_the_docstring_stay():
    @pb.jit
    def f(x):
        """Doubled."""
        return 2 * x

    assert (f.__name__, f.__doc__) == ("f", "Doubled.")
    assert f.__wrapped__(3) == 6


def test_closures():
    k = 3.0
    assert float(pb.jit(lambda x: k * x)(2.0)) == 6.0
    table = np.arange(3.0)
    f = pb.jit(lambda i: table[1] + pnp.asarray(table)[i])
    assert float(f(2)) == 3.0


def compiled_double(x):
    return pb.jit(lambda y: x * y)(2.0)


def test_closures_over_tracers():
    close(pb.vmap(compiled_double)(W), 2 * W)
    assert float(pb.grad(compiled_double)(3.0)) == 2.0
    assert float(pb.jit(compiled_double)(3.0)) == 6.0


def test_closures_over_tracers_of_two_transformations():
    def total(x):
        def product(z):
            return pb.jit(lambda y: x * y * z)(2.0)

        return pb.vmap(product)(W).sum()

    close(pb.grad(total)(3.0), 2 * W.sum())


def test_a_closure_over_a_tracer_is_not_remembered_beyond_it():
    held = [0.0]
    f = pb.jit(lambda y: held[0] * y)

    def outer(x):
        held[0] = x
        return f(2.0)

    assert [float(pb.grad(outer)(v)) for v in (1.0, 5.0)] == [2.0, 2.0]
    close(pb.vmap(outer)(W), 2 * W)


# ---- in the jaxpr of another function


def test_a_nested_jit_is_one_call():
    inner = pb.jit(lambda x: pnp.sin(x) * 2)
    closed = pb.make_jaxpr(lambda x: inner(x) + inner(x))(1.0)
    check_jaxpr(closed)
    assert [e.primitive.name for e in closed.eqns] == ["jit", "jit", "add"]
    first, second = (e.params["jaxpr"] for e in closed.eqns[:2])
    assert first is second


def test_constants_are_hoisted():
    table = pnp.asarray(W)
    closed = pb.make_jaxpr(pb.jit(lambda x: x + table))(1.0)
    check_jaxpr(closed)
    assert len(closed.consts) == 1
    assert closed.consts[0] is table
    assert not closed.eqns[0].params["jaxpr"].constvars


def test_a_constant_that_the_user_changes_later_is_not_seen():
    table = W.copy()
    f = pb.jit(lambda x: x + table)
    close(f(1.0), W + 1)
    table[:] = 0
    close(f(1.0), W + 1)


# ---- donation


def successor(x):
    return x + 1


def first_entry(x):
    return float(x[0])


def as_list(x):
    return x.tolist()


def test_a_donated_argument_is_deleted():
    f = pb.jit(lambda p, x: p["w"] + x, donate_argnums=0)
    w = pb.jit(successor)(BIG)
    x = pnp.asarray(BIG)
    close(f({"w": w}, x), BIG + 1 + BIG)
    assert w.is_deleted()
    assert not x.is_deleted()
    assert repr(w) == "Array(deleted, shape=(100000,), dtype=float32)"
    for use in (successor, pb.jit(lambda x: x), np.asarray, first_entry, as_list):
        with pytest.raises(RuntimeError, match=r"Array f32\[100000\] has been deleted: its buffer was donated"):
            use(w)


def test_donation_by_name_and_by_keyword():
    f = pb.jit(lambda a, b: a + b, donate_argnames="b")
    for call in (lambda a, b: f(a, b), lambda a, b: f(a, b=b), lambda a, b: f(b=b, a=a)):
        a, b = pnp.asarray(BIG) + 0, pnp.asarray(BIG) + 0
        call(a, b)
        assert (a.is_deleted(), b.is_deleted()) == (False, True)


def test_donation_spares_what_others_hold():
    x = pnp.asarray(BIG)
    shaped, view = x.reshape(100, 1000), np.asarray(x)
    copied, deep = copy.copy(x), copy.deepcopy({"x": x})["x"]
    made = pb.jit(lambda x: x + 0)(BIG)
    made_view, made_copy = np.asarray(made), copy.deepcopy(made)
    f = pb.jit(lambda x: x * 0 - 7, donate_argnums=0)
    f(x)
    f(made)
    for held in (shaped.reshape(-1), view, copied, deep, made_view, made_copy):
        np.testing.assert_array_equal(np.asarray(held), BIG)


def test_the_memory_of_a_donated_argument_is_used_again():
    f = pb.jit(lambda x: x + 1, donate_argnums=0)
    x = pb.jit(lambda: pnp.zeros(100000))()  # its memory is the engine's
    address = x.unsafe_buffer_pointer()
    y = f(x)
    assert x.is_deleted()
    assert y.unsafe_buffer_pointer() == address
    with pytest.raises(pb.errors.ConcretizationTypeError):
        pb.jit(lambda x: x.unsafe_buffer_pointer())(y)


def test_a_donated_argument_that_no_result_can_replace():
    def f(x, y, z):
        return x + y.sum(), z * 2

    with pytest.warns(UserWarning, match=r"Some donated buffers were not usable: f32\[10\]: jit of f returns") as found:
        pb.jit(f, donate_argnums=(0, 1, 2))(pnp.ones(3), pnp.ones(10), pnp.ones(2))
    assert [w.filename for w in found] == [__file__]
    with pytest.warns(UserWarning, match=r"not usable: f32\[3\]"):  # the other takes the only result of that type
        pb.jit(lambda x, y: x + y, donate_argnums=(0, 1))(pnp.ones(3), pnp.zeros(3))


def test_what_is_donated_must_not_be_passed_twice():
    x = pnp.asarray(BIG)
    with pytest.raises(ValueError, match=r"<lambda>: an array of type f32\[100000\] is donated and passed in another"):
        pb.jit(lambda a, b: a + b, donate_argnums=0)(x, x)
    with pytest.raises(ValueError, match="or closed over"):
        pb.jit(lambda a: a + x, donate_argnums=0)(x)
    assert not x.is_deleted()


def test_donating_inside_of_another_transformation_donates_nothing():
    x = pnp.asarray(W)
    f = pb.jit(lambda x: (x * 2).sum(), donate_argnums=0)
    close(pb.grad(f)(x), np.full(3, 2.0, np.float32))
    assert not x.is_deleted()


# ---- what crosses the border


@pytest.mark.parametrize(
    "dtype",
    [
        "bool",
        "int4",
        "uint4",
        "int8",
        "uint8",
        "int16",
        "uint16",
        "int32",
        "uint32",
        "float16",
        "bfloat16",
        "float32",
        "complex64",
        "float8_e4m3fn",
        "float8_e5m2",
        "float8_e4m3b11fnuz",
        "float8_e4m3fnuz",
        "float8_e5m2fnuz",
    ],
)
@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (3,), (2, 1)])
def test_every_dtype_comes_back(dtype, shape):
    x = pnp.asarray(np.ones(shape), dtype=dtype)
    same, constant = pb.jit(lambda x: (x, pnp.asarray(np.ones(shape), dtype=dtype)))(x)
    for got in (same, constant, pb.jit(lambda x: x.reshape(shape))(x)):
        assert got.dtype == x.dtype
        assert got.shape == shape
        np.testing.assert_array_equal(np.asarray(got).astype(complex), np.ones(shape))


def test_structures():
    out = pb.jit(lambda p, n: {"a": [p["x"], None, ()], "n": n, "b": (p["x"], p["x"])})({"x": 1.0}, None)
    assert out["a"][1:] == [None, ()]
    assert out["n"] is None
    assert float(out["b"][1]) == 1.0
    assert pb.jit(lambda: ())() == ()
    assert [float(x) for x in pb.jit(lambda x: [x, 2.0])(1.0)] == [1.0, 2.0]
    assert type(pb.jit(lambda x: (x,))(1.0)) is tuple


def test_thousands_of_arguments():
    many = [float(i) for i in range(2000)]
    out = pb.jit(lambda *xs: [x + 1 for x in xs])(*many)
    assert [float(x) for x in out] == [x + 1 for x in many]


def test_views_that_are_not_contiguous():
    x = pnp.asarray(np.arange(12.0, dtype=np.float32).reshape(3, 4))
    np_x = np.asarray(x)
    close(pb.jit(lambda a, b: a @ b)(x.T[::2], x[:, ::-1]), np_x.T[::2] @ np_x[:, ::-1])
    close(pb.jit(lambda a: a + 0)(np_x[:, 1]), np_x[:, 1])
    close(pb.jit(lambda a: a + 0)(np.asfortranarray(np_x)), np_x)
    close(pb.jit(lambda a: a + 0)(np_x.astype(">f4")), np_x)


def test_the_users_memory_is_not_held():
    mine = BIG.copy()
    same, moved = pb.jit(lambda x: (x, x + 0))(mine)
    mine[:] = -1
    np.testing.assert_array_equal(np.asarray(same), BIG)
    np.testing.assert_array_equal(np.asarray(moved), BIG)


def test_threads():
    f = pb.jit(lambda x: x * 2.75)
    wrong = []

    def work(i):
        for k in range(20):
            got = f(float(k)), pb.grad(lambda x: f(x) ** 2)(2.0), pb.jit(lambda x: x * i)(2.0)
            if [float(g) for g in got] != [2.75 * k, 4 * 2.75**2, 2 * i]:
                wrong.append((i, k, got))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# ---- stages


def test_stages():
    f = pb.jit(lambda p, n: {"r": p["x"] * n}, static_argnums=1)
    traced = f.trace({"x": pb.ShapeDtypeStruct((3,), "float32")}, 2)
    assert traced.out_info == {"r": pb.ShapeDtypeStruct((3,), "float32")}
    check_jaxpr(traced.jaxpr)
    lowered = traced.lower()
    assert "stablehlo.multiply" in lowered.as_text()
    compiled = lowered.compile()
    assert "HloModule" in compiled.as_text()
    assert compiled.cost_analysis()["flops"] >= 3
    assert counted(lambda: close(compiled({"x": W})["r"], 2 * W)) == (0, 0)
    assert f.eval_shape({"x": W}, 2) == traced.out_info


def test_a_compiled_program_refuses_other_arguments():
    compiled = pb.jit(lambda x: x + 1).lower(W).compile()
    with pytest.raises(TypeError, match=r"compiled <lambda>: leaf 0 .* must have type f32\[3\], got f32\[4\]"):
        compiled(np.ones(4, np.float32))
    with pytest.raises(TypeError, match="expected arguments of structure"):
        compiled([W])
    with pytest.raises(TypeError, match="called inside a transformation"):
        pb.grad(lambda x: compiled(x).sum())(W)


def test_names_of_axes_around_a_call_are_part_of_what_is_compiled():
    c = pnp.ones(3)
    scaled = pb.jit(lambda x: x * lax.axis_size("i"))
    seen = []

    def noting(x):
        seen.append(scaled(c).tolist())
        return x

    for n in (2, 3):
        pb.vmap(noting, axis_name="i")(pnp.zeros(n))
    assert seen == [[2] * 3, [3] * 3]
    with pytest.raises(NameError):
        scaled(c)


def test_errors_of_warm_calls_end_at_the_users_line():
    def check(v):
        if v > 2:
            raise ValueError("too large")
        return v

    f = pb.jit(lambda x: pb.pure_callback(check, x, x))
    double = pb.jit(lambda x: x + x)
    one = double(0.5)
    f(one), f(one)
    with pytest.raises(ValueError, match="too large") as caught:
        f(double(double(one)))
    assert not any("/pullback/_" in str(entry.path) for entry in caught.traceback)


# ---- where things are, and the compiler's options


def test_the_one_device_under_all_its_names():
    x = pnp.ones(2)
    f = pb.jit(
        lambda a, b: a + b, in_shardings=(None, x.sharding), out_shardings=x.sharding, device=x.device, backend="cpu"
    )
    np.testing.assert_array_equal(f(x, 1.0), [2.0, 2.0])
    np.testing.assert_array_equal(pb.device_put(x, x.sharding), x)


@pytest.mark.parametrize(
    ("settings", "error", "part"),
    [
        ({"device": 3}, TypeError, "jit: device: expected None, a device, a sharding"),
        ({"in_shardings": ("x",)}, TypeError, "jit: in_shardings: expected None"),
        ({"out_shardings": "x"}, TypeError, "jit: out_shardings: expected None"),
        ({"backend": "gpu"}, RuntimeError, "jit: Unknown backend 'gpu': the only backend is 'cpu'"),
        ({"compiler_options": 3}, TypeError, "jit: compiler_options must map names of XLA's options"),
        ({"compiler_options": {"xla_nonsense": True}}, ValueError, "No such compile option: 'xla_nonsense'"),
        ({"compiler_options": {"xla_cpu_enable_fast_math": "maybe"}}, ValueError, "xla_cpu_enable_fast_math"),
    ],
)
def test_what_one_device_or_the_compiler_cannot_do(settings, error, part):
    with pytest.raises(error, match=part):
        pb.jit(lambda x: x + 1, **settings)(1.0)


def test_options_of_the_compiler():
    options = {"xla_cpu_enable_fast_math": False}
    f = pb.jit(lambda x: x + 1, compiler_options=options)
    assert float(f(1.0)) == 2.0 == float(pb.jit(lambda x: x + 1).lower(1.0).compile(options)(1.0))
    with pytest.raises(ValueError, match="No such compile option"):
        pb.jit(lambda x: x + 1).lower(1.0).compile({"xla_nonsense": 1})
    for call in (lambda: pb.grad(f)(1.0), lambda: pb.jit(f)(1.0), lambda: pb.vmap(f)(pnp.ones(2))):
        with pytest.raises(ValueError, match="compiler_options are those of a whole program"):
            call()


def test_programs_of_other_options_are_other_programs():
    def f(x):
        return pnp.sin(x) * pnp.cos(x) + x * 3.2501

    def with_level(level):
        return pb.jit(f, compiler_options={"xla_backend_optimization_level": level})(1.0)

    assert [counted(functools.partial(with_level, n))[1] for n in (0, 3, 0)] == [1, 1, 0]


@pytest.mark.filterwarnings("ignore:Some donated buffers were not usable")
def test_unused_arguments_are_donated_only_if_kept():
    """As in JAX, where the program is not given what it does not read."""
    for keep in (False, True):
        x = pnp.arange(4.0) * 1
        pb.jit(lambda a, b: b + 1, donate_argnums=0, keep_unused=keep)(x, 1.0)
        assert x.is_deleted() == keep
    x = pnp.arange(4.0) * 1
    pb.jit(donate_argnums=0, keep_unused=True)(lambda a, b: b + 1)(x, 1.0)
    assert x.is_deleted()


def scaled(x, factor: float, *, power=2):
    return factor * x**power


def test_a_compiled_function_tells_its_parameters_to_those_who_do_not_follow_wrappers():
    """As JAX's does, by which libraries sort arguments: chex's fake_pmap, for example."""
    compiled = pb.jit(scaled, static_argnames="power")
    assert inspect.signature(compiled, follow_wrapped=False) == inspect.signature(scaled)
    assert inspect.getcallargs(compiled, 1.0, factor=2.0) == {"x": 1.0, "factor": 2.0, "power": 2}
    # chex takes functions with this name among their globals for compiled ones
    assert compiled.__wrapped__ is scaled
    assert "api_boundary" in compiled.__globals__
