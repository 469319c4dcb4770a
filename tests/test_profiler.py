"""Profiles, names in them, and events."""

import gzip
import json

import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import monitoring, profiler


def test_a_trace_is_written(tmp_path):
    with profiler.trace(tmp_path):
        with pb.named_scope("part"), profiler.StepTraceAnnotation("train", step_num=1):
            pb.jit(lambda x: pnp.sin(x) @ x)(pnp.ones((8, 8))).block_until_ready()
        assert pb.named_call(lambda x: x + 1, name="one more")(1) == 2
        assert profiler.annotate_function(lambda x: x * 2, name="twice")(3) == 6
        with pytest.raises(RuntimeError, match="start_trace: a trace is being recorded already"):
            profiler.start_trace(tmp_path)
    assert list(tmp_path.rglob("*.xplane.pb"))
    with pytest.raises(RuntimeError, match="stop_trace: no trace is being recorded"):
        profiler.stop_trace()
    with pytest.raises(NotImplementedError, match="create_perfetto_link is planned"):
        profiler.start_trace(tmp_path, create_perfetto_link=True)
    assert not list(tmp_path.rglob("perfetto_trace.json.gz"))


def test_a_trace_for_perfetto(tmp_path):
    with profiler.trace(tmp_path, create_perfetto_trace=True):
        with profiler.TraceAnnotation("a part of mine"):
            pb.jit(lambda x: pnp.sin(x) @ x)(pnp.ones((8, 8))).block_until_ready()
    (path,) = tmp_path.rglob("perfetto_trace.json.gz")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        trace = json.load(file)
    # the trace event format: a name, a phase, a process; complete events have a start and a duration
    assert "metadata" not in trace
    spans = [event for event in trace["traceEvents"] if event.get("ph") == "X"]
    assert any(event["name"] == "a part of mine" for event in spans)
    assert all({"name", "pid", "ts", "dur"} <= set(event) for event in spans)
    profiler.start_trace(tmp_path)  # the next one is not written for it
    profiler.stop_trace()
    assert len(list(tmp_path.rglob("perfetto_trace.json.gz"))) == 1


def test_named_scopes_in_programs():
    @pb.named_scope("layer")
    def layer(x):
        with pb.named_scope("inner"):
            return pnp.sin(x)

    assert pb.jit(pb.grad(layer))(0.0) == 1.0
    assert layer.__name__ == "layer"
    with pytest.raises(TypeError, match="named_scope: expected a string, got 3"):
        pb.named_scope(3)
    with pytest.raises(TypeError, match="named_call: expected a function"):
        pb.named_call(3)


def test_events_reach_their_listeners():
    heard = []

    def listener(*what, **labels):
        heard.append((what, labels))

    monitoring.register_event_listener(listener)
    monitoring.register_event_duration_secs_listener(listener)
    monitoring.register_scalar_listener(listener)
    monitoring.register_event_time_span_listener(listener)
    monitoring.record_event("/a", host="b")
    monitoring.record_event_duration_secs("/c", 0.5)
    monitoring.record_scalar("/d", 2)
    monitoring.record_event_time_span("/e", 1.0, 2.0)
    assert heard == [(("/a",), {"host": "b"}), (("/c", 0.5), {}), (("/d", 2), {}), (("/e", 1.0, 2.0), {})]
    monitoring.unregister_event_listener(listener)
    with pytest.raises(ValueError, match="the function is no listener"):
        monitoring.unregister_event_listener(listener)
    monitoring.clear_event_listeners()
    monitoring.record_scalar("/d", 3)
    assert len(heard) == 4
    with pytest.raises(TypeError, match="a listener to events: expected a function"):
        monitoring.register_event_listener(3)
