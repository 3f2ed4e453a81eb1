"""The notebook contract: what every notebook keeps, read from a stored notebook or from its text twin.

``gaps`` is the whole of it, one line for each breach. The tests ask it of the stored notebooks and of the twins;
``python -m scripts.publish.outline`` prints it for the twins, whose rewriting it steers.
"""

from __future__ import annotations

import ast
import builtins
import re
import statistics
from collections import Counter

from helpers import claims

from . import spoilers
from .books import Book, Cell

LIMITS = {
    "median": 8,  # code lines of a cell
    "largest": 30,
    "folded": 36,  # of a cell that Colab folds to its title
    "width": 100,  # characters of a code line, comments included
    "words": 8,  # of prose for each code line, over a notebook
    "run": 2,  # code cells in a row
    "exercises": 3,
    "quizzes": 3,
}
FOLDED = "# @title"


def gaps(each: Book, among: list[Book], known: dict[str, str]) -> list[str]:
    """What a notebook lacks against the contract, one line each; an empty list when it keeps it.

    Parameters
    ----------
    among : the books whose recaps count
    known : bet id -> what was measured (``spoilers.answers`` of the stored notebooks)
    """
    return [
        *cell_gaps(each),
        *_bet_gaps(each, among),
        *recap_gaps(each),
        *core_gaps(each),
        *_quiz_gaps(each),
        *spoilers.spoiled(each, known),
        *spoilers.suggested(each, known),
    ]


def words(each: Book) -> int:
    """Words of prose: of all markdown, without code blocks, HTML, and the targets of links."""
    hidden = r"```.*?```|<[^>\n]+>|\]\([^)]*\)|\]\[[^\]]*\]|^\[[^\]]+\]: .*$"
    return sum(
        len(re.findall(r"\w[\w'’.,-]*", re.sub(hidden, " ", cell.source, flags=re.S | re.M)))
        for cell in each.cells("markdown")
    )


def cell_gaps(each: Book) -> list[str]:
    """Cells that are too large, too wide, too many in a row, or too little explained."""
    code = each.cells("code")
    sizes = [cell.lines for cell in code]
    found = []
    if statistics.median(sizes) > LIMITS["median"]:
        found.append(f"code cells have {statistics.median(sizes):g} lines in the median, {LIMITS['median']} at most")
    for number, cell in enumerate(code, 1):
        limit = LIMITS["folded" if cell.source.startswith(FOLDED) else "largest"]
        if cell.lines > limit:
            found.append(f"code cell {number} has {cell.lines} lines, {limit} at most: {_first(cell)}")
        if wide := [line for line in cell.source.splitlines() if len(line) > LIMITS["width"]]:
            found.append(f"code cell {number} has a line of {max(map(len, wide))} characters: {wide[0].strip()[:50]}")
    if _longest_run(each) > LIMITS["run"]:
        found.append(f"{_longest_run(each)} code cells in a row")
    if words(each) < LIMITS["words"] * sum(sizes):
        found.append(f"{words(each) / sum(sizes):.1f} words of prose a code line, {LIMITS['words']} at least")
    return found


def _first(cell: Cell) -> str:
    return next((line for line in cell.source.splitlines() if line.strip()), "")[:50]


def _longest_run(each: Book) -> int:
    kinds = "".join("c" if cell.kind == "code" else "m" for cell in each.cells())
    return max(map(len, re.findall("c+", kinds)))


def _bet_gaps(each: Book, among: list[Book]) -> list[str]:
    """Too few exercises or quizzes, claims without a bet, bets that no recap shows."""
    asked = {"exercises": sum(len(s.exercises) for s in each.sections)}
    asked["quizzes"] = sum(s.quizzes for s in each.sections)
    found = [
        f"{number} {what}, {LIMITS[what]} are asked for" for what, number in asked.items() if number < LIMITS[what]
    ]
    found += _unbet(each)
    recaps = "".join(cell.source for other in among for cell in other.cells("code") if "exercises.recap" in cell.source)
    return found + [
        f"bet {bet!r} of section {s.title!r} is in no recap"
        for s in each.sections
        for bet in s.bets
        if f'"{bet}"' not in recaps
    ]


