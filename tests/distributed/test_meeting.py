"""Processes meet, with time limits, and give each other data that is no array over several processes."""

import signal

import pytest
from processes import Job, both, run, without_pids


def test_values_of_one_and_of_all():
    program = """
    join()
    tree = {"a": np.full((2, 3), rank, "float32"), "b": (rank, pnp.arange(2) + rank), "c": pnp.bfloat16(rank)}
    first = mh.broadcast_one_to_all(tree)
    assert type(first["a"]) is np.ndarray and first["a"].dtype == np.float32 and not first["a"].any()
    assert first["b"][0] == 0 and first["b"][1].tolist() == [0, 1] and first["c"].dtype == pnp.bfloat16
    second = mh.broadcast_one_to_all(tree, is_source=rank == 1)
    assert second["a"].min() == 1 and second["b"][1].tolist() == [1, 2] and second["c"] == 1
    stacked = mh.process_allgather(tree)
    assert stacked["a"].shape == (2, 2, 3) and stacked["a"][1].min() == 1 and stacked["a"][0].max() == 0
    assert stacked["b"][0].tolist() == [0, 1] and stacked["b"][1].tolist() == [[0, 1], [1, 2]]
    tiled = mh.process_allgather(tree, tiled=True)
    assert tiled["a"].shape == (4, 3) and tiled["b"][0].tolist() == [0, 1] and tiled["b"][1].tolist() == [0, 1, 1, 2]
    big = np.random.default_rng(rank).normal(size=1_000_000)
    every = mh.process_allgather(big)
    assert all(np.array_equal(every[p], np.random.default_rng(p).normal(size=1_000_000)) for p in range(2))
    mh.sync_global_devices("done")
    assert mh.broadcast_one_to_all({}) == {} and mh.process_allgather(np.zeros((0, 2))).shape == (2, 0, 2)
    """
    assert both(program) == ["", ""]


def test_three_processes():
    program = """
    join()
    print(mh.process_allgather(np.arange(2) + rank, tiled=True).tolist(), mh.broadcast_one_to_all(rank, rank == 2))
    """
    assert both(program, 3) == ["[0, 1, 1, 2, 2, 3] 2\n"] * 3


def test_equal_values():
    program = """
    join()
    mh.assert_equal({"a": np.array([0.0, np.nan]), "b": 3})
    mh.assert_equal(0.0 if rank else -0.0)
    print(error_of(mh.assert_equal, {"a": 1, "b": [2, np.float32([rank, 5])]}, "the weights"))
    print(error_of(mh.assert_equal, {"a": np.zeros(3 + rank)}))
    mh.assert_equal(3)
    """
    first, second = both(program)
    assert first.splitlines()[0] == (
        "AssertionError: the weights: assert_equal: in_tree['b'][1] is not the same in all processes: "
        "process 0 against process 1; here, in process 0, it is [0. 5.]"
    )
    assert "in process 1, it is [1. 5.]" in second
    assert (
        "ValueError: assert_equal: in_tree: expected the same structure, shapes and dtypes in all processes; process 0 "
        "has f64[3] at ['a'], process 1 has f64[4] at ['a']"
    ) in first


def test_what_cannot_be_given():
    program = """
    join()
    print(error_of(mh.process_allgather, {"a": "text"}))
    print(error_of(mh.broadcast_one_to_all, 1.0, is_source=True))
    print(error_of(mh.broadcast_one_to_all, 1.0, is_source=False))
    print(error_of(mh.process_allgather, np.zeros(2, "int32" if rank else "int16")))
    print(error_of(mh.process_allgather, (1.0,) * (1 + rank)))
    """
    for out in both(program):
        lines = out.splitlines()
        assert lines[0].startswith("TypeError: process_allgather: in_tree['a']: expected an array or a number, got str")
        assert lines[1].endswith("expected True in one process and False in the others, got True in processes 0, 1")
        assert lines[2].endswith("expected True in one process and False in the others, got True in none")
        assert "i16[2], process" in lines[3] or "i32[2], process" in lines[3]
        assert "has 1" in lines[4]
        assert "has 2" in lines[4]


