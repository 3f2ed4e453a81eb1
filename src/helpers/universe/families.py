"""The universe of tools as its writers left it: one YAML file a family, read as they are, every value a string.

``assets/data/universe/WRITING.md`` describes a file. What a value is, its parameter's declaration says, not YAML.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path

from ..errors import CourseError
from ..paths import ASSETS, read_yaml
from . import spans

FOLDER = ASSETS / "data" / "universe" / "families"
SPLITS = ("universe_train", "universe_validation", "ring_1_new_tool", "ring_2_new_family", "ring_3_no_neighbours")
ARABIC, ENGLISH = ("msa", "egyptian", "gulf", "levantine", "maghrebi"), "english"
DIALECTS = (*ARABIC, ENGLISH)
TRAIN, VALIDATION, HELD_OUT_TOOLS = 72, 82, 13  # per cent: families below, families below, tools of train families


@dataclass(frozen=True)
class Utterance:
    """Something a user says, with marks: a request, one that lacks something (``missing``), or one that asks nothing.

    ``turns`` are earlier turns, the user's and the assistant's by turns; ``calls`` the tools called, in order, none for
    talk. ``reply`` is the assistant's right text where no call is right; ``asks`` are word stems of which a question
    for what is missing holds one; ``answer`` is the user's next turn, with the missing values.
    """

    id: str
    dialect: str
    text: str
    country: str = ""
    style: tuple[str, ...] = ()
    turns: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    reply: str = ""
    asks: tuple[str, ...] = ()
    answer: str = ""
    near: bool = False

    @property
    def marked(self) -> list[spans.Span]:
        """What the user's turns mark, in order."""
        return [span for text in (*self.turns[::2], self.text) for span in spans.parse(text)[1]]

    @property
    def answered(self) -> Utterance:
        """What lacked something, with the question and its answer behind it: now nothing is missing."""
        return replace(self, turns=(self.text, self.reply), text=self.answer, missing=(), reply="")


@dataclass(frozen=True)
class Tool:
    """A tool: its names (the canonical one first), descriptions, parameters as written, and what people say of it."""

    family: str
    names: tuple[str, ...]
    descriptions: tuple[str, ...]
    descriptions_ar: tuple[str, ...]
    parameters: dict
    requests: tuple[Utterance, ...] = field(repr=False)
    ask_back: tuple[Utterance, ...] = field(repr=False)
    none: tuple[Utterance, ...] = field(repr=False)

    @property
    def name(self) -> str:
        """The canonical name."""
        return self.names[0]

    @property
    def utterances(self) -> tuple[Utterance, ...]:
        """All that is said to it."""
        return (*self.requests, *self.ask_back, *self.none)

    @cached_property
    def schema(self) -> dict:
        """Its parameters as a JSON Schema, under canonical names and labels, each with its first description."""
        return object_schema(self.parameters)


def object_schema(parameters: dict) -> dict:
    """Parameters as written -> the JSON Schema of an object."""
    required = [name for name, written in parameters.items() if written.get("required") == "true"]
    properties = {name: value_schema(written) for name, written in parameters.items()}
    return {"type": "object", "properties": properties, "required": required}


def value_schema(written: dict) -> dict:
    """One parameter as written -> its JSON Schema."""
    schema: dict = {"type": written.get("type", "")}
    if written.get("description"):
        schema["description"] = written["description"][0]
    if "enum" in written:
        schema["enum"] = list(written["enum"])
    for bound in ("minimum", "maximum"):
        if bound in written:
            schema[bound] = float(written[bound]) if "." in written[bound] else int(written[bound])
    if "format" in written:
        schema["format"] = written["format"]
    if "items" in written:
        schema["items"] = value_schema(written["items"])
    if "properties" in written:
        inner = object_schema(written["properties"])
        schema |= {"properties": inner["properties"], "required": inner["required"]}
    return schema


def digest(name: str) -> int:
    """A number that a name always has, for splits and for draws that must not depend on anything else."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)


def hashed(name: str) -> int:
    """``digest`` from 0 to 99."""
    return digest(name) % 100


def split_of(family: str, tool: str) -> str:
    """universe_train, universe_validation, ring_1_new_tool or ring_2_new_family, by name alone."""
    place = hashed(family)
    if place >= VALIDATION:
        return "ring_2_new_family"
    if place >= TRAIN:
        return "universe_validation"
    return "ring_1_new_tool" if hashed(f"{family}/{tool}") < HELD_OUT_TOOLS else "universe_train"


def by_split(tools) -> dict[str, list[Tool]]:
    """Split -> its tools, in their order; ring 3 has ring 1's."""
    found: dict[str, list[Tool]] = {split: [] for split in SPLITS}
    for tool in tools:
        found[split_of(tool.family, tool.name)].append(tool)
    return found | {"ring_3_no_neighbours": found["ring_1_new_tool"]}


def read_written(path: Path) -> dict:
    """A family's file with every value as a string. Raises CourseError when it is no YAML, or no family."""
    written = read_yaml(path, strings=True)
    if not isinstance(written, dict) or not isinstance(written.get("tools"), list):
        raise CourseError(f"{path.name} holds no list of tools", "see assets/data/universe/WRITING.md")
    return written


def read_family(path: Path) -> list[Tool]:
    """The tools of one family's file, in order."""
    written = read_written(path)
    return [_tool(path.stem, tool) for tool in written["tools"]]


@cache
def read(folder: Path = FOLDER) -> tuple[Tool, ...]:
    """Every tool of the universe, by family and then as written. Raises CourseError for a folder without families."""
    paths = sorted(folder.glob("*.yaml"))
    if not paths:
        raise CourseError(f"there are no families in {folder.name}", "restore them with git checkout")
    return tuple(tool for path in paths for tool in read_family(path))


def _tool(family: str, written: dict) -> Tool:
    try:
        name = written["names"][0]
        said = {**written["requests"]}
        extra = [dict(one) for one in said.pop("extra", [])]
        pairs = [(dialect, one) for dialect, group in said.items() for one in group]
        pairs += [(one.pop("dialect"), one) for one in extra]
        requests = [
            _utterance(f"{family}/{name}.{dialect}.{i}", dialect, one, tuple(one.get("calls", [name])))
            for i, (dialect, one) in enumerate(pairs, 1)
        ]
        lacking = [
            _utterance(f"{family}/{name}.ask.{i}", one["dialect"], one, (name,))
            for i, one in enumerate(written.get("ask_back", []), 1)
        ]
        talk = [
            _utterance(f"{family}/{name}.none.{i}", one["dialect"], one, ())
            for i, one in enumerate(written.get("none", []), 1)
        ]
        return Tool(
            family, tuple(written["names"]), tuple(written["description"]), tuple(written["description_ar"]),
            written.get("params") or {}, tuple(requests), tuple(lacking), tuple(talk),
        )  # fmt: skip
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        told = str(written.get("names", "a tool"))[:60] if isinstance(written, dict) else "a tool"
        raise CourseError(
            f"{family}, {told}: {type(error).__name__} {error}", "see assets/data/universe/WRITING.md"
        ) from None


def _utterance(key: str, dialect: str, written: dict, calls: tuple[str, ...]) -> Utterance:
    lists = {word: tuple(written.get(word, ())) for word in ("style", "turns", "missing", "asks")}
    reply = written.get("question", written.get("reply", ""))
    return Utterance(
        key, dialect, written["text"], written.get("country", ""), calls=calls, reply=reply,
        answer=written.get("answer", ""), near=written.get("near") == "true", **lists,
    )  # fmt: skip
