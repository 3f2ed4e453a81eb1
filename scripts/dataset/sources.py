"""The sources of the data set: tools, vocabularies and phrasings as people write them, read and checked.

``python -m scripts.dataset sources [DOMAIN …]`` prints every fault of the named domain files (all, without a name).
The form of the files is described in ``assets/data/sources/README.md``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import combinations
from pathlib import Path

from helpers.dataset import DIALECTS
from helpers.errors import CourseError
from helpers.paths import ASSETS, read_yaml
from helpers.schemas import DROPPED_NAMES, SCHEMA_TYPES

from . import countries

SOURCES = ASSETS / "data" / "sources"
PLACEHOLDER = re.compile(r"\{([a-z_]+(?:\.[a-z_]+)?)\}")
GENERATORS = ("date", "time")
FORBIDDEN = re.compile("[\u0640\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")  # tatweel, zero-width and bidi controls
MINIMUM_PHRASINGS = 8
MINIMUM_OPEN_VALUES = 16
SIMILARITY_CEILING = 0.5  # between two phrasings of one tool and dialect (Jaccard of character trigrams)


@dataclass(frozen=True)
class Phrasing:
    """One way to ask: ``text`` with placeholders, and ``args`` that the wording says without one.

    ``slots`` fill placeholders otherwise than the tool's; ``country`` overrides what the words show; a wording that is
    ``held`` belongs to the test, whatever its hash.
    """

    id: str
    text: str
    dialect: str
    args: dict = field(default_factory=dict)
    slots: dict = field(default_factory=dict)
    country: str = ""
    held: bool = False

    @property
    def countries(self) -> tuple[str, ...]:
        """The countries that people who write so may come from."""
        return (self.country,) if self.country else countries.possible(PLACEHOLDER.sub("", self.text), self.dialect)

    @property
    def placeholders(self) -> list[str]:
        """Names of the placeholders in ``text``, in order."""
        return PLACEHOLDER.findall(self.text)


@dataclass(frozen=True)
class Unclear:
    """A request that leaves a required value out (``missing``), and the question that is the right answer.

    ``stems``: parts of words of which a question for the missing value holds one.
    """

    id: str
    text: str
    dialect: str
    missing: str
    question: str
    stems: tuple[str, ...]


@dataclass(frozen=True)
class Tool:
    """A tool as its author wrote it: the declaration the model sees, and all that is needed to ask for it."""

    name: str
    domain: str
    unseen: bool
    description: str
    parameters: dict
    slots: dict
    phrasings: tuple[Phrasing, ...]
    past: dict
    result: dict
    replies: dict
    unclear: tuple[Unclear, ...] = ()

    @property
    def declaration(self) -> dict:
        """The JSON-Schema declaration in the form chat templates take."""
        function = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": function}


@dataclass(frozen=True)
class Sources:
    """Everything under ``assets/data/sources``, parsed. ``vocabularies`` maps a name to its entries.

    ``test_values`` are further entries of vocabularies, which only the tests use.
    """

    tools: dict[str, Tool]
    vocabularies: dict[str, list[dict]]
    conversation: dict
    test_values: dict[str, list[dict]] = field(default_factory=dict)


def trigrams(text: str) -> set[str]:
    """Character trigrams of a phrasing, placeholders and spaces folded, so that wording alone counts."""
    text = re.sub(r"\s+", " ", PLACEHOLDER.sub("§", text)).strip()
    return {text[i : i + 3] for i in range(max(1, len(text) - 2))}


def similarity(a: str, b: str) -> float:
    """Jaccard similarity of two texts' character trigrams, 0 to 1."""
    first, second = trigrams(a), trigrams(b)
    return len(first & second) / len(first | second)


def _texts(text, value) -> dict[str, list[str]]:
    """An entry's texts for each dialect, whatever short form its author used."""
    if text is None:
        text = str(value)
    per_dialect = text if isinstance(text, dict) else dict.fromkeys(DIALECTS, text)
    return {d: [t] if isinstance(t, str) else [str(x) for x in t] for d, t in per_dialect.items()}


def _entries(items: list | dict) -> list[dict]:
    """Entries of a vocabulary. A mapping groups values by the dialect in which they are said (``all``: in every)."""
    if isinstance(items, dict):
        return [
            {"value": value, "text": dict.fromkeys(DIALECTS if dialect == "all" else (dialect,), [str(value)])}
            for dialect, values in items.items()
            for value in values
        ]
    entries = []
    for item in items:
        value, text = (item["value"], item.get("text")) if isinstance(item, dict) else (item, None)
        entries.append({"value": value, "text": _texts(text, value)})
    return entries


