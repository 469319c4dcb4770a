"""The versions of the site, a folder for each: `python -m website.versions FOLDER VERSION`, after the pages of a
version have been built into `FOLDER/VERSION`. Folders of other versions stay as they are.

`latest` is a copy of the newest release, the page above leads there, and `versions.json` lists the versions and their
pages. So does `versions.js`, since a browser that opens files reads scripts, but no JSON.
"""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

LATEST = "latest"
_REDIRECT = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>pullback</title>
<meta http-equiv="refresh" content="0; url=latest/index.html"></head>
<body><a href="latest/index.html">pullback</a></body></html>
"""


def order(version: str) -> tuple[tuple[int, ...], bool, str]:
    """A key by which later versions are larger; those before a release (0.2.0rc1, 0.2.0.dev1) come before it."""
    number = re.match(r"\d+(?:\.\d+)*", version)
    rest = version[number.end() :] if number else version
    return tuple(map(int, number[0].split("."))) if number else (), not rest, rest


def listed(folder: Path) -> list[dict[str, Any]]:
    """The versions in a folder, the newest first, each with its pages; of those one is the latest release."""
    found = sorted(
        (path.name for path in folder.iterdir() if path.name != LATEST and (path / "index.html").is_file()),
        key=order,
        reverse=True,
    )
    latest = next((version for version in found if order(version)[1]), found[0] if found else None)
    return [
        {
            "version": version,
            "url": f"{LATEST if version == latest else version}/",
            "latest": version == latest,
            "pages": sorted(
                path.relative_to(folder / version).as_posix() for path in (folder / version).rglob("*.html")
            ),
        }
        for version in found
    ]


def publish(folder: Path, version: str) -> list[dict[str, Any]]:
    """Bring `latest` and the lists up to date; returns the list. FileNotFoundError if the version is not built."""
    if not (folder / version / "index.html").is_file():
        raise FileNotFoundError(f"{folder / version}: no page index.html: build the pages of {version} there first")
    versions = listed(folder)
    newest = next(entry["version"] for entry in versions if entry["latest"])
    shutil.rmtree(folder / LATEST, ignore_errors=True)
    shutil.copytree(folder / newest, folder / LATEST, ignore=shutil.ignore_patterns(".doctrees", ".buildinfo*"))
    text = json.dumps(versions, indent=1)
    (folder / "versions.json").write_text(text + "\n", encoding="utf-8")
    (folder / "versions.js").write_text(f"window.pullbackVersions = {text};\n", encoding="utf-8")
    (folder / "index.html").write_text(_REDIRECT, encoding="utf-8")
    return versions


if __name__ == "__main__":
    for each in publish(Path(sys.argv[1]), sys.argv[2]):
        print(each["version"], "(latest)" if each["latest"] else "", f"{len(each['pages'])} pages")
