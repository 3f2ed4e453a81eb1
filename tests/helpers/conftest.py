"""Fixtures that several files of this folder share; those of all tests are in the conftest.py at the root."""

import pytest
from tiny_gemma import tiny_config

from helpers import checkpoints, gguf, llama_cpp


@pytest.fixture(scope="session")
def gguf_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("gguf")


@pytest.fixture(scope="session")
def f16(gguf_folder):
    """The base model as an F16 file: one serves all tests."""
    from safetensors.torch import load_file

    state = load_file(f"{checkpoints.ensure('gemma').path}/model.safetensors")
    return gguf.write_f16(state, gguf.base_gguf(), gguf_folder / "F16.gguf")


@pytest.fixture(scope="session")
def small(f16, gguf_folder):
    return llama_cpp.make(f16, gguf_folder, ["Q4_K_M, embedding Q4_0"])["Q4_K_M, embedding Q4_0"]


@pytest.fixture(scope="module")
def tiny_lora():
    """A random two-layer Gemma with a LoRA adapter, on the CPU."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import Gemma3ForCausalLM

    torch.manual_seed(0)
    config = tiny_config(query_pre_attn_scalar=16, attn_implementation="eager", use_cache=False)
    model = get_peft_model(
        Gemma3ForCausalLM(config).to(torch.bfloat16), LoraConfig(r=4, target_modules=["q_proj", "down_proj"])
    ).train()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)  # at zero half of the gradients would be zero
    return model


@pytest.fixture
def few_ids():
    import torch

    return torch.arange(16)[None] * 3 + 40  # (1, 16)
