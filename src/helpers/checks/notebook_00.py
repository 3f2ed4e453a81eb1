"""How the exercises of notebook 00 are judged: each check returns ``CORRECT`` or says what is wrong."""

from __future__ import annotations

from ..scoring import wilson as truth
from . import CORRECT, returned


def check_serialize(write) -> str:
    """Judge ``write(name, arguments)``, a call as FunctionGemma's template writes it. Returns a str."""
    got = returned(write, "get_forecast", {"days": 3, "city": "جدة"})
    want = "<start_function_call>call:get_forecast{city:<escape>جدة<escape>,days:3}<end_function_call>"
    if got == want:
        return CORRECT
    if '"' in got:
        return "that looks like JSON: here keys are bare, and a string stands between two <escape> tokens"
    if "<escape>3<escape>" in got:
        return "the number 3 was written as a string: only strings are escaped"
    if got.index("days") < got.index("city"):
        return "the template sorts the keys: city comes before days"
    return f"expected {want}"


def check_bad_arguments(bad_arguments) -> str:
    """Judge ``bad_arguments(arguments, schema)``, the names of faulty arguments, on seven calls. Returns a str."""
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
    }

    def named(arguments):
        return sorted(returned(bad_arguments, arguments, schema))

    if named({"city": "جدة"}):
        return "an optional argument may be left out: only what `required` names has to be there"
    if named({"city": "جدة", "hour": 9}) != ["hour"]:
        return "an argument that is not declared went through: the model has invented `hour`"
    if named({"days": 3}) != ["city"]:
        return "a required argument may be missing: `city` is named in `required` and not in the arguments"
    if named({"city": "جدة", "days": "3"}) != ["days"]:
        return "the text '3' is no integer: look at `type`"
    if named({"city": "جدة", "days": True}) != ["days"]:
        return "in Python True is an int, in JSON Schema it is a boolean and no integer"
    if named({"hour": 9}) != ["city", "hour"]:
        return "one call can have several faults: give all of them"
    return (
        CORRECT if named({"city": "جدة", "days": 3}) == [] else "a call that fits its declaration has no bad argument"
    )


def check_until_stop(until_stop) -> str:
    """Judge ``until_stop(ids, stops)``, which returns (ids kept, stop id or None). Returns a str."""
    written, stops = [48, 7, 49, 50, 9, 106, 3], (1, 106, 50)
    got = returned(until_stop, written, stops)
    if not isinstance(got, tuple | list) or len(got) != 2:
        return "return two things: the ids that are kept, and the id that stopped them"
    kept, by = list(got[0]), got[1]
    if kept == written[:6]:
        return "that is the stop which comes first in the list: the one that comes first in the text ends it"
    if kept == written[:3]:
        return "the stop token itself is missing: it was written, and a parser wants to see it"
    if kept != written[:4] or by != 50:
        return "expected [48, 7, 49, 50] and 50 for the ids 48 7 49 50 9 106 3 and the stops 1, 106, 50"
    kept, by = returned(until_stop, [48, 7], stops)
    return (
        CORRECT
        if list(kept) == [48, 7] and by is None
        else "without a stop token all ids are kept, and what stopped them is None"
    )


def check_wilson(wilson) -> str:
    """Judge ``wilson(hits, n)``, a 95 % score interval (low, high), against ``scoring.wilson``. Returns a str."""

    def close(value, wanted):
        return len(value) == 2 and all(abs(v - w) < 1e-3 for v, w in zip(value, wanted, strict=True))

    got, of_ten = returned(wilson, 0, 5), returned(wilson, 7, 10)
    if close(got, truth(0, 5)) and close(of_ten, truth(7, 10)):
        return CORRECT
    if close(got, (0.0, 0.0)):
        return (
            "that is p ± z·√(p(1−p)/n): at 0 of 5 it has no width and says that the rate is known, from five requests"
        )
    if close(of_ten, [100 * bound for bound in truth(7, 10)]):
        return "as shares between 0 and 1, please"
    if close(of_ten, _score_interval(7, 10, 1.645)):
        return "z = 1.645 leaves 5 % on each side: an interval of 95 % leaves 2.5 % there"
    if close(of_ten, _score_interval(7, 10, 1.0)):
        return "that is one standard error: for 95 % z is 1.96"
    return f"for 7 of 10 expected about ({truth(7, 10)[0]:.3f}, {truth(7, 10)[1]:.3f})"


def _score_interval(hits, n, z):
    """Wilson (1927): the interval at any z, for the diagnosis of exercise 0.4."""
    middle, reach = hits / n + z * z / (2 * n), z * (hits / n * (1 - hits / n) / n + z * z / (4 * n * n)) ** 0.5
    return (middle - reach) / (1 + z * z / n), (middle + reach) / (1 + z * z / n)
