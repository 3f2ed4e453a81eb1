"""How the exercises of notebook 05 are judged: each check returns ``CORRECT`` or says what is wrong."""

from __future__ import annotations

from . import CORRECT, returned


def check_fallback(fallback) -> str:
    """Judge ``fallback(kind, columns)``, the format llama.cpp takes for a row of that length. Returns a str."""
    cases = [("Q4_K", 2048), ("Q4_K", 640), ("Q5_K", 640), ("Q6_K", 640), ("Q6_K", 1024)]
    got = [returned(fallback, *case) for case in cases]
    if got == ["Q4_K", "Q5_0", "Q5_1", "Q8_0", "Q6_K"]:
        return CORRECT
    if got == [kind for kind, _ in cases]:
        return "640 is two and a half blocks of 256: a K-quant cannot hold such a row"
    if got == ["Q5_0", "Q5_0", "Q5_1", "Q8_0", "Q8_0"]:
        return "2,048 and 1,024 are multiples of 256: nothing falls back there"
    if got[1] == "Q4_0":
        return (
            "the fall-back does not go to the same number of bits: "
            "llama.cpp goes one size up, so that nothing gets worse"
        )
    return "keep the kind when columns % 256 == 0, else Q4_K → Q5_0, Q5_K → Q5_1, Q6_K → Q8_0"


def check_q8(decode) -> str:
    """Judge ``decode(block)``, 34 bytes of Q8_0 -> 32 floats. Returns a str."""
    import struct

    numbers = [-127, -3, 0, 5, *[7] * 28]
    block = struct.pack("<e32b", 0.5, *numbers)
    got = [float(x) for x in returned(decode, block)]
    if got == [0.5 * n for n in numbers]:
        return CORRECT
    if got == [float(n) for n in numbers]:
        return "those are the integers: multiply each by the block's scale"
    if len(got) == 32 and got[0] > 0:
        return "the integers are signed: the first one is -127, not 129"
    if len(got) != 32:
        return f"a block holds 32 weights, not {len(got)}: 2 bytes of scale, then 32 bytes"
    return "two bytes of float16 scale (little-endian), then 32 signed bytes; weight = scale · byte"


def check_ascii_digits(ascii_digits) -> str:
    """Judge ``ascii_digits(text)``, which maps Arabic-Indic and Persian digits to ASCII. Returns a str."""
    got = [returned(ascii_digits, text) for text in ("٠٥٠١", "۱۲ و 7", "جدة")]
    if got == ["0501", "12 و 7", "جدة"]:
        return CORRECT
    if not all(isinstance(text, str) for text in got) or got[0] == "501":
        return "a telephone number begins with a zero: keep it text, do not go through int"
    if got[0] == "0501" and got[1] != "12 و 7":
        return "Persian and Urdu have digits of their own, U+06F0 to U+06F9"
    if got[2] != "جدة":
        return "letters must stay as they are"
    return "map ٠-٩ (U+0660…) and ۰-۹ (U+06F0…) to 0-9, character by character"


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
