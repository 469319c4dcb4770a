"""The engine: one client, carriers for the dtypes that buffers do not know, and values that come back as they went."""

import threading

import ml_dtypes
import numpy as np
import pytest
from emitted import aval_of

from pullback._core import dtypes
from pullback._core.array import array_of, array_on_device, lift
from pullback._xla import engine

ALL = [
    np.dtype(d)
    for d in (
        "bool",
        "int8",
        "int32",
        "int64",
        "uint8",
        "uint64",
        "float16",
        "float32",
        "float64",
        "complex64",
        "complex128",
    )
] + [
    np.dtype(getattr(ml_dtypes, name))
    for name in (
        "bfloat16",
        "int4",
        "uint4",
        "float8_e3m4",
        "float8_e4m3",
        "float8_e4m3b11fnuz",
        "float8_e4m3fn",
        "float8_e4m3fnuz",
        "float8_e5m2",
        "float8_e5m2fnuz",
        "float8_e8m0fnu",
    )
]


def test_there_is_one_client_for_all_threads():
    clients = []

    def ask():
        clients.append(engine.client())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(clients) == 4
    assert {id(client) for client in clients} == {id(engine.client())}


def test_there_is_one_device():
    assert engine.devices()[0] == engine.device()
    assert engine.device().platform == "cpu"
    assert not engine.is_left_behind()


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_values_come_back_as_they_went(dtype):
    value = np.array([[0, 1, 2], [3, 4, 5]]).astype(dtype)
    aval = aval_of(value.shape, dtype)
    buffer = engine.put(array_of(aval, value))
    back = engine.read(buffer, aval)
    assert (back.dtype, back.shape) == (value.dtype, value.shape)
    assert back.tobytes() == value.tobytes()


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_a_carrier_is_known_to_buffers_and_carries_itself(dtype):
    aval = aval_of((2, 3), dtype)
    carried = engine.carrier(aval)
    assert carried.shape == aval.shape
    assert carried.dtype.isbuiltin == 1
    assert engine.carrier(carried) is carried
    assert (carried is aval) == (dtype.isbuiltin == 1)


def test_what_is_widened_and_what_stands_in():
    assert [d.name for d in ALL if engine.is_widened(d)] == ["int4", "uint4"]
    assert not any(engine.is_stand_in(d) for d in ALL)
    assert engine.is_stand_in(dtypes.float0)
    assert engine.carrier(aval_of((2,), dtypes.float0)).dtype == bool


def test_a_value_of_float0_crosses_as_false():
    value = np.zeros((2,), dtypes.float0)
    carried = engine.carried_value(value)
    assert (carried.dtype, carried.tolist()) == (np.dtype(bool), [False, False])
    back = engine.host_value(carried, aval_of((2,), dtypes.float0))
    assert (back.dtype, back.shape) == (dtypes.float0, (2,))


def test_values_of_plain_dtypes_are_not_copied():
    value = np.arange(3.0)
    assert engine.carried_value(value) is value
    assert engine.host_value(value, aval_of((3,), value.dtype)) is value


def test_a_bfloat16_is_reinterpreted_and_an_int4_converted():
    halves = np.array([1.5, -2], ml_dtypes.bfloat16)
    assert np.shares_memory(engine.carried_value(halves), halves)
    assert engine.carried_value(halves).tolist() == halves.view(np.uint16).tolist()
    small = np.array([-8, 7], ml_dtypes.int4)
    assert (engine.carried_value(small).dtype, engine.carried_value(small).tolist()) == (np.dtype(np.int8), [-8, 7])


def test_an_array_is_put_once():
    x = lift(np.arange(3, dtype=np.float32))
    assert x.buffer is None
    assert engine.put(x) is engine.put(x) is x.buffer


@pytest.mark.parametrize(
    "view",
    [lambda a: a.T, lambda a: a[::-1], lambda a: a[:, ::2], lambda a: np.broadcast_to(a[0], (5, 4))],
    ids=["transposed", "reversed", "strided", "broadcast"],
)
def test_rows_are_put_in_order(view):
    value = view(np.arange(12, dtype=np.float32).reshape(3, 4))
    aval = aval_of(value.shape, value.dtype)
    assert np.array_equal(engine.read(engine.put(array_of(aval, value)), aval), value)


def test_wide_numbers_are_put_without_x64():
    value = np.array([2**40 + 1], np.int64)
    aval = aval_of((1,), np.int64)
    assert engine.read(engine.put(array_of(aval, value)), aval).tolist() == [2**40 + 1]


def test_an_array_on_the_device_is_read_at_its_first_use():
    x = lift(np.arange(3, dtype=np.float32))
    other = array_on_device(x.aval, engine.put(x))
    engine.wait(other.buffer)
    assert other.is_ready()
    assert not hasattr(other, "_value")
    assert other.value.tolist() == [0, 1, 2]
    assert hasattr(other, "_value")
