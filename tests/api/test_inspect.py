"""make_jaxpr and eval_shape: the text of jaxprs, static arguments, shapes without work."""

import re

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.core import check_jaxpr, eval_jaxpr

W = np.linspace(0.5, 1.0, 3, dtype=np.float32)


def text(fun, *args, **kwargs):
    closed = pb.make_jaxpr(fun)(*args, **kwargs)
    check_jaxpr(closed)
    return str(closed)


# ---- text


def test_scalar_function():
    one_line = "{ lambda ; a:f32[]. let b:f32[] = sin a; c:f32[] = mul b 2.0 in (c,) }"
    assert text(lambda x: pnp.sin(x) * 2.0, 1.0) == one_line


def test_what_is_too_long_for_a_line():
    assert (
        text(lambda x: pnp.exp(pnp.sin(x) * 2.0), 1.0)
        == """\
{ lambda ; a:f32[]. let
    b:f32[] = sin a
    c:f32[] = mul b 2.0
    d:f32[] = exp c
  in (d,) }"""
    )
    # as long as a line may be, without the brace, and one character more
    assert "\n" not in text(lambda x, y: (x + y, -x), W, W)
    assert "\n" in text(lambda x, y: (x + y, -x), pnp.ones(10), pnp.ones(10))


def test_no_equations_and_no_arguments():
    assert text(lambda x, y: (y, x), 1.0, W) == "{ lambda ; a:f32[] b:f32[3]. let  in (b, a) }"
    assert text(lambda: ()) == "{ lambda ; . let  in () }"
    assert text(lambda x: 3, 1.0) == "{ lambda ; a:f32[]. let  in (3,) }"


def test_constants_stand_before_the_semicolon():
    table = pnp.asarray(W)
    assert text(lambda x: x + table, 1.0).startswith("{ lambda a:f32[3]; b:f32[]. let c:f32[3] = ")


def test_one_constant_is_hoisted_once():
    table = pnp.asarray(W)
    closed = pb.make_jaxpr(lambda x: x * table + table)(1.0)
    assert len(closed.consts) == 1


def test_nested_functions_are_indented():
    def double(y):
        return y * 2

    lines = text(lambda x: pb.jit(double)(x), 1.0).splitlines()
    assert lines[0] == "{ lambda ; a:f32[]. let"
    assert lines[1] == "    b:f32[] = jit["
    assert lines[2] == "      name=double"
    assert lines[3] == "      jaxpr={ lambda ; c:f32[]. let d:f32[] = mul c 2.0 in (d,) }"
    assert lines[-1] == "  in (b,) }"


def test_no_name_means_two_things():
    def f(x, y):
        return lax.cond(x > 0, lambda y: lax.cond(y > 1, pnp.sin, pnp.cos, y), lambda y: y * 2, y)

    bound = re.findall(r"(\w+):(?:f32|bool|i32)\[", text(f, 1.0, 2.0))
    assert len(bound) == len(set(bound))
    assert max(len(name) for name in bound) == 1


def test_results_that_nobody_reads():
    def first_of_two(x):
        return lax.cond(x > 0, lambda x: (x, x * 2), lambda x: (x, x), x)[0]

    closed = pb.make_jaxpr(first_of_two)(1.0)
    check_jaxpr(closed)
    assert "_:f32[]" in str(closed)


def test_dtypes_by_their_short_names():
    args = [
        pnp.zeros((), d) for d in ("bool", "int8", "uint16", "bfloat16", "float16", "complex64", "float8_e5m2", "int4")
    ]
    assert text(lambda *xs: (), *args) == (
        "{ lambda ; a:bool[] b:i8[] c:u16[] d:bf16[] e:f16[] f:c64[] g:f8_e5m2[] h:i4[]. let  in () }"
    )


def test_more_than_26_variables():
    def chain(x):
        for _ in range(60):
            x = -x
        return x

    lines = text(chain, 1.0).splitlines()
    assert lines[25:28] == ["    z:f32[] = neg y", "    ba:f32[] = neg z", "    bb:f32[] = neg ba"]
    names = [line.split(":")[0].strip() for line in lines[1:-1]]
    assert len(set(names)) == 60


def test_repr_is_the_text():
    closed = pb.make_jaxpr(lambda x: x)(1.0)
    assert repr(closed) == str(closed) == str(closed.jaxpr)


