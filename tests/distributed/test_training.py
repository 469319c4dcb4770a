"""The program of the guide: it trains in two processes, one dies, all start again and resume."""

import os
import re
import subprocess
import sys
from pathlib import Path

from processes import LIMIT

ROOT = Path(__file__).resolve().parents[2]


def train(folder, *options):
    flags = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if "device_count" not in flag]
    command = [
        sys.executable,
        ROOT / "examples" / "train_in_processes.py",
        "--path",
        folder / "checkpoint.npz",
        *options,
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": " ".join(flags)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT, check=True)


def test_it_resumes_where_it_was_saved(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole, failed = train(tmp_path / "a"), train(tmp_path / "b", "--fail", "25")
    loss = re.search(r"from step 0: loss (\S+) after step 40", whole.stdout)
    assert loss, whole
    assert "workers ended with [0, 0]" in whole.stdout
    assert "workers ended with [1, 9]" in failed.stdout
    assert f"from step 20: loss {loss[1]} after step 40" in failed.stdout, failed
    assert re.search(r"ProcessFailureError: .*: process 1 \(pid \d+ on [^)]*\) died", failed.stderr), failed.stderr
