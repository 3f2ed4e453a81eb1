"""Public sets of others as rows of the course.

Fetched without their scripts, converted, validated, and counted by the reason of each refusal. A conversation is kept
whole or refused; what other clients write is converted where its meaning is certain.
"""

from __future__ import annotations

import random
import re

from .. import dataset
from ..environment import hub_reachable
from ..errors import CourseError
from ..paths import encode
from ..schemas import as_tools
from . import messages as turns
from . import tools as tooling
from .values import decoded, plain, refuse

_DATA_FILES = ("*.json", "*.jsonl", "*.csv", "*.parquet", "README.md")
_DIALECTS = {
    "msa": "msa modern fusha fosha فصحى الفصحى الفصيحة",
    "egyptian": "egyptian egypt masri cairene مصري مصرية المصرية",
    "gulf": "gulf khaleeji khaliji saudi emirati kuwaiti qatari bahraini omani خليجي خليجية الخليجية",
    "levantine": "levantine levant shami syrian lebanese jordanian palestinian شامي شامية الشامية",
    "maghrebi": "maghrebi maghribi maghreb darija moroccan algerian tunisian libyan مغربي مغربية المغربية",
}
_LABELS = {word: dialect for dialect, words in _DIALECTS.items() for word in words.split()}
_FILLERS = frozenset("arabic standard dialect العربية لهجة اللهجة".split())


def from_hub_row(
    row: dict, declarations: dict[str, dict] | None = None, split: str = "train", rename: bool = False
) -> dict:
    """A row of a public set as a row of the course, validated.

    Parameters
    ----------
    row : with ``messages`` (and their ``tools``, or a column ``sampled_tools`` of declarations or names; the last
        turn's calls may stand in a column ``tool_calls``), such as ``Sa74ll/arabic-mobile-actions`` and the course's
        own; or with query_ar, function_name and arguments, such as ``HeshamHaroon/Arabic_Function_Calling``, for
        which ``declarations`` maps a function's name to its declaration. Columns and arguments may be JSON text
    split : what to write into the column ``split``
    rename : give other names to tools and parameters that the template drops (``schemas.as_tools(tools,
        rename=True)``, which also tells the way back); without it such rows are refused

    A system prompt stands before the course's developer prompt. An unknown dialect label becomes ``other``. Null in a
    type list, and null as an argument, mean that the argument is left out.

    Raises
    ------
    CourseError : the row cannot be used, and why: no tools, a call of an undeclared tool, a turn that would be lost, …
        ``kind`` is the reason without the row's particulars
    """
    identity = _identity(row)
    try:
        adapted = _adapted(identity, row, declarations or {}, rename)
        adapted["split"], adapted["dialect"] = split, _dialect(row.get("dialect"))
        dataset.validate(adapted)
    except CourseError as error:
        told = _line(error.problem).removeprefix(f"row {identity}").lstrip(": ")
        kind = told if error.kind == error.problem else error.kind
        raise CourseError(f"row {identity}: {told[:300]}", error.remedy or "drop the row", kind) from None
    except Exception as error:  # a stranger's row may be wrong in ways that nobody has thought of
        kind = f"a row of another form ({type(error).__name__})"
        raise CourseError(f"row {identity}: {kind}: {_line(error)[:120]}", "drop the row", kind) from None
    return adapted


def from_hub_rows(
    rows, declarations=None, split: str = "train", rename: bool = False
) -> tuple[list[dict], dict[str, int]]:
    """``from_hub_row`` for many: the rows that can be used, and how many were refused for which reason."""
    kept: list[dict] = []
    refused: dict[str, int] = {}
    for row in rows:
        try:
            kept.append(from_hub_row(row, declarations, split, rename))
        except CourseError as error:
            refused[error.kind] = refused.get(error.kind, 0) + 1
    return kept, refused