def _unbet(each: Book) -> list[str]:
    """Sections that settle something before as many bets were placed. True by construction needs none."""
    known, found, bets, settled = claims.ledger(), [], 0, 0
    for s in each.sections:
        bets += len(s.bets)
        settled += any(name not in known or known[name].kind != "identity" for name in s.claims)
        if s.claims and settled > bets:
            found.append(f"section {s.title!r} settles {', '.join(s.claims)} without a bet")
    return found


def bound(source: str) -> set[str]:
    """The names that a cell binds at its top level: what it assigns, loops over, imports, defines."""
    names, waiting = set(), [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif not isinstance(node, ast.Lambda | ast.comprehension):
            waiting += ast.iter_child_nodes(node)
    return names


def recap_gaps(each: Book) -> list[str]:
    """Names that a recap shows and that no cell, or more than one, has bound before it.

    It would show another number than the bet's.
    """
    found, before = [], Counter()
    for cell in each.cells("code"):
        if "exercises.recap(" in cell.source:
            read = {
                node.id
                for node in ast.walk(ast.parse(cell.source))
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
            }
            inner = {
                node.id
                for node in ast.walk(ast.parse(cell.source))
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            }
            found += [
                f"the recap reads {name!r}, which {before[name] or 'no'} cells bind"
                for name in sorted(read - inner)
                if name not in vars(builtins) and before[name] != 1
            ]
        before.update(bound(cell.source))
    return found


def core_gaps(each: Book) -> list[str]:
    """Names that only deeper sections bind and a core cell reads, unless it asks whether they are there.

    A lambda's body is read later, and may fail then (``exercises.recap`` says so).
    """
    found, known, only = [], set(), set()
    for section in each.sections:
        deeper = below = "(deeper)" in section.title
        for cell in section.cells:
            if cell.kind == "markdown":
                for title in re.findall(r"^###+ (.*)$", cell.source, re.M):
                    below = deeper or "(deeper)" in title
            elif below:
                only |= bound(cell.source) - known
            else:
                lacking = sorted(only & _read_at_once(cell.source) - known - bound(cell.source))
                if not any(f'"{name}" in globals()' in cell.source for name in lacking):
                    found += [f"a core cell reads {name!r}, which only a deeper section binds" for name in lacking]
                known |= bound(cell.source)
    return found


def _read_at_once(source: str) -> set[str]:
    """The names that a cell reads as it runs: not its own loop variables and arguments, nothing inside a lambda."""
    tree = ast.parse(source)
    nodes = list(ast.walk(tree))
    later = {id(n) for one in nodes if isinstance(one, ast.Lambda) for n in ast.walk(one.body)}
    named = [n for n in nodes if isinstance(n, ast.Name) and id(n) not in later]
    own = {n.id for n in named if not isinstance(n.ctx, ast.Load)} | {n.arg for n in nodes if isinstance(n, ast.arg)}
    return {n.id for n in named if isinstance(n.ctx, ast.Load)} - own


def _quiz_gaps(each: Book) -> list[str]:
    """Quiz questions of fewer than three answers, or with an answer that nothing explains."""
    found = []
    for question in (part for cell in each.cells("markdown") for part in cell.source.split("**Quiz")[1:]):
        answers = re.findall(r"<details><summary>([A-Z]) · .*?</summary>\n(.*?)</details>", question, re.S)
        if len(answers) < 3:
            found.append(f"a quiz of {len(answers)} answers")
        found += [f"quiz answer {letter} is not explained" for letter, why in answers if len(why.split()) < 5]
    return found


def measures(each: Book) -> str:
    """The notebook in one line: cell sizes, prose, and what is there to do."""
    sizes = sorted(cell.lines for cell in each.cells("code"))
    count = {what: sum(len(getattr(s, what)) for s in each.sections) for what in ("bets", "claims", "exercises")}
    return (
        f"{each.name}: code lines median {statistics.median(sizes):g}, "
        f"90th percentile {sizes[int(0.9 * len(sizes))]}, largest {sizes[-1]}; "
        f"{words(each) / sum(sizes):.1f} words a code line; longest run {_longest_run(each)}; "
        f"bets {count['bets']}, claims {count['claims']}, exercises {count['exercises']}, "
        f"quizzes {sum(s.quizzes for s in each.sections)}"
    )