# ---- arguments


def test_pytrees_and_keyword_arguments():
    closed = pb.make_jaxpr(lambda p, *, k: {"r": p["b"] * k, "s": p["a"]})({"a": 1.0, "b": W}, k=2)
    assert [str(a) for a in closed.in_avals] == [str(a) for a in closed.jaxpr.in_avals]
    assert [a.shape for a in closed.in_avals] == [(), (3,), ()]
    assert [a.shape for a in closed.out_avals] == [(3,), ()]
    assert closed.in_avals[2].dtype == np.int32


@pytest.mark.parametrize("static", [1, (1,), -1, [-1]])
def test_static_arguments(static):
    closed = pb.make_jaxpr(lambda x, n: x**n if n > 1 else x, static_argnums=static)(2.0, 3)
    assert len(closed.in_avals) == 1
    assert float(eval_jaxpr(closed.jaxpr, closed.consts, 2.0)[0]) == 8.0


def test_return_shape():
    closed, shape = pb.make_jaxpr(lambda x: {"r": (x > 0, x)}, return_shape=True)(W)
    assert shape == {"r": (pb.ShapeDtypeStruct((3,), "bool"), pb.ShapeDtypeStruct((3,), "float32"))}
    check_jaxpr(closed)


def test_structs_stand_for_arrays():
    struct = pb.ShapeDtypeStruct((2, 3), "bfloat16")
    closed = pb.make_jaxpr(lambda x: x.T)(struct)
    assert closed.out_avals[0].shape == (3, 2)
    assert closed.in_avals[0].dtype.name == "bfloat16"


def test_effects_of_python_happen_once():
    seen = []

    def noting(x):
        seen.append(1)
        return x

    pb.make_jaxpr(noting)(1.0)
    assert seen == [1]


def test_other_transformations_inside():
    table = pnp.asarray(W)
    for fun, x in [
        (pb.grad(lambda x: pnp.sin(x) * 2), 1.0),
        (pb.vmap(lambda x: x * 2), W),
        (lambda x: pb.jvp(pnp.sin, (x,), (x,)), 1.0),
        (pb.jit(pb.grad(lambda x: (x * table).sum())), 1.0),
    ]:
        check_jaxpr(pb.make_jaxpr(fun)(x))


def test_evaluation_gives_the_value():
    def f(x, y):
        return pnp.sin(x) * y, {"s": (x * y).sum()}

    closed = pb.make_jaxpr(f)(W, 2.0)
    got = eval_jaxpr(closed.jaxpr, closed.consts, W, 2.0)
    np.testing.assert_allclose(np.asarray(got[0]), np.sin(W) * 2, rtol=1e-6)
    gradient = pb.grad(lambda y: eval_jaxpr(closed.jaxpr, closed.consts, W, y)[1])(2.0)
    assert float(gradient) == pytest.approx(W.sum())


# ---- eval_shape


def test_eval_shape():
    shape = pb.eval_shape(
        lambda p, k=1.0: {"r": p["x"] @ p["x"].T * k}, {"x": pb.ShapeDtypeStruct((4096, 100_000), "float32")}, k=2.0
    )
    assert shape == {"r": pb.ShapeDtypeStruct((4096, 4096), "float32")}


def test_eval_shape_does_no_work():
    struct = pb.ShapeDtypeStruct((10**6, 10**6), "float32")
    assert pb.eval_shape(lambda x: pnp.sin(x) @ x, struct).shape == (10**6, 10**6)


def test_eval_shape_of_weak_types_and_integers():
    assert pb.eval_shape(lambda x: x + 1, 2.0) == pb.ShapeDtypeStruct((), "float32", weak_type=True)
    assert pb.eval_shape(lambda x: x + 1, np.int8(2)).dtype == np.int8


def test_a_struct_says_what_it_is():
    struct = pb.ShapeDtypeStruct([2, 3], np.float32)
    assert repr(struct) == "ShapeDtypeStruct(shape=(2, 3), dtype=float32)"
    assert (struct.ndim, struct.size, len(struct)) == (2, 6, 2)
    assert {struct: 1}[pb.ShapeDtypeStruct((2, 3), "float32")] == 1
    assert struct != pb.ShapeDtypeStruct((2, 3), "float16")
    with pytest.raises(TypeError, match="len"):
        len(pb.ShapeDtypeStruct((), "float32"))