def test_a_process_that_does_not_come():
    program = """
    join()
    pb.config.update("collective_timeout_secs", 1.0)
    if rank == 0:
        report(error_of(mh.sync_global_devices, "saved"))
    wait()
    """
    job = Job(program, program)
    line = job.line(0)
    job.go_on()
    assert [end.code for end in job.ends()] == [0, 0]
    assert line == (
        "TimeoutError: sync_global_devices('saved'): process 1 did not come within 1 s (process 1 is elsewhere)\n"
    )


def test_processes_at_different_places():
    # no time limit has passed: all wait, so nobody can come any more
    program = """
    join()
    print(error_of(mh.sync_global_devices, "a" if rank else "b"))
    print(error_of(mh.sync_global_devices, "c") if rank else error_of(mh.process_allgather, np.zeros(2, "float32")))
    mh.sync_global_devices("e")
    """
    for out in both(program):
        one, two = out.splitlines()
        assert one.endswith("process 0 waits at sync_global_devices('b'); process 1 waits at sync_global_devices('a')")
        assert "the processes do different things, where all must do the same in one order" in two
        assert two.endswith("process 0 waits at process_allgather(f32[2]); process 1 waits at sync_global_devices('c')")


def test_threads_meet_each_other():
    program = """
    join()
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(2) as pool:
        names = ["x", "y"] if rank else ["y", "x"]
        list(pool.map(mh.sync_global_devices, names))
    print("met")
    """
    assert both(program) == ["met\n", "met\n"]


GONE = {
    "dies": ("os._exit(3)", "died: its connection was closed", 3),
    "is killed": ("os.kill(os.getpid(), signal.SIGKILL)", "died: its connection was closed", -9),
    "raises": ("raise ValueError('bad luck')", "ended with ValueError: bad luck", 1),
    "leaves": ("sys.exit()", "has left: it called distributed.shutdown or ended", 0),
}


@pytest.mark.parametrize("loser", [0, 1])
@pytest.mark.parametrize("way", GONE)
def test_a_process_that_is_gone_is_named(way, loser):
    act, reason, code = GONE[way]
    waits = """
    join()
    mh.sync_global_devices("a")
    try:
        mh.sync_global_devices("b")
    except errors.ProcessFailureError as error:
        assert error.processes == (1 - rank,)
        print(error)
    """
    ends_early = f"""
    join()
    mh.sync_global_devices("a")
    {act}
    """
    programs = [ends_early, waits] if loser == 0 else [waits, ends_early]
    ends = Job(*programs).ends()
    assert [end.code for end in ends] == [code, 0][:: 1 if loser == 0 else -1], ends
    assert without_pids(ends[1 - loser].out) == f"sync_global_devices('b'): process {loser} {reason}\n"


@pytest.mark.parametrize("loser", [0, 1])
def test_a_process_that_hangs_is_named(loser):
    program = """
    join(heartbeat_timeout_seconds=1.5)
    mh.sync_global_devices("a")
    report("in")
    print(error_of(mh.sync_global_devices, "b"))
    """
    stopped = program.replace('report("in")', 'report("in"); wait()')
    job = Job(*[stopped if rank == loser else program for rank in range(2)])
    assert job.line(loser) == "in\n"
    job.stop_for_good(loser)
    end = job.ends(but=(loser,))[1 - loser]
    assert end.code == 0, end
    assert without_pids(end.out).splitlines()[-1] == (
        f"ProcessFailureError: sync_global_devices('b'): process {loser} has given no sign of life for 1.5 s "
        "(heartbeat_timeout_seconds): it hangs, was stopped, or cannot be reached"
    )


