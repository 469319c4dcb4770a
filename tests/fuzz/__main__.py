"""Random programs, checked until time is up: `python -m fuzz --seconds 60`, in the folder of the tests.

Each seed is a program. It is drawn statement by statement (grammar.py and its families), and what is
computed of it (quantities.py) is compared, within what rounding errors may do (bounds.py), with the same computed in
another way, in double precision, in compiled code, by JAX, and with numerical differences (oracles.py). A program that
fails is made small (shrinking.py) and printed as a test (report.py), unless it is a difference that is meant to be
(accepted.py).
"""

import argparse
import os
import time


def main() -> int:
    options = argparse.ArgumentParser(prog="fuzz", description=__doc__.split("\n\n")[0])
    options.add_argument("--seconds", type=float, default=60.0, help="stop after this time")
    options.add_argument("--programs", type=int, help="stop after so many programs")
    options.add_argument("--seed", type=int, help="the seed of the first program; the next ones follow")
    options.add_argument("--log", help="a file to which findings are written too")
    chosen = options.parse_args()
    import conftest  # noqa: F401  the settings of the engine, before it is loaded

    from fuzz.campaign import Campaign

    seed = chosen.seed if chosen.seed is not None else int.from_bytes(os.urandom(3)) * 1000
    campaign = Campaign(log=chosen.log)
    end = time.monotonic() + chosen.seconds
    while time.monotonic() < end and (chosen.programs is None or campaign.programs < chosen.programs):
        campaign.run(seed + campaign.programs)
        if chosen.log and campaign.programs % 500 == 0:
            campaign.tell("# " + campaign.summary(seed).splitlines()[0])
    print(campaign.summary(seed))
    return 1 if campaign.findings else 0


raise SystemExit(main())
