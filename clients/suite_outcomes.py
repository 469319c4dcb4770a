"""A plugin of pytest for suites.py: outcomes go to a file as they come, so that they outlive a process that ends.

The environment says what to run: SUITE_OUTCOMES, the file; SUITE_TESTS, a file with the names of the tests to run, or
nothing for all; SUITE_MOST, how many of a file's tests to run at most, evenly spaced; SUITE_FILE_SECONDS and
SUITE_TEST_SECONDS, how long a file and a test may take.
"""

import json
import os
import signal
import time

import pytest

begun = {}  # file -> when its first test started


class TookTooLong(BaseException):
    """A test ran for SUITE_TEST_SECONDS."""


def record(test, outcome, text=""):
    with open(os.environ["SUITE_OUTCOMES"], "a", encoding="utf-8") as file:
        file.write(json.dumps({"test": test, "outcome": outcome, "text": text[-4000:]}) + "\n")


def chosen(items):
    """Those tests that SUITE_TESTS names, and no more than SUITE_MOST of each file."""
    if path := os.environ.get("SUITE_TESTS"):
        with open(path, encoding="utf-8") as file:
            names = set(file.read().splitlines())
        return [item for item in items if {item.nodeid, item.nodeid.partition("::")[0]} & names]
    files = {}
    for item in items:
        files.setdefault(item.nodeid.partition("::")[0], []).append(item)
    most = int(os.environ["SUITE_MOST"])
    return [test for tests in files.values() for test in (evenly(tests, most) if len(tests) > most else tests)]


def evenly(tests, count):
    return [tests[i * len(tests) // count] for i in range(count)]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    items[:] = chosen(items)


def pytest_collectreport(report):
    if report.failed:
        record(report.nodeid, "not collected", report.longreprtext)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    file = item.nodeid.partition("::")[0]
    if time.monotonic() - begun.setdefault(file, time.monotonic()) > float(os.environ["SUITE_FILE_SECONDS"]):
        record(item.nodeid, "not run")
        item.session._setupstate.teardown_exact(nextitem)  # what the test before it left for this one
        return True
    record(item.nodeid, "started")
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    def stop(*_):
        raise TookTooLong

    earlier = signal.signal(signal.SIGALRM, stop)
    signal.alarm(int(os.environ["SUITE_TEST_SECONDS"]))
    try:
        return (yield)
    except TookTooLong:
        pytest.fail("took too long")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, earlier)


def pytest_runtest_logreport(report):
    # a part of a test, which goes on after it, says which part it is
    part = getattr(report, "context", None)
    if report.failed or (report.when == "call" and part is None) or (report.when == "setup" and report.skipped):
        record(report.nodeid, report.outcome, getattr(report, "longreprtext", ""))
