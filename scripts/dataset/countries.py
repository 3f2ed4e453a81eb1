"""Where a wording comes from, and what people there say around it: one request, one country.

A dialect is spoken in several countries, and a row that mixes their words is nobody's. Which countries a wording may
come from is read from its words (``assets/data/sources/countries.yaml``); the row's country is drawn from them, and
greeting, courtesy, connector, correction, names of months and parts of the day follow it.
"""

from __future__ import annotations

import re
from functools import cache

from helpers.paths import ASSETS, read_yaml

FILE = ASSETS / "data" / "sources" / "countries.yaml"
_MOROCCAN_PRESENT = re.compile(r"(?<!\w)و?ك(?:ن|ي)(?!ت|ا|ز|س|ف|ل)\w{3,}")  # كنقلب، كيخرج; not كنت، كيف، كيلو


@cache
def known() -> dict:
    """The file: ``markers``, ``talk``, ``courtesies``, ``stretched``, ``emoji``."""
    return read_yaml(FILE)


@cache
def _markers(dialect: str) -> list[tuple[re.Pattern, frozenset[str]]]:
    """Each group of words of a dialect as a pattern, and the countries that it marks."""
    found = []
    for places, words in known()["markers"].get(dialect, {}).items():
        pattern = rf"(?<!\w)[وف]?(?:{'|'.join(map(re.escape, words))})(?!\w)"
        found.append((re.compile(pattern), frozenset(places.split())))
    if dialect == "maghrebi":
        found.append((_MOROCCAN_PRESENT, frozenset({"MA"})))
    return found


def of_dialect(dialect: str) -> tuple[str, ...]:
    """The countries of a dialect, the one with most wordings first."""
    return tuple(known()["talk"][dialect])


@cache
def possible(text: str, dialect: str) -> tuple[str, ...]:
    """The countries that a wording may come from: all of the dialect's that its marked words allow; () if it mixes."""
    allowed = set(of_dialect(dialect))
    for pattern, places in _markers(dialect):
        if pattern.search(text):
            allowed &= places
    return tuple(place for place in of_dialect(dialect) if place in allowed)


def speaks(text: str, dialect: str, country: str) -> bool:
    """Whether somebody of that country might write this."""
    return country in possible(text, dialect)


def talk(dialect: str, country: str, kind: str) -> list[str]:
    """Openers, closers, connectors or corrections of a country."""
    return known()["talk"][dialect][country][kind]


def is_polite(text: str) -> bool:
    """Whether a wording holds a courtesy already."""
    return any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) for word in known()["courtesies"])
