"""What the universe of tools holds, and whether its splits are apart: the figures of its card, and the gates of CI.

``python -m scripts.dataset report`` prints them.
"""

from __future__ import annotations

import json
from collections import Counter
from itertools import combinations

from helpers import universe
from helpers.universe import spans

from . import family_faults

SIMILAR_TEXT = 0.5  # Jaccard of character trigrams, between requests of two splits
SIMILAR_PARAMETERS = 0.7  # Jaccard of parameter names, between tools of two splits
#: At least this share of tools has a parameter of the kind.
WANTED_KINDS = {"number": 0.35, "enum": 0.30, "boolean": 0.12, "array": 0.10, "object": 0.06}


#: Splits that have tools of their own; ring 3 has ring 1's.
OWN = [split for split in universe.SPLITS if split != "ring_3_no_neighbours"]


def own_tools(tools) -> dict[str, list[universe.Tool]]:
    """Split -> its tools, for the splits that have some."""
    found = universe.by_split(tools)
    return {split: found[split] for split in OWN if found[split]}


def shared_names(tools) -> list[str]:
    """Tools of two splits that share a name, canonical or other."""
    place: dict[str, str] = {}
    found = []
    for split, own in own_tools(tools).items():
        for tool in own:
            for name in tool.names:
                if place.setdefault(name, split) != split:
                    found.append(f"{name}: {place[name]} and {split}")
    return found


def near_copies(tools, ceiling: float = SIMILAR_TEXT) -> list[tuple[float, str, str]]:
    """Pairs of utterances of two splits whose trigrams are too much alike: (similarity, id, id)."""
    import numpy as np
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import CountVectorizer

    entries = [(split, one) for split, own in own_tools(tools).items() for tool in own for one in tool.utterances]
    count = CountVectorizer(analyzer="char", ngram_range=(3, 3), binary=True)
    matrix = csr_matrix(count.fit_transform(spans.parse(one.text)[0] for _, one in entries), dtype="int32")
    sizes, places = np.asarray(matrix.sum(1)).ravel(), np.array([split for split, _ in entries])
    found = []
    for first, second in combinations(sorted(set(places)), 2):
        rows, columns = np.flatnonzero(places == first), np.flatnonzero(places == second)
        common = (matrix[rows] @ matrix[columns].T).tocoo()
        whole = sizes[rows[common.row]] + sizes[columns[common.col]] - common.data
        for k in np.flatnonzero(common.data >= ceiling * whole):
            pair = entries[rows[common.row[k]]][1].id, entries[columns[common.col[k]]][1].id
            found.append((round(float(common.data[k] / whole[k]), 3), *pair))
    return sorted(found, reverse=True)


def like_parameters(tools, ceiling: float = SIMILAR_PARAMETERS) -> list[tuple[float, str, str]]:
    """Pairs of tools of two splits with nearly the same parameters: (similarity, tool, tool)."""
    found = []
    for (_, first), (_, second) in combinations(own_tools(tools).items(), 2):
        for one in first:
            for other in second:
                own, its = set(one.parameters), set(other.parameters)
                alike = len(own & its) / max(1, len(own | its))
                if alike >= ceiling and own:
                    found.append((round(alike, 2), f"{one.family}/{one.name}", f"{other.family}/{other.name}"))
    return sorted(found, reverse=True)


def optional_unsaid(tool: universe.Tool) -> tuple[int, int]:
    """(requests that leave an optional parameter of this tool unsaid, requests of tools that have one)."""
    optional = set(tool.parameters) - set(tool.schema["required"])
    if not optional:
        return 0, 0
    said = [{span.parameter for span in one.marked if span.call == 1} for one in tool.requests]
    return sum(bool(optional - names) for names in said), len(said)


def counts(tools) -> dict:
    """The figures of the card."""
    requests = [one for tool in tools for one in tool.requests]
    marked = [(tool, one, span) for tool in tools for one in tool.requests for span in one.marked]
    by_name = {(tool.family, tool.name): tool for tool in tools}
    rules = Counter()
    for tool, one, span in marked:
        owner = by_name[tool.family, one.calls[span.call - 1]]
        rules[family_faults.rule(span, family_faults.schema_at(span, owner.schema))] += 1
    dated = {one.id for _, one, span in marked if span.value and (span.relative or span.value[:2] == "20")}
    relative = {one.id for _, one, span in marked if span.relative}
    unsaid = [optional_unsaid(tool) for tool in tools]
    kinds = Counter(kind for tool in tools for kind in family_faults.kinds_of(tool))
    names = {name for tool in tools for name in tool.parameters}
    return {
        "families": len({tool.family for tool in tools}),
        "tools": len(tools),
        "parameter_names": len(names),
        "requests": len(requests),
        "ask_back": sum(len(tool.ask_back) for tool in tools),
        "none": sum(len(tool.none) for tool in tools),
        "near_none": sum(one.near for tool in tools for one in tool.none),
        "kinds": {kind: kinds[kind] / len(tools) for kind in WANTED_KINDS},
        "optional_unsaid": sum(n for n, _ in unsaid) / len(requests),
        "dialects": dict(Counter(one.dialect for one in requests)),
        "countries": dict(Counter(one.country for one in requests if one.country).most_common()),
        "styles": dict(Counter(style for one in requests for style in one.style).most_common()),
        "earlier_turn": sum(bool(one.turns) for one in requests),
        "calls": dict(sorted(Counter(len(one.calls) for one in requests).items())),
        "rules": dict(rules.most_common()),
        "dated": len(dated),
        "relative": len(relative),
        "fewest_requests": min(len(tool.requests) for tool in tools),
    }


def row_counts() -> dict[str, dict]:
    """Split -> rows, by kind."""
    found = {}
    for split in universe.SPLITS:
        rows = universe.rows(split)
        found[split] = {"rows": len(rows), **Counter(row["kind"] for row in rows)}
        found[split]["tools"] = round(sum(len(json.loads(row["tools"])) for row in rows) / len(rows), 2)
    return found


def main() -> int:
    """Print the figures, and what stands against the gates; 1 if anything does."""
    tools = universe.read()
    for name, value in counts(tools).items():
        print(f"{name}: {json.dumps(value, ensure_ascii=False)}")
    for split, told in row_counts().items():
        print(f"{split}: {json.dumps(told)}")
    against = [*shared_names(tools), *map(str, near_copies(tools)), *map(str, like_parameters(tools))]
    for line in against:
        print(line)
    print(f"{len(against)} overlaps between splits")
    return int(bool(against))
