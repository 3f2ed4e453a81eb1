"""A tool's declaration in other words: names, descriptions and labels drawn anew, and gold arguments that follow them.

A model that has met a tool under one name only learns the name. Here the same tool appears under its other names, with
an opaque name, with Arabic descriptions, with labels renamed, without optional parameters that nobody mentions, and
with parameters of other tools beside its own.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from .families import Tool, object_schema

#: Share of tools whose words are drawn anew, then of these: opaque names, Arabic descriptions.
REWORDED, OPAQUE, ARABIC = 0.65, 0.12, 0.2
#: Of a reworded tool: share of parameters with another name, of enums with other labels, and of names that say nothing.
RENAMED, RELABELLED, GENERAL = 0.4, 0.35, 0.05
#: Of a reworded tool: share of unmentioned optional parameters left out, and of tools with a stranger's parameter.
LEFT_OUT, ADDED = 0.15, 0.25
#: Names that a parameter of any type may bear, so that one name stands under several types.
GENERAL_NAMES = ("value", "item", "option", "level", "mode", "amount", "detail", "target", "setting", "choice")


@dataclass(frozen=True)
class Names:
    """What a tool's parameters are called in one declaration: canonical -> new, labels likewise, and inside objects."""

    parameters: dict[str, str] = field(default_factory=dict)
    labels: dict[str, dict[str, str]] = field(default_factory=dict)
    inside: dict[str, Names] = field(default_factory=dict)

    def arguments(self, told: dict) -> dict:
        """Arguments under canonical names and labels -> under these."""
        return {self.parameters.get(name, name): self._value(name, value) for name, value in told.items()}

    def _value(self, name: str, value):
        if isinstance(value, list):
            return [self._value(name, one) for one in value]
        if isinstance(value, dict):
            return self.inside[name].arguments(value) if name in self.inside else value
        return self.labels.get(name, {}).get(value, value) if isinstance(value, str) else value


def declare(
    tool: Tool, draw: random.Random | None = None, said: frozenset[str] = frozenset(), stranger: Tool | None = None
) -> tuple[dict, Names]:
    """A tool's declaration and the names in it.

    Parameters
    ----------
    tool : the tool
    draw : source of other words; None gives canonical names and first descriptions
    said : parameters that the gold calls use, which stay
    stranger : a tool that may lend a parameter nobody mentions
    """
    if draw is None or draw.random() >= REWORDED:
        return _declaration(tool.name, tool.descriptions[0], tool.schema), Names()
    opaque, arabic = draw.random() < OPAQUE, draw.random() < ARABIC
    name = (
        f"{draw.choice(('tool', 'fn', 'action', 'f'))}_{draw.randrange(10, 999)}" if opaque else draw.choice(tool.names)
    )
    description = draw.choice(tool.descriptions_ar if arabic else tool.descriptions)
    kept = {
        key: written
        for key, written in tool.parameters.items()
        if key in said or written.get("required") == "true" or draw.random() >= LEFT_OUT
    }
    written, names = _reworded(kept, draw, arabic)
    if stranger and draw.random() < ADDED:
        written |= _lent(stranger, draw, taken={*written, *tool.parameters})
    keys = draw.sample(sorted(written), len(written))
    return _declaration(name, description, object_schema({key: written[key] for key in keys})), names


def _declaration(name: str, description: str, parameters: dict) -> dict:
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


def _reworded(parameters: dict, draw: random.Random, arabic: bool) -> tuple[dict, Names]:
    """Parameters as written, under other names, labels and descriptions."""
    found, names = {}, Names()
    for key, written in parameters.items():
        options = written.get("names", [])
        if draw.random() < GENERAL:
            options = GENERAL_NAMES
        new = draw.choice(options) if options and draw.random() < RENAMED else key
        if new in found or (new != key and new in parameters):
            new = key
        names.parameters[key] = new
        found[new] = _value_reworded(key, written, draw, arabic, names)
    return found, names


def _value_reworded(key: str, written: dict, draw: random.Random, arabic: bool, names: Names) -> dict:
    descriptions = written.get("description_ar", []) if arabic else []
    told = (
        {**written, "description": [draw.choice(descriptions or written["description"])]}
        if written.get("description")
        else {**written}
    )
    holder = told["items"] if isinstance(told.get("items"), dict) else told
    holder = {**holder}
    if "enum" in holder and draw.random() < RELABELLED:
        labels = {label: draw.choice(others) if others else label for label, others in holder["enum"].items()}
        if len(set(labels.values())) == len(labels):
            names.labels[key] = labels
            holder["enum"] = {labels[label]: [] for label in draw.sample(sorted(labels), len(labels))}
    if "properties" in holder:
        holder["properties"], names.inside[key] = _reworded(holder["properties"], draw, arabic)
    return {**told, "items": holder} if isinstance(told.get("items"), dict) else holder


def _lent(stranger: Tool, draw: random.Random, taken: set[str]) -> dict:
    """One parameter of another tool, optional here, if it has one under a name that is free."""
    free = sorted(set(stranger.parameters) - taken)
    if not free:
        return {}
    key = draw.choice(free)
    return {key: {**stranger.parameters[key], "required": "false"}}
