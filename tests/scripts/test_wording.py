"""How values are written: the article after ل, numbers in words, dates and times as each dialect says them."""

import random
import re
from datetime import date

import pytest

from helpers import universe
from helpers.dataset import DIALECTS
from scripts.dataset import countries, wording
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


COUNTRIES = [(dialect, country) for dialect in DIALECTS for country in countries.of_dialect(dialect)]


@pytest.mark.parametrize(("dialect", "country"), COUNTRIES)
def test_dates_and_times_say_what_their_value_is(dialect, country):
    months = {wording._month(number, country): number for number in range(1, 13)}
    for seed in range(200):
        value, said = wording.calendar_date(random.Random(seed), dialect, country)
        said = said.translate(WESTERN)
        if "/" in said:
            day, month, year = map(int, said.split("/"))
            assert day > 12
        else:
            day, name, year = re.fullmatch(r"(\d+) (.+) (\d{4})", said).groups()
            month = months[name]
        assert date(int(year), month, int(day)).isoformat() == value
        value, said = wording.clock_time(random.Random(seed), dialect, country)
        assert re.fullmatch(r"\d\d:\d\d", value) and said.startswith("الساعة ")
        hour, minute = map(int, value.split(":"))
        said = said.translate(WESTERN)
        quarter_to = wording._of(wording.QUARTER_TO, dialect, country, "إلا ربع") in said
        hour += quarter_to
        if re.search(r"\d:\d", said):
            assert f":{minute:02d}" in said
        elif minute:
            assert (minute == 45) == quarter_to
            assert quarter_to or (wording.HALF if minute == 30 else wording.QUARTER)[dialect] in said
        assert int(re.search(r"\d+", said).group()) in (hour, (hour - 1) % 12 + 1)


@pytest.mark.parametrize(
    ("hour", "said"), [(9, "صباحاً"), (13, "ظهراً"), (15, "عصراً"), (17, "عصراً"), (18, "مساءً"), (22, "مساءً")]
)
def test_parts_of_the_day(hour, said):
    assert wording._period(hour, "msa", "MSA") == said
    assert wording._period(18, "egyptian", "EG") == "المغرب" and wording._period(15, "gulf", "SA") == "العصر"


@pytest.mark.parametrize(("dialect", "country"), COUNTRIES)
def test_days_counted_from_today_are_what_is_said(dialect, country):
    monday = date(2025, 6, 2)
    for seed in range(200):
        counted, said = wording.relative_date(random.Random(seed), dialect, country)
        day = date.fromisoformat(universe.resolve_date(counted, monday))
        said = said.translate(WESTERN)
        near = wording._of(wording._NEAR_DAYS, dialect, country)
        if said in near:
            assert (day - monday).days == near.index(said)
        elif counted.startswith("@next"):
            assert said.split()[0] == wording._WEEKDAYS[dialect][day.weekday()] and 0 < (day - monday).days <= 7
        elif counted[1:3].isdigit():
            assert said == f"{day.day} {wording._month(day.month, country)}" and 0 <= (day - monday).days <= 365
        elif number := re.search(r"\d+", said):
            assert (day - monday).days == int(number.group())
        else:
            assert (day - monday).days in (2, 7, 14)


@pytest.mark.parametrize(
    ("text", "said", "wanted"),
    [
        ("سافر يوم {date}", "بكرة", "سافر {date}"),
        ("بتاريخ {date}.", "غداً", "{date}."),
        ("ب{date} رح سافر", "بكرا", "{date} رح سافر"),
        ("نهار {date}", "بعد 3 أيام", "{date}"),
        ("موعد ليوم {date}", "بكرة", "موعد ل{date}"),
        ("من {date}", "بكرة", "من {date}"),
        ("يوم {date}", "15 مارس", "يوم {date}"),
        ("اليوم {date}", "الخميس الجاي", "{date}"),
    ],
)
def test_a_day_that_is_counted_stands_as_an_adverb(text, said, wanted):
    assert wording.as_adverb(text, "date", said) == wanted


def test_numbers_in_words():
    assert wording.number_words(500, "egyptian") == "خمسمية"
    assert wording.number_words(3000, "msa") == "ثلاثة آلاف"
    assert wording.number_words(250, "gulf") is None
    for seed in range(200):
        value, said = wording.number(random.Random(seed), {"number": [100, 1000], "step": 50}, "gulf")
        assert said.translate(WESTERN) == str(value) or said == wording.number_words(value, "gulf")


def test_two_thousand_in_the_standard_language():
    assert wording.number_words(2000, "msa") == "ألفين" == wording.number_words(2000, "egyptian")


def test_spelling_habits_leave_the_rest_alone():
    variants = {wording.vary_spelling(random.Random(seed), "أريد حالة الطقس على الفور") for seed in range(20)}
    assert variants == {"أريد حاله الطقس على الفور", "أريد حالة الطقس علي الفور", "اريد حالة الطقس على الفور"}
    assert "اللى فى البيت" in {wording.vary_spelling(random.Random(s), "اللي في البيت", "egyptian") for s in range(20)}
    assert not any("فى" in wording.vary_spelling(random.Random(s), "في البيت", "gulf") for s in range(20))


def test_a_word_is_stretched_whole_and_once():
    longer = countries.known()["stretched"]
    assert wording.stretched(random.Random(0), "بدي ياها، بديلها", longer) == f"{longer['بدي']} ياها، بديلها"
    assert wording.stretched(random.Random(0), "لا شيء هنا", longer) == "لا شيء هنا"
    for word, long in longer.items():
        assert re.sub(r"(.)\1+", r"\1", long) == re.sub(r"(.)\1+", r"\1", word)


def test_marks_as_people_type_them():
    asked = {wording.as_typed(random.Random(seed), "كم؟", ["🙏"]) for seed in range(200)}
    assert asked == {"كم؟", "كم?", "كم؟؟", "كم؟!"}
    told = {wording.as_typed(random.Random(seed), "اسمع، هات", ["🙏"]) for seed in range(200)}
    assert told == {"اسمع، هات", "اسمع، هات 🙏", "اسمع\nهات"}


@pytest.mark.parametrize(
    ("text", "dialect", "wanted"),
    [
        ("بغيت نحجز ديال الصباح", "maghrebi", {"MA"}),
        ("نحب نحجز متاع الصباح يعيشك", "maghrebi", {"TN"}),
        ("نحب نحجز ديال الصباح", "maghrebi", set()),
        ("راني هنا", "maghrebi", {"MA", "DZ"}),
        ("شنو تبي", "gulf", {"KW"}),
        ("هسا بدي", "levantine", {"PS", "JO"}),
        ("كنت هنا", "maghrebi", {"MA", "DZ", "TN"}),
    ],
)
def test_words_show_the_country(text, dialect, wanted):
    assert set(countries.possible(text, dialect)) == wanted
