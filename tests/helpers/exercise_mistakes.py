"""Wrong answers to the exercises, each with words of the diagnosis that its check must give."""


def _turns(request, city, **change):
    """The four messages of exercise 0.1, with some of them changed: place -> message, or None to leave it out."""
    call = {"function": {"name": "get_weather", "arguments": {"city": city}}}
    turns = {
        "asks": {"role": "user", "content": request},
        "calls": {"role": "assistant", "tool_calls": [call]},
        "returns": {"role": "tool", "name": "get_weather", "content": {"degrees": 21}},
        "replies": {"role": "assistant", "content": city},
    }
    return [turn for turn in (turns | change).values() if turn]


def _prayer(wrapped=True, types="string", required=("city",), enum=True, description="…", names=("city", "prayer")):
    """The declaration of exercise 0.2, with one thing changed."""
    words = {"enum": ["fajr", "dhuhr", "asr", "maghrib", "isha"]} if enum else {}
    parts = {name: {"type": types, "description": description} for name in names}
    parts[names[-1]] |= words
    schema = {"type": "object", "properties": parts, "required": list(required)}
    function = {"name": "get_prayer_time", "description": description, "parameters": schema}
    return {"type": "function", "function": function} if wrapped else function



def _shifted(model, ending: str, by: float) -> int:
    norms = [m for name, m in model.named_modules() if name.endswith(ending) and hasattr(m, "weight")]
    for norm in norms:
        norm.weight += by
    return len(norms)


MISTAKES = {
    "0.1": {
        "written as text": lambda r, c: _turns(r, c, calls={"role": "assistant", "content": "call:get_weather{}"}),
        "no turn of the assistant calls": lambda r, c: _turns(r, c, calls=None, returns=None),
        "stops halfway": lambda r, c: _turns(r, c, returns=None, replies=None),
        "unchanged": lambda r, c: _turns("الطقس؟", c),
        "not that of get_weather for the city": lambda r, c: _turns(r, "جدة"),
        "the template refuses it": lambda r, c: _turns(r, c, returns={"role": "tool", "content": {}}),
    },
    "0.2": {
        "is wrapped": lambda: _prayer(wrapped=False),
        "small letters": lambda: _prayer(types="STRING"),
        "prayer is not": lambda: _prayer(required=("city", "prayer")),
        "give it an enum": lambda: _prayer(enum=False),
        "nothing but names": lambda: _prayer(description=""),
        "with the properties": lambda: _prayer(names=("town", "prayer")),
    },
    "0.3": {
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
    "0.4": {
        "one too few": lambda rate: max(1, int(__import__("math").log(0.05) / __import__("math").log(1 - rate))),
        "whole numbers": lambda rate: __import__("math").log(0.05) / __import__("math").log(1 - rate),
        "on average": lambda rate: round(1 / rate),
        "a call for every request": lambda rate: next(n for n in range(1, 100) if rate**n <= 0.05),
        "rule of thumb": lambda rate: __import__("math").ceil(3 / rate),
    },
    "1.1": {
        "stand before the keys of their own layer": lambda norm, layer: (layer + 1, 0 if norm != "q_norm" else 1),
        "nothing that q_norm makes": lambda norm, layer: (layer, 0),
        "looks at itself alone": lambda norm, layer: (layer + (norm not in ("k_norm", "input_layernorm")), 0),
        "the first one (position 0) included": lambda norm, layer: (
            layer + (norm not in ("k_norm", "input_layernorm")),
            1,
        ),
        "give a pair": lambda norm, layer: layer + 1,
    },
    "1.2": {
        "one wider": lambda n, budget: (budget // 1024 - 3 * n) // 15,
        "go off first": lambda n, budget: budget // 1024 // 15 + 1,
        "only 15 layers": lambda n, budget: budget // 1024 // 18 + 1,
        "both kept": lambda n, budget: (budget // 512 - 3 * n) // 15 + 1,
        "rounded down": lambda n, budget: (budget / 1024 - 3 * n) / 15 + 1,
    },
    "1.3": {
        "changes every norm": lambda model, kind, by: _shifted(model, "norm", by),
        "no weight changed": lambda model, kind, by: sum(
            (m.weight + by).numel() > 0 for name, m in model.named_modules() if name.endswith("." + kind)
        ),
        "these changed": lambda model, kind, by: _shifted(model, "_norm", by),
        "puts it back": lambda model, kind, by: _shifted(model, "." + kind, 2 * by),
        "return how many": lambda model, kind, by: bool(_shifted(model, "." + kind, by)),
    },
    "1.4": {
        "counts the query itself": lambda blocks, window, n: n - 1 if blocks > 5 else min(n - 1, blocks * window),
        "the reaches add up": lambda blocks, window, n: n - 1 if blocks > 5 else window - 1,
        "the sixth block is global": lambda blocks, window, n: min(n - 1, blocks * (window - 1)),
        "the last of n is n − 1": lambda blocks, window, n: n if blocks > 5 else min(n, blocks * (window - 1)),
        "no position lies behind": lambda blocks, window, n: n - 1 if blocks > 5 else blocks * (window - 1),
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
        "never learns to stop": lambda ids: [-100] * 10 + [48, 7, 49, -100],
        "header": lambda ids: [-100] * 7 + list(ids[7:]),
        "nothing is masked": lambda ids: list(ids),
    },
    "4.2": {
        "mean of the two batch means": lambda parts: sum(m for _, m in parts) / len(parts),
        "that is the sum": lambda parts: sum(n * m for n, m in parts),
    },
    "4.3": {
        "where is the warm-up": lambda s: 1e-3 * 0.5 * (1 + __import__("math").cos(__import__("math").pi * s / 100)),
        "after the warm-up": lambda s: 1e-3 * s / 10 if s < 10 else 1e-3 if s == 10 else 1e-3 * (100 - s) / 100 * 0.9,
    },
    "4.4": {
        "nothing is left": lambda: "<end_of_turn>",
        "neither does the tokenizer": lambda: "<end_\u200bof_turn>",
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
