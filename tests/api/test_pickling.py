"""Functions travel to other processes: by name with pickle, by value with cloudpickle, as joblib and dask use it."""

import pickle
import subprocess
import sys

import cloudpickle
import pytest

import pullback as pb

# what a user's script holds; run as __main__, so that nothing in it can be imported elsewhere
SCRIPT = """
import sys
import cloudpickle
import pullback as pb
import pullback.numpy as pnp


def plain(x):
    return pnp.sin(x)


clipped = pb.custom_jvp(plain)


@clipped.defjvp
def clipped_jvp(primals, tangents):
    return clipped(*primals), 100. * tangents[0]


@pb.custom_vjp
def doubled(x):
    return 2. * x


doubled.defvjp(lambda x: (doubled(x), x), lambda x, ct: (50. * ct,))


@pb.jit
def compiled(x):
    return clipped(x) + doubled(x) + (compiled.__name__ == "compiled")


scaled = pb.jit(lambda x, n: x * n, static_argnums=1)
memory = {"fun": pb.checkpoint(compiled), "rows": pb.vmap(doubled), "gradient": pb.jit(pb.grad(clipped))}
compiled(1.), scaled(1., 2)     # with programs of their own, which stay here
sys.stdout.buffer.write(cloudpickle.dumps((clipped, doubled, compiled, scaled, memory)))
"""


@pytest.fixture(scope="module")
def travelled(tmp_path_factory):
    script = tmp_path_factory.mktemp("travel") / "script.py"
    script.write_text(SCRIPT)
    ran = subprocess.run([sys.executable, str(script)], capture_output=True, check=True)
    return pickle.loads(ran.stdout)


def test_rules_travel(travelled):
    clipped, doubled, *_ = travelled
    assert pb.grad(clipped)(0.0) == 100
    assert pb.grad(doubled)(0.0) == 50
    assert pb.jit(pb.grad(lambda x: clipped(x) * doubled(x)))(1.0) == pytest.approx(200 + 50 * float(clipped(1.0)))


def test_compiled_functions_travel(travelled):
    _, _, compiled, scaled, memory = travelled
    for _ in range(3):
        assert compiled(0.0) == 1
        assert scaled(3.0, 2) == 6
        assert scaled(3.0, n=3) == 9
    assert pb.grad(compiled)(0.0) == 150
    assert pb.grad(memory["fun"])(0.0) == 150
    assert memory["rows"](pb.numpy.arange(2.0)).tolist() == [0, 2]
    assert memory["gradient"](0.0) == 100


def test_warm_calls_of_what_has_travelled(travelled):
    scaled = travelled[3]
    scaled(1.0, 4)
    with pb.debug.counters() as seen:
        assert [float(scaled(x, 4)) for x in (2.0, 3.0, 4.0)] == [8, 12, 16]
    assert not seen["traces"]


@pb.custom_jvp
def importable(x):
    return x


def test_what_can_be_imported_travels_by_name():
    assert pickle.loads(pickle.dumps(importable)) is importable
    assert cloudpickle.loads(cloudpickle.dumps(importable)) is importable


def test_plain_pickle_refuses_what_has_no_name():
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(pb.custom_jvp(lambda x: x))
