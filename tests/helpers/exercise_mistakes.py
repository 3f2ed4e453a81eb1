"""Wrong answers to the exercises, each with words of the diagnosis that its check must give."""

from helpers.checks.notebook_00 import _score_interval


def _losses(model, ids, labels, shift: int = 1):
    """Losses of the labelled positions, (labels,), from logits at all of them."""
    logits = model.lm_head(model.model(input_ids=ids).last_hidden_state)[:, : ids.shape[1] - shift]
    wanted = labels[:, shift:]
    kept = wanted != -100
    return -logits.log_softmax(-1)[kept].gather(1, wanted[kept][:, None])


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
        "not for every row": lambda peak, budget: budget // peak(1),
        "before the first row": lambda peak, budget: budget // (peak(2) - peak(1)),
        "round down": lambda peak, budget: -(-(budget - 2 * peak(1) + peak(2)) // (peak(2) - peak(1))),
        "to the last byte": lambda peak, budget: (budget - 1 - 2 * peak(1) + peak(2)) // (peak(2) - peak(1)),
        "two points tell a line": lambda peak, budget: max(n for n in range(1, 40) if peak(n) <= budget),
        "hold 20 rows": lambda peak, budget: 7,
    },
    "3.2": {
        "choose before it": lambda model, ids, labels: _losses(model, ids, labels).mean(),
        "shift, then choose": lambda model, ids, labels: _losses(model, ids, labels, shift=0).mean(),
        "that is the sum": lambda model, ids, labels: _losses(model, ids, labels).sum(),
        "that is the loss of all tokens": lambda model, ids, labels: _losses(model, ids, ids).mean(),
        "not over all positions": lambda model, ids, labels: _losses(model, ids, labels).sum() / ids[:, 1:].numel(),
        "with the same mask": lambda model, ids, labels: _losses(model, ids, labels.flip(1)).mean(),
    },
    "3.3": {
        "still cost": lambda block, second_block: 8 / block + 32 / (block * second_block),
        "something of it is left": lambda block, second_block: 32 / block,
        "in all": lambda block, second_block: 4 + 8 / block + 32 / (block * second_block),
        "nearly": lambda block, second_block: 24 / block,
        "divide by both": lambda block, second_block: 24 / block - 32 / second_block,
        "other way round": lambda block, second_block: 32 / (block * second_block) - 24 / block,
    },
    "3.4": {
        "take the same bytes": lambda layers, kept, inside: round(layers**0.5),
        "k is at least 1": lambda layers, kept, inside: int((layers * kept / inside) ** 0.5),
        "round up": lambda layers, kept, inside: min(
            range(1, layers + 1), key=lambda k: layers // k * kept + k * inside
        ),
        "fewest inputs": lambda layers, kept, inside: layers,
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
