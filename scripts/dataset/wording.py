"""How values are said: numbers, dates, times and lists as people of a dialect write them, and spelling as it varies."""

from __future__ import annotations

import re
from datetime import date, timedelta

ARABIC_INDIC = str.maketrans("0123456789.", "٠١٢٣٤٥٦٧٨٩٫")

_EASTERN = "يناير فبراير مارس أبريل مايو يونيو يوليو أغسطس سبتمبر أكتوبر نوفمبر ديسمبر".split()
_LEVANT = "كانون الثاني,شباط,آذار,نيسان,أيار,حزيران,تموز,آب,أيلول,تشرين الأول,تشرين الثاني,كانون الأول".split(",")
_MOROCCO = "يناير فبراير مارس أبريل ماي يونيو يوليوز غشت شتنبر أكتوبر نونبر دجنبر".split()
_TUNISIA = "جانفي فيفري مارس أفريل ماي جوان جويلية أوت سبتمبر أكتوبر نوفمبر ديسمبر".split()
MONTHS = {
    "msa": [_EASTERN],
    "egyptian": [_EASTERN],
    "gulf": [_EASTERN],
    "levantine": [_LEVANT],
    "maghrebi": [_MOROCCO, _TUNISIA],
}
# Part of the day for hours 6-11, 12-15, 16-18 and 19-23.
PERIODS = {
    "msa": ("صباحاً", "ظهراً", "عصراً", "مساءً"),
    "egyptian": ("الصبح", "الضهر", "العصر", "بالليل"),
    "gulf": ("الصبح", "الظهر", "العصر", "بالليل"),
    "levantine": ("الصبح", "الضهر", "العصر", "المسا"),
    "maghrebi": ("ديال الصباح", "ديال الظهر", "ديال العشية", "ديال الليل"),
}
HALF = {"msa": "والنصف", "egyptian": "ونص", "gulf": "ونص", "levantine": "ونص", "maghrebi": "ونص"}
QUARTER = {"msa": "والربع", "egyptian": "وربع", "gulf": "وربع", "levantine": "وربع", "maghrebi": "وربع"}
_HUNDREDS_MSA = "مئة مئتان ثلاثمئة أربعمئة خمسمئة ستمئة سبعمئة ثمانمئة تسعمئة".split()
_HUNDREDS_EG = "مية ميتين تلتمية ربعمية خمسمية ستمية سبعمية تمنمية تسعمية".split()
_HUNDREDS_GULF = "مية ميتين ثلاثمية أربعمية خمسمية ستمية سبعمية ثمانمية تسعمية".split()
_HUNDREDS_MA = "مية ميتين تلتمية ربعمية خمسمية ستمية سبعمية تمنمية تسعمية".split()
_THOUSANDS_MSA = "ألف,ألفا,ثلاثة آلاف,أربعة آلاف,خمسة آلاف,ستة آلاف,سبعة آلاف,ثمانية آلاف,تسعة آلاف,عشرة آلاف".split(
    ","
)
_THOUSANDS = "ألف,ألفين,تلات آلاف,أربع آلاف,خمس آلاف,ست آلاف,سبع آلاف,تمن آلاف,تسع آلاف,عشر آلاف".split(",")
_HUNDREDS = {
    "msa": _HUNDREDS_MSA,
    "egyptian": _HUNDREDS_EG,
    "gulf": _HUNDREDS_GULF,
    "levantine": _HUNDREDS_EG,
    "maghrebi": _HUNDREDS_MA,
}


def number_words(value: int, dialect: str) -> str | None:
    """A round hundred or thousand in words, None for other numbers: those agree with their noun and need a person."""
    if value % 100 == 0 and 100 <= value <= 900:
        return _HUNDREDS[dialect][value // 100 - 1]
    if value % 1000 == 0 and 1000 <= value <= 10000:
        return (_THOUSANDS_MSA if dialect == "msa" else _THOUSANDS)[value // 1000 - 1]
    return None


def number(rng, slot: dict, dialect: str) -> tuple[int | float, str]:
    """A number within ``slot`` and how it is written."""
    low, high = slot["number"]
    step, decimals = slot.get("step", 1), slot.get("decimals")
    value = low + rng.randint(0, round((high - low) / step)) * step
    value = round(float(value), decimals) if decimals else int(value)
    if not decimals and rng.random() < 0.5 and (words := number_words(value, dialect)):
        return value, words
    return value, digits(rng, f"{value:g}" if decimals else str(value))


def digits(rng, text: str) -> str:
    """Western digits, or in a third of cases Arabic-Indic ones."""
    return text.translate(ARABIC_INDIC) if rng.random() < 1 / 3 else text


def calendar_date(rng, dialect: str) -> tuple[str, str]:
    """An ISO date in 2026 or 2027 and how it is written.

    Purely numeric forms use days over 12, so that none is ambiguous.
    """
    day = date(2026, 1, 1) + timedelta(days=rng.randrange(730))
    month = rng.choice(MONTHS[dialect])[day.month - 1]
    forms = [f"{day.day} {month} {day.year}"] * 3
    if day.day > 12:
        forms.append(f"{day.day}/{day.month}/{day.year}")
    return day.isoformat(), digits(rng, rng.choice(forms))


def clock_time(rng, dialect: str) -> tuple[str, str]:
    """A time HH:MM between 06:00 and 22:45 and how it is written, the word for "hour" included."""
    hour, minute = rng.randint(6, 22), rng.choice((0, 0, 0, 15, 30, 30, 45, 10))
    value = f"{hour:02d}:{minute:02d}"
    period = PERIODS[dialect][0 if hour < 12 else 1 if hour < 16 else 2 if hour < 19 else 3]
    said = str((hour - 1) % 12 + 1)
    if minute in (0, 15, 30) and rng.random() < 0.7:
        part = {0: "", 15: f" {QUARTER[dialect]}", 30: f" {HALF[dialect]}"}[minute]
        return value, digits(rng, f"الساعة {said}{part} {period}")
    if minute:
        return value, digits(rng, f"الساعة {said}:{minute:02d} {period}")
    return value, digits(rng, f"الساعة {value}")


def joined(texts: list[str]) -> str:
    """A list in Arabic: every item after the first is joined by و."""
    return " و".join(texts)


def filled(text: str, placeholder: re.Pattern, texts: dict[str, str]) -> str:
    """A phrasing with its placeholders filled in; a ل glued to one takes the article in: ل + الرياض = للرياض."""

    def put(match: re.Match) -> str:
        said = texts[match.group(1)]
        after_lam = re.search(r"(?<!\w)[وف]?ل$", text[: match.start()])
        if after_lam and said.startswith("الل"):
            return said[2:]  # ل + اللاذقية = للاذقية: the word's own lam is written once
        return f"ل{said[2:]}" if after_lam and said.startswith("ال") else said

    return tidy(placeholder.sub(put, text))


def tidy(text: str) -> str:
    """Close the gaps that filling left: double spaces, a space before a mark."""
    return re.sub(r"\s+([؟?!.,،])", r"\1", re.sub(r"\s+", " ", text)).strip()


def vary_spelling(rng, text: str) -> str:
    """One habit of quick typing: ه for ة, ي for ى at a word's end, or a bare alef for one with hamza."""
    habit = rng.randrange(3)
    if habit == 0:
        return re.sub(r"ة(?!\w)", "ه", text)
    return re.sub(r"ى(?!\w)", "ي", text) if habit == 1 else re.sub("[أإ]", "ا", text)
