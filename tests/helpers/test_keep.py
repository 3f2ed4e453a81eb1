"""A reader's adapter: kept whole, described by its card, pushed, and opened again by software that is not ours."""

import json
import re
import shutil
import sys
import types

import httpx
import hub_cache
import pytest
from tiny_gemma import tiny_config

from helpers.errors import CourseError
from helpers.yours import keep

TOOLS = [{"type": "function", "function": {"name": "fire_kiln", "description": "Fire pieces.", "parameters": {}}}]
SCORES = {"the right function": {"hits": 9, "n": 12, "low": 0.47, "high": 0.91}}


@pytest.fixture
def adapter(tmp_path):
    """A folder that looks like one of PEFT's, trained on a folder of this machine."""
    folder = tmp_path / "run" / "adapter"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"r": 4, "base_model_name_or_path": "/root/.cache/gemma"}))
    (folder / "adapter_model.safetensors").write_bytes(b"new")
    (folder / "README.md").write_text("PEFT's own card")
    return folder


def described(name="me/kiln", base=keep.BASE):
    return keep.card(name, TOOLS, {"trained on": 24, "judged by": 12}, SCORES, base)


def test_what_is_kept_is_whole_and_names_no_folder_of_this_machine(adapter, tmp_path):
    kept = keep.save(adapter, TOOLS, described(), tmp_path / "kept")
    (adapter / "adapter_model.safetensors").write_bytes(b"newer")
    assert keep.save(adapter, TOOLS, described(), tmp_path / "kept") == kept
    told = json.loads((kept / "adapter_config.json").read_text())
    assert told == {"r": 4, "base_model_name_or_path": "google/gemma-3-270m"}
    assert (kept / "adapter_model.safetensors").read_bytes() == b"newer" and keep.own_tools(kept) == TOOLS
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "run"]


def test_a_copy_that_fails_leaves_what_was_there(adapter, tmp_path, monkeypatch):
    kept = keep.save(adapter, TOOLS, described(), tmp_path / "kept")
    monkeypatch.setattr(keep.json, "dumps", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        keep.save(adapter, TOOLS, "another card", tmp_path / "kept")
    assert (kept / "README.md").read_text(encoding="utf-8") == described()


def test_left_to_itself_an_adapter_is_kept_among_the_readers_files(adapter, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_BETS", str(tmp_path / "bets.json"))
    assert keep.save(adapter, TOOLS, described()) == tmp_path / "my-adapter" and keep.own_tools() == TOOLS


def test_what_holds_no_adapter_is_named(tmp_path):
    for refused in (lambda: keep.save(tmp_path, TOOLS, ""), lambda: keep.push("me/kiln", tmp_path)):
        with pytest.raises(CourseError, match="holds no adapter"):
            refused()
    with pytest.raises(CourseError, match="holds no declarations"):
        keep.own_tools(tmp_path)


def test_the_card_is_one_that_the_hub_reads():
    from huggingface_hub import ModelCard

    card = ModelCard(described())
    assert card.data.base_model == "google/gemma-3-270m" and card.data.license == "gemma"
    assert card.data.library_name == "peft" and "function-calling" in card.data.tags
    for said in ("`fire_kiln`: Fire pieces.", "trained on: 24 rows", "9 of 12 (47% to 91%)", "Gemma Terms of Use"):
        assert said in card.text


def test_off_colab_there_is_no_drive(tmp_path):
    with pytest.raises(CourseError, match=f"no Drive here → copy the folder yourself: {tmp_path}"):
        keep.to_drive(tmp_path)


def test_on_colab_the_folder_goes_to_drive(adapter, tmp_path, monkeypatch):
    drive = types.SimpleNamespace(mount=lambda place: None)
    monkeypatch.setitem(sys.modules, "google.colab", types.SimpleNamespace(drive=drive))
    monkeypatch.setattr(keep, "_DRIVE", tmp_path / "drive")
    kept = keep.save(adapter, TOOLS, described(), tmp_path / "kept")
    assert keep.to_drive(kept, "kiln") == tmp_path / "drive" / "MyDrive" / "kiln"
    assert (tmp_path / "drive" / "MyDrive" / "kiln" / "tools.json").exists()
    drive.mount = lambda place: (_ for _ in ()).throw(ValueError("mount failed"))
    with pytest.raises(CourseError, match="Drive was not mounted"):
        keep.to_drive(kept)


def answer(status):
    from huggingface_hub.errors import HfHubHTTPError

    return HfHubHTTPError("refused", response=types.SimpleNamespace(status_code=status, headers={}, request=None))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (lambda: answer(403), r"refused me/kiln \(403\) → use a token"),
        (lambda: answer(500), r"refused me/kiln \(500\) → try again"),
        (lambda: ConnectionError("no route"), "cannot be reached: ConnectionError → the adapter is kept at"),
        (lambda: httpx.ConnectError("no route"), "cannot be reached: ConnectError → the adapter is kept at"),
    ],
)
def test_a_hub_that_refuses_is_told_in_a_line(adapter, tmp_path, monkeypatch, error, words):
    import huggingface_hub

    def refuse(*_, **__):
        raise error()

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", refuse)
    kept = keep.save(adapter, TOOLS, described(), tmp_path / "kept")
    with pytest.raises(CourseError, match=words):
        keep.push("me/kiln", kept)
    with pytest.raises(CourseError, match="has no owner"):
        keep.push("kiln", kept)


@pytest.mark.slow
def test_what_was_pushed_is_opened_by_the_lines_of_its_card(tokenizer, tmp_path, monkeypatch):
    """A hub of folders: the base and the adapter in its cache, plain transformers and PEFT, none of ours."""
    import huggingface_hub
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import Gemma3ForCausalLM

    cache = tmp_path / "hub"
    base = hub_cache.mirror(cache, "models", "me/tiny")
    model = Gemma3ForCausalLM(tiny_config(vocab_size=len(tokenizer)))
    model.save_pretrained(base)
    lora = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj"]))
    for name, parameter in lora.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    lora.save_pretrained(tmp_path / "adapter")
    wanted = lora.eval()(input_ids=torch.arange(8)[None]).logits[0, -1, :3].tolist()

    kept = keep.save(tmp_path / "adapter", TOOLS, described("me/kiln", "me/tiny"), tmp_path / "kept", "me/tiny")
    tokenizer.save_pretrained(kept)  # as the notebook does: the base's has no control tokens

    def upload(self, repo_id, folder_path):
        snapshot = hub_cache.mirror(cache, "models", repo_id)
        shutil.copytree(folder_path, snapshot, dirs_exist_ok=True)
        absent = snapshot.parents[1] / ".no_exist" / snapshot.name / "config.json"  # what the hub says of an adapter
        absent.parent.mkdir(parents=True)
        absent.touch()

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", lambda *_, **__: None)
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", upload)
    assert keep.push("me/kiln", kept) == "https://huggingface.co/me/kiln"
    (lines,) = re.findall(r"```python\n(.*?)```", (kept / "README.md").read_text(encoding="utf-8"), re.S)
    asked = "import json, torch\nwith torch.inference_mode():\n    out = model(input_ids=torch.arange(8)[None]).logits"
    done = hub_cache.python(f"{lines}\n{asked}\nprint(json.dumps(out[0, -1, :3].tolist()))", cache)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == pytest.approx(wanted, rel=1e-4)
