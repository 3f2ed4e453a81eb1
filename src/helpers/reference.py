"""Results of runs that need a GPU or hours: read from ``assets/reference/``, drawn beside the reader's own run.

``NAME.json`` holds ``{"provenance": {...}, "results": [...]}``; where rows were judged, ``NAME.jsonl.gz`` holds the
predictions, so that a notebook *recomputes* its statistic instead of quoting it. The reference adapter, ``adapter/``,
was trained by ``scripts/experiments/adapter_runs.py``; of its candidates the one with the most exact calls on
validation rows and families is stored. It belongs to the base model (``checkpoints.ensure("gemma")``), whichever model
the rest of a notebook runs on.

Predictions answer the rows that the data set held when they were made, and a prediction is scored on the row it
answered: most files carry what their rows were judged by (``Reference.answers``). ``earlier_adapters`` answered rows
that are not kept any more; its scores stand as they were stored.

A provenance with ``labels`` tells of a run on labels that the course makes otherwise today: before ``masking.encode``
the token that opens a second tool result carried loss.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from . import checkpoints, dataset, environment, scoring
from .control_tokens import CONTROL_TOKENS, STOP_IDS
from .errors import CourseError
from .generation import LIMIT, Generation
from .paths import REFERENCE

ADAPTER = REFERENCE / "adapter"
#: The splits on which the adapter was chosen among its candidates, before a test or a ring was looked at.
CHOSEN_ON = ("universe_validation", "validation")
LONG = 200  # characters of an argument that provenance leaves out: a list of runs, say
PROVENANCE = ("device", "torch", "unsloth", "transformers", "seeds", "date", "command", "revision")


@dataclass(frozen=True)
class Reference:
    """A stored result: ``provenance`` (a dict), ``results`` (a dict each run), ``predictions`` (one a row, or none)."""

    name: str
    provenance: dict
    results: list[dict]
    predictions: list[dict]

    def generations(self, rows, **chosen) -> list[Generation]:
        """The stored generations for data rows, in their order, of the run (and split) that ``chosen`` names.

        Raises CourseError when a row was not predicted.
        """
        found = {p["id"]: p for p in self.predictions if _matches(p, chosen)}
        if missing := [row["id"] for row in rows if row["id"] not in found]:
            raise CourseError(
                f"{self.name}.jsonl.gz has no prediction of row {missing[0]} for {chosen}",
                "score the rows it was run on",
            )
        return [Generation(found[row["id"]]["text"], (), found[row["id"]]["stopped_by"]) for row in rows]

    def answers(self, rows, run: str, rank_kept: int | None = None) -> list[Generation]:
        """What a run wrote for data rows, in their order; with ``rank_kept``, with every ΔW cut to that rank.

        For results that ``scripts.experiments.run_scores.keep`` wrote, which list the gold of all rows, then each run's
        texts in the same order. Raises CourseError for a row that was not asked, or that has changed since.
        """
        gold = [line for line in self.predictions if line["run"] == "gold"]
        texts = [line["text"] for line in self.predictions if line["run"] == run and line.get("rank_kept") == rank_kept]
        if rank_kept:  # the first rows of the test alone
            gold = [line for line in gold if line["split"] == "test"]
        found = {line["id"]: (line["calls"], text) for line, text in zip(gold, texts, strict=False)}
        for row in rows:
            if found.get(row["id"], ("",))[0] != row["calls"]:
                raise CourseError(
                    f"{self.name}.jsonl.gz has no answer of {run} to row {row['id']} as it is now",
                    "score the rows it was run on",
                )
        answered = [found[row["id"]][1] for row in rows]
        return [Generation(text, (), _end(text)) for text in answered]

    def judged(self, split: str) -> list[dict]:
        """The rows of a split that a result answered which lists their gold (see ``answers``), in the split's order."""
        asked = {line["id"] for line in self.predictions if line.get("run") == "gold" and line["split"] == split}
        return [row for row in dataset.load(split) if row["id"] in asked]

    def reports(self, rows, **chosen) -> list:
        """A ``scoring.Report`` for each seed of the runs ``chosen`` names, recomputed from the stored predictions.

        Raises CourseError when no run matches.
        """
        runs = sorted((r for r in self.results if _matches(r, chosen)), key=lambda r: r["seed"])
        if not runs:
            raise CourseError(
                f"{self.name}.json has no run with {chosen}",
                f"its runs are named {sorted({str(r.get('name')) for r in self.results})}",
            )
        return [scoring.score(self.answers(rows, run["file"]), rows) for run in runs]

    def source(self) -> str:
        """One line that says where the numbers come from."""
        told = self.provenance
        labels = f", labels {told['labels']}" if "labels" in told else ""
        return (
            f"{told['device']}, {told['date']}, transformers {told['transformers']}, "
            f"unsloth {told['unsloth'] or 'not used'}{labels}"
        )


