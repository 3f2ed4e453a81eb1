"""The Arabic function-calling data as stored: load a split, join tools and conversations to its rows, validate them.

A row: ``id, split, kind, domain, dialect, messages, query, tools, calls, reply, phrasing, asks``. ``asks`` lists, in a
row of kind ``ask_back``, word stems of which a question for what is missing holds one. ``messages``, ``tools``,
``calls`` and ``asks`` are JSON *strings*: as nested columns Arrow would unite their fields and fill every row with
nulls. ``calls`` are the calls of the conversation; in ``followup`` rows the call is made, answered, and the last turn
is ``reply``. In a public conversation whose last turn calls, ``calls`` are that turn's; earlier calls stand in
``messages`` only.

``python -m scripts.dataset build`` writes ``assets/data/*.jsonl`` from the sources; ``check`` validates every row.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from . import chat, universe
from .errors import CourseError
from .paths import ASSETS, encode, read_yaml
from .schemas import check_tools, schema_fault

DIALECTS, ENGLISH = universe.ARABIC, universe.ENGLISH
OTHER = "other"  # the dialect of public rows whose label is none of the five
STORED = ("train", "validation", "test", "test_unseen_tools")
SPLITS = (*STORED, *universe.SPLITS)  # stored rows, and rows drawn at load
KINDS = ("single", "parallel", "none", "followup", "ask_back")
SILENT = ("none", "ask_back")  # kinds of row in which nothing is called
COLUMNS = ("id", "split", "kind", "domain", "dialect", "messages", "query", "tools", "calls", "reply", "phrasing",
           "asks")  # fmt: skip
FOLDER = ASSETS / "data"
CHECKSUMS = "SHA256SUMS"


def load(
    split: str, tools_per_row: int | None = None, rows_per_prompt: int = 1, domains: tuple[str, ...] | None = None
):
    """A split as a ``datasets.Dataset`` with the columns above, in the stored (shuffled) order.

    Parameters
    ----------
    split : train, validation, test (seen tools, unseen phrasings and values), test_unseen_tools, or one of the
        universe's (``helpers.universe``), whose rows are drawn here and declare the tools that were drawn with them
    tools_per_row : keep at most this many declared tools (called ones always, then the first others); None keeps all
    rows_per_prompt : with more than 1, rows come in runs of this many that declare the same tools, so that training can
        share the work on their common prompt; the tools of a run are drawn anew, a row whose calls they do not serve
        waits
    domains : keep only rows that call tools of these domains (and talk that calls none), and declare only such tools

    Raises
    ------
    CourseError : unknown split, a missing, damaged or malformed file.
    """
    from datasets import Dataset

    if split not in SPLITS:
        raise CourseError(f"there is no split {split!r}", f"use one of {', '.join(SPLITS)}")
    if tools_per_row is not None and tools_per_row < 1:
        raise CourseError(f"tools_per_row={tools_per_row} leaves no tool", "use 1 or more, or None for all")
    if split in universe.SPLITS:
        if tools_per_row or rows_per_prompt > 1 or domains:
            raise CourseError(f"a row of {split} comes with its tools", "leave out how many, and of which domain")
        return Dataset.from_dict(_columns(universe.rows(split)))
    declarations = read_declarations()
    stored = _read(split)
    if domains:
        stored = _of_domains(stored, domains)
    if rows_per_prompt > 1:
        stored = _regrouped(stored, tools_per_row or 4, rows_per_prompt)
        tools_per_row = None
    rows = joined(stored, declarations, tools_per_row)
    return Dataset.from_dict(_columns(rows))


def _columns(rows: list[dict]) -> dict[str, list]:
    return {column: [row[column] for row in rows] for column in COLUMNS}


def joined(stored: list[dict], declarations: dict[str, dict], tools_per_row: int | None = None) -> list[dict]:
    """Rows as they are stored (tool names) as rows of the contract (declarations, whole conversation)."""
    return [_row(row, declarations, tools_per_row) for row in stored]


def read_declarations(folder: Path = FOLDER) -> dict[str, dict]:
    """Tool name -> its JSON-Schema declaration."""
    return {tool["function"]["name"]: {key: tool[key] for key in ("type", "function")} for tool in _tools(folder)}


def read_domains(folder: Path = FOLDER) -> dict[str, str]:
    """Tool name -> the domain that it belongs to."""
    return {tool["function"]["name"]: tool["domain"] for tool in _tools(folder)}


def _tools(folder: Path) -> list[dict]:
    """The lines of ``tools.jsonl``: a declaration each, and the tool's domain."""
    return [json.loads(line) for line in _lines(folder / "tools.jsonl")]


def retention(folder: Path = FOLDER) -> dict[str, list]:
    """What fine-tuning may cost is measured by these.

    40 plain passages each under ``english`` and ``arabic``, 60 English requests with their gold under ``calls``.
    """
    return read_yaml(folder / "retention.yaml")