def from_hub(name: str, split: str = "train", declarations: dict[str, dict] | None = None, rename: bool = False):
    """A public set as rows of the course: ``(datasets.Dataset, {reason: rows refused})``.

    ``rename`` is ``from_hub_row``'s.

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
    kept, refused = from_hub_rows(rows, declarations, split, rename)
    if not kept:
        raise CourseError(
            f"none of {name}'s {len(rows)} rows can be used",
            f"most often: {max(refused, key=lambda reason: refused[reason], default='it is empty')}",
        )
    return datasets.Dataset.from_dict({column: [row[column] for row in kept] for column in dataset.COLUMNS}), refused


def declarations_of(rows) -> dict[str, dict]:
    """Function name -> declaration, from public rows that carry their tools; the first declaration of a name counts.

    What is no declaration is passed over.
    """
    found: dict[str, dict] = {}
    for row in rows:
        try:
            listed = decoded(row.get("tools"), list, "tools are not a JSON list")
        except (CourseError, AttributeError):
            continue
        for tool in listed:
            try:
                made = tooling.declaration(tool)
                found.setdefault(made["function"]["name"], made)
            except (CourseError, KeyError, TypeError):
                continue
    return found


def _line(value) -> str:
    return " ".join(str(value).split())


def _identity(row) -> str:
    given = [row.get(column) for column in ("original_id", "id")] if isinstance(row, dict) else []
    return next((_line(one)[:80] for one in given if one is not None and one != ""), "?")


def _dialect(label) -> str:
    """One of the five dialects if all that a label names is that one."""
    words = set(re.findall(r"\w+", label.casefold())) - _FILLERS if isinstance(label, str) else set()
    found = {_LABELS.get(word, dataset.OTHER) for word in words}
    return found.pop() if len(found) == 1 else dataset.OTHER


def _adapted(identity: str, row: dict, declarations: dict, rename: bool) -> dict:
    if row.get("messages") is not None:
        tools, spoken = tooling.of_row(row, declarations), turns.spoken(row)
    else:
        tools, spoken = _from_query(row, declarations)
    ours = None
    if rename:
        renamed = as_tools(tools, rename=True)
        tools, ours = renamed.declarations, renamed.ours
    messages = turns.conversation(spoken, ours)
    made = [[call["function"] for call in message.get("tool_calls", [])] for message in messages]
    kind = "parallel" if len(made[-1]) > 1 else "single" if made[-1] else "followup" if any(made) else "none"
    asks = decoded(row.get("asks") or "[]", list, "asks is not a JSON list")
    kind = "ask_back" if kind == "none" and asks else kind
    calls = made[-1] or [call for turn in made for call in turn]
    if not rename and "calls" in row and decoded(row["calls"], list, "calls are not a JSON list") != calls:
        refuse("the columns calls and messages differ")
    return {
        "id": identity,
        "kind": kind,
        "domain": str(plain(row.get("domain")) or ""),
        "query": [message["content"] for message in messages if message["role"] == "user"][-1],
        "reply": "" if made[-1] else messages[-1]["content"],
        "phrasing": str(plain(row.get("phrasing")) or identity),
        "asks": encode(asks if kind == "ask_back" else []),
        "messages": encode(messages),
        "tools": encode(tools),
        "calls": encode(calls),
    }


def _from_query(row: dict, declarations: dict) -> tuple[list[dict], list[dict]]:
    """A row of one query and one function's name: its tools, drawn from the declarations, and its messages."""
    name, spoken = row.get("function_name") or "", [{"role": "user", "content": row.get("query_ar")}]
    called = row.get("requires_function") in (True, "true", "True", 1) or (
        name and row.get("requires_function") is None
    )
    if called:
        if name not in declarations:
            refuse("no declaration of the function called", f"no declaration of {name}", "pass a table of declarations")
        spoken.append({"role": "assistant", "tool_calls": [{"name": name, "arguments": row.get("arguments")}]})
    others = random.Random(str(row.get("id"))).sample(sorted(declarations), min(4, len(declarations)))
    names = sorted({*others, *([name] if called else [])})
    random.Random(str(row.get("id"))).shuffle(names)
    return [tooling.declaration(declarations[n]) for n in names], spoken
