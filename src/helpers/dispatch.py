"""What a program may do with a model's text: only call functions it chose itself, with arguments that fit their schema.

The text is data. It is parsed, compared with the declarations, and only then handed to a function from the program's
own table; no name from the text is ever looked up anywhere else, imported or evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .calls import FunctionCall, parse
from .errors import CourseError
from .schemas import check_tools, schema_fault


@dataclass(frozen=True)
class Result:
    """What one call returned."""

    call: FunctionCall
    value: object


def check_call(call: FunctionCall, tools: list[dict]) -> None:
    """Raise CourseError unless the call names a declared tool and its arguments fit that tool's JSON schema.

    Arguments that the schema does not name are refused, at every level, however it is composed. A malformed
    declaration, and one that refers out of itself, is refused too: nothing is fetched.
    """
    _check(call, _declared(tools))


def _declared(tools: list[dict]) -> dict[str, dict]:
    """Name -> what is declared under it. Raises CourseError for a malformed declaration."""
    check_tools(tools, prompt=False)
    return {tool["function"]["name"]: tool["function"] for tool in tools}


def _check(call: FunctionCall, declared: dict[str, dict]) -> None:
    if call.name not in declared:
        raise CourseError(
            f"the model called {call.name!r}, which was not declared", "answer it with an error, or ask again"
        )
    if fault := schema_fault(call.name, call.arguments, declared[call.name].get("parameters")):
        raise CourseError(
            f"call of {call.name}, {fault.path}: {fault.message[:200]}", "answer it with an error, or ask again"
        )


def dispatch(text: str, tools: list[dict], functions: Mapping[str, Callable]) -> list[Result]:
    """Run the calls in a model's text.

    Parameters
    ----------
    text : what the model wrote
    tools : the declarations that stood in the prompt
    functions : name -> the program's own function for it

    All calls are checked before the first one runs, so that a bad second call leaves nothing half done.

    Raises
    ------
    CourseError : malformed text (``ParseError``), an undeclared tool, arguments that do not fit, a tool without a
        function.
    """
    declared, calls = _declared(tools), parse(text)
    for call in calls:
        _check(call, declared)
        if call.name not in functions:
            raise CourseError(
                f"{call.name} is declared but the program has no function for it",
                "add it to functions, or do not declare it",
            )
    return [Result(call, functions[call.name](**call.arguments)) for call in calls]
