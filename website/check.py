"""Look a built site over: `python -m website.check FOLDER`.

Links and anchors are followed in the files. Where a Chromium is installed, pages are then opened in it, at the width of
a desk and of a telephone, dark and light: nothing may be wider than the window, no request may fail, no script raise an
error, and the search must find what it is asked for. Pictures are left in `shots` beside the site, to be looked at.
"""

import contextlib
import functools
import json
import shutil
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

# the pages that are photographed, and what is searched for: a term, and a page that must be among the first results
SHOTS = (
    "index",
    "custom_rules",
    "accuracy",
    "rules",
    "reference/index",
    "reference/pullback.custom_derivatives",
    "examples/gallery/index",
    "examples/05_fixed_point",
)
SEARCHES = {"custom_vjp": "custom", "checkpoint": "memory", "scan": "pullback.lax"}
CHINESE_SEARCHES = {"余切": "zh/", "残差": "zh/"}
DESK, TELEPHONE = (1280, 900), (390, 800)


class Page(HTMLParser):
    """The links, the files that are loaded, and the anchors of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag refers to and defines."""
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.append(value)
            elif name in ("id", "name") and value:
                self.anchors.add(value)


def broken_links(folder: Path) -> Iterator[str]:
    """The links of pages that lead to no file, or to no anchor of it."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html")}
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.is_file():
                yield f"{path.relative_to(folder)}: {link} leads to no file"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{path.relative_to(folder)}: {link} leads to no anchor"


class Quiet(SimpleHTTPRequestHandler):
    """A server that does not write what it serves."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """A page that has been closed needs the rest of its files no more."""
        with contextlib.suppress(ConnectionError):
            super().copyfile(source, outputfile)


def faults_in_browser(folder: Path, chromium: str, shots: Path) -> list[str]:
    """What a browser finds wrong with the pages."""
    from playwright.sync_api import sync_playwright

    # from the folder above, where the list of versions is
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder.parent)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}/{folder.name}"
    shots.mkdir(parents=True, exist_ok=True)
    faults = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            for device, (width, height) in (("desk", DESK), ("telephone", TELEPHONE)):
                context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
                for path in shown(folder):
                    shot = shots / f"{path.replace('/', '_')}-{device}-{scheme}.png"
                    faults += looked_at(context.new_page(), f"{address}/{path}.html", shot)
                context.close()
        searches = {**SEARCHES, **(CHINESE_SEARCHES if (folder / "zh").is_dir() else {})}
        for term, expected in searches.items():
            faults += searched(browser.new_page(), f"{address}/search.html?q={term}", expected)
        faults += switched(browser.new_page(), f"{address}/rules.html")
        browser.close()
    server.shutdown()
    return [fault.removeprefix(address) for fault in faults]


def looked_at(page: Any, url: str, shot: Path) -> list[str]:
    """Open a page and photograph it; what went wrong."""
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(f"{url}: a script raised {error}"))
    page.on("requestfailed", lambda request: faults.append(f"{url}: {request.url} failed"))
    page.goto(url)
    if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
        faults.append(f"{url}: wider than the window of {page.viewport_size['width']} pixels")
    page.screenshot(path=shot)
    page.close()
    return faults


def searched(page: Any, url: str, expected: str) -> list[str]:
    """Open the page of a search; what it does not find."""
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(f"{url}: a script raised {error}"))
    page.goto(url)
    try:
        page.wait_for_selector(f"#search-results a[href*='{expected}']", timeout=20_000)
    except Exception:  # a class of the browser's driver
        faults.append(f"{url}: no result on a page {expected}*")
    page.close()
    return faults


def switched(page: Any, url: str) -> list[str]:
    """Choose the latest version in the list of them; where that leads to another page than this one."""
    page.goto(url)
    try:
        page.wait_for_selector("#versions option", state="attached", timeout=20_000)
        page.select_option("#versions", index=0)
        page.wait_for_url("**/latest/**")
        there = page.url.rpartition("/")[2]
        faults = [] if there == url.rpartition("/")[2] else [f"{url}: the list of versions leads to {there}"]
    except Exception as error:  # a class of the browser's driver
        faults = [f"{url}: the list of versions: {error}"]
    page.close()
    return faults


def broken_versions(site: Path) -> Iterator[str]:
    """The pages in the list of versions that are not there."""
    for entry in json.loads((site / "versions.json").read_text(encoding="utf-8")):
        for page in entry["pages"]:
            if not (site / entry["url"] / page).is_file():
                yield f"versions.json: {entry['url']}{page} leads to no file"


def shown(folder: Path) -> list[str]:
    """The pages to look at: a choice, and every page in Chinese."""
    chinese = sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.glob("zh/*.html"))
    return [*SHOTS, *chinese]


def main(folder: Path) -> int:
    """Print what is wrong; 1 if anything is."""
    faults = [*broken_links(folder), *broken_versions(folder.parent)]
    print(f"links and anchors of {len(list(folder.rglob('*.html')))} pages: {len(faults)} broken")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium:
        shots = folder.parent.parent / "shots"
        faults += faults_in_browser(folder, chromium, shots)
        print(f"pages in {chromium}: pictures are in {shots}")
    else:
        print("no Chromium was found (Debian: apt install chromium): the pages were not opened in a browser")
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
