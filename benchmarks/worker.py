"""One process that measures one figure for one library: `python worker.py FIGURE LIBRARY`.

It prepares (imports, data, warm-up), says "ready", and then answers each line of its input with one sample:
JSON from row to seconds, or what the figure's UNIT says. Nothing but the standard library is imported before the
figure's own `prepare`.
"""

import importlib
import json
import os
import sys


def main(figure: str, peer: str) -> None:
    # what a library prints, in Python or not, must not mix with the answers
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sample = importlib.import_module(figure).prepare(peer)
    print("ready", file=replies, flush=True)
    for _ in sys.stdin:
        print(json.dumps(sample()), file=replies, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
