"""What a program may do with a model's text: nothing but call functions it chose itself, with arguments that fit their schema.

The text is data. It is parsed, compared with the declarations, and only then handed to a function from the program's own table; no
name from the text is ever looked up anywhere else, imported or evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .calls import FunctionCall, parse
from .errors import CourseError


@dataclass(frozen=True)
class Result:
    """What one call returned."""

    call: FunctionCall
    value: object


def check_call(call: FunctionCall, tools: list[dict]) -> None:
    """Raise CourseError unless the call names a declared tool and its arguments fit that tool's JSON schema.

    Arguments that the schema does not name are refused, in nested objects too.
    """
    declared = {tool["function"]["name"]: tool["function"] for tool in tools}
    if call.name not in declared:
        raise CourseError(f"the model called {call.name!r}, which was not declared", "answer it with an error, or ask again")
    if fault := schema_fault(call.name, call.arguments, declared[call.name].get("parameters")):
        raise CourseError(f"call of {call.name}, {fault.path}: {fault.message[:200]}", "answer it with an error, or ask again")


def closed_schema(schema: dict) -> dict:
    """The schema with every object in it closed: JSON Schema allows further properties unless told otherwise."""
    closed = dict(schema)
    if isinstance(schema.get("properties"), dict):
        closed["properties"] = {name: closed_schema(inner) for name, inner in schema["properties"].items()}
    if isinstance(schema.get("items"), dict):
        closed["items"] = closed_schema(schema["items"])
    if schema.get("type") == "object":  # first, so that an undeclared argument is what is reported of a call with several faults
        closed = {"additionalProperties": False, "properties": {}, **closed}
    return closed


@dataclass(frozen=True)
class Fault:
    """Where arguments break their schema, in jsonschema's words, and which of the schema's keywords they break."""

    path: str
    message: str
    keyword: str


def schema_fault(name: str, arguments: dict, parameters: dict | None) -> Fault | None:
    """What is wrong with a call's arguments, None if they fit. Raises CourseError for a malformed schema."""
    import jsonschema

    try:
        jsonschema.validate(arguments, closed_schema(parameters or {"type": "object"}))
    except jsonschema.ValidationError as error:
        return Fault(".".join(map(str, error.absolute_path)) or "arguments", error.message, error.validator)
    except jsonschema.SchemaError as error:
        raise CourseError(f"the schema of {name} is malformed: {error.message[:200]}", "mend the declaration") from None
    return None


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
    CourseError : malformed text (``ParseError``), an undeclared tool, arguments that do not fit, a tool without a function.
    """
    calls = parse(text)
    for call in calls:
        check_call(call, tools)
        if call.name not in functions:
            raise CourseError(f"{call.name} is declared but the program has no function for it", "add it to functions, or do not declare it")
    return [Result(call, functions[call.name](**call.arguments)) for call in calls]
