"""Public sets of others as rows of the course.

Fetched without their scripts, converted, validated, and counted by the reason of each refusal.
"""

from __future__ import annotations

import json
import random

from . import dataset
from .environment import hub_reachable
from .errors import CourseError

_DATA_FILES = ("*.json", "*.jsonl", "*.csv", "*.parquet", "README.md")


def from_hub_row(row: dict, declarations: dict[str, dict] | None = None, split: str = "train") -> dict:
    """A row of a public Arabic set as a row of the course, validated.

    Parameters
    ----------
    row : of ``Sa74ll/arabic-mobile-actions`` (tools and messages inside), or of
        ``HeshamHaroon/Arabic_Function_Calling`` (query_ar, function_name, arguments), for which ``declarations`` maps
        a function's name to its declaration
    split : what to write into the column ``split``

    Raises
    ------
    CourseError : the row cannot be used, and why: an unknown dialect, no tools, a call of an undeclared tool, …
    """
    adapted = _from_messages(row) if "messages" in row else _from_query(row, declarations or {})
    adapted["split"], adapted["dialect"] = split, str(row.get("dialect", "")).strip().lower()
    dataset.validate(adapted)
    return adapted


def from_hub_rows(rows, declarations=None, split: str = "train") -> tuple[list[dict], dict[str, int]]:
    """``from_hub_row`` for many: the rows that can be used, and how many were refused for which reason."""
    kept: list[dict] = []
    refused: dict[str, int] = {}
    for row in rows:
        try:
            kept.append(from_hub_row(row, declarations, split))
        except CourseError as error:
            refused[error.kind] = refused.get(error.kind, 0) + 1
    return kept, refused


def from_hub(name: str, split: str = "train", declarations: dict[str, dict] | None = None):
    """A public set as rows of the course: ``(datasets.Dataset, {reason: rows refused})``.

    From the hub, or from its cache when out of reach. ``name`` is ``Sa74ll/arabic-mobile-actions``, or
    ``HeshamHaroon/Arabic_Function_Calling`` with a table of ``declarations`` (``declarations_of`` makes one from the
    former's rows). Raises CourseError for a set that cannot be reached or read, or of which no row can be used.
    """
    import datasets
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    remedy = "the course's own data need no hub: dataset.load(split)"
    try:  # only data and its card: a script in the repository is neither fetched nor run
        folder = snapshot_download(
            name, repo_type="dataset", allow_patterns=_DATA_FILES, local_files_only=not hub_reachable()
        )
        rows = datasets.load_dataset(folder, split=split)
    except LocalEntryNotFoundError:
        raise CourseError(f"{name} is on the Hugging Face hub, which cannot be reached from here", remedy) from None
    except Exception as error:  # datasets has a dozen kinds, for a wrong name, a wrong split and a lost connection
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CourseError(
            f"{name} ({split}) cannot be loaded: {reason}", f"check its name and split; {remedy}"
        ) from None
    kept, refused = from_hub_rows(rows, declarations, split)
    if not kept:
        raise CourseError(
            f"none of {name}'s {len(rows)} rows can be used",
            f"most often: {max(refused, key=lambda reason: refused[reason], default='it is empty')}",
        )
    return datasets.Dataset.from_dict({column: [row[column] for row in kept] for column in dataset.COLUMNS}), refused


def declarations_of(rows) -> dict[str, dict]:
    """Function name -> declaration, from public rows that carry their tools; the first declaration of a name counts."""
    found: dict[str, dict] = {}
    for row in rows:
        for tool in row.get("tools") or []:
            found.setdefault(
                tool["function"]["name"], {"type": "function", "function": _without_none(tool["function"])}
            )
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
    model: dict = next((m for m in row["messages"] if m["role"] == "assistant"), {})
    try:
        calls = [
            {"name": c["function"]["name"], "arguments": _arguments(c["function"].get("arguments"))}
            for c in model.get("tool_calls") or []
        ]
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
        "id": str(identity),
        "kind": kind,
        "domain": row.get("domain", ""),
        "query": query,
        "reply": reply,
        "phrasing": str(identity),
        "messages": dataset.encode(dataset.conversation(query, calls, reply)),
        "tools": dataset.encode(tools),
        "calls": dataset.encode(calls),
    }
