"""Arrays over several processes: what each knows of them, programs with collectives, and those that are gone."""

import re
import signal
import time
from textwrap import dedent

import pytest
from processes import Job, both, without_pids

MESH = """
join()
mesh = pb.make_mesh((2,), ("x",))
spread, whole = pb.NamedSharding(mesh, pb.P("x")), pb.NamedSharding(mesh, pb.P())
mine = np.arange(4.0, dtype="float32") + 10 * rank
everything = np.r_[np.arange(4.0), np.arange(10.0, 14.0)].astype("float32")
x = pb.make_array_from_process_local_data(spread, mine)

def same(array, value):
    assert np.array_equal(mh.process_allgather(array, tiled=True), value)
"""


def test_each_process_has_its_part():
    program = """
    import operator, pickle
    assert x.shape == (8,) and x.dtype == np.float32 and x.sharding == spread
    assert not x.is_fully_addressable and not x.is_fully_replicated
    (shard,) = x.addressable_shards
    assert shard.device == pb.local_devices()[0] and shard.index == (slice(4 * rank, 4 * rank + 4),)
    assert np.array_equal(shard.data, mine) and np.array_equal(x.addressable_data(0), mine)
    assert [s.device for s in x.global_shards] == pb.devices()
    assert x.global_shards[1 - rank].data is None
    print(repr(x))
    for read in (np.asarray, str, operator.methodcaller('tolist'), pickle.dumps, np.sin):
        assert "process_allgather(x, tiled=True)" in error_of(read, x), read
    same(x, everything)
    """
    expected = "Array(shape=(8,), dtype=float32, 1 of 2 devices in this process)"
    for out in both(MESH + dedent(program)):
        assert expected in out


def test_ways_to_make_them():
    program = """
    seen = []
    def part(index):
        seen.append(index)
        return everything[index]
    same(pb.make_array_from_callback((8,), spread, part), everything)
    assert seen == [(slice(4 * rank, 4 * rank + 4),)]
    same(pb.make_array_from_callback((8,), whole, part), everything)
    piece = pb.device_put(mine, pb.local_devices()[0])
    same(pb.make_array_from_single_device_arrays((8,), spread, [piece]), everything)
    same(pb.device_put(everything, spread), everything)
    same(pb.device_put({"a": everything}, spread)["a"], everything)
    same(pb.make_array_from_process_local_data(whole, everything), everything)
    same(pb.make_array_from_process_local_data(spread, mine, (8,)), everything)
    y = pb.device_put(x, whole)
    assert y.is_fully_replicated and not y.is_fully_addressable and np.array_equal(y, everything)
    same(pb.device_put(y, spread), everything)
    print(error_of(pb.device_put, {"a": mine}, spread))
    print(error_of(pb.make_array_from_process_local_data, spread, mine, (9,)))
    """
    for out in both(MESH + dedent(program)):
        lines = out.splitlines()
        assert "device_put: x['a'] is not the same in all processes: process 0 against process 1" in lines[0]
        assert "axis 0 of the shape (9,) cannot be divided into 2 equal parts" in lines[1]


def test_programs_over_processes():
    program = """
    total = pb.jit(lambda x: pnp.sum(x * 2))(x)
    assert float(total) == 2 * everything.sum() and total.is_fully_replicated
    same(pb.jit(lambda x: x[::-1], out_shardings=spread)(x), everything[::-1])
    same(pb.jit(lambda x, y: x * y)(x, 3.0), everything * 3)
    w = np.float32([[1.0, 2.0], [3.0, -1.0]])
    data = pb.make_array_from_process_local_data(spread, np.float32([[rank, 1.0], [2.0, -rank]]))
    all_data = np.float32([[0, 1], [2, 0], [1, 1], [2, -1]])
    def loss(w, data):
        return pnp.mean(pnp.sin(data @ w) ** 2)
    value, slope = pb.jit(pb.value_and_grad(loss))(w, data)
    alone, alone_slope = pb.jit(pb.value_and_grad(loss))(w, all_data)
    np.testing.assert_allclose(value, alone, rtol=1e-6)
    np.testing.assert_allclose(slope, alone_slope, rtol=1e-5, atol=1e-6)
    assert slope.is_fully_replicated
    same(x + 1, everything + 1)
    np.testing.assert_allclose(pnp.sin(x).sum(), np.sin(everything).sum(), rtol=1e-5)
    same(pb.grad(lambda x: (x ** 2).sum())(x), 2 * everything)
    compiled = pb.jit(lambda x: x.sum()).lower(x).compile()
    assert float(compiled(x)) == everything.sum()
    """
    both(MESH + dedent(program))