# ---- what wrong input gets


def test_errors():
    with pytest.raises(TypeError, match=r"make_jaxpr of <lambda>: argument 'p', leaf \['k'\]: .* got 'text'"):
        pb.make_jaxpr(lambda n, p: p, static_argnums=0)(3, {"k": "text"})
    with pytest.raises(TypeError, match=r"eval_shape: expected a function, got 3 of type int"):
        pb.eval_shape(3, 1.0)
    with pytest.raises(TypeError, match=r"make_jaxpr: expected a function, got 'f' of type str"):
        pb.make_jaxpr("f")
    with pytest.raises(ValueError, match=r"make_jaxpr: static_argnums=4 asks for positional argument 4"):
        pb.make_jaxpr(lambda x: x, static_argnums=4)(1.0)
    with pytest.raises(TypeError, match=r"make_jaxpr: static_argnums must be an int or a sequence of ints, got 'n'"):
        pb.make_jaxpr(lambda n: n, static_argnums="n")(1.0)


def test_eval_shape_of_a_function_that_returns_types():
    struct = pb.ShapeDtypeStruct((2,), "int8")
    out = pb.eval_shape(lambda x: {"a": x * 2, "b": [struct, x]}, pnp.ones(3))
    assert out == {"a": pb.ShapeDtypeStruct((3,), "float32"), "b": [struct, pb.ShapeDtypeStruct((3,), "float32")]}
    assert pb.eval_shape(lambda: struct) == struct
    assert pb.eval_shape(lambda: None) is None
    with pytest.raises(TypeError, match="must return arrays or numbers"):
        pb.eval_shape(lambda: (struct, "a"))


def test_captured_arrays_of_one_number_are_constants():
    """As in JAX: whether a function captures numbers or traced values, it has as many constants."""
    number = pnp.asarray(2.0)

    def f(x):
        return x * number + 3.0 * pb.lax.cond(x > 0, lambda: number * x, lambda: x)

    closed = pb.make_jaxpr(f)(1.0)
    assert closed.consts == [number]
    assert [x.aval.shape for x in closed.jaxpr.constvars] == [()]
    assert pb.core.eval_jaxpr(closed.jaxpr, [pnp.asarray(5.0)], 1.0) == [20.0]
    inside = pb.make_jaxpr(pb.grad(f))(1.0)
    assert inside.consts == [number]
    assert pb.core.eval_jaxpr(inside.jaxpr, inside.consts, 1.0) == [pb.grad(f)(1.0)]
    # what is compiled has it as a literal still
    assert "2.0" in str(pb.jit(f).trace(1.0).jaxpr)

    def outer(a):
        return len(pb.make_jaxpr(lambda x: x * a)(1.0).consts), a

    counts = []
    pb.jit(lambda a: counts.append(outer(a)[0]) or a)(number)
    assert counts == [outer(number)[0]] == [1]


def test_types_stand_for_arrays():
    """As in JAX, whose flax asks for shapes this way."""
    aval = pb.core.ShapedArray((2, 3), "float32")
    assert pb.eval_shape(lambda x: x.sum(0), aval) == pb.ShapeDtypeStruct((3,), "float32")
    assert pb.make_jaxpr(pnp.sin)(aval).in_avals == [aval]
    with pytest.raises(TypeError, match="which has no data"):
        pb.jit(pnp.sin)(aval)
    for given in ("int8", np.dtype("int8"), np.int8):
        assert lax.dtype(given) == np.int8


def test_structs_like_arrays():
    like = pb.ShapeDtypeStruct.like
    assert like(pnp.ones((2, 3), "bfloat16")) == pb.ShapeDtypeStruct((2, 3), "bfloat16")
    assert like(np.ones(2, "int8")) == pb.ShapeDtypeStruct((2,), "int8")
    assert like(1.0) == pb.ShapeDtypeStruct((), "float32", weak_type=True)
    assert like(pb.random.key(0)).dtype == pb.random.key(0).dtype
    placed = pb.device_put(np.ones(8), pb.sharding.NamedSharding(pb.make_mesh((2,), ("i",)), pb.P("i")))
    assert like(placed).sharding == like(like(placed)).sharding == placed.sharding
    with pytest.raises(TypeError, match="expected an array"):
        like("text")
