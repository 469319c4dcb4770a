"""A debugger in the backward pass.

Where does a nan in a gradient come from? Reverse mode runs no line of your code on its way back, so there
is nowhere to put a breakpoint, except in the backward half of a custom_vjp. A function that does nothing,
with a backward half that stops, can be put around any value whose cotangent you want to see.

To let this script run by itself, the debugger reads its commands from a list; at a terminal you would write
``pdb.set_trace()`` and type them.
"""

import bdb
import io
import pdb
import sys

import numpy as np
from claims import section, show

import pullback.numpy as pnp
from pullback import custom_vjp, grad

commands = io.StringIO()
screen = io.StringIO()


def stop_here():
    """What ``pdb.set_trace()`` does, except that it reads from ``commands`` and writes to ``screen``."""
    debugger = pdb.Pdb(stdin=commands, stdout=screen, nosigint=True, readrc=False)
    debugger.set_trace(sys._getframe(1))


@custom_vjp
def inspect_cotangent(x):
    return x


def inspect_fwd(x):
    return x, x


def inspect_bwd(x, x_bar):
    stop_here()
    return (x_bar,)


inspect_cotangent.defvjp(inspect_fwd, inspect_bwd)


def chirp(x):
    squared = inspect_cotangent(x**2)
    return pnp.sin(squared)


def debug_session(x, *typed):
    """Differentiate chirp at x with these commands typed; return gradient (None if quit) and answers."""
    for stream in (commands, screen):
        stream.seek(0)
        stream.truncate()
    commands.write("".join(f"{command}\n" for command in typed))
    commands.seek(0)
    try:
        gradient = grad(chirp)(x)
    except bdb.BdbQuit:
        gradient = None
    print("\n".join(f"    | {line}" for line in screen.getvalue().splitlines()))
    # The answer to a command stands between its prompt and the next one.
    return gradient, [answer.strip() for answer in screen.getvalue().split("(Pdb) ")[1:]]


section("Look at the value and at its cotangent, then quit")

gradient, answers = debug_session(np.float32(3.0), "p x", "p x_bar", "q")
show("p x", answers[0], "Array(9., dtype=float32)")
show("p x_bar, which is cos(9.)", answers[1], "Array(-0.91113025, dtype=float32)")
show("quitting abandons the gradient", gradient, "None")


section("Look, then continue")

gradient, answers = debug_session(3.0, "p float(x_bar) < 0", "c")
show("p float(x_bar) < 0", answers[0], "True")
show("grad(chirp)(3.), which is 6 cos(9.)", gradient, "-5.4667816")
