"""Coverage-guided fuzzing of the call parser with atheris.

    python tests/fuzz_parser.py [CORPUS] [-runs=1000000 ...]      (make fuzz)

Whatever the bytes, calls or a ParseError, and what is read can be written back. Takes libFuzzer's options. What was
interesting is kept in CORPUS; ``--keep`` boils that down to ``tests/helpers/corpus/parser.txt``, which the tests
replay.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
with atheris.instrument_imports(include=["helpers.calls"]):
    from helpers import calls
from helpers.chat import CONTROL_TOKENS  # noqa: E402

KEPT = Path(__file__).parent / "helpers" / "corpus" / "parser.txt"
# One byte for each control token and for the format's own words, so that mutation finds structure and not spelling.
WORDS = [
    *CONTROL_TOKENS,
    "call:",
    "get_weather",
    "city",
    "true",
    "false",
    "null",
    "None",
    "جدة",
    "١٢٣",
    "\u200f",
    "1e309",
    "0.5",
]


def decoded(data: bytes) -> str:
    """Bytes as text: from 128 on each stands for a word of the format, the others for themselves."""
    return "".join(WORDS[(byte - 128) % len(WORDS)] if byte >= 128 else chr(byte) for byte in data)


def check(text: str) -> None:
    """Raise unless the text gives calls that survive a round trip, or a ParseError inside the text."""
    try:
        found = calls.parse(text)
    except calls.ParseError as error:
        if not (0 <= error.position <= len(text) and error.reason):
            raise AssertionError(f"position {error.position} of {len(text)}") from error
        return
    if calls.parse(calls.serialize(found)) != found:
        raise AssertionError("what was read cannot be written back")


def keep(corpus: Path, most: int = 300) -> None:
    """Of the corpus's short inputs, ``most`` spread over all lengths, one JSON string a line."""
    texts = sorted({decoded(path.read_bytes()) for path in corpus.iterdir()}, key=lambda text: (len(text), text))
    short = [text for text in texts if len(text) <= 400]
    chosen = short[:: max(1, -(-len(short) // most))]
    KEPT.parent.mkdir(exist_ok=True)
    KEPT.write_text("".join(json.dumps(text) + "\n" for text in chosen), encoding="utf-8")
    print(f"{len(chosen)} of {len(texts)} inputs kept in {KEPT.name}")


def main() -> None:
    if sys.argv[-1] == "--keep":
        keep(Path(sys.argv[1]))
        return
    atheris.Setup(sys.argv, lambda data: check(decoded(data)))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
