"""Build the rows of the data set from its sources: deterministic, split by phrasing and by slot value.

Every choice of a row comes from a generator seeded with the row's own name, so that adding a tool leaves other rows'
wording alone. What belongs to which split is decided by hash, before any row is made.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property
from itertools import cycle

from helpers import chat
from helpers.dataset import DIALECTS
from helpers.errors import CourseError

from . import countries, wording
from .filling import Filler, Request
from .sources import PLACEHOLDER, Phrasing, Tool, Unclear, similarity

#: Rows of each split; the test has a row of kind ``single`` for each of its phrasings, and other kinds by their shares.
SIZES = {"train": 6400, "validation": 500, "test_unseen_tools": 500}
#: Share of each kind in every split; the rest is ``single``.
SHARES = {"none": 0.12, "parallel": 0.12, "followup": 0.07, "ask_back": 0.025}
THREE = 0.15  # share of parallel rows with three calls
CORRECTED, EARLIER = 0.02, 0.03  # shares of single rows in which a value is corrected, or something was said before
DISTRACTORS = (3, 6)
FIRST_DAY, DAYS = date(2025, 1, 1), 365  # today, in the developer turn; full dates are of the two years after
# estimated tokens of a row's declarations at most, so that the row fits in 1,024 (a test counts the real ones): less by
# what each call needs in request and answer
_DECLARED, _CALLED = 895, 80
_MOST = (
    1000  # estimated tokens of declarations beyond which no row is let, however few tools stand beside the called ones
)
_LEAK = 0.55  # phrasings of one tool that are more alike than this stay in one split, whatever their dialect
#: Tools one of which may serve a request meant for another: where the one is missing, the other is not declared.
EITHER_SERVES = (
    {"get_current_weather", "get_forecast", "set_weather_alert"},
    {"create_reminder", "set_alarm", "set_timer", "set_medication_reminder", "book_doctor_appointment"},
    {"search_products", "place_order", "add_to_cart"},
    {"get_sun_times", "get_prayer_times"},
    {"renew_document", "book_office_visit"},
    {"track_application", "book_office_visit"},
)


@dataclass
class Builder(Filler):
    """Makes rows from ``sources``. Rows hold tool names; ``helpers.dataset`` joins the declarations at load."""

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
        """Besides those held for the test, for each dialect two to the test and one to validation, near-copies
        together."""
        wanted = {d: {"test": 2, "validation": 1} for d in DIALECTS}
        found = {p.id: "test" for p in tool.phrasings if p.held}
        groups = _groups([p for p in tool.phrasings if not p.held])
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

    def unclear(self, dialect: str, split: str) -> list[tuple[Tool, Unclear]]:
        """Requests that leave something out, of a split: of unseen tools all, of others two thirds to training."""
        found = []
        for tool in self.tools(split, unseen=split == "test_unseen_tools"):
            for one in tool.unclear:
                place = int(_hash(one.id), 16) % 12
                own = "test" if place < 3 else "validation" if place < 4 else "train"
                if one.dialect == dialect and (tool.unseen or own == split):
                    found.append((tool, one))
        return found

    def tools(self, split: str, unseen: bool) -> list[Tool]:
        """Tools that may be declared in a split: unseen ones appear in ``test_unseen_tools`` only."""
        return [
            t
            for t in self.sources.tools.values()
            if t.unseen == unseen and (not unseen or split == "test_unseen_tools")
        ]

    # --- rows

    def _generator(self, row: str) -> random.Random:
        return random.Random(row)

    def _plan(self, split: str) -> Iterator[tuple[str, str, Phrasing | None]]:
        """Kind, dialect and, where it is settled, the phrasing of every row."""
        held: list[Phrasing] = []
        if split == "test":
            by_dialect = [
                [p for t in self.tools(split, False) for p in self.phrasings(t, dialect, split)] for dialect in DIALECTS
            ]
            held = [phrasing for group in by_dialect for phrasing in group]
        size = SIZES.get(split) or round(len(held) / (1 - sum(SHARES.values())))
        turn = cycle(DIALECTS)
        for kind, share in SHARES.items():
            for _ in range(round(share * size)):
                yield kind, next(turn), None
        for phrasing in held:
            yield "single", phrasing.dialect, phrasing
        for _ in range(0 if held else size - sum(round(share * size) for share in SHARES.values())):
            yield "single", next(turn), None

    def rows(self, split: str) -> list[dict]:
        """All rows of a split, queries unique. Raises CourseError when 200 attempts give no new query for a row."""
        rows, seen = [], set()
        for index, (kind, dialect, phrasing) in enumerate(self._plan(split)):
            for attempt in range(200):
                rng = self._generator(f"{split}|{kind}|{index}|{attempt}")
                today = FIRST_DAY + timedelta(days=rng.randrange(DAYS))
                row = getattr(self, f"_{kind}")(rng, split, dialect, index, today, phrasing)
                if row and row["query"] not in seen:
                    break
            else:
                raise CourseError(
                    f"split {split}: no new query for a row of kind {kind}", "write more phrasings or slot values"
                )
            seen.add(row["query"])
            rows.append({"id": f"{split}/{index:05d}", "split": split, "kind": kind, "dialect": dialect,
                         "today": today.isoformat(), **row})  # fmt: skip
        random.Random(split).shuffle(rows)
        return rows

    def _pick(self, rng, split: str, dialect: str, index: int, country: str = "") -> tuple[Tool, Phrasing]:
        """Tools in turn, so that each has its share of every dialect; then one of its phrasings, of a country."""
        choices = {
            tool.name: [p for p in self.phrasings(tool, dialect, split) if not country or country in p.countries]
            for tool in self.tools(split, unseen=split == "test_unseen_tools")
        }
        names = [name for name, phrasings in choices.items() if phrasings]
        name = names[index // len(DIALECTS) % len(names)]
        return self.sources.tools[name], rng.choice(choices[name])

    def _declared(
        self, rng, split: str, gold: list[Tool], near: str = "", barred: frozenset[str] = frozenset()
    ) -> list[str]:
        """Names of the tools a row declares, shuffled: the gold ones and 3 to 6 others, half of the same domain.

        Beside three gold ones there may be room for one only. ``near`` is a domain from which others come where there
        is no gold; ``barred`` names are not declared.
        """
        known = {g.name for g in gold} | barred
        pool = [t for u in (False, True) for t in self.tools(split, u) if t.name not in known]
        domains = {g.domain for g in gold} | {near}
        close = [t for t in pool if t.domain in domains]
        far = [t for t in pool if t.domain not in domains]
        count = rng.randint(*DISTRACTORS)
        chosen = rng.sample(close, min(len(close), (count + 1) // 2)) if gold or near else []
        chosen += rng.sample(far, count - len(chosen))
        size, room = self.declaration_sizes, _DECLARED - _CALLED * max(1, len(gold))
        least = DISTRACTORS[0] if len(gold) < 3 else 1
        while (total := sum(size[t.name] for t in [*gold, *chosen])) > room:
            if len(chosen) <= (least if total <= _MOST else 1):
                break
            chosen.remove(max(chosen, key=lambda t: size[t.name]))
        names = [t.name for t in [*gold, *chosen]]
        rng.shuffle(names)
        return names

    def _dress(self, rng, text: str, dialect: str, country: str) -> str:
        """Sometimes a greeting before, a courtesy after, and marks as people type them."""
        polite = countries.is_polite(text)
        if not polite and rng.random() < 0.15:
            text, polite = f"{rng.choice(countries.talk(dialect, country, 'openers'))} {text}", True
        if not polite and rng.random() < 0.15:
            closer = rng.choice(countries.talk(dialect, country, "closers"))
            text = f"{text} {closer}" if text[-1] in "؟?!" else f"{text.rstrip('.')}، {closer}"
        return wording.as_typed(rng, text, countries.known()["emoji"] if dialect != "msa" else ["🙏"])

    def _asked(self, rng, split: str, today: date, tool: Tool, phrasing: Phrasing, country: str = "") -> Request:
        """One request, filled, before anything is put around it."""
        country = country or rng.choice(phrasing.countries)
        request = Request(tool, phrasing.id, phrasing.dialect, country, today)
        self.fill(rng, replace(phrasing, text=self._worn(rng, phrasing.text, phrasing.dialect)), split, request)
        return request

    def _worn(self, rng, text: str, dialect: str) -> str:
        """The wording, not its placeholders, as people type it: mostly as is, at times hasty; in MSA with marks."""
        habit = rng.random()
        if habit >= 0.24:
            return text
        parts = PLACEHOLDER.split(text)  # wording and placeholder names in turn
        if habit < 0.05 and dialect == "msa":
            rewrite = self._diacritized
        elif habit < 0.2:
            rewrite = lambda part: wording.vary_spelling(rng, part, dialect)  # noqa: E731
        else:
            rewrite = lambda part: wording.stretched(rng, part, countries.known()["stretched"])  # noqa: E731
        return "".join(f"{{{part}}}" if i % 2 else rewrite(part) for i, part in enumerate(parts))

    def _diacritized(self, text: str) -> str:
        known = self.sources.conversation["diacritics"]
        return re.sub(r"\w+", lambda m: known.get(m.group(), m.group()), text)

    def _row(self, rng, split: str, requests: list[Request], **more) -> dict:
        """A row in which something is called."""
        gold = list({r.tool.name: r.tool for r in requests}.values())
        relative = {f"{i}.{name}": day for i, r in enumerate(requests) for name, day in r.relative.items()}
        return {
            "domain": requests[0].tool.domain, "tools": self._declared(rng, split, gold),
            "calls": [r.call for r in requests], "reply": "", "phrasing": "+".join(r.phrasing for r in requests),
            **({"relative": relative} if relative else {}), **more,
        }  # fmt: skip

    def _single(self, rng, split, dialect, index, today, phrasing=None) -> dict:
        tool, phrasing = (
            (self.sources.tools[phrasing.id.split(".")[0]], phrasing)
            if phrasing
            else self._pick(rng, split, dialect, index)
        )
        request = self._asked(rng, split, today, tool, phrasing)
        corrected = rng.random() < CORRECTED and self.correct(rng, phrasing, split, request)
        query = request.query if corrected else self._dress(rng, request.query, dialect, request.country)
        more = {}
        if rng.random() < EARLIER:
            _, entry = rng.choice(_share(list(enumerate(self.sources.conversation["chat"][dialect], 1)), split))
            more = {"earlier": [entry["query"], entry["reply"]]}
        return self._row(rng, split, [request], query=query, **more)

    def _parallel(self, rng, split, dialect, index, today, _=None) -> dict | None:
        tool, phrasing = self._pick(rng, split, dialect, index)
        requests = [self._asked(rng, split, today, tool, phrasing)]
        country = requests[0].country
        for number in range(2 if rng.random() < THREE else 1):
            if number == 0 and rng.random() < 0.25:
                phrasing = rng.choice(self.phrasings(tool, dialect, split))
                if country not in phrasing.countries:
                    return None
            else:
                tool, phrasing = self._pick(rng, split, dialect, rng.randrange(10**6), country)
            requests.append(self._asked(rng, split, today, tool, phrasing, country))
        if len({r.phrasing for r in requests}) < len(requests) or len(requests) > 2 and self._is_long(requests):
            return None
        connectors = rng.sample(countries.talk(dialect, country, "connectors"), len(requests) - 1)
        query = requests[0].query
        for connector, request in zip(connectors, requests[1:], strict=True):
            query = f"{query.rstrip(' .؟?!')}{connector}{request.query}"
        return self._row(rng, split, requests, query=self._dress(rng, query, dialect, country))

    def _is_long(self, requests: list[Request]) -> bool:
        """Whether the declarations of three tools leave no room for others."""
        return sum(self.declaration_sizes[r.tool.name] for r in requests) > _DECLARED * 0.6

    def _followup(self, rng, split, dialect, index, today, _=None) -> dict | None:
        request = self._asked(rng, split, today, *self._pick(rng, split, dialect, index))
        values, said = self.result(rng, request, split)
        reply = wording.filled(rng.choice(request.tool.replies[dialect]), PLACEHOLDER, {**request.texts, **said})
        query = self._dress(rng, request.query, dialect, request.country)
        return self._row(rng, split, [request], query=query, result=values, reply=reply)

    def _ask_back(self, rng, split, dialect, index, today, _=None) -> dict:
        """A request without something required: what it does not say is asked for, and nothing is called."""
        tool, one = rng.choice(self.unclear(dialect, split))
        country = rng.choice(countries.possible(PLACEHOLDER.sub("", f"{one.text} {one.question}"), dialect) or
                             countries.of_dialect(dialect))  # fmt: skip
        request = self._asked(rng, split, today, tool, Phrasing(one.id, one.text, dialect, country=country))
        return {
            "domain": tool.domain, "query": self._dress(rng, request.query, dialect, country),
            "tools": self._declared(rng, split, [tool]), "calls": [], "reply": one.question, "phrasing": one.id,
            "asks": list(one.stems),
        }  # fmt: skip

    def _none(self, rng, split, dialect, index, today, _=None) -> dict:
        """A request that no declared tool can serve: talk, something that already happened, or a missing capability."""
        # there are two remarks for each tool and dialect: one to train on, one to test
        past = 0.0 if split == "validation" else 0.3
        form = rng.choices(("chat", "past", "missing"), (0.3, past, 0.4))[0]
        talk = self.sources.conversation
        if form == "chat":
            number, entry = rng.choice(_share(list(enumerate(talk["chat"][dialect], 1)), split))
            query, reply, identity = entry["query"], entry["reply"], f"chat.{dialect}.{number}"
            domain, names = "conversation", self._declared(rng, split, [rng.choice(self.tools(split, False))])
        elif form == "past":
            tool = rng.choice(self.tools(split, split == "test_unseen_tools"))
            number, query = rng.choice(_share(list(enumerate(tool.past[dialect], 1)), split, pair=True))
            reply, identity = rng.choice(talk["past"][dialect]), f"past.{tool.name}.{dialect}.{number}"
            domain, names = tool.domain, self._declared(rng, split, [tool])
        else:
            tool, phrasing = self._pick(rng, split, dialect, rng.randrange(10**6))
            request = self._asked(rng, split, today, tool, phrasing)
            query, reply, identity = request.query, rng.choice(talk["missing"][dialect]), f"missing.{phrasing.id}"
            domain, names = tool.domain, self._without(rng, split, tool)
        place = rng.choice(countries.possible(query, dialect) or countries.of_dialect(dialect))
        return {
            "domain": domain, "query": self._dress(rng, query, dialect, place), "tools": names, "calls": [],
            "reply": reply, "phrasing": identity,
        }  # fmt: skip

    def _without(self, rng, split: str, tool: Tool) -> list[str]:
        """Tools beside a request whose own is missing: in half of the rows some of its domain, near and wrong."""
        either = {name for group in EITHER_SERVES if tool.name in group for name in group}
        near = rng.random() < 0.5
        domain = {t.name for t in self.sources.tools.values() if t.domain == tool.domain}
        barred = frozenset({tool.name} | either | (set() if near else domain))
        return self._declared(rng, split, [], tool.domain if near else "", barred)


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
