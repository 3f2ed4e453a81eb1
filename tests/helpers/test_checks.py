"""Every exercise's check, helpers.checks, can tell right from wrong."""

import pytest
from exercise_mistakes import MISTAKES

from helpers import exercises
from helpers.checks import CORRECT


def defined(source: str):
    scope = {"math": __import__("math")}
    exec(source, scope)  # our own solutions and stubs
    return next(value for name, value in scope.items() if callable(value) and name not in ("math", "__builtins__"))


@pytest.mark.parametrize("identity", sorted(exercises.bank()))
def test_solution_passes_stub_does_not_and_mistakes_are_diagnosed(identity):
    exercise = exercises.bank()[identity]
    assert exercise.judge(defined(exercise.solution)) == CORRECT
    assert exercise.judge(defined(exercise.stub)) == exercises.NOT_ATTEMPTED
    assert exercise.judge(None) == exercise.judge(...) == exercises.NOT_ATTEMPTED
    assert len(MISTAKES[identity]) >= 2
    for words, wrong in MISTAKES[identity].items():
        assert words in exercise.judge(wrong)
    assert "raised ZeroDivisionError" in exercise.judge(lambda *a: 1 / 0)
    assert exercises.markdown(identity).count("<details>") == len(exercise.hints) + 1
