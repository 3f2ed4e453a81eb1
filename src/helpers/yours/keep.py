"""What a reader takes along: the adapter, its tools and a card that says what it is, in a folder, on Drive, on the hub.

The folder is PEFT's own: plain transformers and PEFT load it, without the course.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ..environment import on_colab, versions
from ..errors import CourseError
from ..paths import readers_file

BASE = "google/gemma-3-270m"
TOOLS_FILE = "tools.json"
_DRIVE = Path("/content/drive")
_LOAD = """\
```python
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from peft import PeftModel

tokenizer = PreTrainedTokenizerFast.from_pretrained("{name}")  # Google's has no control tokens
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("{base}"), "{name}").eval()
```"""


def own_folder() -> Path:
    """Where the reader's adapter is kept from notebook to notebook."""
    return readers_file("my-adapter")


def own_tools(folder: Path | None = None) -> list[dict]:
    """The declarations that an adapter was trained with. Raises CourseError where none were kept."""
    path = (folder or own_folder()) / TOOLS_FILE
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise CourseError(f"{path} holds no declarations", "keep the adapter again: keep.save(…)") from None


def save(adapter, tools: list[dict], card: str, folder: Path | None = None, base: str = BASE) -> Path:
    """Copy an adapter's folder, with its declarations and card, to where it is kept. Returns that place.

    Its configuration names the ``base`` on the hub in place of a folder of this machine. What was there before is
    replaced once the new one is whole. Raises CourseError for a folder without an adapter.
    """
    source, target = Path(adapter), Path(folder) if folder else own_folder()
    if not (source / "adapter_config.json").exists():
        raise CourseError(f"{source} holds no adapter", "give the folder that training returned: run.adapter")
    part = target.with_name(f"{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(source, part)
    told = json.loads((part / "adapter_config.json").read_text(encoding="utf-8"))
    (part / "adapter_config.json").write_text(json.dumps(told | {"base_model_name_or_path": base}, indent=2))
    (part / TOOLS_FILE).write_text(json.dumps(tools, ensure_ascii=False, indent=1), encoding="utf-8")
    (part / "README.md").write_text(card, encoding="utf-8")
    if target.exists():
        shutil.rmtree(target)
    part.rename(target)
    return target


def card(name: str, tools: list[dict], counts: dict[str, int], scores: dict[str, dict], base: str = BASE) -> str:
    """A model card in the hub's form (``huggingface_hub.ModelCardData``), filled in by the run.

    Parameters
    ----------
    name : what the adapter is called, ``owner/name`` on the hub
    counts : what was trained and judged on -> how many rows
    scores : what was scored -> ``scoring.Report.cell``'s ``hits, n, low, high``
    """
    from huggingface_hub import ModelCardData

    data = ModelCardData(
        language=["ar"],
        license="gemma",
        base_model=base,
        library_name="peft",
        pipeline_tag="text-generation",
        tags=["function-calling", "lora", "arabic"],
    )
    declared = [f"- `{t['function']['name']}`: {t['function'].get('description', '')}" for t in tools]
    lines = [
        f"| {what} | {one['hits']} of {one['n']} ({one['low']:.0%} to {one['high']:.0%}) |"
        for what, one in scores.items()
    ]
    made_with = ", ".join(
        f"{package} {version}" for package, version in versions("transformers", "peft", "trl").items()
    )
    parts = [
        f"---\n{data.to_yaml()}\n---",
        f"# {name}",
        "A LoRA adapter for Gemma 3 270M that calls these functions, made with the Arabic FunctionGemma course:",
        "\n".join(declared),
        f"`{TOOLS_FILE}` holds their declarations. The prompt is FunctionGemma's.",
        "## Data",
        "\n".join(f"- {what}: {n} rows" for what, n in counts.items()),
        "## Scores",
        "\n".join(["| on examples that training has not seen | right (95 % interval) |", "| --- | --- |", *lines]),
        "With so few examples the intervals are wide. Check every call against its declaration before it runs.",
        "## Load it",
        _LOAD.format(base=base, name=name),
        f"Made with {made_with}.",
        "## Licence",
        "Gemma is provided under and subject to the [Gemma Terms of Use](https://ai.google.dev/gemma/terms); an "
        "adapter is a derivative of it. The examples are yours.",
    ]
    return "\n\n".join(parts) + "\n"


def to_drive(folder: Path | None = None, name: str = "my-adapter") -> Path:
    """Copy a kept adapter to Google Drive, which Colab asks leave for. Returns where it is.

    Raises CourseError elsewhere than on Colab, and without leave.
    """
    if not on_colab():
        raise CourseError("there is no Drive here", f"copy the folder yourself: {folder or own_folder()}")
    from google.colab import drive

    try:
        drive.mount(str(_DRIVE))
    except (ValueError, OSError) as error:
        raise CourseError(f"Drive was not mounted: {error}", "run the cell again and allow it") from None
    target = _DRIVE / "MyDrive" / name
    shutil.copytree(folder or own_folder(), target, dirs_exist_ok=True)
    return target


def push(name: str, folder: Path | None = None, private: bool = True, token: str | None = None) -> str:
    """Upload a kept adapter to the Hugging Face hub as ``owner/name``. Returns its address.

    Raises CourseError: no such folder, a name without its owner, no token or one without leave to write, no network.
    """
    from httpx import TransportError
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    folder = folder or own_folder()
    if not (folder / "adapter_config.json").exists():
        raise CourseError(f"{folder} holds no adapter", "keep one first: keep.save(…)")
    if name.count("/") != 1:
        raise CourseError(f"{name!r} has no owner", "write owner/name, owner as in your address on the hub")
    api = HfApi(token=token)
    try:
        api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=str(folder))
    except LocalTokenNotFoundError:
        raise CourseError(
            "the hub does not know who you are", "huggingface_hub.login(), with a token that may write"
        ) from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no answer"
        told = "use a token that may write to this name: huggingface_hub.login()"
        remedy = told if status in (401, 403) else "try again later"
        raise CourseError(f"the hub refused {name} ({status})", remedy) from None
    except (OSError, TransportError) as error:
        raise CourseError(
            f"the hub cannot be reached: {type(error).__name__}", f"the adapter is kept at {folder}"
        ) from None
    return f"https://huggingface.co/{name}"