def of_dialect(rows, dialect: str):
    """The rows of one dialect. Raises CourseError for a dialect the course does not have."""
    if dialect not in (*DIALECTS, OTHER):
        raise CourseError(f"there is no dialect {dialect!r}", f"use one of {', '.join(DIALECTS)}")
    return rows.filter(lambda row: row["dialect"] == dialect)


def _lines(path: Path) -> list[str]:
    """The lines of a JSON-lines file, split at line feeds only: JSON strings may hold U+2028, U+2029 and U+0085."""
    remedy = "restore it with git checkout, or run: python -m scripts.dataset build"
    if not path.exists():
        raise CourseError(f"{path.name} is missing from assets/data", remedy)
    text = path.read_bytes()
    listed = _checksums(path.parent).get(path.name)
    if listed and hashlib.sha256(text).hexdigest() != listed:
        raise CourseError(f"{path.name} does not match its checksum in {CHECKSUMS}", remedy)
    return text.decode("utf-8").removesuffix("\n").split("\n") if text else []


def _checksums(folder: Path) -> dict[str, str]:
    path = folder / CHECKSUMS
    pairs = [line.split() for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    return {name: digest for digest, name in pairs}


def _read(split: str, folder: Path = FOLDER) -> list[dict]:
    rows = []
    for number, line in enumerate(_lines(folder / f"{split}.jsonl"), 1):
        try:
            rows.append(json.loads(line))
        except ValueError:
            raise CourseError(
                f"{split}.jsonl, line {number}, is not JSON", "run: python -m scripts.dataset build"
            ) from None
    return rows


def _row(stored: dict, declarations: dict, tools_per_row: int | None) -> dict:
    """A stored row (tool names) as a row of the contract (declarations, whole conversation)."""
    today = date.fromisoformat(stored["today"]) if "today" in stored else None
    names = _kept(stored, tools_per_row)
    if unknown := [name for name in names if name not in declarations]:
        raise CourseError(
            f"row {stored['id']} names the tool {unknown[0]}, which tools.jsonl does not declare", "add it there"
        )
    messages = conversation(
        stored["query"], stored["calls"], stored["reply"], stored.get("result"), today, stored.get("earlier", ())
    )
    return {
        **{
            column: stored[column]
            for column in ("id", "split", "kind", "domain", "dialect", "query", "reply", "phrasing")
        },
        "messages": encode(messages),
        "tools": encode([declarations[n] for n in names]),
        "calls": encode(stored["calls"]),
        "asks": encode(stored.get("asks", [])),
    }


def _kept(stored: dict, tools_per_row: int | None) -> list[str]:
    names = stored["tools"]
    if tools_per_row is None or len(names) <= tools_per_row:
        return names
    called = {call["name"] for call in stored["calls"]}
    others = [name for name in names if name not in called][: max(0, tools_per_row - len(called))]
    return [name for name in names if name in called or name in others]  # the order stays shuffled


def _of_domains(stored: list[dict], domains: tuple[str, ...]) -> list[dict]:
    """Stored rows of some domains; rows left with fewer than two declared tools are dropped."""
    known = read_domains()
    if unknown := set(domains) - set(known.values()):
        raise CourseError(
            f"there is no domain {sorted(unknown)[0]!r}", f"use some of {', '.join(sorted(set(known.values())))}"
        )
    rows = []
    for row in stored:
        names = [name for name in row["tools"] if known[name] in domains]
        called = {call["name"] for call in row["calls"]}
        if len(names) >= 2 and called <= set(names) and row["domain"] in (*domains, "conversation"):
            rows.append({**row, "tools": names})
    return rows


def _regrouped(stored: list[dict], tools_per_row: int, rows_per_prompt: int) -> list[dict]:
    """Stored rows in runs that declare the same tools and have the same day, so that their prompts begin alike.

    Each run begins with the next row that has not been used and the tools that row declares (its distractors were
    chosen near); the run is filled with rows that call only these tools. Of every eight rows about one calls nothing.
    """
    waiting, quota = list(stored), max(1, rows_per_prompt // 8)
    runs = []
    while waiting:
        names = _kept(waiting[0], tools_per_row)
        run: list[dict] = []
        rest, silent = [], 0
        for row in waiting:
            called = {call["name"] for call in row["calls"]}
            fits = called <= set(names) if called else silent < quota and _needs_nothing(row, names)
            if len(run) < rows_per_prompt and (fits or row is waiting[0]):
                silent += not called
                run.append(_on_day({**row, "tools": names}, waiting[0].get("today")))
            else:
                rest.append(row)
        if len(run) < rows_per_prompt:
            break  # what is left no longer fills a run
        runs.append(run)
        waiting = rest
    random.Random(len(runs)).shuffle(runs)
    return [row for run in runs for row in run]


def _on_day(row: dict, today: str | None) -> dict:
    """A stored row as it is on another day: what its gold counts from today is counted anew."""
    if today is None or row.get("today") == today:
        return row
    calls = [{**call, "arguments": dict(call["arguments"])} for call in row["calls"]]
    for place, counted in row.get("relative", {}).items():
        number, parameter = place.split(".", 1)
        day = universe.resolve_date(counted, date.fromisoformat(today))
        calls[int(number)]["arguments"][parameter] = day
    return {**row, "today": today, "calls": calls}


def _needs_nothing(row: dict, names: list[str]) -> bool:
    """Whether a row without calls stays one beside other tools: talk does, and what is about a declared tool."""
    form, subject = row["phrasing"].split(".")[:2]
    return form == "chat" or (form in ("past", "ask_back") and subject in names)


def conversation(
    query: str,
    calls: list[dict],
    reply: str = "",
    result: dict | None = None,
    today: date | None = None,
    earlier: Sequence[str] = (),
) -> list[dict]:
    """The messages of a row: developer (who says the day, if given), what was said ``earlier``, the user's request.

    Then calls, a tool's result and a reply, as far as there are any.
    """
    developer = f"{universe.today_line(today)}\n{chat.DEVELOPER_PROMPT}" if today else chat.DEVELOPER_PROMPT
    messages: list[dict] = [{"role": "developer", "content": developer}]
    for number, said in enumerate(earlier):
        messages.append({"role": "assistant" if number % 2 else "user", "content": said})
    messages.append({"role": "user", "content": query})
    if calls:
        messages.append({"role": "assistant", "tool_calls": [{"type": "function", "function": call} for call in calls]})
        if result is not None:
            messages.append({"role": "tool", "name": calls[0]["name"], "content": result})
    if reply:
        messages.append({"role": "assistant", "content": reply})
    return messages


def texts(rows) -> list[str]:
    """The whole rendered conversation of each data row."""
    return [chat.render(json.loads(row["messages"]), json.loads(row["tools"])) for row in rows]


# --- validation -------------------------------------------------------------------------------------------------------


def validate(row: dict) -> None:
    """Raise CourseError for a row that the course cannot use, naming the row, the fault and the remedy.

    Looks at: columns, split, kind, dialect; declarations that the template would render incompletely; calls of tools
    that are not declared, in whatever turn; arguments that break their tool's JSON schema or are None.
    """
    if missing := [column for column in COLUMNS if column not in row]:
        raise CourseError(f"a row has no {missing[0]}", f"its columns are {', '.join(COLUMNS)}")
    where = f"row {row['id']}"
    for column, allowed in (("split", SPLITS), ("kind", KINDS), ("dialect", (*DIALECTS, ENGLISH, OTHER))):
        if row[column] not in allowed:
            raise CourseError(
                f"{where}: unknown {column} {row[column]!r}", f"use one of {', '.join(allowed)}", f"unknown {column}"
            )
    tools, calls, messages = (_decoded(row, column) for column in ("tools", "calls", "messages"))
    with _counted_as("a declaration that the template cannot hold"):
        check_tools(tools)
    declared = {tool["function"]["name"]: tool["function"] for tool in tools}
    made = [call["function"] for message in messages for call in message.get("tool_calls") or []]
    once = {encode(call): call for call in [*calls, *made]}  # a dict's == would take True for 1
    for call in once.values():
        if call["name"] not in declared:
            raise CourseError(
                f"{where} calls {call['name']}, which it does not declare",
                "add the tool to the row, or drop the row",
                "a call of a tool that the row does not declare",
            )
        _check_against_schema(where, call, declared[call["name"]].get("parameters"))
    if bool(calls) == (row["kind"] in SILENT):
        raise CourseError(
            f"{where} is of kind {row['kind']} and has {len(calls)} calls", "change its kind or its calls"
        )
    with _counted_as("a conversation that the template cannot hold"):
        chat.render(messages, tools)


@contextmanager
def _counted_as(kind: str):
    """Errors from inside, unless they are of a kind already, are counted as one kind."""
    try:
        yield
    except CourseError as error:
        if error.kind == error.problem:
            error.kind = kind
        raise


def _decoded(row: dict, column: str):
    try:
        return json.loads(row[column])
    except (TypeError, ValueError):
        raise CourseError(f"row {row['id']}: {column} is not a JSON string", "store it with json.dumps") from None


_SCHEMA_FAULTS = {
    "additionalProperties": "a call has an argument that its tool does not declare",
    "required": "a call lacks an argument that its tool requires",
    "type": "an argument is of another type than its tool declares",
    "enum": "an argument is none of the values that its tool lists",
}


def _check_against_schema(where: str, call: dict, parameters: dict | None) -> None:
    try:
        fault = schema_fault(call["name"], call["arguments"], parameters)
    except CourseError as error:
        raise CourseError(f"{where}: {error.problem}", error.remedy) from None
    if fault:
        kind = _SCHEMA_FAULTS.get(fault.keyword, "an argument breaks its tool's schema")
        raise CourseError(
            f"{where}: call of {call['name']}, {fault.path}: {fault.message}", "mend the argument or the schema", kind
        )
