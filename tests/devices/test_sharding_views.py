"""Shardings seen: inspected in compiled functions, drawn, and the collectives of compiled programs counted."""

import jax
import numpy as np
import pytest
from on_meshes import mesh, over, put, refusal

import pullback as pb
import pullback.numpy as pnp
from pullback._api.collective_counts import collectives_in

X = np.arange(64, dtype=np.float32).reshape(8, 8)


def inspected(lib):
    """The shardings of values inside of a compiled function, and outside."""
    seen = []

    def f(x):
        y = x @ x.T
        lib.debug.inspect_array_sharding(y, callback=seen.append)
        return lib.lax.with_sharding_constraint(y * 2, over(lib, "b"))

    compiled = lib.jit(f)
    x = put(lib, X, "a", "b")
    compiled(x)
    compiled(x)
    lib.debug.inspect_array_sharding(compiled(x), callback=seen.append)
    return seen


def test_shardings_are_told_when_the_compiler_knows_them():
    ours, theirs = inspected(pb), inspected(jax)
    assert len(ours) == len(theirs) == 2
    for mine, their in zip(ours, theirs, strict=True):
        assert mine.devices_indices_map((8, 8)).keys() == set(pb.devices())
        assert [d.id for d in mine.flat_devices] == list(range(8))
        assert list(mine.devices_indices_map((8, 8)).values()) == list(their.devices_indices_map((8, 8)).values())


def test_under_transformations_and_on_one_device():
    seen = []

    def f(x):
        pb.debug.inspect_array_sharding(x, callback=seen.append)
        return (x * x).sum()

    x = put(pb, X, "a", "b")
    pb.grad(f)(x)
    pb.vmap(f)(x)
    assert seen == [x.sharding] * 2
    assert pb.jit(pb.grad(f))(x).tolist() == (2 * X).tolist()
    assert seen[2].is_equivalent_to(x.sharding, 2)
    pb.jit(f)(X)
    assert seen[3].num_devices == 1
    assert refusal(pb.debug.inspect_array_sharding, x, callback=3)[0] is TypeError


def test_drawings(capsys):
    pb.debug.visualize_array_sharding(put(pb, X, "a", "b"))
    assert capsys.readouterr().out.splitlines() == [
        "┌─────────┬─────────┬─────────┬─────────┐",
        "│  CPU 0  │  CPU 1  │  CPU 2  │  CPU 3  │",
        "├─────────┼─────────┼─────────┼─────────┤",
        "│  CPU 4  │  CPU 5  │  CPU 6  │  CPU 7  │",
        "└─────────┴─────────┴─────────┴─────────┘",
    ]
    pb.debug.visualize_array_sharding(put(pb, X[0], "a"))
    assert "│ CPU 0,1,2,3 │ CPU 4,5,6,7 │" in capsys.readouterr().out
    pb.debug.visualize_sharding((8, 8), over(pb), max_width=9)
    assert capsys.readouterr().out.splitlines()[1:3] == ["│CPU 0,1,2│", "│,3,4,5,6,│"]
    pb.debug.visualize_sharding((8,), over(pb, "b"), scale=3)
    assert len(capsys.readouterr().out.splitlines()) == 5

    @pb.jit
    def f(x):
        pb.debug.visualize_array_sharding(x.T)
        return x.T

    f(put(pb, X, "a"))
    assert "CPU 4,5,6,7" in capsys.readouterr().out
    assert "one or two axes can be drawn" in refusal(pb.debug.visualize_array_sharding, np.zeros((2, 2, 2)))[1]
    assert "cannot be divided" in refusal(pb.debug.visualize_sharding, (6, 8), over(pb, "b"))[1]


def reduced(x, y):
    return x @ y


@pytest.mark.parametrize(
    ("specs", "out", "expected"),
    [
        # rows of the batch on each device: nothing is exchanged
        ((("a",), ()), ("a",), {}),
        # products of parts are summed: 8 × 8 numbers
        (((None, "a"), ("a",)), (), {"all-reduce": (1, 256)}),
        # each device has columns of the products of its rows: 4 × 8 numbers are collected
        ((("a",), (None, "b")), ("a",), {"all-gather": (1, 128)}),
    ],
)
def test_collectives_of_products(specs, out, expected):
    found = []
    for lib in (pb, jax):
        args = [put(lib, X, *spec) for spec in specs]
        compiled = lib.jit(reduced, out_shardings=over(lib, *out)).lower(*args).compile()
        found.append(compiled.collectives() if lib is pb else collectives_in(compiled.as_text()))
    assert found[0] == found[1] == expected


def test_programs_of_one_device_have_none():
    assert pb.jit(pnp.sin).lower(X).compile().collectives() == {}
    assert mesh(pb).size == 8


def test_reading_texts():
    text = """
    %a = (f32[4,8]{1,0}, /*index=1*/f32[]) all-reduce(%x, %y), channel_id=1
    %b = f32[4]{0} all-reduce(%x), channel_id=2, calls=%all-gather.1
    %c = (f32[2], f32[8]) all-gather-start(%x)
    %d = f32[8] all-gather-done(%c)
    ROOT %e = pred[10] collective-permute(%x)
    %f = s4[3,3] all-to-all(%x)
    """
    assert collectives_in(text) == {
        "all-gather": (1, 32),
        "all-reduce": (2, 4 * 33 + 16),
        "all-to-all": (1, 5),
        "collective-permute": (1, 10),
    }


def layer(np_, x, p):
    """A layer of enough operations to be kept as a function of its own in programs of one device."""
    y = (x - x.mean(1, keepdims=True)) / np_.sqrt(x.var(1, keepdims=True) + 1e-5)
    for _ in range(4):
        y = np_.tanh(y @ p) * np_.sin(y) + np_.exp(-y * y) / (1 + y * y)
    return x + y


def training_step(lib):
    def loss(params, x):
        for p in params:
            x = layer(lib.numpy, x, p)
        return (x**2).mean()

    def step(params, x):
        value, slopes = lib.value_and_grad(loss)(params, x)
        return value, [p - 0.1 * g for p, g in zip(params, slopes, strict=True)]

    return step


def test_gradients_of_all_layers_are_added_up_at_once():
    found = []
    for lib in (pb, jax):
        params = [put(lib, X / 64 + i) for i in range(6)]
        step = lib.jit(training_step(lib), out_shardings=over(lib))
        compiled = step.lower(params, put(lib, X / 64, "a")).compile()
        found.append(compiled.collectives() if lib is pb else collectives_in(compiled.as_text()))
    # the products of four uses of six matrices of 64 numbers, and the loss
    assert found[0] == found[1] == {"all-reduce": (1, 4 * 6 * 256 + 4)}