def _phrasings(name: str, by_dialect: dict, held: bool = False) -> tuple[Phrasing, ...]:
    found = []
    for dialect, items in by_dialect.items():
        for number, item in enumerate(items, 1):
            item = {"text": item} if isinstance(item, str) else item
            identity = f"{name}.{dialect}.{'t' if held else ''}{number}"
            more = {key: item[key] for key in ("args", "slots", "country") if key in item}
            found.append(Phrasing(identity, item["text"].strip(), dialect, held=held, **more))
    return tuple(found)


def _tool(name: str, body: dict, domain: str) -> Tool:
    return Tool(
        name, domain, bool(body.get("unseen", False)), body.get("description", ""), body.get("parameters", {}),
        body.get("slots", {}), _phrasings(name, body.get("phrasings", {})), body.get("past", {}),
        body.get("result", {}), body.get("replies", {}),
    )  # fmt: skip


def read_domain(path: Path) -> tuple[dict[str, Tool], dict[str, list[dict]]]:
    """The tools and the vocabularies of one domain file."""
    body = read_yaml(path)
    tools = {name: _tool(name, tool, body["domain"]) for name, tool in body["tools"].items()}
    for name, tool in tools.items():
        tools[name] = replace(tool, phrasings=tool.phrasings + _held(path, name), unclear=_unclear(path, name))
    return tools, {name: _entries(items) for name, items in (body.get("vocabularies") or {}).items()}


def _held(path: Path, tool: str) -> tuple[Phrasing, ...]:
    """A tool's wordings that only the test has."""
    file = path.parent.parent / "test_phrasings" / path.name
    return _phrasings(tool, _yaml(file).get(tool, {}), held=True)


def _unclear(path: Path, tool: str) -> tuple[Unclear, ...]:
    found = _yaml(path.parent.parent / "ask_back.yaml").get(tool)
    if not found:
        return ()
    return tuple(
        Unclear(f"ask_back.{tool}.{d}.{number}", text, d, found["missing"], question, tuple(found["stems"]))
        for d in DIALECTS
        for number, (text, question) in enumerate(found[d], 1)
    )


@cache
def _yaml(path: Path) -> dict:
    """A source file that need not be there."""
    return read_yaml(path) if path.exists() else {}


@cache
def read(folder: Path = SOURCES) -> Sources:
    """Read every source file under ``folder``. Raises CourseError for a missing or malformed one."""
    vocabularies = {name: _entries(items) for name, items in read_yaml(folder / "vocabulary.yaml").items()}
    tools: dict[str, Tool] = {}
    for path in sorted((folder / "domains").glob("*.yaml")):
        found, own = read_domain(path)
        if twice := (found.keys() & tools.keys()) | (own.keys() & vocabularies.keys()):
            raise CourseError(f"{path.name} names again what another file has: {', '.join(sorted(twice))}", "rename it")
        tools.update(found)
        vocabularies.update(own)
    values = {name: _entries(items) for name, items in _yaml(folder / "test_values.yaml").items()}
    return Sources(tools, vocabularies, read_yaml(folder / "conversation.yaml"), values)


# --- checks ---------------------------------------------------------------------------------------------------------


def _fields(parameters: dict) -> dict[str, dict]:
    """Every placeholder name a declaration allows: parameters, and ``object.field`` for fields of objects."""
    fields = {}
    for name, schema in parameters.get("properties", {}).items():
        fields[name] = schema
        for inner, inner_schema in schema.get("properties", {}).items():
            fields[f"{name}.{inner}"] = inner_schema
    return fields


def _required(parameters: dict) -> set[str]:
    """Required leaves: for a required object, its required fields."""
    leaves = set()
    for name in parameters.get("required", []):
        schema = parameters["properties"][name]
        leaves |= {f"{name}.{f}" for f in schema.get("required", [])} if schema.get("type") == "object" else {name}
    return leaves


def _declaration_faults(tool: Tool):
    fields = _fields(tool.parameters)
    for name in tool.parameters.get("required", []):
        if name not in tool.parameters["properties"]:
            yield f"required names {name}, which is no parameter"
    for name, schema in fields.items():
        if name.split(".")[-1] in DROPPED_NAMES:
            yield f"parameter {name}: FunctionGemma's template drops a parameter of this name"
        if schema.get("type") not in SCHEMA_TYPES:
            yield f"parameter {name}: unknown type {schema.get('type')}"
        if "enum" in schema and schema["type"] != "string":
            yield f"parameter {name}: the template drops an enum on a {schema['type']}"
        if odd := [key for key, value in schema.items() if value is None]:
            yield f"parameter {name}: {odd[0]!r} says nothing; quote a description that holds a comma"
        if not schema.get("description"):
            yield f"parameter {name}: no description"


