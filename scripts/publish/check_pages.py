"""Read the notebooks as pages: rendered to HTML as scripts/publish/notebooks.py does, looked at in headless Chromium.

    python -m scripts.publish.check_pages [NB …]           the stored notebooks, light and dark
    python -m scripts.publish.check_pages --built [NB …]   what `make run` left under build/
    python -m scripts.publish.check_pages --site           every page that `make site` left, as check_site.py says

A page fails for a console error, a broken internal link, prose that is wider than the page, Arabic that is not joined
or runs the wrong way, text too faint to read, or an image whose alt text says nothing. The network is closed, so that
the result does not hang on it: formulas, which a page fetches MathJax for, are not judged. COURSE_CHROMIUM names
another browser.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat

from . import notebooks

ROOT = Path(__file__).resolve().parents[2]
STORED, BUILD = ROOT / "notebooks", ROOT / "build"
THEMES = ("light", "dark")
WIDTH, HEIGHT = 1000, 1400  # CSS pixels
HERE = "127.0.0.1"  # the one host that pages may come from
SHORTEST_ALT = 10  # characters; figures are held to 40 by the notebook contract
FAINTEST = 3.0  # contrast ratio, WCAG 2 level AA for large text
LOOK = (Path(__file__).parent / "look_at_page.js").read_text(encoding="utf-8")
FROM_AWAY = re.compile(r"net::ERR_|Failed to load resource")  # what a closed network makes a browser say


def browser() -> str | None:
    """The Chromium to use, if there is one."""
    return os.environ.get("COURSE_CHROMIUM") or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )


def look(page, path: Path) -> list[str]:
    """Open one HTML file in a page of the browser and say what is wrong with it."""
    said = []
    on_console = lambda message: said.append(message.text) if message.type == "error" else None  # noqa: E731
    on_error = lambda error: said.append(str(error))  # noqa: E731
    page.on("console", on_console)
    page.on("pageerror", on_error)
    page.goto(path.as_uri(), wait_until="load", timeout=60_000)
    seen = page.evaluate(LOOK, {"shortestAlt": SHORTEST_ALT, "faintest": FAINTEST})
    page.remove_listener("console", on_console)
    page.remove_listener("pageerror", on_error)
    found = [f"console error: {text.splitlines()[0][:200]}" for text in said if not FROM_AWAY.search(text)]
    found += [f"link leads nowhere: {target}" for target in seen["links"] if not _leads_somewhere(target)]
    return found + seen["problems"]


def _leads_somewhere(target: str) -> bool:
    """Whether a relative link names a file beside the notebooks."""
    return (STORED / target.split("#")[0]).resolve().exists()


def check(source: Path, page_of) -> dict[str, list[str]]:
    """theme -> problems, for a stored notebook. ``page_of``: theme -> an open page of the browser."""
    book, found = nbformat.read(source, as_version=4), {}
    with tempfile.TemporaryDirectory() as folder:
        for theme in THEMES:
            path = Path(folder) / f"{source.stem}-{theme}.html"
            notebooks.write_html(book, path, theme)
            found[theme] = look(page_of(theme), path)
    return found


class Pages:
    """Pages of one headless Chromium with a closed network, one for each theme and width; a context manager."""

    def __init__(self, widths: tuple[int, ...] = (WIDTH,)):
        self.widths = widths

    def __enter__(self):
        from playwright.sync_api import sync_playwright

        self.playwright = sync_playwright().start()
        arguments = ["--no-sandbox", "--disable-quic", f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {HERE}"]
        self.chromium = self.playwright.chromium.launch(executable_path=browser(), args=arguments)
        self.open = {(theme, width): self._page(theme, width) for theme in THEMES for width in self.widths}
        return lambda theme, width=self.widths[0]: self.open[theme, width]

    def _page(self, theme: str, width: int):
        return self.chromium.new_page(viewport={"width": width, "height": HEIGHT}, color_scheme=theme)

    def __exit__(self, *_):
        self.chromium.close()
        self.playwright.stop()


def main() -> int:
    """Run the command line (see the module). Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--built", action="store_true", help="the notebooks under build/ instead of the stored ones")
    parser.add_argument("--site", action="store_true", help="the pages of build/site")
    parser.add_argument("notebooks", nargs="*", help="start of a notebook's name, such as 04; with --site, of a page's")
    arguments = parser.parse_args()
    if not browser():
        print("error: there is no Chromium → install one, or name it in COURSE_CHROMIUM", file=sys.stderr)
        return 2
    if arguments.site:
        from . import check_site

        return check_site.report(arguments.notebooks)
    folder = BUILD if arguments.built else STORED
    chosen = [
        p
        for p in sorted(folder.glob("*.ipynb"))
        if not arguments.notebooks or p.name.startswith(tuple(arguments.notebooks))
    ]
    if not chosen:
        print(
            f"error: no notebook to look at in {folder.name}/ → "
            + ("make run" if arguments.built else "see notebooks/"),
            file=sys.stderr,
        )
        return 2
    failed = 0
    with Pages() as page_of:
        for source in chosen:
            for theme, problems in check(source, page_of).items():
                print(f"{source.stem}, {theme}: " + (f"{len(problems)} problems" if problems else "no problem"))
                print(*(f"  {problem}\n" for problem in problems), sep="", end="", flush=True)
                failed += bool(problems)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
