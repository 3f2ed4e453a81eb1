"""A reader's own examples: read from a list, a file or a sheet, held to the tools, split, made into rows.

An example is a request and what is to be called for it. In a file it has a column ``request``, a column ``call`` and,
where nothing is to be called, a column ``reply``. A call is written as in Python, ``book_table(people=4)``, several
with a semicolon between them, or as JSON with ``name`` and ``arguments``.
"""

from __future__ import annotations

import ast
import csv
import io
import json
import random
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from ..calls import FunctionCall
from ..conversions.public_data import from_hub_row
from ..dataset import conversation
from ..dispatch import check_call
from ..errors import CourseError
from ..schemas import check_tools

LEAST = 10  # examples
_NOTHING = ("", "-", "–", "none", "None", "null", "[]")
_SHEET = re.compile(r"https://docs\.google\.com/spreadsheets/d/([\w-]+)(?:.*?[#?&]gid=(\d+))?")
_WORDS = {"true": True, "false": False, "null": None}


@dataclass(frozen=True)
class Example:
    """What is said, the calls that it asks for, and the reply where it asks for none."""

    request: str
    calls: tuple[FunctionCall, ...] = ()
    reply: str = ""


def read(source) -> list[Example]:
    """Examples from wherever a reader has them.

    ``source``: a list of ``(request, call)`` or ``(request, "", reply)``, of mappings with those keys, or of
    ``Example``; the path of a CSV, JSON or JSONL file; or the address of a Google Sheet that anybody with the link may
    read. Raises CourseError, naming every row that cannot be read.
    """
    listed = list(source) if isinstance(source, list | tuple) else _from_text(*_fetched(str(source)))
    found, faults = [], []
    for number, entry in enumerate(listed, 1):
        try:
            found.append(_example(entry))
        except CourseError as error:
            faults.append(f"request {number}: {error}")
    _refuse(faults)
    return found


def _refuse(faults: list[str]) -> None:
    """Raise one CourseError for all faults, the first five in words."""
    if faults:
        more = [f"and {len(faults) - 5} more"] if len(faults) > 5 else []
        raise CourseError("\n".join([*faults[:5], *more]))


def _fetched(source: str) -> tuple[str, str]:
    """The text behind a path or an address, and its kind: csv, json or jsonl."""
    if sheet := _SHEET.match(source):
        source = f"https://docs.google.com/spreadsheets/d/{sheet[1]}/export?format=csv&gid={sheet[2] or 0}"
    if source.startswith(("http://", "https://")):
        return _downloaded(source), "csv" if sheet else _kind(source.partition("?")[0])
    kind = _kind(source)
    try:
        return Path(source).read_text(encoding="utf-8-sig"), kind
    except FileNotFoundError:
        raise CourseError(f"there is no file {source}", "upload it, or give its whole path") from None
    except UnicodeDecodeError:
        raise CourseError(f"{Path(source).name} is not UTF-8", "save it as CSV UTF-8") from None
    except OSError as error:
        raise CourseError(f"{source} cannot be read: {error.strerror}", "name another file") from None


def _kind(source: str) -> str:
    kind = source.rpartition(".")[2].lower()
    if kind not in ("csv", "json", "jsonl"):
        raise CourseError(f"{source[:80]} is no CSV, JSON or JSONL", "export the table as CSV")
    return kind


def _downloaded(address: str) -> str:
    import requests

    try:
        answer = requests.get(address, timeout=60)
        answer.raise_for_status()
    except requests.RequestException as error:
        remedy = "save the table as CSV, and give the file's name"
        raise CourseError(f"{address[:80]} cannot be fetched: {type(error).__name__}", remedy) from None
    if "text/html" in answer.headers.get("content-type", ""):
        raise CourseError("the address answers with a page, not with a table", "share it with anybody who has the link")
    return answer.content.decode("utf-8-sig")


