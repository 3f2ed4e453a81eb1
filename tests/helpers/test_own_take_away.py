"""The folder that leaves with a reader's model: functions as they were written, with their declarations."""

import json
import runpy

import pytest

from helpers.errors import CourseError
from helpers.schemas import as_tools
from helpers.yours import take_away


def fire_kiln(pieces: int, degrees: int = 1000):
    """Fire pieces in the kiln.

    Args:
        pieces: How many pieces
        degrees: The temperature in degrees Celsius
    """
    return {"pieces": pieces, "said": 'نار "هادئة"\n', "degrees": degrees}


def test_functions_leave_as_they_stand_and_run_alone(tmp_path):
    def order_clay(kilos: float):
        """Order clay.

        Args:
            kilos: How many kilograms
        """
        return kilos * 2

    tools = as_tools([fire_kiln, order_clay]).declarations
    made = runpy.run_path(str(take_away.write_tools([fire_kiln, order_clay], tools, tmp_path / "my_tools.py")))
    assert made["TOOLS"] == tools and list(made["FUNCTIONS"]) == ["fire_kiln", "order_clay"]
    assert made["FUNCTIONS"]["fire_kiln"](pieces=3) == fire_kiln(3) and made["FUNCTIONS"]["order_clay"](2) == 4
    assert json.loads(json.dumps(made["TOOLS"])) == tools


def test_what_cannot_leave_is_named(tmp_path):
    tools = as_tools([fire_kiln]).declarations

    def far(pieces: int):
        """Look far away."""
        import math

        return math.sqrt(pieces) + len(json.dumps(pieces))

    made = {}
    exec("def hidden(x): return x", made)
    for functions, words in (
        ([made["hidden"]], "source of hidden"),
        ([len], "source of len"),
        ([], "fire_kiln is declared"),
        ([fire_kiln, far], "far reads json, which stays behind → import or define it inside"),
    ):
        with pytest.raises(CourseError, match=words):
            take_away.write_tools(functions, tools, tmp_path / "my_tools.py")
    assert not list(tmp_path.iterdir())