def _vocabulary_faults(name: str, entries: list[dict], enum: list | None):
    values = [e["value"] for e in entries]
    if len(set(map(str, values))) != len(values):
        yield f"vocabulary {name}: a value stands twice"
    if enum is not None and set(values) != set(enum):
        yield f"vocabulary {name}: its values are not those of the enum {enum}"
    if enum is None and all(isinstance(v, str) for v in values) and len(values) < MINIMUM_OPEN_VALUES:
        yield f"vocabulary {name}: {len(values)} free-text values, fewer than {MINIMUM_OPEN_VALUES}"
    for dialect in DIALECTS:
        if not any(dialect in entry["text"] for entry in entries):
            yield f"vocabulary {name} has nothing for {dialect}"


def _slot_faults(tool: Tool, vocabularies: dict):
    fields = _fields(tool.parameters)
    for name, slot in tool.slots.items():
        if name not in fields:
            yield f"slot {name} is no parameter"
        if isinstance(slot, str) and slot not in GENERATORS:
            if slot not in vocabularies:
                yield f"slot {name}: no vocabulary {slot}"
            else:
                yield from _vocabulary_faults(slot, vocabularies[slot], fields.get(name, {}).get("enum"))
        elif isinstance(slot, dict) and "list" in slot and slot["list"] not in vocabularies:
            yield f"slot {name}: no vocabulary {slot['list']}"
        elif isinstance(slot, dict) and not slot.keys() & {"number", "digits", "code", "list"}:
            yield f"slot {name}: unknown form {slot}"


def _phrasing_faults(tool: Tool):
    required, fields = _required(tool.parameters), _fields(tool.parameters)
    for p in tool.phrasings:
        named = set(p.placeholders) | p.args.keys()
        if missing := required - named:
            yield f"{p.id}: does not name the required {', '.join(sorted(missing))}"
        if unknown := {n for n in named if n not in fields} | {n for n in p.placeholders if n not in tool.slots}:
            yield f"{p.id}: no slot for {', '.join(sorted(unknown))}"
        if FORBIDDEN.search(p.text):
            yield f"{p.id}: tatweel or an invisible control character"
        if not p.countries:
            yield f"{p.id}: mixes words of several countries: {p.text}"
        if "{" in PLACEHOLDER.sub("", p.text):
            yield f"{p.id}: a brace that is no placeholder"
    for a, b in combinations(tool.phrasings, 2):
        ceiling = SIMILARITY_CEILING if a.dialect == b.dialect else 0.7
        if (s := similarity(a.text, b.text)) > ceiling:
            yield f"{a.id} and {b.id} are {s:.2f} alike (at most {ceiling}): {a.text} | {b.text}"


def _answer_faults(tool: Tool, vocabularies: dict):
    always = None
    for p in tool.phrasings:
        always = set(p.placeholders) if always is None else always & set(p.placeholders)
    for name, slot in tool.result.items():
        if isinstance(slot, dict) and "choice" in slot and slot["choice"] not in vocabularies:
            yield f"result {name}: no vocabulary {slot['choice']}"
    for dialect in DIALECTS:
        count = sum(p.dialect == dialect for p in tool.phrasings)
        if count < MINIMUM_PHRASINGS:
            yield f"{dialect}: {count} phrasings, fewer than {MINIMUM_PHRASINGS}"
        if len(tool.past.get(dialect, [])) < 2:
            yield f"{dialect}: fewer than 2 past statements"
        if len(tool.replies.get(dialect, [])) < 2:
            yield f"{dialect}: fewer than 2 replies"
        for reply in tool.replies.get(dialect, []):
            if unknown := set(PLACEHOLDER.findall(reply)) - tool.result.keys() - (always or set()):
                yield f"{dialect}: a reply uses {', '.join(sorted(unknown))}, which not every phrasing fills"


def faults(tool: Tool, vocabularies: dict) -> list[str]:
    """All that is wrong with one tool, a line each; empty when it can be used."""
    checks = (
        _declaration_faults(tool),
        _slot_faults(tool, vocabularies),
        _phrasing_faults(tool),
        _answer_faults(tool, vocabularies),
    )
    return [f"{tool.name}: {line}" for check in checks for line in check]


def main(domains: list[str]) -> int:
    """Print every fault of the named domain files (all, without a name). Returns the exit status."""
    shared = {name: _entries(items) for name, items in read_yaml(SOURCES / "vocabulary.yaml").items()}
    paths = [SOURCES / "domains" / f"{d}.yaml" for d in domains] or sorted((SOURCES / "domains").glob("*.yaml"))
    lines = []
    for path in paths:
        tools, own = read_domain(path)
        for tool in tools.values():
            lines += faults(tool, {**shared, **own})
        print(f"{path.stem}: {len(tools)} tools, {sum(len(t.phrasings) for t in tools.values())} phrasings")
    print("\n".join(lines) or "no faults")
    return 1 if lines else 0
