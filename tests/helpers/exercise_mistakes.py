"""Wrong answers to the exercises, each with words of the diagnosis that its check must give."""

from helpers.checks.notebook_00 import _score_interval
from helpers.checks.notebook_04 import _requests


def _declared(name: str) -> dict:
    """A declaration of one parameter under a name."""
    plant = {"type": "string", "description": "Name of the plant"}
    parameters = {"type": "object", "properties": {"plant": plant}, "required": ["plant"]}
    return {
        "type": "function",
        "function": {"name": name, "description": "Water a plant.", "parameters": parameters},
    }


MISTAKES = {
    "0.1": {
        "looks like JSON": lambda n, a: '{"name": "get_forecast"}',
        "only strings are escaped": lambda n, a: (
            "<start_function_call>call:get_forecast{city:<escape>جدة<escape>,days:<escape>3<escape>}"
        ),
        "sorts the keys": lambda n, a: (
            "<start_function_call>call:get_forecast{days:3,city:<escape>جدة<escape>}<end_function_call>"
        ),
    },
    "0.2": {
        "not declared went through": lambda a, s: [name for name in s["required"] if name not in a],
        "required argument may be missing": lambda a, s: [name for name in a if name not in s["properties"]],
        "may be left out": lambda a, s: [n for n in {*a, *s["properties"]} if (n in a) != (n in s["properties"])],
        "is no integer": lambda a, s: [n for n in {*a, *s["required"]} if n not in s["properties"] or n not in a],
        "True is an int": lambda a, s: [
            n
            for n in {*a, *s["required"]}
            if n not in s["properties"] or n not in a or not isinstance(a[n], str if n == "city" else int)
        ],
    },
    "0.3": {
        "comes first in the list": lambda ids, stops: next((ids[: ids.index(s) + 1], s) for s in stops if s in ids),
        "stop token itself is missing": lambda ids, stops: (ids[: min(ids.index(s) for s in stops if s in ids)], 50),
        "without a stop token all ids are kept": lambda ids, stops: (ids[:4], 50) if 50 in ids else ([], None),
    },
    "0.4": {
        "has no width": lambda hits, n: tuple(
            hits / n + sign * 1.96 * (hits / n * (1 - hits / n) / n) ** 0.5 for sign in (-1, 1)
        ),
        "shares between 0 and 1": lambda hits, n: tuple(100 * bound for bound in _score_interval(hits, n, 1.96)),
        "z = 1.645": lambda hits, n: _score_interval(hits, n, 1.645),
        "one standard error": lambda hits, n: _score_interval(hits, n, 1.0),
    },
    "1.1": {
        "Gemma stores w": lambda x, w: x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * w,
        "outside the root": lambda x, w: x / (x.pow(2).mean(-1, keepdim=True).sqrt() + 1e-6) * (1 + w),
        "that is LayerNorm": lambda x, w: (
            (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-6).sqrt() * (1 + w)
        ),
    },
    "1.2": {
        "keeps window - 1": lambda n, window: (15 * min(n, window) + 3 * n) * 1024,
        "without a window": lambda n, window: 18 * n * 1024,
        "both kept": lambda n, window: (15 * min(n, window - 1) + 3 * n) * 512,
    },
    "1.3": {
        "norms are missing": lambda: 640 * 1024 + 2 * 640 * 256 + 1024 * 640 + 3 * 640 * 2048,
        "not four": lambda: 4 * 640 * 1024 + 3 * 640 * 2048 + 4 * 640 + 2 * 256,
        "three matrices": lambda: 640 * 1024 + 2 * 640 * 256 + 1024 * 640 + 2 * 640 * 2048 + 4 * 640 + 2 * 256,
    },
    "1.4": {
        "counts the query itself": lambda i, window: list(range(max(0, i - window), i + 1)),
        "sees itself": lambda i, window: list(range(max(0, i - window + 1), i)),
        "where is the window": lambda i, window: list(range(i + 1)),
    },
    "2.1": {
        "do not multiply": lambda r: r * 18 * (640 * 1024 + 2 * 640 * 256 + 1024 * 640 + 3 * 640 * 2048),
        "one layer": lambda r: r * 237_312 // 18,
        "count A and B": lambda r: r * 237_312 // 2,
    },
    "2.2": {
        "that is the transpose": lambda W, A, B, alpha: W + alpha / A.shape[0] * (B @ A).T,
        "r is A's number of rows": lambda W, A, B, alpha: W + alpha * B @ A,
        "is missing": lambda W, A, B, alpha: W + B @ A,
    },
    "2.3": {
        "the other way round": lambda alpha: 1e-3 * alpha / 64,
        "that would be SGD": lambda alpha: 1e-3 * (64 / alpha) ** 2,
    },
    "2.4": {
        "kaiming with a = 0": lambda fan_in: (6 / fan_in) ** 0.5,
        "standard deviation": lambda fan_in: (3 * fan_in) ** -0.5,
    },
    "3.1": {
        "Counted each view": lambda tensors: sum(t.untyped_storage().nbytes() for t in tensors),
        "A view keeps its whole storage": lambda tensors: sum(
            {t.untyped_storage().data_ptr(): t.numel() * t.element_size() for t in tensors}.values()
        ),
        "Those are numbers": lambda tensors: sum(
            {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() // t.element_size() for t in tensors}.values()
        ),
    },
    "3.2": {
        "2 MB is 2,000,000": lambda tokens, hidden: tokens * hidden * 2 > 2_000_000,
        "it has to be more": lambda tokens, hidden: tokens * hidden * 2 >= 2 * 2**20,
        "Count bytes": lambda tokens, hidden: tokens * hidden > 2 * 2**20,
        "two bytes each": lambda tokens, hidden: tokens * hidden * 4 > 2 * 2**20,
    },
    "3.3": {
        "multiply by the scale": lambda x, levels: levels[(x[:, None] / x.abs().max() - levels).abs().argmin(1)],
        "largest absolute value": lambda x, levels: levels[(x[:, None] / x.max() - levels).abs().argmin(1)] * x.max(),
        "not divided by its scale": lambda x, levels: levels[(x[:, None] - levels).abs().argmin(1)],
        "next level below": lambda x, levels: levels[(x[:, None] / x.abs().max() >= levels).sum(1) - 1] * x.abs().max(),
    },
    "3.4": {
        "that is the overhead": lambda block, second_block: 8 / block + 32 / (block * second_block),
        "divide by both": lambda block, second_block: 4 + 8 / block + 32 / second_block,
        "that is one level": lambda block, second_block: 4 + 32 / block,
        "wrong way round": lambda block, second_block: 4 + 32 / block + 8 / (block * second_block),
    },
    "4.1": {
        "that is the colleague's mask": lambda ids, header: [
            token if i in (10, 11, 23, 24, 25) else -100 for i, token in enumerate(ids)
        ],
        "line break": lambda ids, header: [
            token if i in (10, 11, 12, 13, 23, 24, 25) else -100 for i, token in enumerate(ids)
        ],
        "second user's turn": lambda ids, header: [-100] * 10 + ids[10:],
        "not for the last": lambda ids, header: [-100] * 23 + ids[23:],
        "not for the first": lambda ids, header: [-100] * 10 + ids[10:13] + [-100] * 13,
        "no call learns to end": lambda ids, header: [
            token if i in (10, 11, 12, 23, 24) else -100 for i, token in enumerate(ids)
        ],
        "at its own place": lambda ids, header: [*ids[1:], -100],
        "every position needs one": lambda ids, header: ids[10:],
    },
    "4.2": {
        "return two things": lambda: "water_plant",
        "stands bare": lambda: ({"name": "water_plant", "description": "Water a plant."}, "اسق الشجرة"),
        "one of the course's tools": lambda: (_declared("get_forecast"), "اسق الشجرة"),
        "in Arabic letters": lambda: (_declared("water_plant"), "Water the lemon tree"),
        "the template cannot hold": lambda: (_declared("water plant!"), "اسق الشجرة"),
    },
    "4.3": {
        "that is the author's": lambda labelled, window: 1 / len(window),
        "a mean already": lambda labelled, window: 1 / sum(window),
        "the sum of all losses": lambda labelled, window: labelled,
        "add up to 1": lambda labelled, window: labelled / max(window),
    },
    "4.4": {
        "return two texts": lambda: "كيف الطقس",
        "no training row calls": lambda: ("كيف كان الطقس أمس", "write_poem"),
        "is not near": lambda: ("xyz", "get_forecast"),
        "word for word": lambda: (_requests()["get_forecast"][0], "get_forecast"),
    },
    "5.1": {
        "two and a half blocks": lambda kind, columns: kind,
        "nothing falls back there": lambda kind, columns: {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}[kind],
        "one size up": lambda kind, columns: kind if columns % 256 == 0 else kind.replace("K", "0"),
    },
    "5.2": {
        "multiply each by the block's scale": lambda block: list(__import__("struct").unpack("<e32b", block)[1:]),
        "signed": lambda block: [0.5 * n for n in block[2:]],
        "holds 32 weights": lambda block: [0.5 * n for n in block],
    },
    "5.3": {
        "keep it text": lambda text: str(int(text)) if text.isdigit() else text,
        "digits of their own": lambda text: text.translate(str.maketrans("٠١٢٣٤٥٦٧٨٩", "0123456789")),
    },
    "5.4": {
        "one-sided": lambda lost, won: __import__("scipy.stats").stats.binom.cdf(min(lost, won), lost + won, 0.5),
        "at most 1": lambda lost, won: 2 * __import__("scipy.stats").stats.binom.cdf(min(lost, won), lost + won, 0.5),
        "too sure of itself": lambda lost, won: __import__("scipy.stats").stats.chi2.sf(
            (lost - won) ** 2 / (lost + won), 1
        ),
    },
}
