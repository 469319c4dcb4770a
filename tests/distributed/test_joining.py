"""Processes join, or are told what is wrong: each error names what failed, and comes within the time limit."""

import re
import socket

import pytest
from processes import Job, both, run, without_pids

import pullback as pb
from pullback import distributed


def test_processes_know_each_other():
    program = """
    assert not distributed.is_initialized()
    join()
    assert distributed.is_initialized()
    assert (pb.process_index(), pb.process_count(), pb.process_indices()) == (rank, 2, [0, 1])
    assert pb.local_devices() == pb.local_devices(process_index=rank)
    assert {d.process_index for d in pb.local_devices(1 - rank)} == {1 - rank}
    assert "expected one of 0 to 1, got 2" in error_of(pb.local_devices, 2)
    print(error_of(join))
    distributed.shutdown()
    assert not distributed.is_initialized()
    distributed.shutdown()
    print(error_of(join))
    """
    twice = "RuntimeError: distributed.initialize: this process has joined already"
    for out in both(program):
        assert [line[: len(twice)] for line in out.splitlines()] == [twice, twice]


def test_one_process_alone():
    program = """
    join(num_processes=1)
    assert (pb.process_index(), pb.process_count()) == (0, 1)
    mh.sync_global_devices("a")
    print(pb.jit(lambda x: x + 1)(1.0), mh.process_allgather(np.arange(2)).tolist())
    """
    assert run(program) == ["2.0 [[0, 1]]\n"]


def test_the_address_comes_from_the_environment():
    program = """
    os.environ["JAX_COORDINATOR_ADDRESS"] = f"localhost:{port}"
    os.environ["JAX_COORDINATOR_BIND_ADDRESS"] = f"127.0.0.1:{port}"
    join(coordinator_address=None)
    print(pb.process_count())
    """
    assert both(program) == ["2\n", "2\n"]


def test_the_coordinator_is_waited_for():
    assert run("time.sleep(2); join(); print('in')", "join(); print('in')") == ["in\n", "in\n"]


def test_no_coordinator():
    (end,) = Job("rank = 1; print(error_of(join, num_processes=2, initialization_timeout=1))", count=2).ends()
    assert end.out.startswith(
        "TimeoutError: distributed.initialize: process 1 of 2, with the coordinator at 127.0.0.1:"
    )
    assert "no answer within 1 s" in end.out, end
    assert "Process 0 starts the coordinator" in end.out


def test_a_process_that_does_not_come():
    (end,) = Job("print(error_of(join, initialization_timeout=3))", count=3).ends()
    assert "TimeoutError: distributed.initialize: process 0 of 3" in end.out, end
    assert "processes 1, 2 of 3 did not join within" in end.out, end
    assert "Joined: process 0 (pid" in end.out


def test_a_port_in_use():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        program = "print(error_of(join, coordinator_bind_address=f'127.0.0.1:{port}'))"
        (end,) = Job(program, port=port).ends()
    assert end.out.startswith(
        f"RuntimeError: distributed.initialize: the coordinator cannot listen at 127.0.0.1:{port}"
    )
    assert "name a free one in coordinator_address" in end.out


def test_two_jobs_on_one_port():
    first = Job(*["join(); report('in'); wait()"] * 2)
    assert first.line(0) == "in\n"
    (second,) = Job("print(error_of(join))", port=first.port, count=2).ends()
    assert "RuntimeError: distributed.initialize: the coordinator cannot listen at [::]:" in second.out
    (late,) = Job("rank = 1; print(error_of(join))", port=first.port, count=2).ends()
    assert "process_id=1 was given twice" in late.out, late
    first.go_on()
    assert [end.code for end in first.ends()] == [0, 0]


def test_something_else_answers():
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        job = Job("rank = 1; print(error_of(join))", port=port, count=2)
        connection, _ = stranger.accept()
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        connection.close()
        (end,) = job.ends()
    assert "RuntimeError: distributed.initialize: process 1 of 2" in end.out, end
    assert "no coordinator of pullback's" in end.out


@pytest.fixture(scope="module")
def left_alone():
    """Jobs of which some processes wait for others in vain, for 12 seconds: all at the same time."""
    waiting = "print(error_of(join, initialization_timeout=12))"
    other_versions = """
    import pullback.distributed as d
    if rank == 1:
        d._versions = lambda: {"pullback": "0.0.1", "jaxlib": "0.1"}
    print(error_of(join, initialization_timeout=12))
    """
    jobs = {
        "unequal numbers": Job(waiting, "print(error_of(join, num_processes=3))"),
        "a number given twice": Job(waiting, *[f"rank = 1; {waiting}"] * 2, count=3),
        "other versions": Job(other_versions, other_versions),
    }
    yield jobs
    for job in jobs.values():
        for process in job.processes:
            process.kill()
            process.communicate()


