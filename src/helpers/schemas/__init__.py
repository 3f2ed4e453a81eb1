"""The one idea of a tool's schema, for all who read one: ``chat``, ``calls``, ``dispatch`` and the data.

``check_tools`` says what a declaration may hold, ``schema_fault`` whether a call's arguments fit it, and ``as_tools``
turns declarations as others write them into the course's form and leads calls back to the names that others know.
"""

from __future__ import annotations

from .declarations import (
    DROPPED_NAMES,
    IDENTIFIER,
    MAX_DEPTH,
    SCHEMA_TYPES,
    TOOL_NAME,
    Fault,
    check_tools,
    kind_of,
    plain_schema,
)
from .foreign import Tools, as_tools
from .validation import closed_schema, schema_fault

__all__ = [
    "DROPPED_NAMES",
    "IDENTIFIER",
    "MAX_DEPTH",
    "SCHEMA_TYPES",
    "TOOL_NAME",
    "Fault",
    "Tools",
    "as_tools",
    "check_tools",
    "closed_schema",
    "kind_of",
    "plain_schema",
    "schema_fault",
]
