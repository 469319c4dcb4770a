"""What is refused: the type of the error, the words of its message, and a traceback that ends in the tests."""

import functools
import os
import traceback
from contextlib import contextmanager

import pytest

import pullback as pb

TESTS = os.path.dirname(__file__) + os.sep
PACKAGE = os.path.dirname(pb.__file__) + os.sep


def files(error):
    """Those of the frames of its traceback."""
    return [frame.filename for frame in traceback.extract_tb(error.__traceback__)]


def printed(error):
    """The exceptions that a printed traceback would show, from the last to the first."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@contextmanager
def raises(kind, *parts):
    """An error of just this type, whose message holds the parts; no frame of the package is left in what is printed.

    It may be of a second type too, that of JAX's error. The last frame is in the tests (or in a cached property of
    Python's own).
    """
    with pytest.raises(kind) as info:
        yield info
    assert type(info.value).__name__ == kind.__name__
    for part in parts:
        assert part in str(info.value), str(info.value)
    for error in printed(info.value):
        assert not [name for name in files(error) if name.startswith(PACKAGE)]
    assert [name for name in files(info.value) if name != functools.__file__][-1].startswith(TESTS)