def test_unequal_numbers_of_processes(left_alone):
    outs = [end.out for end in left_alone["unequal numbers"].ends()]
    assert "num_processes=3 here, but process 0 was started with num_processes=2" in outs[1]
    assert "process 1 of 2 did not join within" in outs[0]
    assert "process 1 was refused: num_processes=3 here" in without_pids(outs[0])


def test_one_number_given_twice(left_alone):
    # whoever comes second is told, and does not disturb the one who came first
    ends = left_alone["a number given twice"].ends()
    refused = [re.search(r"coordinator at \S+: process_id=1 was given twice: process 1 ", end.out) for end in ends[1:]]
    assert sum(match is not None for match in refused) == 1, ends
    # on a busy machine the one who came first may give up before all have met
    assert re.search("process(es 1,)? 2 of 3 did not join within", ends[0].out), ends
    assert "was refused: process_id=1 was given twice" in ends[0].out, ends


def test_other_versions(left_alone):
    # who comes second is refused, and who came first is told of it
    for _, out, _ in left_alone["other versions"].ends():
        assert re.search(
            "pullback 0.0.1, jaxlib 0.1 here, but process 0|process 1 .* runs pullback 0.0.1, jaxlib 0.1", out
        )
        assert "All processes need the same" in out


def test_the_engine_must_not_have_been_started():
    (out,) = run("pb.devices(); print(error_of(join))")
    assert out.startswith("RuntimeError: distributed.initialize: the engine has been started")


def test_process_0_gives_up():
    program = "join(process_id=1, initialization_timeout=20)"
    job = Job("print(error_of(join, initialization_timeout=3))", program, count=3)
    ends = job.ends()
    assert "process 2 of 3 did not join within" in ends[0].out
    assert "the connection was closed before all had joined" in ends[1].err, ends
    assert "Process 0 gave up" in ends[1].err


COMPLETE = {"coordinator_address": "127.0.0.1:1", "num_processes": 1, "process_id": 0}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ValueError, "coordinator_address, num_processes, process_id: expected a value, got None"),
        ({"num_processes": 2, "process_id": 0}, ValueError, "initialize: coordinator_address: expected a value"),
        ({"coordinator_address": "host"}, ValueError, "num_processes, process_id: expected a value"),
        ({"coordinator_address": 3, "num_processes": 1, "process_id": 0}, TypeError, "expected 'host:port', got 3"),
        ({"coordinator_address": "a", "num_processes": 1, "process_id": 0}, ValueError, "such as '10.0.0.1:1234'"),
        ({"coordinator_address": "a:0", "num_processes": 1, "process_id": 0}, ValueError, "got 'a:0'"),
        (
            {"coordinator_address": "a:1", "num_processes": 1.0, "process_id": 0},
            TypeError,
            "num_processes: expected an",
        ),
        ({"coordinator_address": "a:1", "num_processes": 0, "process_id": 0}, ValueError, "expected 1 or more, got 0"),
        ({"coordinator_address": "a:1", "num_processes": 2, "process_id": 2}, ValueError, "expected one of 0 to 1"),
        (
            {"coordinator_address": "a:1", "num_processes": 2, "process_id": True},
            TypeError,
            "process_id: expected an int",
        ),
        ({"cluster_detection_method": "slurm"}, NotImplementedError, "SLURM_PROCID"),
        ({"partition_index": 0}, NotImplementedError, "there are no slices"),
        (COMPLETE | {"local_device_ids": [0, 0]}, ValueError, "local_device_ids: expected different numbers"),
        (
            COMPLETE | {"initialization_timeout": 0},
            ValueError,
            "initialization_timeout: expected seconds, more than 0, got 0",
        ),
        (COMPLETE | {"heartbeat_timeout_seconds": "1"}, ValueError, "heartbeat_timeout_seconds: expected seconds"),
        (
            COMPLETE | {"coordinator_bind_address": "a"},
            ValueError,
            "coordinator_bind_address: expected a host and a port",
        ),
    ],
)
def test_arguments(arguments, error, message):
    with pytest.raises(error) as info:
        distributed.initialize(**arguments)
    assert message in str(info.value)
    assert not distributed.is_initialized()
    assert pb.process_count() == 1
