"""How values are said: numbers, dates, times and lists as people of a dialect write them, and spelling as it varies."""

from __future__ import annotations

import re
from datetime import date, timedelta

ARABIC_INDIC = str.maketrans("0123456789.", "٠١٢٣٤٥٦٧٨٩٫")

_EASTERN = "يناير فبراير مارس أبريل مايو يونيو يوليو أغسطس سبتمبر أكتوبر نوفمبر ديسمبر".split()
_LEVANT = "كانون الثاني,شباط,آذار,نيسان,أيار,حزيران,تموز,آب,أيلول,تشرين الأول,تشرين الثاني,كانون الأول".split(",")
_MOROCCO = "يناير فبراير مارس أبريل ماي يونيو يوليوز غشت شتنبر أكتوبر نونبر دجنبر".split()
_TUNISIA = "جانفي فيفري مارس أفريل ماي جوان جويلية أوت سبتمبر أكتوبر نوفمبر ديسمبر".split()
_ALGERIA = "جانفي فيفري مارس أفريل ماي جوان جويلية أوت سبتمبر أكتوبر نوفمبر ديسمبر".split()
#: How a country names the months; those that are not listed say the eastern names.
MONTHS = {"SY": _LEVANT, "LB": _LEVANT, "PS": _LEVANT, "JO": _LEVANT, "MA": _MOROCCO, "TN": _TUNISIA, "DZ": _ALGERIA}
#: Part of the day for hours up to 11, 12 to 14, 15 to 17, 18, and from 19 on.
PERIODS = {
    "msa": ("صباحاً", "ظهراً", "عصراً", "مساءً", "مساءً"),
    "egyptian": ("الصبح", "الضهر", "العصر", "المغرب", "بالليل"),
    "gulf": ("الصبح", "الظهر", "العصر", "المغرب", "بالليل"),
    "levantine": ("الصبح", "الضهر", "العصر", "المغرب", "المسا"),
    "MA": ("ديال الصباح", "ديال الظهر", "ديال العشية", "ديال المغرب", "ديال الليل"),
    "DZ": ("تاع الصباح", "تاع الظهر", "تاع العشية", "تاع المغرب", "تاع الليل"),
    "TN": ("متاع الصباح", "متاع القايلة", "متاع العشية", "متاع المغرب", "متاع الليل"),
}
HALF = {"msa": "والنصف", "egyptian": "ونص", "gulf": "ونص", "levantine": "ونص", "maghrebi": "ونص"}
QUARTER = {"msa": "والربع", "egyptian": "وربع", "gulf": "وربع", "levantine": "وربع", "maghrebi": "وربع"}
QUARTER_TO = {"msa": "إلا ربعاً", "MA": "قل ربع", "TN": "غير ربع", "DZ": "غير ربع"}  # elsewhere إلا ربع
_NEAR_DAYS = {  # today, tomorrow, the day after
    "msa": ("اليوم", "غداً", "بعد غد"), "egyptian": ("النهارده", "بكرة", "بعد بكرة"),
    "gulf": ("اليوم", "بكرة", "بعد بكرة"), "AE": ("اليوم", "باجر", "عقب باجر"), "KW": ("اليوم", "باجر", "عقب باجر"),
    "levantine": ("اليوم", "بكرا", "بعد بكرا"), "MA": ("ليوم", "غدا", "بعد غدا"),
    "TN": ("اليوم", "غدوة", "بعد غدوة"), "DZ": ("اليوم", "غدوة", "بعد غدوة"),
}  # fmt: skip
_WEEKDAYS = {
    "msa": "الاثنين الثلاثاء الأربعاء الخميس الجمعة السبت الأحد".split(),
    "egyptian": "الاتنين التلات الأربع الخميس الجمعة السبت الحد".split(),
    "gulf": "الاثنين الثلاثاء الأربعاء الخميس الجمعة السبت الأحد".split(),
    "levantine": "التنين التلاتا الأربعا الخميس الجمعة السبت الأحد".split(),
    "maghrebi": "الاتنين التلات الأربعا الخميس الجمعة السبت الأحد".split(),
}
_COMING = {"msa": "القادم", "gulf": "الجاي", "egyptian": "الجاي", "levantine": "الجاي", "maghrebi": "الجاي"}
_WEEKDAY_CODES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_IN_DAYS = {"msa": "بعد {n} أيام", "MA": "من هنا {n} أيام", "KW": "عقب {n} أيام", "AE": "عقب {n} أيام"}
_HUNDREDS_MSA = "مئة مئتان ثلاثمئة أربعمئة خمسمئة ستمئة سبعمئة ثمانمئة تسعمئة".split()
_HUNDREDS_EG = "مية ميتين تلتمية ربعمية خمسمية ستمية سبعمية تمنمية تسعمية".split()
_HUNDREDS_GULF = "مية ميتين ثلاثمية أربعمية خمسمية ستمية سبعمية ثمانمية تسعمية".split()
_HUNDREDS_MA = "مية ميتين تلتمية ربعمية خمسمية ستمية سبعمية تمنمية تسعمية".split()
_THOUSANDS_MSA = "ألف,ألفين,ثلاثة آلاف,أربعة آلاف,خمسة آلاف,ستة آلاف,سبعة آلاف,ثمانية آلاف,تسعة آلاف,عشرة آلاف".split(
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


def _of(table: dict, dialect: str, country: str, otherwise=None):
    """What a country says, else its dialect."""
    return table.get(country, table.get(dialect, otherwise))


def calendar_date(rng, dialect: str, country: str = "") -> tuple[str, str]:
    """An ISO date in 2026 or 2027 and how it is written.

    Purely numeric forms use days over 12, so that none is ambiguous.
    """
    day = date(2026, 1, 1) + timedelta(days=rng.randrange(730))
    forms = [f"{day.day} {_month(day.month, country)} {day.year}"] * 3
    if day.day > 12:
        forms.append(f"{day.day}/{day.month}/{day.year}")
    return day.isoformat(), digits(rng, rng.choice(forms))


def _month(number: int, country: str) -> str:
    return MONTHS.get(country, _EASTERN)[number - 1]


def relative_date(rng, dialect: str, country: str = "") -> tuple[str, str]:
    """A day that is counted from today, as ``@+2d``, ``@next-thu`` or ``@03-15``, and how it is said."""
    form = rng.choice(("near", "near", "weekday", "weekday", "days", "weeks", "month", "month"))
    if form == "near":
        away = rng.choice((0, 1, 1, 1, 2))
        return f"@+{away}d", _of(_NEAR_DAYS, dialect, country)[away]
    if form == "weekday":
        number = rng.randrange(7)
        coming = "القادمة" if number == 4 and dialect == "msa" else "الجاية" if number == 4 else _COMING[dialect]
        return f"@next-{_WEEKDAY_CODES[number]}", f"{_WEEKDAYS[dialect][number]} {coming}"
    if form == "days":
        away = rng.randint(2, 9)
        said = _of(_IN_DAYS, dialect, country, "بعد {n} أيام").format(n=away)
        two = "يومين" if country != "MA" else "يوماين"
        return f"@+{away}d", digits(rng, said) if away > 2 else re.sub(r"2 أيام", two, said)
    if form == "weeks":
        away = rng.choice((1, 2))
        said = _of(_IN_DAYS, dialect, country, "بعد {n} أيام").split("{n}")[0]
        week = ("سيمانة", "جوج سيمانات") if country == "MA" else ("أسبوع", "أسبوعين")
        return f"@+{away}w", said + week[away - 1]
    day = date(2025, 1, 1) + timedelta(days=rng.randrange(365))
    return f"@{day:%m-%d}", digits(rng, f"{day.day} {_month(day.month, country)}")


_BEFORE_A_DAY = r"(?<!\w)(?:(?:في|ف|يوم|نهار|و?اليوم|و?النهار|بتاريخ|تاريخ|بيوم|فنهار|بنهار|لتاريخ|هو)\s+|[بف](?={))+"


def as_adverb(text: str, placeholder: str, said: str) -> str:
    """A wording in which "tomorrow" or "in two days" may stand for the placeholder: "on the day of" goes."""
    named = re.escape("{" + placeholder + "}")
    text = re.sub(rf"(?<!\w)ليوم {named}", f"ل{{{placeholder}}}", text)
    if re.match(r"\D*\d+ \w+$", said) and not said.startswith(("بعد", "من", "عقب")):
        return text  # a day of a month stands as a full date does
    return re.sub(_BEFORE_A_DAY + rf"(?={named})", "", text)


def clock_time(rng, dialect: str, country: str = "") -> tuple[str, str]:
    """A time HH:MM between 06:00 and 22:45 and how it is written, the word for "hour" included."""
    hour, minute = rng.randint(6, 22), rng.choice((0, 0, 0, 15, 30, 30, 45, 10))
    value = f"{hour:02d}:{minute:02d}"
    said = str((hour - 1) % 12 + 1)
    if minute == 45 and rng.random() < 0.7:
        after = hour + 1
        part = _of(QUARTER_TO, dialect, country, "إلا ربع")
        return value, digits(rng, f"الساعة {(after - 1) % 12 + 1} {part} {_period(after, dialect, country)}")
    period = _period(hour, dialect, country)
    if minute in (0, 15, 30) and rng.random() < 0.7:
        part = {0: "", 15: f" {QUARTER[dialect]}", 30: f" {HALF[dialect]}"}[minute]
        return value, digits(rng, f"الساعة {said}{part} {period}")
    if minute:
        return value, digits(rng, f"الساعة {said}:{minute:02d} {period}")
    return value, digits(rng, f"الساعة {value}")


def _period(hour: int, dialect: str, country: str) -> str:
    part = 0 if hour < 12 else 1 if hour < 15 else 2 if hour < 18 else 3 if hour < 19 else 4
    return (_of(PERIODS, dialect, country) or PERIODS["MA"])[part]


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
    text = re.sub(r"(?<!\w)(من |ل)غداً", r"\1غد", text)
    return re.sub(r"\s+([؟?!.,،])", r"\1", re.sub(r"\s+", " ", text)).strip()


def vary_spelling(rng, text: str, dialect: str = "msa") -> str:
    """One habit of quick typing: ه for ة, ي for ى at a word's end, a bare alef; in Egypt ى for ي too."""
    habit = rng.randrange(4 if dialect == "egyptian" else 3)
    if habit == 0:
        return re.sub(r"ة(?!\w)", "ه", text)
    if habit == 1:
        return re.sub(r"ى(?!\w)", "ي", text)
    return re.sub("[أإ]", "ا", text) if habit == 2 else re.sub(r"(?<=\w)ي(?!\w)", "ى", text)


def as_typed(rng, text: str, emoji: list[str]) -> str:
    """A finished request with, now and then, another question mark, two of them, an emoji or a line break."""
    habit = rng.random()
    if text.endswith("؟"):
        if habit < 0.12:
            return f"{text[:-1]}?"
        return f"{text}؟" if habit < 0.18 else f"{text}!" if habit < 0.2 else text
    if habit < 0.03:
        return f"{text.rstrip('.')} {rng.choice(emoji)}"
    return text.replace("، ", "\n", 1) if habit < 0.06 else text


def stretched(rng, text: str, longer: dict[str, str]) -> str:
    """A wording in which one of the words that people stretch is stretched."""
    words = [word for word in longer if re.search(rf"(?<!\w){word}(?!\w)", text)]
    if not words:
        return text
    word = rng.choice(words)
    return re.sub(rf"(?<!\w){word}(?!\w)", longer[word], text, count=1)