def test_collectives_by_name():
    program = """
    def f(x):
        s = pb.lax.psum(x, "x")
        return s + pb.lax.axis_index("x"), pb.lax.all_gather(x, "x")
    summed, gathered = pb.jit(pb.shard_map(f, mesh=mesh, in_specs=pb.P("x"), out_specs=(pb.P("x"), pb.P("x"))))(x)
    rows = everything.reshape(2, 4)
    same(summed, np.r_[rows.sum(0), rows.sum(0) + 1])
    same(gathered, np.concatenate([rows, rows]))
    """
    both(MESH + dedent(program))


def test_more_devices_than_processes():
    program = """
    pb.config.update("jax_num_cpu_devices", 2)
    join()
    assert pb.device_count() == 4 and pb.local_device_count() == 2
    mesh = pb.make_mesh((2, 2), ("x", "y"))
    place = pb.NamedSharding(mesh, pb.P("x", "y"))
    value = np.arange(16.0, dtype="float32").reshape(4, 4)
    a = pb.device_put(value, place)
    assert [s.device for s in a.addressable_shards] == pb.local_devices()
    b = pb.device_put(value, pb.NamedSharding(mesh, pb.P("y", None)))
    product = pb.jit(lambda a, b: a @ b)(a, b)
    assert np.allclose(mh.process_allgather(product, tiled=True), value @ value)
    local = pb.make_mesh((2,), ("z",), devices=pb.local_devices())
    own = pb.device_put(np.arange(4.0) + rank, pb.NamedSharding(local, pb.P("z")))
    assert own.is_fully_addressable and float(pb.jit(pnp.sum)(own)) == 6 + 4 * rank
    """
    both(program)


def test_host_local_arrays():
    program = """
    tree = {"w": np.full((2, 2), rank, "float32"), "b": np.ones(3, "float32")}
    specs = {"w": pb.P("x"), "b": pb.P()}
    y = mh.host_local_array_to_global_array(tree, mesh, specs)
    assert y["w"].shape == (4, 2) and y["b"].shape == (3,)
    assert mh.host_local_array_to_global_array(y, mesh, specs)["w"] is y["w"]
    back = mh.global_array_to_host_local_array(y, mesh, specs)
    assert back["w"].is_fully_addressable and np.array_equal(back["w"], tree["w"]) and back["b"].shape == (3,)
    every = mh.global_array_to_host_local_array(y, mesh, pb.P())
    assert np.array_equal(every["w"], [[0, 0], [0, 0], [1, 1], [1, 1]])
    assert mh.process_allgather({"x": x, "n": rank}, tiled=True)["n"].tolist() == [0, 1]
    mh.assert_equal(x)
    same(mh.broadcast_one_to_all(x), np.r_[everything, everything])
    print(error_of(mh.process_allgather, {"a": x}))
    print(error_of(mh.host_local_array_to_global_array, tree, mesh, {"w": pb.P("x"), "b": None}))
    print(error_of(mh.host_local_array_to_global_array, tree, None, pb.P()))
    """
    for out in both(MESH + dedent(program)):
        a, b, c = out.splitlines()
        assert "process_allgather: in_tree['a'] is an array over several processes" in a
        assert "Pass tiled=True" in a
        assert "pspecs['b']: expected a PartitionSpec, P() for arrays that are whole everywhere, got None" in b
        assert "global_mesh: expected a Mesh of devices, got None" in c


def test_unequal_programs():
    program = """
    f = pb.jit(lambda x: (x * 2).sum()) if rank == 0 else pb.jit(lambda x: (x * 3).sum())
    print(error_of(f, x))
    print(error_of(pb.jit(lambda x: x.sum()), x) if rank else error_of(mh.sync_global_devices, "a"))
    """
    for out in both(MESH + dedent(program)):
        one, two = out.splitlines()
        assert "the processes do different things, where all must do the same in one order: process 0: jit of" in one
        assert len(set(re.findall(r"module (\w+)", one))) == 2
        assert "process 0 waits at sync_global_devices('a'); process 1 waits at jit of" in two


def test_every_run_is_compared_on_demand():
    program = """
    pb.config.update("jax_distributed_debug", True)
    f, g = pb.jit(lambda x: (x * 2).sum()), pb.jit(lambda x: (x * 3).sum())
    f(x), g(x)
    print(error_of(f if rank else g, x))
    """
    for out in both(MESH + dedent(program)):
        assert "the processes do different things" in out


