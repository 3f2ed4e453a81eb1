"""How values are written: the article after ل, numbers in words, dates and times as each dialect says them."""

import random
import re
from datetime import date

import pytest

from helpers.dataset import DIALECTS
from scripts.dataset import wording
from scripts.dataset.sources import PLACEHOLDER

WESTERN = str.maketrans("٠١٢٣٤٥٦٧٨٩٫", "0123456789.")


@pytest.mark.parametrize(
    ("text", "city", "wanted"),
    [
        ("إلى {city}", "الرياض", "إلى الرياض"),
        ("تذكرة ل{city}", "الرياض", "تذكرة للرياض"),
        ("تذكرة ل{city}", "اللاذقية", "تذكرة للاذقية"),
        ("تذكرة ل{city}", "جدة", "تذكرة لجدة"),
        ("ول{city} أيضاً", "الدوحة", "وللدوحة أيضاً"),
        ("حال {city}", "الدوحة", "حال الدوحة"),
        ("قال{city}", "الدوحة", "قالالدوحة"),
        ("ب{city} ؟", "الرباط", "بالرباط؟"),
        ("لالتزام {city}", "فاس", "لالتزام فاس"),
    ],
)
def test_filling(text, city, wanted):
    assert wording.filled(text, PLACEHOLDER, {"city": city}) == wanted


@pytest.mark.parametrize("dialect", DIALECTS)
def test_dates_and_times_say_what_their_value_is(dialect):
    calendars = [wording._EASTERN, *wording.MONTHS.values()]
    months = {name: n for names in calendars for n, name in enumerate(names, 1)}
    for seed in range(300):
        value, said = wording.calendar_date(random.Random(seed), dialect)
        said = said.translate(WESTERN)
        if "/" in said:
            day, month, year = map(int, said.split("/"))
            assert day > 12
        else:
            day, name, year = re.fullmatch(r"(\d+) (.+) (\d{4})", said).groups()
            month = months[name]
        assert date(int(year), month, int(day)).isoformat() == value
        value, said = wording.clock_time(random.Random(seed), dialect)
        assert re.fullmatch(r"\d\d:\d\d", value) and said.startswith("الساعة ")
        hour, minute = map(int, value.split(":"))
        said = said.translate(WESTERN)
        if minute == 45 and ":" not in said:
            assert "إلا ربع" in said or "قل ربع" in said or "غير ربع" in said
            hour += 1
        elif re.search(r"\d:\d", said):
            assert f":{minute:02d}" in said
        elif minute:
            assert (wording.HALF if minute == 30 else wording.QUARTER)[dialect] in said
        assert int(re.search(r"\d+", said).group()) in (hour, (hour - 1) % 12 + 1)


def test_numbers_in_words():
    assert wording.number_words(500, "egyptian") == "خمسمية"
    assert wording.number_words(3000, "msa") == "ثلاثة آلاف"
    assert wording.number_words(250, "gulf") is None
    for seed in range(200):
        value, said = wording.number(random.Random(seed), {"number": [100, 1000], "step": 50}, "gulf")
        assert said.translate(WESTERN) == str(value) or said == wording.number_words(value, "gulf")


def test_spelling_habits_leave_the_rest_alone():
    variants = {wording.vary_spelling(random.Random(seed), "أريد حالة الطقس على الفور") for seed in range(20)}
    assert variants == {"أريد حاله الطقس على الفور", "أريد حالة الطقس علي الفور", "اريد حالة الطقس على الفور"}
