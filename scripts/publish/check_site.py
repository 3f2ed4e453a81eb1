"""Read the site as its readers do: every page of build/site in headless Chromium, light and dark, wide and narrow.

    python -m scripts.publish.check_pages --site [PAGE …]    all pages, or those whose path starts so

Beside what check_pages.py asks of a notebook, a page of the site fails for asking another machine for anything, a link
or anchor that leads nowhere on the site, two elements with one id, a folded part that stands open, a formula that is
not set, a table or figure that is cut off, and a control that Tab does not reach or that does not show it. The search
has to find a word in English and one in Arabic. The site is served from this machine for as long as the check takes.
"""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from helpers.errors import CourseError

from .check_pages import FROM_AWAY, HERE, LOOK, SHORTEST_ALT, THEMES, Pages
from .site import BUILT

WIDTHS = (1200, 400)  # CSS pixels
FAINTEST = 4.5  # contrast ratio, WCAG 2 level AA
BY_KEYBOARD = (("light", 1200), ("dark", 400))  # each theme and each width once: a walk takes a press for each link
PATIENCE = 180_000  # milliseconds for a page to load
SOUGHT = ("attention", "الرهان")
ASKED = {
    "shortestAlt": SHORTEST_ALT,
    "faintest": FAINTEST,
    "links": "article a[href]",
    "prose": "article :is(p, li, h1, h2, h3, h4, blockquote, summary):not(table *)",  # tables scroll
    "text": "body",
}
SCRIPT = (Path(__file__).parent / "look_at_site.js").read_text(encoding="utf-8")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Say nothing of each file."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address at which a folder is served from this machine."""
    server = http.server.ThreadingHTTPServer((HERE, 0), functools.partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{HERE}:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def ask(page, function: str, *arguments):
    """Call a function of look_at_site.js in an open page."""
    return page.evaluate(f"(given) => ({SCRIPT}).{function}(...given)", list(arguments))


def open_page(page, address: str) -> tuple[dict, list[str]]:
    """Open an address and look at it: what ``arrive`` says, and problems."""
    said, away = [], set()
    listeners = {
        "console": lambda message: said.append(message.text) if message.type == "error" else None,
        "pageerror": lambda error: said.append(str(error)),
        "request": lambda request: (
            away.add(request.url) if urlsplit(request.url).hostname not in (HERE, None) else None
        ),
    }
    for event, listener in listeners.items():
        page.on(event, listener)
    page.goto(address, wait_until="load", timeout=PATIENCE)
    arrived = ask(page, "arrive")
    seen = page.evaluate(LOOK, ASKED)
    for event, listener in listeners.items():
        page.remove_listener(event, listener)
    found = [f"console error: {text.splitlines()[0][:200]}" for text in said if not FROM_AWAY.search(text)]
    found += [f"asks another machine for {url}" for url in sorted(away)]
    return arrived, found + arrived["problems"] + seen["problems"]


def walk(page, address: str) -> list[str]:
    """Press Tab through a page. Returns what is not reached, does not show its focus, or has it out of sight."""
    page.goto(address, wait_until="load", timeout=PATIENCE)
    reached, found = [], []
    for press in range(2 * ask(page, "number") + 100):  # boxes that scroll take the focus too, and are not numbered
        page.keyboard.press("Tab")
        now = ask(page, "focused")
        if now["page"] or (now["place"] >= 0 and now["place"] in reached):
            break
        if press == 0 and not now["what"].lower().startswith("a skip"):
            found.append(f"the first Tab leads to {now['what']}, not to a link that skips the menus")
        if not now["seen"]:
            found.append(f"focus does not show: {now['what']}")
        if not now["inside"]:
            found.append(f"focus is out of sight: {now['what']}")
        reached.append(now["place"])
    return found + [f"Tab does not reach: {what}" for what in ask(page, "missed", reached)]


def lost_links(links: list[str], ids: dict[str, set[str]], base: str, folder: Path) -> list[str]:
    """The links below ``base`` that name no file of the site, or no element of its page.

    ``ids`` -> path below ``base`` -> the ids that its page has.
    """
    found = []
    for link in dict.fromkeys(links):
        if not link.startswith(base):
            continue
        path, anchor = unquote(urlsplit(link).path).lstrip("/") or "index.html", unquote(urlsplit(link).fragment)
        if not (folder / path).is_file():
            found.append(f"link leads nowhere: {path}")
        elif anchor and path in ids and anchor not in ids[path]:
            found.append(f"link leads nowhere: {path}#{anchor}")
    return found


def search(page, base: str, words: str) -> list[str]:
    """Whether the site's own search finds a page for some words."""
    page.goto(f"{base}search.html?q={quote(words)}", wait_until="load", timeout=PATIENCE)
    try:
        page.wait_for_selector("#search-results li a", timeout=PATIENCE)
    except Exception:  # playwright's own, which is imported where a browser is at hand
        return [f"the search finds nothing for {words}"]
    return []


def check(folder: Path = BUILT, starts: tuple[str, ...] = ()) -> Iterator[tuple[str, list[str]]]:
    """(what was looked at, its problems), one after the other. Raises CourseError where there is no site."""
    paths = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*.html") if "_static" not in path.parts
    )
    if not paths:
        raise CourseError(f"there is no page in {folder.name}/", "make site")
    ids, links = {}, {}
    with Pages(WIDTHS) as page_of, served(folder) as base:
        for path in paths:
            if not path.startswith(starts or ""):
                continue
            for theme in THEMES:
                for width in WIDTHS:
                    page = page_of(theme, width)
                    arrived, found = open_page(page, base + quote(path))
                    ids[path], links[path] = set(arrived["ids"]), arrived["links"]
                    if (theme, width) in BY_KEYBOARD:
                        found += walk(page, base + quote(path))
                    yield f"{path}, {theme}, {width} px", found
        for path in links:
            yield f"{path}, links", lost_links(links[path], ids, base, folder)
        for words in SOUGHT:
            yield f"search for {words}", search(page_of(*BY_KEYBOARD[0]), base, words)


def report(starts: list[str]) -> int:
    """Print what ``check`` finds. Returns the exit status."""
    count = failed = 0
    try:
        for name, problems in check(starts=tuple(starts)):
            count += 1
            failed += bool(problems)
            if problems:
                print(
                    f"{name}: {len(problems)} problems", *(f"  {problem}" for problem in problems), sep="\n", flush=True
                )
    except CourseError as error:
        print(f"error: {error}")
        return 2
    print(f"{count} looks, {failed} with problems")
    return 1 if failed else 0