def test_one_that_was_given_up_and_goes_on_is_told():
    stops = """
    join(heartbeat_timeout_seconds=1.5)
    report("in")
    wait()
    print(error_of(mh.sync_global_devices, "b"))
    """
    waits = """
    join(heartbeat_timeout_seconds=1.5)
    report(error_of(mh.sync_global_devices, "b"))
    wait()
    """
    job = Job(waits, stops)
    assert job.line(1) == "in\n"
    job.stop_for_good(1)
    assert "process 1" in job.line(0)
    job.processes[1].send_signal(signal.SIGCONT)
    job.go_on()
    ends = job.ends()
    assert [end.code for end in ends] == [0, 0], ends
    assert "process 1 has given no sign of life for 1.5 s" in without_pids(ends[1].out)


def test_processes_of_which_one_ends_first_end_well():
    first = "join(); mh.sync_global_devices('a')"
    last = "join(); mh.sync_global_devices('a'); time.sleep(1.5); print('end')"
    assert run(first, last) == ["", "end\n"]
    assert run(last, first) == ["end\n", ""]


def test_nobody_waits_for_ever_for_one_that_does_not_end():
    first = "join(shutdown_timeout_seconds=1); distributed.shutdown(); report('down')"
    job = Job(first, "join(); wait()")
    assert job.line(0) == "down\n"
    job.go_on()
    assert [end.code for end in job.ends()] == [0, 0]


def test_a_coordinator_that_is_gone_is_named():
    program = """
    join()
    place = pb.NamedSharding(pb.make_mesh((2,), ("x",)), pb.P("x"))
    x = pb.make_array_from_process_local_data(place, np.ones(4, "float32"))
    pb.jit(lambda x: x.sum())(x).block_until_ready()
    mh.sync_global_devices("a")
    report("met")
    wait()
    if rank == 0:
        from pullback._xla import joining
        os.kill(joining._children[0].pid, signal.SIGKILL)
    print(error_of(mh.sync_global_devices, "b"))
    print(error_of(pb.jit(lambda x: x.max()), x))
    time.sleep(1)
    print(pb.jit(lambda x: x + 1)(1.0))
    """
    job = Job(program, program)
    assert [job.line(0), job.line(1)] == ["met\n"] * 2  # before one ends the coordinator, which answers both
    job.go_on()
    for end in job.ends():
        assert end.code == 0, end
        one, two, alone = end.out.splitlines()
        assert one.startswith("ProcessFailureError: sync_global_devices('b'): the coordinator, which process 0 started")
        assert one.endswith("has closed the connection: it was ended, or its machine was")
        assert two.startswith("ProcessFailureError: jit of <lambda> of f32[8]")
        assert alone == "2.0"


def test_devices_of_processes_that_are_alive():
    program = """
    join()
    print(error_of(lambda: mh.live_devices([d for d in pb.devices() if d.process_index != rank]).__enter__()))
    with mh.live_devices(pb.devices()) as devices:
        assert devices == pb.devices()
    try:
        with mh.live_devices(pb.devices()):
            if rank == 1:
                raise ValueError("bad luck")
    except ValueError as error:
        print(error)
    except errors.ProcessFailureError as error:
        print(error.processes, error)
    try:
        with mh.live_devices(pb.devices()):
            if rank == 2:
                os._exit(0)
    except errors.ProcessFailureError as error:
        print(error.processes, error)
    with mh.live_devices(pb.devices()) as devices:
        assert devices == pb.devices()[:2]
        place = pb.NamedSharding(pb.make_mesh((2,), ("x",), devices=devices), pb.P("x"))
        x = pb.make_array_from_callback((2000,), place, lambda index: np.arange(2000.0)[index])
        print(float(pb.jit(lambda x: x.sum())(x)))
    """
    ends = Job(*[program] * 3).ends()
    assert [end.code for end in ends] == [0, 0, 0], ends
    lines = [without_pids(end.out).splitlines() for end in ends]
    for rank in range(3):
        assert lines[rank][0].startswith("ValueError: live_devices: devices: none of [")
        raised = "bad luck" if rank == 1 else "(1,) live_devices: process 1 raised ValueError: bad luck"
        assert lines[rank][1] == raised
    for rank in range(2):
        assert lines[rank][2] == "(2,) live_devices: process 2 died: its connection was closed"
        assert lines[rank][3] == "1999000.0"
