"""The store of programs: its bounds by size and by number, also where several threads use it."""

import threading

import pytest

import pullback as pb
from pullback._xla.programs import Programs, size_of


@pytest.fixture
def limit():
    """Sets the option for one test."""
    before = pb.config.program_cache_max_size
    yield lambda size: pb.config.update("program_cache_max_size", size)
    pb.config.update("program_cache_max_size", before)


def test_a_text_has_a_size_that_grows_with_it():
    assert size_of("") > 0
    assert size_of("x" * 1000) - size_of("") == 1000 * (size_of("x") - size_of(""))


def test_nothing_is_kept_without_room(limit):
    limit(0)
    programs = Programs()
    programs.keep("key", "program", 1)
    assert (programs.get("key"), len(programs), programs.size) == (None, 0, 0)


def test_a_smaller_limit_holds_from_the_next_program_on(limit):
    limit(100)
    programs = Programs()
    for key in range(10):
        programs.keep(key, str(key), 10)
    limit(35)
    assert len(programs) == 10
    programs.keep("last", "last", 10)
    assert [key for key in (*range(10), "last") if programs.get(key)] == [8, 9, "last"]


def test_clearing():
    programs = Programs()
    programs.keep("key", "program", 5)
    programs.clear()
    assert (programs.get("key"), len(programs), programs.size) == (None, 0, 0)


def test_a_key_must_be_hashable():
    with pytest.raises(TypeError):
        Programs().get(["a list"])


def test_threads_keep_the_sum_right(limit):
    limit(50)
    programs = Programs()
    wrong = []

    def work(first):
        for i in range(300):
            key = (first + i) % 20
            programs.keep(key, key, 5)
            if programs.get(key) not in (key, None):
                wrong.append(key)

    threads = [threading.Thread(target=work, args=(first,)) for first in (0, 5, 10, 15)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert programs.size == 5 * len(programs) == 50
