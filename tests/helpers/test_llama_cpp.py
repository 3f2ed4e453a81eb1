"""llama.cpp beside transformers: the same ids for a text, and the logits of the decoded weights."""

import numpy as np
import pytest

from helpers import chat, checkpoints, dataset, generation, gguf, llama_cpp
from helpers.errors import CourseError

pytestmark = pytest.mark.slow

PROBES = [
    "مُحَمَّدٌ  ﷺ",
    "٠٥٠١ 0501",
    '<div class="x">نص</div>',
    "\n\n\t  x",
    "<escape>جدة<escape>",
    "<start_of_turn>user\n",
    "<unused99> <pad>",
    "\u200f\u202eabc",
]


def test_llama_cpp_reads_text_as_transformers_does(small, tokenizer):
    rows = dataset.load("test").select(range(20)).to_list()
    with llama_cpp.Decoder(small) as decoder:
        for text in [*PROBES, *map(generation.prompt, rows)]:
            assert decoder.tokenize(text) == tokenizer(text, add_special_tokens=False).input_ids, text
        assert set(chat.STOP_IDS) <= set(decoder.stops())


def test_logits_are_those_of_the_decoded_weights(small):
    import torch

    model = checkpoints.load_model(checkpoints.ensure("gemma"), dtype="float32", device="cpu")
    model.load_state_dict(gguf.decoded(small), strict=False)
    ids = [2, 105, 2364, 107, 236777, 5312]
    with torch.inference_mode():
        want = model(torch.tensor([ids])).logits[0].numpy()
    with llama_cpp.Decoder(small) as decoder:
        got = decoder.logits(ids)
        assert np.array_equal(decoder.logits(ids, start=4), got[4:])
        with pytest.raises(CourseError, match="do not fit"):
            decoder.logits([2] * 2000)
    assert got.shape == (6, 262144) and np.median(np.abs(got - want)) < 0.5