def _from_text(text: str, kind: str) -> list[dict]:
    if kind == "csv":
        first = text.lstrip().partition("\n")[0]
        table = csv.DictReader(io.StringIO(text), delimiter=max(",;\t", key=first.count))  # as Excel's locales have it
        if "request" not in [(name or "").strip().lower() for name in table.fieldnames or ()]:
            told = ", ".join(filter(None, table.fieldnames or ())) or "none"
            raise CourseError(f"the table has no column request; its columns: {told[:120]}", "name it in the first row")
        filled = (line for line in table if any(str(value or "").strip() for value in line.values()))
        return [{(key or "").strip().lower(): value for key, value in line.items()} for line in filled]
    try:
        if kind == "json":
            listed = json.loads(text)
        else:
            listed = [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError as error:
        raise CourseError(f"the file is not {kind.upper()}: {error}", "mend that place") from None
    if not isinstance(listed, list):
        raise CourseError(f"the file holds a {type(listed).__name__}, not a list", "put the requests into a list")
    return listed


def _example(entry) -> Example:
    if isinstance(entry, Example):
        return entry
    if isinstance(entry, list | tuple):
        entry = dict(zip(("request", "call", "reply"), entry, strict=False))
    if not isinstance(entry, dict) or not str(entry.get("request") or "").strip():
        raise CourseError("nothing is said", "give each a request, a call, and a reply where nothing is called")
    called = entry.get("call", entry.get("calls"))
    return Example(str(entry["request"]).strip(), read_calls(called), str(entry.get("reply") or "").strip())


def read_calls(written) -> tuple[FunctionCall, ...]:
    """Calls as a reader writes them: ``f(a=1)``, ``f(a=1); g()``, JSON with ``name`` and ``arguments``, or values.

    Arguments may be JSON text themselves, as OpenAI's API has them.

    Raises CourseError for what is no call, and for arguments without a name.
    """
    if isinstance(written, FunctionCall):
        return (written,)
    if isinstance(written, str):
        text = written.strip()
        if text in _NOTHING:
            return ()
        if text[0] not in "{[":
            return tuple(map(_from_python, _statements(text)))
        written = _read_json(text)
    listed = written if isinstance(written, list | tuple) else [] if written is None else [written]
    return tuple(_from_mapping(call) for call in listed)


def _read_json(text: str):
    try:
        return json.loads(text)
    except ValueError as error:
        raise CourseError(f"{text[:60]!r} is not JSON: {error}", "write f(a=1)") from None


def _from_mapping(call) -> FunctionCall:
    if isinstance(call, FunctionCall):
        return call
    inner = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        raise CourseError(f"{str(call)[:60]!r} names no function", "write f(a=1)")
    arguments = inner.get("arguments") or {}
    if isinstance(arguments, str):  # as OpenAI's API has them
        arguments = _read_json(arguments)
    if not isinstance(arguments, dict):
        raise CourseError(f"the arguments of {inner['name']} are a {type(arguments).__name__}", "use a mapping")
    return FunctionCall(inner["name"], arguments)


def _statements(text: str) -> list[ast.stmt]:
    try:
        return ast.parse(text.replace("؛", ";"), mode="exec").body
    except (SyntaxError, ValueError) as error:
        told = getattr(error, "msg", None) or str(error)
        remedy = "write it as in Python: f(a=1, b='نص'); in a CSV the whole call stands in double quotes"
        raise CourseError(f"{text[:60]!r} is no call: {told}", remedy) from None


def _from_python(statement: ast.stmt) -> FunctionCall:
    call = statement.value if isinstance(statement, ast.Expr) else None
    told = ast.unparse(statement)[:60]
    if not isinstance(call, ast.Call):
        raise CourseError(f"{told!r} is no call", "write it as in Python: f(a=1, b='نص')")
    name = ast.unparse(call.func)
    if call.args or not all(keyword.arg for keyword in call.keywords):
        raise CourseError(f"{told!r}: an argument has no name", f"write {name}(name=value)")
    arguments = {}
    for keyword in call.keywords:
        if isinstance(keyword.value, ast.Name) and keyword.value.id in _WORDS:
            arguments[keyword.arg] = _WORDS[keyword.value.id]
            continue
        try:
            arguments[keyword.arg] = ast.literal_eval(keyword.value)
        except ValueError:
            raise CourseError(f"{told!r}: {keyword.arg} is no plain value", "put text into quotes") from None
    return FunctionCall(name, arguments)


def check(examples: list[Example], tools: list[dict], least: int = LEAST) -> None:
    """Raise CourseError, naming the faulty requests, unless a model can be trained with them.

    There have to be ``least`` of them, no two with the same words, each either with calls that fit the declarations or
    with a reply; and each tool has to be called once.
    """
    check_tools(tools)
    faults: list[str] = []
    seen: dict[str, int] = {}
    for number, example in enumerate(examples, 1):
        if example.request in seen:
            faults.append(f"request {number}: says the same as request {seen[example.request]} → drop one")
        seen.setdefault(example.request, number)
        if not example.calls and not example.reply:
            faults.append(f"request {number}: nothing is called and nothing replied → give it a call or a reply")
        for call in example.calls:
            try:
                check_call(call, tools)
            except CourseError as error:
                problem = error.problem.replace("the model called", "it calls")
                faults.append(f"request {number}: {problem} → mend the call or the declaration")
    _refuse(faults)
    if len(examples) < least:
        raise CourseError(f"{len(examples)} requests are too few", f"write {least} or more, 30 if you can")
    called = {call.name for example in examples for call in example.calls}
    if idle := [tool["function"]["name"] for tool in tools if tool["function"]["name"] not in called]:
        raise CourseError(f"no request calls {idle[0]}", "write some, or do not declare it")


def split(examples: list[Example], held: float = 1 / 3, seed: int = 0) -> tuple[list[Example], list[Example]]:
    """Examples to train on and examples to be judged by: ``held`` of each function's, at least one of those with two.

    Raises CourseError for a share that is not between 0 and 1, and where no function has two.
    """
    if not 0 < held < 1:
        raise CourseError(f"held={held} is no share", "use a number between 0 and 1")
    groups = defaultdict(list)
    for example in examples:
        groups[" ".join(sorted(call.name for call in example.calls))].append(example)
    chosen: set[str] = set()
    for name, group in groups.items():
        count = max(1, round(held * len(group))) if len(group) > 1 else 0
        chosen |= {example.request for example in random.Random(f"{seed} {name}").sample(group, count)}
    if not chosen:
        raise CourseError("no request can be held for judging", "write two or more for each function")
    return [e for e in examples if e.request not in chosen], [e for e in examples if e.request in chosen]


def rows(examples: list[Example], tools: list[dict], split: str = "train") -> list[dict]:
    """Examples as rows of the course (``helpers.dataset``), every tool declared in each. Raises as ``from_hub_row``."""
    made = []
    for number, example in enumerate(examples, 1):
        called = [{"name": call.name, "arguments": call.arguments} for call in example.calls]
        messages = conversation(example.request, called, "" if called else example.reply)
        made.append(from_hub_row({"id": f"yours/{number:05}", "messages": messages, "tools": tools}, split=split))
    return made
