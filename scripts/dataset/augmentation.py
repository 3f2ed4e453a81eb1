"""More training rows than the data set stores, so that a model copies and reads instead of learning by heart.

The first reference candidates were trained on the stored rows alone. They named the right function on 96.8 % of
requests for tools they knew and on 15 % for tools they did not, and wrote values that training had not held as pieces
of values it had (``assets/reference/reference.json``). Against the first, ``renamed`` gives a row's tools other names;
against the second, ``fresh`` draws rows anew with many more slot values, some of them invented.
"""

from __future__ import annotations

import json
import random
from functools import cache, cached_property

from helpers import dataset
from helpers.paths import ASSETS, read_yaml

from . import row_builder, sources

#: Words of tool and parameter names, with words that may stand for them.
SYNONYMS = ASSETS / "data" / "sources" / "synonyms.yaml"
#: Values of free text for training only: vocabulary -> values.
VALUES = ASSETS / "data" / "sources" / "training_values.yaml"
INVENTED = 0.3  # share of a vocabulary's values


def fresh(seed: int) -> list[dict]:
    """As many rows as ``train`` holds, of its phrasings, with other values, tools and talk.

    None equals a stored row's request but by chance. Deterministic for a seed. Their ids are ``fresh{seed}-…``.
    """
    builder = FreshBuilder(sources.read(), seed)
    rows = dataset.joined(builder.rows("train"), dataset.read_declarations())
    return [row | {"id": row["id"].replace("train", f"fresh{seed}")} for row in rows]


class FreshBuilder(row_builder.Builder):
    """Draws training rows by another seed, and slots of free text from ``VALUES`` and from invented words as well."""

    def __init__(self, read: sources.Sources, seed: int):
        super().__init__(read)
        self.seed, self._more = seed, {}

    def _generator(self, row: str) -> random.Random:
        return random.Random(f"{row}|fresh {self.seed}")

    @cached_property
    def training_values(self) -> dict[str, list[str]]:
        """Vocabulary name -> its values of free text for training only."""
        return read_yaml(VALUES)

    def entries(self, vocabulary: str, split: str, enum: bool = False) -> list[dict]:
        """What the split may use, and for training's free text the further values."""
        stored = super().entries(vocabulary, split, enum)
        if split != "train" or enum or vocabulary not in self.training_values:
            return stored
        if vocabulary not in self._more:
            self._more[vocabulary] = self._further(vocabulary, stored)
        return [*stored, *self._more[vocabulary]]

    def _further(self, vocabulary: str, stored: list[dict]) -> list[dict]:
        written = self.training_values[vocabulary]
        known = [entry["value"] for entry in stored] + written
        wanted, draw = round(len(known) * INVENTED / (1 - INVENTED)), random.Random(f"{self.seed}|{vocabulary}")
        others = [*self.sources.vocabularies[vocabulary], *self.sources.test_values.get(vocabulary, [])]
        kept_away = {folded(entry["value"]) for entry in others} | set(map(folded, written))
        invented = [
            w
            for w in dict.fromkeys(invented_like(known, draw, 3 * wanted))
            if len(w) > 2 and folded(w) not in kept_away
        ]
        return [{"value": v, "text": dict.fromkeys(dataset.DIALECTS, [v])} for v in [*written, *invented[:wanted]]]


def folded(text: str) -> str:
    """A value without the spelling differences of hasty typing: forms of alif, final yā' and tā' marbūṭa."""
    return text.translate(str.maketrans("أإآىة", "ااايه")).strip()


def invented_like(values: list[str], draw: random.Random, n: int, order: int = 2) -> list[str]:
    """``n`` words that look like the values.

    A Markov chain in which a character follows the ``order`` before it (Shannon 1948, section 3).
    """
    following: dict[str, list[str]] = {}
    for value in values:
        marked = "\n" * order + value + "\n"  # a line feed begins and ends a value
        for i in range(order, len(marked)):
            following.setdefault(marked[i - order : i], []).append(marked[i])
    words = []
    for _ in range(n):
        word = "\n" * order + draw.choice(following["\n" * order])
        while not word.endswith("\n"):
            word += draw.choice(following[word[-order:]])
        words.append(word.strip())
    return words


@cache
def synonyms() -> dict[str, list[str]]:
    """word -> other words, lower case, of letters and underscores."""
    return read_yaml(SYNONYMS)


def renamed(row: dict, seed: int = 0) -> dict:
    """A data row whose tools, parameters and calls have new names, the same in all its columns.

    Request, values and reply stay. Deterministic for a row's id and ``seed``. Names stay unique among the row's tools,
    and among a tool's parameters.
    """
    draw = random.Random(f"{seed}|{row['id']}")
    tools, names, keys = json.loads(row["tools"]), {}, {}
    for tool in tools:
        function = tool["function"]
        new = _new_name(function["name"], draw, taken=set(names.values()))
        names[function["name"]] = new
        keys[function["name"]] = _rename_properties(function.get("parameters", {}), draw)
        function["name"] = new
    calls = [_call(call, names, keys) for call in json.loads(row["calls"])]
    messages = json.loads(row["messages"])
    for message in messages:
        for part in message.get("tool_calls", []):
            part["function"] = _call(part["function"], names, keys)
        if message["role"] == "tool":
            message["name"] = names.get(message["name"], message["name"])
    told = {"tools": tools, "calls": calls, "messages": messages}
    return row | {column: json.dumps(value, ensure_ascii=False) for column, value in told.items()}


def _new_name(name: str, draw: random.Random, taken: set[str]) -> str:
    """Every word may be replaced; a name that is taken stays as it was."""
    words = [draw.choice([word, *synonyms().get(word, [])]) for word in name.split("_")]
    if len(words) == 2 and draw.random() < 0.2:
        words.reverse()
    new = "_".join(words)
    return name if new in taken else new


def _rename_properties(schema: dict, draw: random.Random) -> dict:
    """Rename a schema's properties in place, nested ones too.

    Returns old name -> (new name, the same for what is inside).
    """
    found, properties = {}, {}
    for name, inner in schema.get("properties", {}).items():
        new = _new_name(name, draw, taken={*schema["properties"], *properties} - {name})
        found[name] = (new, _rename_properties(inner, draw))
        properties[new] = inner
    if properties:
        schema["properties"] = properties
    if "required" in schema:
        schema["required"] = [found[name][0] for name in schema["required"]]
    return found


def _call(call: dict, names: dict, keys: dict) -> dict:
    return {"name": names[call["name"]], "arguments": _arguments(call["arguments"], keys[call["name"]])}


def _arguments(arguments: dict, keys: dict) -> dict:
    return {keys[k][0]: _arguments(v, keys[k][1]) if isinstance(v, dict) else v for k, v in arguments.items()}
