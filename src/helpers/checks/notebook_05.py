"""How the exercises of notebook 05 are judged: each check returns ``CORRECT`` or says what is wrong."""

from __future__ import annotations

import io

from ..probes import bidi
from . import CORRECT, returned

#: Formats as ``check_choice`` shows them; their numbers are made up.
SHELF = (
    {"name": "large", "mb": 300, "exact": 0.705, "low": -1.0, "high": 1.0},
    {"name": "middle", "mb": 250, "exact": 0.700, "low": -1.5, "high": 0.5},
    {"name": "small", "mb": 240, "exact": 0.600, "low": -13.0, "high": -8.0},
    {"name": "tiny", "mb": 170, "exact": 0.660, "low": -7.0, "high": -2.0},
    {"name": "least", "mb": 150, "exact": 0.550, "low": -18.0, "high": -13.0},
)


def check_choice(choose) -> str:
    """Judge ``choose(formats, mb)``, the name of a format. Returns a str."""
    got = {mb: returned(choose, [dict(each) for each in SHELF], mb) for mb in (320, 245, 100)}
    if got == {320: "middle", 245: "tiny", 100: "nothing"}:
        return CORRECT
    if got[320] == "large":
        return "large has more exact calls than middle, and by less than the interval: the smaller one is as good"
    if got[320] in ("least", "tiny"):
        return f"for 320 MB you ship {got[320]}, whose interval lies below 0: calls were lost, and nothing forces you"
    if got[245] == "least":
        return "where none of those that fit is as good as F16, ship the one with most exact calls, not the smallest"
    if got[245] == "small":
        return "small is larger than tiny and less exact: more bytes are not more calls"
    if got[245] == "middle" or got[100] not in ("nothing",):
        return "what does not fit cannot be shipped, and if nothing fits the answer is 'nothing'"
    return f"for 320, 245 and 100 MB it is middle, tiny and nothing; yours is {', '.join(map(str, got.values()))}"


def check_as_drawn(as_drawn) -> str:
    """Judge ``as_drawn(text)``: a line's characters in the order of the screen, not mirrored. Returns a str."""
    text = "{مدينة:<escape>جدة<escape>}"
    got = returned(as_drawn, text)
    if got == "".join(text[place] for place in bidi.drawing_order(text, base="R")):
        return CORRECT
    if got == text:
        return "that is the order of memory, which every tokenizer keeps: nothing flips"
    if got == bidi.displayed(text, base="R"):
        return "those are mirrored: { stands where } was, so the first character looks right though it is another one"
    if got == text[::-1]:
        return "a screen does not turn Latin letters round: escape has become epacse"
    if sorted(str(got)) != sorted(text):
        return "characters were lost or added: only their order may change"
    return "take text[place] for each place of bidi.drawing_order(text, base='R')"


def check_weight(weight) -> str:
    """Judge ``weight(stream, start, row, column)``, one number of a Q8_0 tensor with rows of 640. Returns a str."""
    import struct

    blocks = [(2.0 ** -(block % 5), [(7 * block + 3 * i) % 251 - 125 for i in range(32)]) for block in range(60)]
    data = b"GGUF" * 5 + b"".join(struct.pack("<e32b", scale, *numbers) for scale, numbers in blocks)
    places = [(0, 0), (0, 37), (2, 639), (1, 70)]
    got = [float(returned(weight, io.BytesIO(data), 20, *place)) for place in places]
    found = [(*blocks[20 * row + column // 32], column % 32) for row, column in places]
    if got == [scale * numbers[i] for scale, numbers, i in found]:
        return CORRECT
    if got == [float(numbers[i]) for _, numbers, i in found]:
        return "that is the integer: multiply it by its block's scale"
    if got == [scale * (numbers[i] % 256) for scale, numbers, i in found]:
        return "the integers are signed bytes: 255 is -1"
    if got[0] == blocks[0][0] * blocks[0][1][0] and got[1] == blocks[1][0] * blocks[1][1][5]:
        return "the first row is right: before a later one lie 20 blocks for each row"
    if got[0] == blocks[0][0] * blocks[0][1][0]:
        return "the first block is right: the next one begins 34 bytes later, 2 of scale and 32 of integers"
    return "seek start + 34 · (20 · row + column // 32), read a little-endian float16 and 32 signed bytes"


def check_mcnemar(p_value) -> str:
    """Judge ``p_value(lost, won)``, McNemar's exact two-sided p. Returns a str."""
    from scipy.stats import binom

    cases = [(0, 6), (2, 9), (4, 4)]
    got = [float(returned(p_value, *case)) for case in cases]
    want = [min(1.0, 2 * binom.cdf(min(case), sum(case), 0.5)) for case in cases]

    def same(values):
        return all(abs(a - b) < 1e-6 for a, b in zip(got, values, strict=True))

    if same(want):
        return CORRECT
    if same([binom.cdf(min(case), sum(case), 0.5) for case in cases]):
        return "that is one-sided: a format could also have been better, so both tails count"
    if got[2] > 1:
        return "a probability is at most 1: with 4 against 4 both tails overlap"
    if got[0] < 0.02:
        return "for so few rows chi-square is too sure of itself: count the tail of a fair coin instead"
    return (
        "under the null each changed row is a fair coin: "
        "twice the tail at min(lost, won) of lost + won tosses, at most 1"
    )
