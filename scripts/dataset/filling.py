"""A wording with values in place: which values a split may use, and how each is said in a country."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import date

from helpers.errors import CourseError
from helpers.universe import spans

from . import countries, wording
from .sources import PLACEHOLDER, Phrasing, Sources, Tool

_VALUE_SHARES = {"validation": 0.12, "test": 0.22}  # of a vocabulary's free-text values; the rest is for training
RELATIVE = 0.45  # share of dates that are counted from today


@dataclass
class Request:
    """One request as it is built: the words, the gold arguments, and what was said for each placeholder."""

    tool: Tool
    phrasing: str
    dialect: str
    country: str
    today: date
    query: str = ""
    arguments: dict = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    values: dict = field(default_factory=dict)
    relative: dict[str, str] = field(default_factory=dict)  # parameter -> the day as it is counted, "@+2d"

    @property
    def call(self) -> dict:
        """The gold call."""
        return {"name": self.tool.name, "arguments": self.arguments}


def order_by_hash(items, salt: str):
    """Items in an order that depends on nothing but their own text."""
    return sorted(items, key=lambda item: hashlib.sha256(f"{salt}|{item}".encode()).hexdigest())


@dataclass
class Filler:
    """Fills wordings of ``sources`` with values of a split."""

    sources: Sources

    def entries(self, vocabulary: str, split: str, enum: bool = False) -> list[dict]:
        """The entries of a vocabulary that a split may use: all of a closed one, its own part of free text."""
        entries = self.sources.vocabularies[vocabulary]
        if enum or not all(isinstance(e["value"], str) for e in entries) or len(entries) < 16:
            return entries
        values = order_by_hash([e["value"] for e in entries], vocabulary)
        n_test, n_validation = (round(len(values) * _VALUE_SHARES[s]) for s in ("test", "validation"))
        parts = {
            "test": values[:n_test],
            "validation": values[n_test : n_test + n_validation],
            "train": values[n_test + n_validation :],
        }
        split = "test" if split == "test_unseen_tools" else split  # unseen tools are asked for with the test's values
        chosen = set(parts[split])
        more = self.sources.test_values.get(vocabulary, []) if split == "test" else []
        return [e for e in entries if e["value"] in chosen] + more

    def fill(self, rng, phrasing: Phrasing, split: str, request: Request) -> None:
        """Put values into a wording and into ``request``."""
        text, used = phrasing.text, set()
        for name in phrasing.placeholders:
            slot = phrasing.slots.get(name, request.tool.slots[name])
            if slot == "date" and rng.random() < RELATIVE:
                counted, said = wording.relative_date(rng, request.dialect, request.country)
                text = wording.as_adverb(text, name, said)
                request.relative[name], value = counted, spans.resolve_date(counted, request.today)
            else:
                value, said = self.made(rng, slot, request, split, used, "enum" in schema(request.tool, name))
            request.values[name], request.texts[name] = value, said
        request.query = wording.filled(text, PLACEHOLDER, request.texts)
        request.arguments = nested({**request.values, **phrasing.args})

    def correct(self, rng, phrasing: Phrasing, split: str, request: Request) -> bool:
        """Let the user correct one value of free text, or say that there is none to correct."""
        names = [n for n in phrasing.placeholders if self._is_free_text(phrasing, request.tool, n)]
        if not names:
            return False
        name = rng.choice(names)
        used = {str(value) for value in request.values.values()}
        slot = phrasing.slots.get(name, request.tool.slots[name])
        old, (value, said) = request.texts[name], self.made(rng, slot, request, split, used)
        if said == old:
            return False
        correction = rng.choice(countries.talk(request.dialect, request.country, "corrections"))
        mark = "" if request.query[-1] in "؟?!" else "،"
        request.query = f"{request.query.rstrip('.')}{mark} {correction.format(new=said, old=old)}"
        request.values[name], request.texts[name] = value, said
        request.arguments = nested({**request.values, **phrasing.args})
        return True

    def _is_free_text(self, phrasing: Phrasing, tool: Tool, name: str) -> bool:
        slot = phrasing.slots.get(name, tool.slots[name])
        return isinstance(slot, str) and slot not in ("date", "time") and "enum" not in schema(tool, name)

    def made(self, rng, slot, request: Request, split: str, used: set, enum: bool = False):
        """A value for a slot of any form, and its text: ``(value, text)``."""
        if slot == "date":
            return wording.calendar_date(rng, request.dialect, request.country)
        if slot == "time":
            return wording.clock_time(rng, request.dialect, request.country)
        if isinstance(slot, dict) and "choice" in slot:
            slot = slot["choice"]
        if isinstance(slot, str):
            entries = self._said_here(self.entries(slot, split, enum), request.dialect)
            entry = rng.choice([e for e in entries if str(e["value"]) not in used] or entries)
            used.add(str(entry["value"]))  # two slots of one row never get the same value: no flight from Fes to Fes
            return entry["value"], _text(rng, entry, request)
        return self._generated(rng, slot, request, split)

    def _said_here(self, entries: list[dict], dialect: str) -> list[dict]:
        return [entry for entry in entries if dialect in entry["text"]]

    def _generated(self, rng, slot: dict, request: Request, split: str):
        if "number" in slot:
            return wording.number(rng, slot, request.dialect)
        if "list" in slot:
            low, high = slot.get("size", [2, 3])
            entries = self._said_here(self.entries(slot["list"], split), request.dialect)
            chosen = rng.sample(entries, min(rng.randint(low, high), len(entries)))
            return [e["value"] for e in chosen], wording.joined([_text(rng, e, request) for e in chosen])
        if "digits" in slot:
            prefix = slot.get("prefix", "")
            value = prefix + "".join(str(rng.randrange(10)) for _ in range(slot["digits"] - len(prefix)))
            return value, wording.digits(rng, value)
        if "code" in slot:
            pattern = rng.choice(slot["code"]) if isinstance(slot["code"], list) else slot["code"]
            value = "".join(str(rng.randrange(10)) if c == "#" else c for c in pattern)
            return value, value
        raise CourseError(f"unknown slot form {slot}", "see assets/data/sources/README.md")

    def result(self, rng, request: Request, split: str) -> tuple[dict, dict]:
        """What a tool gives back: ``(values, texts)``. Numbers are written as the tool gave them."""
        values, texts = {}, {}
        for name, slot in request.tool.result.items():
            values[name], texts[name] = self.made(rng, slot, request, split, set())
            if isinstance(values[name], int | float):
                texts[name] = f"{values[name]:g}" if isinstance(values[name], float) else str(values[name])
        return values, texts


def _text(rng, entry: dict, request: Request) -> str:
    """One of an entry's texts, of the request's country where there is one."""
    texts = entry["text"][request.dialect]
    return rng.choice([t for t in texts if countries.speaks(t, request.dialect, request.country)] or texts)


def schema(tool: Tool, name: str) -> dict:
    """The schema of a parameter, or of ``object.field``."""
    found = tool.parameters
    for part in name.split("."):
        found = found["properties"][part]
    return found


def nested(flat: dict) -> dict:
    """``{"address.city": x}`` -> ``{"address": {"city": x}}``."""
    found: dict = {}
    for path, value in flat.items():
        *parents, leaf = path.split(".")
        place = found
        for parent in parents:
            place = place.setdefault(parent, {})
        place[leaf] = value
    return found
