"""A forked child: what needs the engine's threads is refused in words, all else goes on working."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")

PROLOGUE = """
import os, sys, warnings
warnings.simplefilter("ignore")  # Python 3.12 warns of forks beside threads
import numpy as np
import pullback as pb, pullback.numpy as pnp
from pullback import lax

def in_child(act):
    pid = os.fork()
    if pid == 0:
        try:
            act()
            os._exit(0)
        except BaseException as error:
            print(type(error).__name__, error, file=sys.stderr, flush=True)
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

def refused(act, *args):
    try:
        act(*args)
    except RuntimeError as error:
        assert "get_context('spawn')" in str(error), error
    else:
        raise AssertionError("not refused")

flat = pb.jit(lambda x: 2 * x)
tree = pb.jit(lambda t, *, n: t["x"] * n)
static = pb.jit(lambda x, n: x * n, static_argnums=1)
host = pnp.arange(3.)
"""

STARTED = """
device = flat(host).block_until_ready()
unread = flat(device).block_until_ready()
for _ in range(3):
    flat(device), tree({"x": device}, n=device), static(device, 2)
kernel = pnp.ones((1, 1, 3))
lax.conv(kernel, kernel, (1,), "VALID")
slope = pb.grad(lambda x: flat(x).sum())
slope(host)
"""


def run(text):
    result = subprocess.run(
        [sys.executable, "-c", PROLOGUE + text], capture_output=True, text=True, timeout=100, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_what_needs_the_engine_is_refused():
    run(
        STARTED
        + """
def act():
    refused(flat, device)
    refused(flat, host)
    refused(lambda: tree({"x": device}, n=device))
    refused(static, device, 2)
    refused(pb.jit(lambda x: x + 1), host)
    refused(slope, host)
    refused(lambda: lax.conv(kernel, kernel, (1,), "VALID"))
    refused(lambda: pb.jit(lambda x: x * 3).lower(host).compile())
    with pb.enable_x64():
        refused(flat, device)
    refused(pb.devices)

in_child(act)
assert flat(device).tolist() == [0, 4, 8]
"""
    )


def test_arrays_and_eager_kernels_go_on_working():
    run(
        STARTED
        + """
def act():
    assert np.asarray(unread).tolist() == [0, 4, 8]
    assert device.block_until_ready().is_ready()
    assert (pnp.sin(unread) + 1).shape == (3,)
    assert pb.grad(lambda x: (x * x).sum())(device).tolist() == [0, 4, 8]
    assert pnp.linalg.cholesky(4 * pnp.eye(3)).tolist() == [[2, 0, 0], [0, 2, 0], [0, 0, 2]]
    assert pb.vmap(lambda x: x + 1)(unread).tolist() == [1, 5, 9]

in_child(act)
"""
    )


def test_a_child_of_a_process_without_engine_starts_its_own():
    run("""
def act():
    assert flat(host).tolist() == [0, 2, 4]
    assert tree({"x": host}, n=host).tolist() == [0, 1, 4]

in_child(act)
in_child(act)
""")


def test_a_child_of_a_child():
    run(
        STARTED
        + """
in_child(lambda: in_child(lambda: refused(flat, device)))
"""
    )


def test_inside_of_an_option():
    run(
        STARTED
        + """
with pb.enable_x64():
    flat(device)
    flat(device)
    in_child(lambda: refused(flat, device))
"""
    )


def test_arrays_on_several_devices():
    """Programs over several devices are refused, those of new functions and of eager operations seen before alike."""
    run(
        """
pb.config.update("num_cpu_devices", 4)
place = pb.NamedSharding(pb.make_mesh((4,), ("x",)), pb.P("x"))
x = pb.device_put(np.arange(4.), place)
constrained = pb.jit(lambda x: lax.with_sharding_constraint(x, place))
mapped = pb.shard_map(lambda x: lax.psum(x, "x"), mesh=place.mesh, in_specs=pb.P("x"), out_specs=pb.P())
for _ in range(2):
    (x + 1).block_until_ready(), flat(x).block_until_ready(), constrained(np.ones(4)), mapped(x)

def act():
    assert x.tolist() == [0, 1, 2, 3]
    new = pb.jit(lambda x: x * 3), pb.jit(mapped), lambda x: x - 1, pnp.sum
    for f in (flat, constrained, mapped, lambda x: x + 1, *new):
        refused(f, x)
    refused(pb.device_put, np.ones(4), place)

in_child(act)
assert (x + 1).tolist() == [1, 2, 3, 4]
"""
    )
