"""The test suites of libraries written for JAX, unmodified, on pullback: how many of the tests that pass on JAX pass.

python clients/suites.py WHERE                     all suites: fetched into the folder WHERE, and run
python clients/suites.py WHERE optax chex          some
python clients/suites.py WHERE --every             every test, not a sample of the long suites
python clients/suites.py WHERE --failures optax    what did not pass, of what was run before
python clients/suites.py WHERE --table             the table, of what was run before

A suite is what the source distribution of the installed version holds. Its tests run on pullback; those that do not
pass run on JAX too, and count if they pass there. Outcomes stay in WHERE.
"""

import argparse
import contextlib
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Suite:
    """Where the tests are in a source distribution, and how many of a file's are run at most, evenly spaced."""

    files: str
    most: int = 1000


SUITES = {
    "chex": Suite("chex/**/*_test.py"),
    "optax": Suite("optax/**/*_test.py", 24),
    "interpax": Suite("tests/test_*.py", 40),
    "matfree": Suite("tests/**/test_*.py", 8),
    "tinygp": Suite("tests/**/test_*.py", 30),
    "flax": Suite("tests/**/*_test.py", 8),
    "blackjax": Suite("tests/**/test_*.py", 3),
    "distrax": Suite("distrax/**/*_test.py", 6),
    "numpyro": Suite("test/test_*.py", 20),
}
FILE_SECONDS, TEST_SECONDS, PROCESS_SECONDS = 300, 120, 1800


def source(where, library):
    """The folder of a library's source distribution, which is fetched where it is not there."""
    version = importlib.metadata.version(library)
    if not (folder := where / f"{library}-{version}").exists():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*command, "--dest", where, f"{library}=={version}"], check=True)
        with tarfile.open(where / f"{library}-{version}.tar.gz") as archive:
            archive.extractall(where, filter="data")
    return folder


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def outcomes(path):
    """Test -> the worst that was recorded of it, and its text; "ended the process" if nothing was after its start."""
    result = {}
    for entry in read(path):
        test, outcome = entry["test"], entry["outcome"]
        if outcome == "started":
            result[test] = ("ended the process", "")
        elif result.get(test, ("", ""))[0] != "failed":
            result[test] = (outcome, entry["text"])
    return result


def files_of(where, library):
    folder = source(where, library)
    return sorted(str(path.relative_to(folder)) for path in folder.glob(SUITES[library].files))


def run(where, library, how, record, most, tests=None):
    """Run the files of a suite in one process, and those after the test that ended it, or took its time, in another.

    `tests` are those to run, or the files that were not collected; by default `most` of each file.
    """
    files, names = files_of(where, library), record.with_suffix(".tests")
    if tests is not None:
        names.write_text("\n".join(tests), encoding="utf-8")
        wanted = {test.partition("::")[0] for test in tests}
        files = [file for file in files if file in wanted]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)]),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_backend_optimization_level=0",  # compilation is nearly all of the time
        "SUITE_OUTCOMES": str(record),
        "SUITE_TESTS": str(names) if tests is not None else "",
        "SUITE_MOST": str(most),
        "SUITE_FILE_SECONDS": str(FILE_SECONDS),
        "SUITE_TEST_SECONDS": str(TEST_SECONDS),
    }
    options = "-m pytest -q --tb=short --continue-on-collection-errors -p no:cacheprovider -p suite_outcomes".split()
    command = [sys.executable, *how, *options]
    settings = {"cwd": source(where, library), "env": environment, "timeout": PROCESS_SECONDS, "check": False}
    record.write_text("")
    while files:
        with record.with_suffix(".log").open("w") as log, contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run([*command, *files], stdout=log, stderr=log, **settings)
        seen = read(record)
        if not seen or seen[-1]["outcome"] != "started":
            return
        last = seen[-1]["test"].partition("::")[0]
        files = files[files.index(last) + 1 :]


def compared(where, library):
    """The tests that pass on JAX, each with its outcome and text on pullback.

    JAX runs those tests that do not pass on pullback: the others are taken to pass on both.
    """
    on_jax = outcomes(where / f"{library}.jax.jsonl")
    on_pullback = outcomes(where / f"{library}.pullback.jsonl")
    both = {test: found for test, found in on_pullback.items() if found[0] == "passed"}
    misses = [test for test, (outcome, _) in on_jax.items() if outcome == "passed" and test not in both]
    files = {test: on_pullback.get(test.partition("::")[0], ("missing", "")) for test in misses}
    return {**both, **{test: on_pullback.get(test, files[test]) for test in misses}}


def row(where, library):
    result = compared(where, library)
    passed = sum(outcome == "passed" for outcome, _ in result.values())
    share = f"{100 * passed / len(result):.1f} %" if result else "-"
    return f"| {library} {importlib.metadata.version(library)} | {passed} of {len(result)} | {share} |"


def missed(record):
    """What ran, or was to be collected, and did not pass."""
    fine = ("passed", "skipped", "not run")
    return [test for test, (outcome, _) in outcomes(record).items() if outcome not in fine]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("where", type=Path)
    parser.add_argument("libraries", nargs="*", default=[])
    parser.add_argument("--every", action="store_true", help="every test, not a sample of the long suites")
    parser.add_argument("--failures", action="store_true", help="what did not pass, of what was run before")
    parser.add_argument("--table", action="store_true", help="the table, of what was run before")
    options = parser.parse_args()
    where = options.where.resolve()
    where.mkdir(parents=True, exist_ok=True)
    for library in options.libraries or [name for name in SUITES if importlib.util.find_spec(name)]:
        if options.failures:
            for test, (outcome, text) in compared(where, library).items():
                if outcome != "passed":
                    print(f"{library}: {test}: {outcome}\n{text}\n")
            continue
        if not options.table:
            ours, theirs = (where / f"{library}.{name}.jsonl" for name in ("pullback", "jax"))
            most = sys.maxsize if options.every else SUITES[library].most
            run(where, library, ("-m", "pullback.as_jax"), ours, most)
            run(where, library, (), theirs, most, missed(ours))
        print(row(where, library), flush=True)


if __name__ == "__main__":
    main()
