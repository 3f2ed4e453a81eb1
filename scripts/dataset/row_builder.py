"""Build the rows of the data set from its sources: deterministic, split by phrasing and by slot value.

Every choice of a row comes from a generator seeded with the row's own name, so that adding a tool leaves other rows'
wording alone. What belongs to which split is decided by hash, before any row is made.
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass, replace
from functools import cached_property

from helpers import chat
from helpers.dataset import DIALECTS
from helpers.errors import CourseError

from . import wording
from .sources import PLACEHOLDER, Phrasing, Sources, Tool, similarity

SIZES = {"train": 6400, "validation": 500, "test": 1500, "test_unseen_tools": 500}
#: Share of each kind in every split; the rest is ``single``.
SHARES = {"none": 0.13, "parallel": 0.12, "followup": 0.07}
DISTRACTORS = (3, 6)
# estimated tokens of a row's declarations at most, so that the row fits in 1,024 (a test counts the real ones)
_DECLARED = 840
_VALUE_SHARES = {"validation": 0.12, "test": 0.22}  # of a vocabulary's free-text values; the rest is for training
_LEAK = 0.55  # phrasings of one tool that are more alike than this stay in one split, whatever their dialect


def _order(items, salt: str):
    """Items in an order that depends on nothing but their own text."""
    return sorted(items, key=lambda item: hashlib.sha256(f"{salt}|{item}".encode()).hexdigest())


def _values_split(split: str) -> str:
    """Unseen tools are asked for with the test's slot values."""
    return "test" if split == "test_unseen_tools" else split


