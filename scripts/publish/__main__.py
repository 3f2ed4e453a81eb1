"""Write everything that is generated: no table or address in the course's pages is typed.

    python -m scripts.publish            write                          (make generate)
    python -m scripts.publish --check    write nothing, name what differs, end with 1 if anything does

Written are README's example and verdicts, the ledger, the minutes, the instructor's table, the glossary, the three
cards, what was tried for the adapter, the heads of the notebooks, the one file that leaves with a reader's model, and
the repository's address.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from helpers import reference
from helpers.paths import ROOT

from . import (
    adapter_page,
    badges,
    cards,
    front_page,
    glossary,
    ledger,
    outline,
    portable,
    repository,
    runtimes,
    universe_card,
)


def pages() -> dict[Path, str]:
    """Every generated page -> the text that it should have now."""
    texts = {
        path: path.read_text(encoding="utf-8")
        for path in (
            front_page.README,
            ledger.PAGE,
            runtimes.PAGE,
            outline.GUIDE,
            cards.CARD,
            cards.ADAPTER_CARD,
            universe_card.CARD,
            adapter_page.PAGE,
        )
    }
    minutes = runtimes.on_two_cores(reference.load("runtimes").results)
    return {
        front_page.README: front_page.written(texts[front_page.README]),
        ledger.PAGE: ledger.written(texts[ledger.PAGE]),
        runtimes.PAGE: runtimes.filled_table(texts[runtimes.PAGE], minutes),
        outline.GUIDE: outline.written(texts[outline.GUIDE]),
        glossary.PAGE: glossary.page(),
        cards.CARD: cards.data_card(texts[cards.CARD]),
        cards.ADAPTER_CARD: cards.adapter_card(texts[cards.ADAPTER_CARD]),
        universe_card.CARD: universe_card.written(texts[universe_card.CARD]),
        adapter_page.PAGE: adapter_page.written(texts[adapter_page.PAGE]),
        portable.TARGET: portable.whole(),
    }


def main(argv: list[str] | None = None) -> int:
    """Run the command line (see the module). Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args(argv).check
    wanted = pages() | runtimes.heads(reference.load("runtimes").results)
    changed = {
        path: text for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text
    }
    if not check:
        for path, text in changed.items():
            path.write_text(text, encoding="utf-8")
    addresses = badges.disagreeing(ROOT, repository.REPOSITORY, repository.REPOSITORY)
    if not check:
        badges.main([])
    for path in {**changed, **addresses}:
        print(f"{'differs' if check else 'written'}: {path.relative_to(ROOT)}")
    return 1 if check and (changed or addresses) else 0


if __name__ == "__main__":
    raise SystemExit(main())
