"""Helpers of the tutorial: print an expression, its value and the claim about it, and insist on the claim."""

import contextlib
import io


class FalseClaim(AssertionError):
    """A script of the tutorial claimed a result that the library did not give."""


def section(title):
    """Print a heading."""
    print(f"\n{title}\n{'-' * len(title)}")


def show(expression, value, expect):
    """Print ``expression``, the text of ``value`` and a tick; raise `FalseClaim` if it is not ``expect``.

    To claim something about the repr, hand in ``repr(value)``: the text of a string is the string itself.
    """
    text, expect = str(value), str(expect)
    if text != expect:
        raise FalseClaim(f"{expression}\n  claimed: {expect}\n  got:     {text}")
    line = f"{expression:<46} {text}   ✓ claimed {expect}"
    if "\n" in text or len(line) > 120:
        # Too wide to stand side by side: the value below its expression, and said once.
        line = "\n".join([expression, *(f"    {part}" for part in text.splitlines()), "    ✓ as claimed"])
    print(line)


def show_output(expression, action, expect):
    """Call ``action()`` and claim that the lines it prints are ``expect``; return what it returned."""
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        result = action()
    show(f"lines printed by {expression}", ", ".join(stream.getvalue().splitlines()), ", ".join(expect))
    return result


def show_error(expression, action, kind, contains):
    """Claim that ``action()`` raises ``kind`` with ``contains`` somewhere in its message."""
    try:
        action()
    except kind as error:
        if contains not in str(error):
            claimed = f"{contains!r} in the message"
            raise FalseClaim(f"{expression}\n  claimed: {claimed}\n  got:     {error}") from error
        print(f"{expression:<46} {type(error).__name__}: ... {contains} ...   ✓ refused as claimed")
    else:
        raise FalseClaim(f"{expression}\n  claimed: it raises {kind.__name__}\n  got:     no error")