@dataclass
class Builder:
    """Makes rows from ``sources``. Rows hold tool names; ``helpers.dataset`` joins the declarations at load."""

    sources: Sources

    # --- what belongs to which split

    @cached_property
    def declaration_sizes(self) -> dict[str, int]:
        """Tool name -> estimated tokens of its declaration."""
        return {tool.name: _estimated_tokens(tool) for tool in self.sources.tools.values()}

    @cached_property
    def phrasing_split(self) -> dict[str, str]:
        """Phrasing id -> train, validation or test; of unseen tools all are test_unseen_tools."""
        found = {}
        for tool in self.sources.tools.values():
            if tool.unseen:
                found |= {p.id: "test_unseen_tools" for p in tool.phrasings}
            else:
                found |= self._assign(tool)
        return found

    def _assign(self, tool: Tool) -> dict[str, str]:
        """For each dialect two phrasings to test and one to validation, near-copies kept together."""
        wanted = {d: {"test": 2, "validation": 1} for d in DIALECTS}
        found = {}
        groups = _groups(tool.phrasings)
        for group in sorted(groups, key=lambda g: (len(g), _hash(g[0].id))):
            room = {s: min(wanted[p.dialect][s] for p in group) for s in ("test", "validation")}
            split = max(room, key=room.get)
            split = split if room[split] > 0 and len({p.dialect for p in group}) == len(group) else "train"
            for phrasing in group:
                found[phrasing.id] = split
                if split != "train":
                    wanted[phrasing.dialect][split] -= 1
        return found

    def phrasings(self, tool: Tool, dialect: str, split: str) -> list[Phrasing]:
        """A tool's phrasings in a dialect that belong to a split."""
        return [p for p in tool.phrasings if p.dialect == dialect and self.phrasing_split[p.id] == split]

    def entries(self, vocabulary: str, split: str, enum: bool = False) -> list[dict]:
        """The entries of a vocabulary that a split may use: all of a closed one, its own part of free text."""
        entries = self.sources.vocabularies[vocabulary]
        if enum or not all(isinstance(e["value"], str) for e in entries) or len(entries) < 16:
            return entries
        values = _order([e["value"] for e in entries], vocabulary)
        n_test, n_validation = (round(len(values) * _VALUE_SHARES[s]) for s in ("test", "validation"))
        parts = {
            "test": values[:n_test],
            "validation": values[n_test : n_test + n_validation],
            "train": values[n_test + n_validation :],
        }
        chosen = set(parts[_values_split(split)])
        return [e for e in entries if e["value"] in chosen]

    def tools(self, split: str, unseen: bool) -> list[Tool]:
        """Tools that may be declared in a split: unseen ones appear in ``test_unseen_tools`` only."""
        return [
            t
            for t in self.sources.tools.values()
            if t.unseen == unseen and (not unseen or split == "test_unseen_tools")
        ]

    # --- filling a phrasing

    def fill(self, rng, tool: Tool, phrasing: Phrasing, split: str) -> tuple[str, dict, dict]:
        """A phrasing with values in place: ``(query, arguments, texts by placeholder)``."""
        values, texts, used = {}, {}, set()
        for name in phrasing.placeholders:
            values[name], texts[name] = self._slot(rng, tool, name, phrasing.dialect, split, used)
        query = wording.filled(phrasing.text, PLACEHOLDER, texts)
        return query, _nested({**values, **phrasing.args}), texts

    def _slot(self, rng, tool: Tool, name: str, dialect: str, split: str, used: set):
        return self._made(rng, tool.slots[name], dialect, split, used, enum="enum" in _schema(tool, name))

    def _made(self, rng, slot, dialect: str, split: str, used: set, enum: bool = False):
        """A value for a slot of any form, and its text: ``(value, text)``."""
        if slot == "date":
            return wording.calendar_date(rng, dialect)
        if slot == "time":
            return wording.clock_time(rng, dialect)
        if isinstance(slot, dict) and "choice" in slot:
            slot = slot["choice"]
        if isinstance(slot, str):
            entries = self.entries(slot, split, enum)
            entry = rng.choice([e for e in entries if str(e["value"]) not in used] or entries)
            used.add(str(entry["value"]))  # two slots of one row never get the same value: no flight from Fes to Fes
            return entry["value"], rng.choice(entry["text"][dialect])
        return self._generated(rng, slot, dialect, split)

    def _generated(self, rng, slot: dict, dialect: str, split: str):
        if "number" in slot:
            return wording.number(rng, slot, dialect)
        if "list" in slot:
            low, high = slot.get("size", [2, 3])
            entries = self.entries(slot["list"], split)
            chosen = rng.sample(entries, min(rng.randint(low, high), len(entries)))
            return [e["value"] for e in chosen], wording.joined([rng.choice(e["text"][dialect]) for e in chosen])
        if "digits" in slot:
            prefix = slot.get("prefix", "")
            value = prefix + "".join(str(rng.randrange(10)) for _ in range(slot["digits"] - len(prefix)))
            return value, wording.digits(rng, value)
        if "code" in slot:
            pattern = rng.choice(slot["code"]) if isinstance(slot["code"], list) else slot["code"]
            value = "".join(str(rng.randrange(10)) if c == "#" else c for c in pattern)
            return value, value
        raise CourseError(f"unknown slot form {slot}", "see assets/data/sources/README.md")

    def _result(self, rng, tool: Tool, dialect: str, split: str) -> tuple[dict, dict]:
        """What a tool gives back: ``(values, texts)``. Numbers are written as the tool gave them."""
        values, texts = {}, {}
        for name, slot in tool.result.items():
            values[name], texts[name] = self._made(rng, slot, dialect, split, set())
            if isinstance(values[name], int | float):
                texts[name] = f"{values[name]:g}" if isinstance(values[name], float) else str(values[name])
        return values, texts

    # --- rows

    def _generator(self, row: str) -> random.Random:
        return random.Random(row)

    def rows(self, split: str) -> list[dict]:
        """All rows of a split, queries unique. Raises CourseError when 200 attempts give no new query for a row."""
        kinds = [kind for kind, share in SHARES.items() for _ in range(round(share * SIZES[split]))]
        kinds += ["single"] * (SIZES[split] - len(kinds))
        rows, seen = [], set()
        for index, kind in enumerate(kinds):
            for attempt in range(200):
                rng = self._generator(f"{split}|{kind}|{index}|{attempt}")
                row = getattr(self, f"_{kind}")(rng, split, DIALECTS[index % len(DIALECTS)], index)
                if row and row["query"] not in seen:
                    break
            else:
                raise CourseError(
                    f"split {split}: no new query for a row of kind {kind}", "write more phrasings or slot values"
                )
            seen.add(row["query"])
            rows.append({"id": f"{split}-{index:05d}", "split": split, "kind": kind, **row})
        random.Random(split).shuffle(rows)
        return rows

    def _pick(self, rng, split: str, dialect: str, index: int) -> tuple[Tool, Phrasing]:
        """Tools in turn, so that each has its share of every dialect; then one of its phrasings."""
        tools = [t for t in self.tools(split, unseen=split == "test_unseen_tools") if self.phrasings(t, dialect, split)]
        tool = tools[index // len(DIALECTS) % len(tools)]
        return tool, rng.choice(self.phrasings(tool, dialect, split))

    def _declared(self, rng, split: str, gold: list[Tool], near: bool = True) -> list[str]:
        """Names of the tools a row declares, shuffled: the gold ones and 3 to 6 others, half of the same domain."""
        pool = [t for u in (False, True) for t in self.tools(split, u) if t.name not in {g.name for g in gold}]
        domains = {g.domain for g in gold}
        close = [t for t in pool if t.domain in domains]
        far = [t for t in pool if t.domain not in domains]
        count = rng.randint(*DISTRACTORS)
        chosen = rng.sample(close, min(len(close), (count + 1) // 2)) if near else []
        chosen += rng.sample(far, count - len(chosen))
        size = self.declaration_sizes
        while len(chosen) > DISTRACTORS[0] and sum(size[t.name] for t in [*gold, *chosen]) > _DECLARED:
            chosen.remove(max(chosen, key=lambda t: size[t.name]))
        names = [t.name for t in [*gold, *chosen]]
        rng.shuffle(names)
        return names

    def _dress(self, rng, text: str, dialect: str) -> str:
        """Sometimes a greeting before, a courtesy after, or a habit of quick typing in the words of the phrasing."""
        talk = self.sources.conversation
        if rng.random() < 0.15:
            text = f"{rng.choice(talk['openers'][dialect])} {text}"
        if rng.random() < 0.15:
            text = f"{text.rstrip('.')} {rng.choice(talk['closers'][dialect])}"
        return text

    def _asked(self, rng, split, dialect, index, tool=None, phrasing=None):
        """One dressed request: ``(tool, phrasing id, query, arguments, texts)``."""
        if tool is None:
            tool, phrasing = self._pick(rng, split, dialect, index)
        worn = replace(phrasing, text=self._worn(rng, phrasing.text))
        query, arguments, texts = self.fill(rng, tool, worn, split)
        return tool, phrasing.id, query, arguments, texts

    def _worn(self, rng, text: str) -> str:
        """The wording, not its placeholders, as people type it: mostly as is, at times hasty, or with diacritics."""
        habit = rng.random()
        if habit >= 0.2:
            return text
        parts = PLACEHOLDER.split(text)  # wording and placeholder names in turn
        rewrite = self._diacritized if habit < 0.05 else lambda part: wording.vary_spelling(rng, part)
        return "".join(f"{{{part}}}" if i % 2 else rewrite(part) for i, part in enumerate(parts))

    def _diacritized(self, text: str) -> str:
        known = self.sources.conversation["diacritics"]
        return re.sub(r"\w+", lambda m: known.get(m.group(), m.group()), text)

    def _single(self, rng, split, dialect, index) -> dict:
        tool, phrasing, query, arguments, _ = self._asked(rng, split, dialect, index)
        return {
            "domain": tool.domain, "dialect": dialect, "query": self._dress(rng, query, dialect),
            "tools": self._declared(rng, split, [tool]), "calls": [{"name": tool.name, "arguments": arguments}],
            "reply": "", "phrasing": phrasing,
        }  # fmt: skip

    def _parallel(self, rng, split, dialect, index) -> dict | None:
        first = self._asked(rng, split, dialect, index)
        same = rng.random() < 0.25
        if same:
            options = self.phrasings(first[0], dialect, split)
            second = self._asked(rng, split, dialect, index, first[0], rng.choice(options))
        else:
            second = self._asked(rng, split, dialect, rng.randrange(10**6))
        calls = [{"name": s[0].name, "arguments": s[3]} for s in (first, second)]
        if calls[0] == calls[1] or (same and first[1] == second[1]):
            return None
        connector = rng.choice(self.sources.conversation["connectors"][dialect])
        query = f"{first[2].rstrip(' .؟?!')}{connector}{second[2]}"
        gold = list({s[0].name: s[0] for s in (first, second)}.values())
        return {
            "domain": first[0].domain,
            "dialect": dialect,
            "query": self._dress(rng, query, dialect),
            "tools": self._declared(rng, split, gold),
            "calls": calls,
            "reply": "",
            "phrasing": f"{first[1]}+{second[1]}",
        }

    def _followup(self, rng, split, dialect, index) -> dict | None:
        tool, phrasing, query, arguments, texts = self._asked(rng, split, dialect, index)
        values, said = self._result(rng, tool, dialect, split)
        reply = wording.filled(rng.choice(tool.replies[dialect]), PLACEHOLDER, {**texts, **said})
        return {
            "domain": tool.domain, "dialect": dialect, "query": self._dress(rng, query, dialect),
            "tools": self._declared(rng, split, [tool]), "calls": [{"name": tool.name, "arguments": arguments}],
            "result": values, "reply": reply, "phrasing": phrasing,
        }  # fmt: skip

    def _none(self, rng, split, dialect, index) -> dict:
        """A request that no declared tool can serve: talk, something that already happened, or a missing capability."""
        # there are two remarks for each tool and dialect: one to train on, one to test
        past = 0.0 if split == "validation" else 0.3
        form = rng.choices(("chat", "past", "missing"), (0.3, past, 0.4))[0]
        talk = self.sources.conversation
        if form == "chat":
            number, entry = rng.choice(_share(list(enumerate(talk["chat"][dialect], 1)), split))
            query, reply, identity = entry["query"], entry["reply"], f"chat.{dialect}.{number}"
            gold, domain, near = [rng.choice(self.tools(split, False))], "conversation", True
        else:
            tool, phrasing, query, _, _ = self._asked(rng, split, dialect, rng.randrange(10**6))
            domain, gold, near, identity = tool.domain, [], False, f"missing.{phrasing}"
            reply = rng.choice(talk["missing"][dialect])
            if form == "past":
                number, query = rng.choice(_share(list(enumerate(tool.past[dialect], 1)), split, pair=True))
                reply, identity, gold, near = (
                    rng.choice(talk["past"][dialect]),
                    f"past.{tool.name}.{dialect}.{number}",
                    [tool],
                    True,
                )
        names = self._declared(rng, split, gold, near)
        if form == "missing":
            names = [n for n in names if self.sources.tools[n].domain != domain]
        return {
            "domain": domain, "dialect": dialect, "query": self._dress(rng, query, dialect), "tools": names,
            "calls": [], "reply": reply, "phrasing": identity,
        }  # fmt: skip


def _estimated_tokens(tool: Tool) -> int:
    """About how many tokens a tool's declaration takes: control tokens, words by six letters, marks."""
    return len(re.findall(r"<\w+>|[^\W_]{1,6}|[^\w\s]|_", chat.render([], [tool.declaration])))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _groups(phrasings) -> list[list[Phrasing]]:
    """Phrasings joined where they are more alike than ``_LEAK`` (transitively)."""
    groups: list[list[Phrasing]] = []
    for phrasing in phrasings:
        near = [g for g in groups if any(similarity(phrasing.text, other.text) > _LEAK for other in g)]
        groups = [g for g in groups if g not in near] + [[phrasing, *(p for g in near for p in g)]]
    return groups


def _share(numbered: list, split: str, pair: bool = False) -> list:
    """The part of a list of sentences that belongs to a split: a tenth to each test, a tenth to validation, the rest to
    training. Of a ``pair`` the first is for training and the last for the tests."""
    if pair:
        return [numbered[0]] if split == "train" else [numbered[-1]]
    cut, middle = max(2, round(len(numbered) * 0.2)), max(1, round(len(numbered) * 0.1))
    parts = {
        "test": numbered[: cut // 2], "test_unseen_tools": numbered[cut // 2 : cut],
        "validation": numbered[cut : cut + middle], "train": numbered[cut + middle :],
    }  # fmt: skip
    return parts[split]


def _schema(tool: Tool, name: str) -> dict:
    schema = tool.parameters
    for part in name.split("."):
        schema = schema["properties"][part]
    return schema


def _nested(flat: dict) -> dict:
    """``{"address.city": x}`` -> ``{"address": {"city": x}}``."""
    found: dict = {}
    for path, value in flat.items():
        *parents, leaf = path.split(".")
        place = found
        for parent in parents:
            place = place.setdefault(parent, {})
        place[leaf] = value
    return found
