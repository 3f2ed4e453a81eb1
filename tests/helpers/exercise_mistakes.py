"""Wrong answers to the exercises, each with words of the diagnosis that its check must give."""

import struct

from helpers.checks.notebook_04 import _requests


def _declared(name: str) -> dict:
    """A declaration of one parameter under a name."""
    plant = {"type": "string", "description": "Name of the plant"}
    parameters = {"type": "object", "properties": {"plant": plant}, "required": ["plant"]}
    return {
        "type": "function",
        "function": {"name": name, "description": "Water a plant.", "parameters": parameters},
    }


def lora_layer(linear, r, alpha, both_zero=False, cut=False, random_b=False, frozen=True, plain=False):
    """A LoRA layer with one fault."""
    import torch

    class Faulty(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = linear.requires_grad_(not frozen)
            a = torch.zeros(r, linear.in_features) if both_zero else torch.randn(r, linear.in_features)
            b = (torch.randn if random_b else torch.zeros)(linear.out_features, r)
            self.A, self.B = (a, b) if plain else (torch.nn.Parameter(a), torch.nn.Parameter(b))

        def forward(self, x):
            return self.linear(x) + alpha / r * (x @ (self.A.detach() if cut else self.A).T @ self.B.T)

    return Faulty()


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


def _losses(model, ids, labels, shift: int = 1):
    """Losses of the labelled positions, (labels,), from logits at all of them."""
    logits = model.lm_head(model.model(input_ids=ids).last_hidden_state)[:, : ids.shape[1] - shift]
    wanted = labels[:, shift:]
    kept = wanted != -100
    return -logits.log_softmax(-1)[kept].gather(1, wanted[kept][:, None])


def _block(stream, at):
    """Scale and 32 integers of the Q8_0 block that begins at a byte."""
    stream.seek(at)
    return struct.unpack("<e32b", stream.read(34).ljust(34, b"\0"))


def _kiln(call, stops) -> str:
    """A guard of the kiln that stops what ``stops(pieces, degrees)`` names."""
    asked = call.arguments
    return "no" if call.name == "fire_kiln" and stops(asked["pieces"], asked["degrees"]) else ""


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
        "has to be taken away": lambda W, A, B, scaling: W.clone(),
        "in the layer twice": lambda W, A, B, scaling: W + scaling * B @ A,
        "scaling is not 1": lambda W, A, B, scaling: W - B @ A,
        "W is gone with it": lambda W, A, B, scaling: -scaling * B @ A,
        "was changed": lambda W, A, B, scaling: W.sub_(scaling * B @ A),
        "which product": lambda W, A, B, scaling: W[:2, :2] - scaling * A @ A.T,
    },
    "2.2": {
        "both matrices start at zero": lambda linear, r, alpha: lora_layer(linear, r, alpha, both_zero=True),
        "Is it cut off": lambda linear, r, alpha: lora_layer(linear, r, alpha, cut=True),
        "does not start as": lambda linear, r, alpha: lora_layer(linear, r, alpha, random_b=True),
        "factor α/r is missing": lambda linear, r, alpha: lora_layer(linear, r, r),
        "W is trained": lambda linear, r, alpha: lora_layer(linear, r, alpha, frozen=False),
        "as nn.Parameter": lambda linear, r, alpha: lora_layer(linear, r, alpha, plain=True),
        "return the layer": lambda linear, r, alpha: linear.weight,
    },
    "2.3": {
        "round down": lambda budget, bytes_each: budget / (bytes_each * 237_312),
        "one too many": lambda budget, bytes_each: budget // (bytes_each * 237_312) + 1,
        "one layer": lambda budget, bytes_each: 18 * budget // (bytes_each * 237_312),
        "takes bytes_each": lambda budget, bytes_each: budget // 237_312,
        "in bytes already": lambda budget, bytes_each: 2**20 * budget // (10**6 * bytes_each * 237_312),
        "do not multiply": lambda budget, bytes_each: budget // (bytes_each * 18 * 5_570_560),
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
        "the smaller one is as good": lambda formats, mb: max(
            (f for f in formats if f["mb"] <= mb), key=lambda f: f["exact"], default={"name": "nothing"}
        )["name"],
        "calls were lost": lambda formats, mb: min(
            (f for f in formats if f["mb"] <= mb), key=lambda f: f["mb"], default={"name": "nothing"}
        )["name"],
        "not the smallest": lambda formats, mb: {320: "middle", 245: "least"}.get(mb, "nothing"),
        "more bytes are not more calls": lambda formats, mb: {320: "middle", 245: "small"}.get(mb, "nothing"),
        "cannot be shipped": lambda formats, mb: "middle",
    },
    "5.2": {
        "order of memory": lambda text: text,
        "those are mirrored": lambda text: __import__("helpers.probes.bidi").probes.bidi.displayed(text, base="R"),
        "epacse": lambda text: text[::-1],
        "lost or added": lambda text: text[1:],
    },
    "5.3": {
        "multiply it by its block's scale": lambda s, start, r, c: _block(s, start + 34 * (20 * r + c // 32))[
            1 + c % 32
        ],
        "signed bytes": lambda s, start, r, c: (
            _block(s, start + 34 * (20 * r + c // 32))[0]
            * (_block(s, start + 34 * (20 * r + c // 32))[1 + c % 32] % 256)
        ),
        "20 blocks for each row": lambda s, start, r, c: (
            _block(s, start + 34 * (r + c // 32))[0] * _block(s, start + 34 * (r + c // 32))[1 + c % 32]
        ),
        "34 bytes later": lambda s, start, r, c: (
            _block(s, start + 32 * (20 * r + c // 32))[0] * _block(s, start + 32 * (20 * r + c // 32))[1 + c % 32]
        ),
    },
    "5.4": {
        "one-sided": lambda lost, won: __import__("scipy.stats").stats.binom.cdf(min(lost, won), lost + won, 0.5),
        "at most 1": lambda lost, won: 2 * __import__("scipy.stats").stats.binom.cdf(min(lost, won), lost + won, 0.5),
        "too sure of itself": lambda lost, won: __import__("scipy.stats").stats.chi2.sf(
            (lost - won) ** 2 / (lost + won), 1
        ),
    },
    "6.1": {
        "list of pairs": lambda: {"طين": "order_clay(kilos=1, color='red')"},
        "use words of your own": lambda: [("اطلب خمسة كيلو طين أحمر", "order_clay(kilos=5, color='red')")] * 5,
        "not one of": lambda: [(f"طين {n}", f"order_clay(kilos={n}, color='blue')") for n in range(5)],
        "no request calls book_wheel": lambda: [(f"طين {n}", f"order_clay(kilos={n}, color='red')") for n in range(5)],
        "too few": lambda: [("طين", "order_clay(kilos=1, color='red')")],
    },
    "6.2": {
        "only the kiln": lambda call: "no",
        "1,280 degrees at most": lambda call: "",
        "bound itself may run": lambda call: _kiln(call, lambda p, d: d >= 1280 or p > 40 or (d > 1200 and p > 20)),
        "holds 40": lambda call: _kiln(call, lambda p, d: d > 1280),
        "bound on one argument": lambda call: _kiln(call, lambda p, d: d > 1280 or p > 40),
        "a reason in words": lambda call: call.name == "fire_kiln",
    },
    "6.3": {
        "interval's lower end": lambda right, floor: 10,
        "fewer are enough": lambda right, floor: 1000,
        "yours is": lambda right, floor: 54,
    },
}
