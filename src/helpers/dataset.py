"""The Arabic function-calling data: load, validate, build, and adapt public sets to the same rows.

A row: ``id, split, kind, domain, dialect, messages, query, tools, calls, reply, phrasing``. ``messages``, ``tools`` and
``calls`` are JSON *strings*: as nested columns Arrow would unite their fields and fill every row with nulls. ``calls``
are the calls of the conversation; in ``followup`` rows the call is made, answered, and the last turn is ``reply``.

``python -m helpers.dataset build`` writes ``assets/data/*.jsonl`` from the sources; ``check`` validates every row.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from pathlib import Path

from . import chat
from .errors import CourseError
from .paths import ASSETS
from .sources import DIALECTS, read_yaml

SPLITS = ("train", "validation", "test", "test_unseen_tools")
KINDS = ("single", "parallel", "none", "followup")
COLUMNS = ("id", "split", "kind", "domain", "dialect", "messages", "query", "tools", "calls", "reply", "phrasing")
FOLDER = ASSETS / "data"
CHECKSUMS = "SHA256SUMS"


def load(split: str, tools_per_row: int | None = None, rows_per_prompt: int = 1, domains: tuple[str, ...] | None = None):
    """A split as a ``datasets.Dataset`` with the columns above, in the stored (shuffled) order.

    Parameters
    ----------
    split : train, validation, test (seen tools, unseen phrasings and values) or test_unseen_tools
    tools_per_row : keep at most this many declared tools (the called ones always, then the first others); None keeps all
    rows_per_prompt : with more than 1, rows come in runs of this many that declare the same tools, so that training can
        share the work on their common prompt; the tools of a run are drawn anew, a row whose calls they do not serve waits
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
    declarations = read_declarations()
    stored = _read(split)
    if domains:
        stored = _of_domains(stored, domains)
    if rows_per_prompt > 1:
        stored = _regrouped(stored, tools_per_row or 4, rows_per_prompt)
        tools_per_row = None
    rows = joined(stored, declarations, tools_per_row)
    return Dataset.from_dict({column: [row[column] for row in rows] for column in COLUMNS})


def joined(stored: list[dict], declarations: dict[str, dict], tools_per_row: int | None = None) -> list[dict]:
    """Rows as they are stored (tool names) as rows of the contract (declarations, whole conversation)."""
    return [_row(row, declarations, tools_per_row) for row in stored]


def read_declarations(folder: Path = FOLDER) -> dict[str, dict]:
    """Tool name -> its JSON-Schema declaration."""
    return {t["function"]["name"]: t for t in map(json.loads, _lines(folder / "tools.jsonl"))}


def retention(folder: Path = FOLDER) -> dict[str, list]:
    """What fine-tuning may cost is measured by these: 40 plain passages each under ``english`` and ``arabic``, 60 English requests with their gold under ``calls``."""
    return read_yaml(folder / "retention.yaml")


def of_dialect(rows, dialect: str):
    """The rows of one dialect. Raises CourseError for a dialect the course does not have."""
    if dialect not in DIALECTS:
        raise CourseError(f"there is no dialect {dialect!r}", f"use one of {', '.join(DIALECTS)}")
    return rows.filter(lambda row: row["dialect"] == dialect)


def _lines(path: Path) -> list[str]:
    remedy = "restore it with git checkout, or run: python -m helpers.dataset build"
    if not path.exists():
        raise CourseError(f"{path.name} is missing from assets/data", remedy)
    text = path.read_bytes()
    listed = _checksums(path.parent).get(path.name)
    if listed and hashlib.sha256(text).hexdigest() != listed:
        raise CourseError(f"{path.name} does not match its checksum in {CHECKSUMS}", remedy)
    return text.decode("utf-8").splitlines()


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
            raise CourseError(f"{split}.jsonl, line {number}, is not JSON", "run: python -m helpers.dataset build") from None
    return rows


def _row(stored: dict, declarations: dict, tools_per_row: int | None) -> dict:
    """A stored row (tool names) as a row of the contract (declarations, whole conversation)."""
    names = _kept(stored, tools_per_row)
    if unknown := [name for name in names if name not in declarations]:
        raise CourseError(f"row {stored['id']} names the tool {unknown[0]}, which tools.jsonl does not declare", "add it there")
    messages = conversation(stored["query"], stored["calls"], stored["reply"], stored.get("result"))
    return {
        **{column: stored[column] for column in ("id", "split", "kind", "domain", "dialect", "query", "reply", "phrasing")},
        "messages": _json(messages), "tools": _json([declarations[n] for n in names]), "calls": _json(stored["calls"]),
    }  # fmt: skip