def test_after_shutdown():
    program = """
    f = pb.jit(lambda x: x.sum())
    f(x).block_until_ready()
    distributed.shutdown()
    print(error_of(f, x), pb.jit(lambda x: x + 1)(1.0))
    """
    for out in both(MESH + dedent(program)):
        assert "processes (0, 1) are needed, which this one has left, by distributed.shutdown 2.0" in out


LOST = {
    "dies": "os._exit(3)",
    "raises": "raise ValueError('bad luck')",
    "hangs": "report('stop me'); wait()",
}


@pytest.mark.parametrize("size", [4, 2_000_000], ids=["small", "large"])
@pytest.mark.parametrize("loser", [0, 1])
@pytest.mark.parametrize("way", LOST)
def test_a_collective_with_one_that_is_gone(way, loser, size):
    program = f"""
join(heartbeat_timeout_seconds=2)
place = pb.NamedSharding(pb.make_mesh((2,), ("x",)), pb.P("x"))
x = pb.make_array_from_process_local_data(place, np.ones({size}, "float32"))
f = pb.jit(lambda x: x * x.sum())
f(x).block_until_ready()
mh.sync_global_devices("both have their results")
if rank == {loser}:
    {LOST[way]}
else:
    start = time.monotonic()
    try:
        for _ in range(3):
            f(x).block_until_ready()
    except errors.ProcessFailureError as error:
        assert error.processes == ({loser},)
        print(error)
    assert time.monotonic() - start < 60
    print(pb.jit(lambda x: x + 1)(1.0))
"""
    job = Job(program, program)
    if way == "hangs":
        assert job.line(loser) == "stop me\n"
        job.stop_for_good(loser)
    end = job.ends(but=(loser,) if way == "hangs" else ())[1 - loser]
    assert end.code == 0, end
    message, after = without_pids(end.out).splitlines()
    reason = {"dies": "died", "raises": "ended with ValueError: bad luck", "hangs": "has given no sign of life for 2 s"}
    assert f": process {loser} {reason[way]}" in message
    assert after == "2.0"


def test_a_result_that_has_failed_before_it_is_waited_for():
    program = """
    x = pb.make_array_from_process_local_data(spread, np.ones(2_000_000, "float32"))
    f = pb.jit(lambda x: x * x.sum())
    f(x).block_until_ready()
    if rank == 0:
        wait()
        os._exit(3)
    out = f(x)
    report("it waits for the other")
    while not out.is_ready():
        time.sleep(0.01)
    print(error_of(out.block_until_ready))
    """
    job = Job(*[MESH + dedent(program)] * 2)
    assert job.line(1) == "it waits for the other\n"
    job.go_on()
    assert ": process 0 died" in without_pids(job.ends()[1].out)


def test_a_collective_that_one_never_joins():
    program = """
    pb.config.update("collective_timeout_secs", 2.0)
    f = pb.jit(lambda x: x.sum())
    f(x)
    if rank == 0:
        report(error_of(f, x))
    wait()
    """
    job = Job(*[MESH + dedent(program)] * 2)
    line = job.line(0)
    job.go_on()
    assert [end.code for end in job.ends()] == [0, 0]
    assert line.startswith("TimeoutError: jit of <lambda> of f32[8]: not done within 2 s")


@pytest.mark.parametrize("size", [4, 2_000_000], ids=["small", "large"])
def test_an_interrupt_from_the_keyboard_ends_the_wait(size):
    program = f"""
join()
place = pb.NamedSharding(pb.make_mesh((2,), ("x",)), pb.P("x"))
x = pb.make_array_from_process_local_data(place, np.ones({size}, "float32"))
f = pb.jit(lambda x: x.sum())
f(x).block_until_ready()
if rank == 0:
    signal.signal(signal.SIGUSR1, signal.default_int_handler)
    report("waits")
    try:
        f(x).block_until_ready()
    except KeyboardInterrupt:
        report("interrupted")
    sys.exit(7)
wait()
"""
    job = Job(program, program)
    assert job.line(0) == "waits\n"
    time.sleep(0.5)
    job.processes[0].send_signal(signal.SIGUSR1)
    assert job.line(0) == "interrupted\n"
    job.go_on()
    assert [end.code for end in job.ends()] == [7, 0]