def _end(text: str) -> str:
    """What ended a text: one of the tokens that end a turn, or the limit."""
    ends = (name for name, identity in CONTROL_TOKENS.items() if identity in STOP_IDS)
    return next((name for name in ends if text.endswith(name)), LIMIT)


def _matches(told: dict, chosen: dict) -> bool:
    return all(told.get(key) == value for key, value in chosen.items())


def load(name: str, folder: Path = REFERENCE) -> Reference:
    """A stored result, its shape checked. Raises CourseError for one that is missing or malformed."""
    path = folder / f"{name}.json"
    if not path.exists():
        known = sorted(p.stem for p in folder.glob("*.json"))
        raise CourseError(
            f"there is no stored result {name!r}",
            f"stored: {', '.join(known) or 'none'}; scripts/ holds what makes them",
        )
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        provenance, results = told["provenance"], told["results"]
    except (ValueError, KeyError, TypeError):
        raise CourseError(
            f"{path.name} is no stored result", "it needs provenance and results; restore it with git checkout"
        ) from None
    if missing := [key for key in PROVENANCE if key not in provenance]:
        raise CourseError(
            f"the provenance of {path.name} does not say {missing[0]}", "a number without its origin is not used"
        )
    if not isinstance(results, list) or not results or not all(isinstance(r, dict) for r in results):
        raise CourseError(f"{path.name} holds no list of results", "run its command again, see provenance")
    return Reference(name, provenance, results, _predictions(folder / f"{name}.jsonl.gz"))


def provenance(seeds, device: str | None = None) -> dict:
    """Where a result comes from, for whoever stores one: this machine, its versions, the command and the git revision.

    ``unsloth`` is None for a run that did not import it.
    """
    packages = environment.versions("torch", "unsloth", "transformers", "peft", "trl")
    found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    return {
        **packages,
        "unsloth": packages["unsloth"] if "unsloth" in sys.modules else None,
        "device": device or environment.device_name(),
        "seeds": list(seeds),
        "date": date.today().isoformat(),
        "command": " ".join(["python", *(word if len(word) < LONG else "…" for word in sys.argv)]),
        "revision": found or os.environ.get("COURSE_REVISION", ""),  # a GPU host has the files alone
    }


def _predictions(path: Path) -> list[dict]:
    if not path.exists():
        return []
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            return [json.loads(line) for line in file]
    except (OSError, EOFError, ValueError):
        raise CourseError(f"{path.name} is damaged", "restore it with git checkout") from None


# --- the reference adapter --------------------------------------------------------------------------------------------


def adapter_folder() -> Path:
    """The folder of the course's reference adapter, trained on a GPU. Raises CourseError where it is missing."""
    if not (ADAPTER / "adapter_config.json").exists():
        raise CourseError(
            "the reference adapter is missing from assets/reference/adapter",
            "restore it with git checkout; scripts/experiments/adapter_runs.py makes it",
        )
    return ADAPTER


def load_adapter(dtype: str | None = None, device: str | None = None):
    """The base model with the adapter on it, in evaluation mode, and its tokenizer: ``(peft.PeftModel, tokenizer)``.

    dtype and device are the profile's unless given. Raises CourseError when the adapter is missing or damaged.
    """
    base = checkpoints.ensure("gemma")
    try:
        model = checkpoints.load_adapter(ADAPTER, base, dtype, device, autocast=True)
    except CourseError as error:
        raise CourseError(
            f"the reference adapter cannot be read: {error.problem}",
            "restore assets/reference/adapter with git checkout",
        ) from None
    return model, checkpoints.load_tokenizer(base)


def chosen_adapter(candidates: Reference | None = None) -> dict:
    """Of the stored candidates the one with the most exact calls on ``CHOSEN_ON``: its settings and scores."""

    def exact(told: dict) -> float:
        counts = [told["scores"][split]["exact"] for split in CHOSEN_ON]
        return sum(hits / n for hits, n in counts)

    candidates = candidates or load("candidates")
    return max((told for told in candidates.results if told["steps"]), key=exact)


def adapter_generations(rows, rank_kept: int | None = None) -> list[Generation]:
    """What the adapter wrote for held-out rows on the GPU; with ``rank_kept``, with every ΔW cut to that rank.

    All rows of ``dataset.load(split)`` for the splits in its ``scores``; with ``rank_kept`` the first rows of *test*.
    """
    candidates = load("candidates")
    return candidates.answers(rows, chosen_adapter(candidates)["file"], rank_kept)