def _kept(stored: dict, tools_per_row: int | None) -> list[str]:
    names = stored["tools"]
    if tools_per_row is None or len(names) <= tools_per_row:
        return names
    called = {call["name"] for call in stored["calls"]}
    others = [name for name in names if name not in called][: max(0, tools_per_row - len(called))]
    return [name for name in names if name in called or name in others]  # the order stays shuffled


def _of_domains(stored: list[dict], domains: tuple[str, ...]) -> list[dict]:
    """Stored rows of some domains; rows left with fewer than two declared tools are dropped."""
    from . import sources

    known = {tool.name: tool.domain for tool in sources.read().tools.values()}
    if unknown := set(domains) - set(known.values()):
        raise CourseError(f"there is no domain {sorted(unknown)[0]!r}", f"use some of {', '.join(sorted(set(known.values())))}")
    rows = []
    for row in stored:
        names = [name for name in row["tools"] if known[name] in domains]
        called = {call["name"] for call in row["calls"]}
        if len(names) >= 2 and called <= set(names) and row["domain"] in (*domains, "conversation"):
            rows.append({**row, "tools": names})
    return rows


def _regrouped(stored: list[dict], tools_per_row: int, rows_per_prompt: int) -> list[dict]:
    """Stored rows in runs that declare the same tools.

    Each run begins with the next row that has not been used and the tools that row declares (its distractors were chosen
    near); the run is filled with rows that call only these tools. Of every eight rows about one calls nothing.
    """
    waiting, quota = list(stored), max(1, rows_per_prompt // 8)
    runs = []
    while waiting:
        names = _kept(waiting[0], tools_per_row)
        run, rest, silent = [], [], 0
        for row in waiting:
            called = {call["name"] for call in row["calls"]}
            fits = called <= set(names) if called else silent < quota and _needs_nothing(row, names)
            if len(run) < rows_per_prompt and (fits or row is waiting[0]):
                silent += not called
                run.append({**row, "tools": names})
            else:
                rest.append(row)
        if len(run) < rows_per_prompt:
            break  # what is left no longer fills a run
        runs.append(run)
        waiting = rest
    random.Random(len(runs)).shuffle(runs)
    return [row for run in runs for row in run]


def _needs_nothing(row: dict, names: list[str]) -> bool:
    """Whether a row without calls stays one beside other tools: talk does, and a remark about a tool that is declared."""
    form, subject = row["phrasing"].split(".")[:2]
    return form == "chat" or (form == "past" and subject in names)


def conversation(query: str, calls: list[dict], reply: str = "", result: dict | None = None) -> list[dict]:
    """The messages of a row: developer, user, then calls, a tool's result and a reply as far as there are any."""
    messages = [{"role": "developer", "content": chat.DEVELOPER_PROMPT}, {"role": "user", "content": query}]
    if calls:
        messages.append({"role": "assistant", "tool_calls": [{"type": "function", "function": call} for call in calls]})
        if result is not None:
            messages.append({"role": "tool", "name": calls[0]["name"], "content": result})
    if reply:
        messages.append({"role": "assistant", "content": reply})
    return messages


def _json(value) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


# --- validation -------------------------------------------------------------------------------------------------------


def validate(row: dict) -> None:
    """Raise CourseError for a row that the course cannot use, naming the row, the fault and the remedy.

    Looks at: columns, split, kind, dialect; declarations that the template would render incompletely; calls of tools
    that are not declared; arguments that break their tool's JSON schema or are None.
    """
    if missing := [column for column in COLUMNS if column not in row]:
        raise CourseError(f"a row has no {missing[0]}", f"its columns are {', '.join(COLUMNS)}")
    where = f"row {row['id']}"
    for column, allowed in (("split", SPLITS), ("kind", KINDS), ("dialect", DIALECTS)):
        if row[column] not in allowed:
            raise CourseError(f"{where}: unknown {column} {row[column]!r}", f"use one of {', '.join(allowed)}")
    tools, calls = _decoded(row, "tools"), _decoded(row, "calls")
    chat.check_tools(tools)
    declared = {tool["function"]["name"]: tool["function"] for tool in tools}
    for call in calls:
        if call["name"] not in declared:
            raise CourseError(f"{where} calls {call['name']}, which it does not declare", "add the tool to the row, or drop the row")
        _check_against_schema(where, call, declared[call["name"]].get("parameters"))
    if bool(calls) == (row["kind"] == "none"):
        raise CourseError(f"{where} is of kind {row['kind']} and has {len(calls)} calls", "change its kind or its calls")
    chat.render(_decoded(row, "messages"), tools)


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
    from .client import schema_fault

    try:
        fault = schema_fault(call["name"], call["arguments"], parameters)
    except CourseError as error:
        raise CourseError(f"{where}: {error.problem}", error.remedy) from None
    if fault:
        kind = _SCHEMA_FAULTS.get(fault.keyword, "an argument breaks its tool's schema")
        raise CourseError(f"{where}: call of {call['name']}, {fault.path}: {fault.message}", "mend the argument or the schema", kind)


# --- public sets ------------------------------------------------------------------------------------------------------


_DATA_FILES = ("*.json", "*.jsonl", "*.csv", "*.parquet", "README.md")


def from_hub_row(row: dict, declarations: dict[str, dict] | None = None, split: str = "train") -> dict:
    """A row of a public Arabic set as a row of the course, validated.

    Parameters
    ----------
    row : of ``Sa74ll/arabic-mobile-actions`` (tools and messages inside), or of ``HeshamHaroon/Arabic_Function_Calling``
        (query_ar, function_name, arguments), for which ``declarations`` maps a function's name to its declaration
    split : what to write into the column ``split``

    Raises
    ------
    CourseError : the row cannot be used, and why: an unknown dialect, no tools, a call of an undeclared tool, …
    """
    adapted = _from_messages(row) if "messages" in row else _from_query(row, declarations or {})
    adapted["split"], adapted["dialect"] = split, str(row.get("dialect", "")).strip().lower()
    validate(adapted)
    return adapted


def from_hub_rows(rows, declarations=None, split: str = "train") -> tuple[list[dict], dict[str, int]]:
    """``from_hub_row`` for many: the rows that can be used, and how many were refused for which reason."""
    kept, refused = [], {}
    for row in rows:
        try:
            kept.append(from_hub_row(row, declarations, split))
        except CourseError as error:
            refused[error.kind] = refused.get(error.kind, 0) + 1
    return kept, refused


def from_hub(name: str, split: str = "train", declarations: dict[str, dict] | None = None):
    """A public set as rows of the course: ``(datasets.Dataset, {reason: rows refused})``. From the hub, or from its cache when out of reach.

    ``name`` is ``Sa74ll/arabic-mobile-actions``, or ``HeshamHaroon/Arabic_Function_Calling`` with a table of ``declarations``
    (``declarations_of`` makes one from the former's rows).
    """
    import datasets
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    from .checkpoints import hub_reachable

    remedy = "the course's own data need no hub: dataset.load(split)"
    try:  # only data and its card: a script in the repository is neither fetched nor run
        folder = snapshot_download(name, repo_type="dataset", allow_patterns=_DATA_FILES, local_files_only=not hub_reachable())
        rows = datasets.load_dataset(folder, split=split)
    except LocalEntryNotFoundError:
        raise CourseError(f"{name} is on the Hugging Face hub, which cannot be reached from here", remedy) from None
    except Exception as error:  # datasets has a dozen kinds, for a wrong name, a wrong split and a lost connection
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CourseError(f"{name} ({split}) cannot be loaded: {reason}", f"check its name and split; {remedy}") from None
    kept, refused = from_hub_rows(rows, declarations, split)
    if not kept:
        raise CourseError(f"none of {name}'s {len(rows)} rows can be used", f"most often: {max(refused, key=refused.get, default='it is empty')}")
    return datasets.Dataset.from_dict({column: [row[column] for row in kept] for column in COLUMNS}), refused


def declarations_of(rows) -> dict[str, dict]:
    """Function name -> declaration, from public rows that carry their tools; the first declaration of a name counts."""
    found = {}
    for row in rows:
        for tool in row.get("tools") or []:
            found.setdefault(tool["function"]["name"], {"type": "function", "function": _without_none(tool["function"])})
    return found


def _without_none(value):
    """A value without the nulls that Arrow adds when it unites the fields of many rows into one struct."""
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value


def _arguments(value) -> dict:
    """Arguments out of however many layers of JSON encoding they came in."""
    for _ in range(4):
        if not isinstance(value, str):
            break
        value = json.loads(value) if value.strip() else {}
    return {key: item for key, item in (value or {}).items() if item is not None}


def _from_messages(row: dict) -> dict:
    identity = row.get("original_id") or row.get("id") or "?"
    tools = [{"type": "function", "function": _without_none(tool["function"])} for tool in row.get("tools") or []]
    user = next((m["content"] for m in row["messages"] if m["role"] == "user"), "")
    model = next((m for m in row["messages"] if m["role"] == "assistant"), {})
    try:
        calls = [{"name": c["function"]["name"], "arguments": _arguments(c["function"].get("arguments"))} for c in model.get("tool_calls") or []]
    except (ValueError, AttributeError):
        raise CourseError(f"row {identity}: arguments are not a JSON object", "drop the row") from None
    return _adapted(identity, row, user, tools, calls, "" if calls else (model.get("content") or ""))


def _from_query(row: dict, declarations: dict) -> dict:
    name, calls = row.get("function_name") or "", []
    if row.get("requires_function") in (True, "true", "True", 1) or (name and row.get("requires_function") is None):
        if name not in declarations:
            raise CourseError(f"row {row.get('id')}: no declaration of {name}", "pass a table of tool declarations")
        calls = [{"name": name, "arguments": _arguments(row.get("arguments"))}]
    others = random.Random(str(row.get("id"))).sample(sorted(declarations), min(4, len(declarations)))
    names = sorted({*others, *([name] if calls else [])})
    random.Random(str(row.get("id"))).shuffle(names)
    return _adapted(row.get("id", "?"), row, row.get("query_ar", ""), [declarations[n] for n in names], calls, "")


def _adapted(identity, row: dict, query: str, tools: list, calls: list, reply: str) -> dict:
    if not query.strip():
        raise CourseError(f"row {identity}: no query", "drop the row", "no query")
    if not calls and not reply:
        raise CourseError(f"row {identity}: neither a call nor a reply", "drop the row", "neither a call nor a reply")
    kind = "none" if not calls else "single" if len(calls) == 1 else "parallel"
    return {
        "id": str(identity), "kind": kind, "domain": row.get("domain", ""), "query": query, "reply": reply, "phrasing": str(identity),
        "messages": _json(conversation(query, calls, reply)), "tools": _json(tools), "calls": _json(calls),
    }  # fmt: skip


# --- build ------------------------------------------------------------------------------------------------------------


def build(folder: Path = FOLDER) -> dict[str, int]:
    """Write every split, the declarations and their checksums into ``folder``; returns the number of rows per split."""
    from tqdm import tqdm

    from . import sources, synthesis

    read = sources.read()
    builder = synthesis.Builder(read)
    files = {"tools.jsonl": [tool.declaration for tool in read.tools.values()]}
    for split in tqdm(SPLITS, desc="building", unit="split", file=sys.stdout):
        files[f"{split}.jsonl"] = builder.rows(split)
    sums = []
    for name, rows in files.items():
        data = "".join(_json(row) + "\n" for row in rows).encode()
        (folder / name).write_bytes(data)
        sums.append(f"{hashlib.sha256(data).hexdigest()}  {name}\n")
    (folder / CHECKSUMS).write_text("".join(sums), encoding="utf-8")
    return {split: len(files[f"{split}.jsonl"]) for split in SPLITS}


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if argv == ["build"]:
        for split, count in build().items():
            print(f"{split}: {count} rows")
        return 0
    if argv == ["check"]:
        for split in SPLITS:
            rows = load(split)
            for row in rows:
                validate(row)
            print(f"{split}: {len(rows)} rows are valid")
        return 0
    print("usage: python -m helpers.dataset build | check", file=sys.stderr)
    return 2


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except CourseError as error:
        raise SystemExit(f"error: {error}") from None
