# %% [markdown]
# # 03 · Memory surgery: every byte of a training step
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/arabic-functiongemma-course/blob/main/notebooks/03_memory_surgery.ipynb)
#
# **After this notebook you can** say for every byte of a training step what it is for, choose a way of [checkpointing](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#checkpointing) by what it keeps and what it computes again, tell when the [logits](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#logits) are what fills the memory,
# and rebuild [NF4](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#nf4) and [double quantization](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#double-quantization) from a normal distribution.
#
# **You need** notebooks 00 and 02. **Time**: 11 minutes on two CPU cores. **Memory**: 8 GB.
# A CPU will do: it runs on the processor, with or without a GPU. Minutes on Colab's have not been measured.
#
# It follows section 3 of the guide and settles claims 14-21, 37, 39 and 41. What needs a GPU was measured on one by `scripts/experiments/memory_runs.py` and is read from `assets/reference/memory.json`.
# Terms are explained in the course's [glossary](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md), in English and Arabic.

# %%
# The modules measured here are transformers' own: with a GPU in sight Unsloth replaces some of them (the norm, the loss) as it is imported.
import os

os.environ["CUDA_VISIBLE_DEVICES"] = ""

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
# ## 3.1 · A ledger of bytes
#
# A training step holds six kinds of things: the frozen weights, the adapters, their gradients, the optimizer's state, what autograd saved in the forward pass for the backward pass, and what an operation
# needs while it runs. Five of them can be read off the model. The saved tensors cannot, so we ask autograd.
#
# `torch.autograd.graph.saved_tensors_hooks` calls a function with every tensor that is saved. Two of them may be views of the same memory, and weights are saved too, though they take no
# new bytes. So count each *storage* once, and leave the parameters out.

# %%
import torch

from helpers.probes import checkpointing, memory

model = checkpointing.adapted(checkpoint, device="cpu")  # plain transformers + PEFT, no Unsloth
ids = checkpointing.random_ids(model, batch=1, tokens=256)  # (1, 256)
known, kept = {p.untyped_storage().data_ptr() for p in (*model.parameters(), *model.buffers())}, []


def count_storage(tensor):
    """Called for every tensor that autograd saves."""
    address = tensor.untyped_storage().data_ptr()
    if address not in known and tensor.numel():
        known.add(address)
        kept.append(tensor.untyped_storage().nbytes())
    return tensor.detach()


with torch.autograd.graph.saved_tensors_hooks(count_storage, lambda tensor: tensor):
    loss = model(input_ids=ids, labels=ids).loss

# %% [markdown]
# `helpers.probes.memory.saved` does the same and remembers each tensor's shape and module. The two must agree.

# %% tags=["nbval-ignore-output"]
with memory.saved(model) as found:
    loss = checkpointing.loss_of(model, ids)
print(f"by hand {sum(kept) / 2**20:.1f} MiB in {len(kept)} storages, by the helper {found.bytes() / 2**20:.1f} MiB in {len(found.tensors)}")
assert abs(sum(kept) / found.bytes() - 1) < 0.01

# %% [markdown]
# `memory.Ledger` goes on from there: it follows *all* storages, from the operation that makes one to the moment it is freed, so it knows the moment when most are alive. It needs no numbers for that. On PyTorch's `meta` device tensors have shapes
# and nothing else, and a step of 4,096 tokens, 24 GB on a GPU, is accounted for here in a second.

# %%
ghost = checkpointing.adapted(checkpoint, device="meta")
optimizer = torch.optim.AdamW([p for p in ghost.parameters() if p.requires_grad])
checkpointing.step(ghost, checkpointing.random_ids(ghost, 1, 8), optimizer=optimizer)  # the optimizer's state exists from here on
ledger = checkpointing.step(ghost, checkpointing.random_ids(ghost, 1, 1024), optimizer=optimizer)["ledger"]
for category, size in ledger.peak.by("category").items():
    print(f"{category:<10} {size / 2**20:8.1f} MiB")

# %% [markdown]
# The step over time, operation by operation:

# %% tags=["nbval-ignore-output"]
import matplotlib.pyplot as plt
import numpy as np

from helpers import plots

plots.style()
timeline = np.array(ledger.timeline) / 2**30  # (operations, 7) GiB
figure, axis = plt.subplots(figsize=(9, 3.6))
stack = axis.stackplot(range(len(timeline)), timeline.T, labels=memory.CATEGORIES, colors=plots.OKABE_ITO)
for part, hatch in zip(stack, plots.HATCHES):
    part.set(hatch=hatch, edgecolor="white", linewidth=0)
top = timeline.sum(1).argmax()
axis.annotate("the loss", (top, timeline[top].sum()), (top + 1500, timeline[top].sum() - 0.5), arrowprops={"arrowstyle": "->"})
axis.set(xlabel="tensor made or freed", ylabel="GiB alive")
axis.legend(loc="upper left", ncols=2)
share = ledger.peak.by("category")["saved"] / ledger.peak.total
plots.show(figure, f"A step of 1,024 tokens: saved tensors pile up through the forward pass to {share:.0%} of the peak of {ledger.peak.total / 2**30:.1f} GiB, which the loss makes at the turning point.")

# %% [markdown]
# Who holds it? The ten largest holders, over all 18 layers:

# %% tags=["nbval-ignore-output"]
import pandas

holders = list(ledger.peak.by("category", "module", "kind").items())[:10]
pandas.DataFrame([{"for": c, "module": m, "made by": k, "MiB": round(size / 2**20)} for (c, m, k), size in holders]).style.hide(axis="index").format(escape="html")

# %% [markdown]
# `_log_softmax` and `nll_loss_backward` belong to the loss, one float32 number for each of 262,144 words at every position. `_to_copy` is PEFT, which keeps adapters in float32 and copies each input to match.
#
# Is the ledger right? On a GPU the allocator keeps its own account. `scripts/experiments/memory_runs.py` took the same step on one and compared.

# %% tags=["nbval-ignore-output"]
from helpers import reference

gpu = reference.load("memory")
print(gpu.source())


def measured(kind, **chosen):
    """Stored GPU results of a kind, as a table."""
    return pandas.DataFrame([r for r in gpu.results if r["kind"] == kind and all(r[k] == v for k, v in chosen.items())])


table = measured("ledger")[["batch", "tokens", "measured_bytes", "ledger_bytes"]]
table["explained"] = table["ledger_bytes"] / table["measured_bytes"]
assert table["explained"].between(0.95, 1).all()
table.style.hide(axis="index").format({"measured_bytes": lambda b: f"{b / 2**20:.0f} MiB", "ledger_bytes": lambda b: f"{b / 2**20:.0f} MiB", "explained": "{:.1%}"})

# %% [markdown]
# What is left, 65 to 90 MiB whatever the size of the step, is what no ledger of tensors can see: the workspace that cuBLAS holds for itself.

# %% [markdown]
# ## 3.2 · What checkpointing keeps
#
# > Standard checkpointing discards all activations and recomputes them.
#
# **Your bet:** of the 18 decoder layers' inputs, how many stay in memory?

# %%
from helpers import exercises

bet_inputs = exercises.bet("inputs-kept", "layer inputs that checkpointing keeps, of 18", low=0, high=18, step=1)

# %% [markdown]
# Switch on the standard kind, and look for tensors of a layer input's shape, (1, 256, 640).

# %%
from helpers.claims import verdict

with checkpointing.checkpointing(model, "layer"), memory.saved(model) as found:
    checkpointing.loss_of(model, ids, "response", labelled=64)
inputs_kept = sum(t["shape"] == (1, 256, 640) and t["dtype"] == "bfloat16" for t in found.tensors)
print("layer inputs kept:", inputs_kept)
verdict("39-checkpointing-discards-all", measured=inputs_kept)

# %% [markdown]
# **Why.** To run a layer again one needs what went into it. That is 1,280 bytes a token and layer in bfloat16, against some seventy thousand that a layer keeps otherwise (section 3.5 has the figures). So memory still grows with the number of
# layers and with N, only from a much lower start. Chen et al. (2016) place checkpoints every √L layers to trade further; PyTorch's users place one at every layer.

# %% [markdown]
# ## 3.3 · What is computed again
#
# > Unsloth's selective approach only recomputes the specific non-linearities (like the GeGLU activation).
#
# **Your bet:** how often does `q_proj`, a matrix product, run in each layer in one training step with Unsloth's checkpointing?

# %%
bet_calls = exercises.bet("projection-calls", "forward calls of q_proj in each layer and step", low=1, high=3, step=1)

# %% [markdown]
# First build what the guide describes. `torch.utils.checkpoint` takes any function; give it the non-linearity alone.

# %%
from torch.utils.checkpoint import checkpoint as run_again_in_backward


def frugal_mlp(mlp):
    """A forward that keeps gate and up and makes act(gate)·up again when the gradient needs it."""

    def forward(x):  # (B, N, 640)
        inner = run_again_in_backward(lambda gate, up: mlp.act_fn(gate) * up, mlp.gate_proj(x), mlp.up_proj(x), use_reentrant=False)  # (B, N, 2048)
        return mlp.down_proj(inner)

    return forward


mlp, x = model.get_base_model().model.layers[0].mlp, torch.randn(1, 16, 640, dtype=torch.bfloat16)
assert torch.equal(frugal_mlp(mlp)(x), mlp(x)) and torch.equal(checkpointing.recomputing_geglu(mlp)(x), mlp(x))

# %% [markdown]
# Now four ways side by side, on the first 32 tokens (counts and gradients are what matters here, and some processors are slow in bfloat16): nothing, every layer, the non-linearity alone, and every layer with what is kept moved to the host's memory. Gradients must not change.

# %% tags=["nbval-ignore-output"]
import time

rows, first, short = [], None, ids[:, :32]
for mode in checkpointing.MODES:
    started = time.perf_counter()
    step = checkpointing.step(model, short, mode, "response", labelled=16)
    seconds = time.perf_counter() - started
    first = first or step["gradients"]
    equal = all(torch.equal(step["gradients"][name], first[name]) for name in first)
    with checkpointing.checkpointing(model, mode), memory.saved(model) as found:
        checkpointing.loss_of(model, short, "response", labelled=16)
    rows.append({"keeps": mode, "MiB saved": found.bytes() / 2**20, "q_proj calls": step["calls"]["q_proj"], "act_fn calls": step["calls"]["act_fn"], "seconds": seconds, "same gradients": equal})
side_by_side = pandas.DataFrame(rows).set_index("keeps")
assert side_by_side["same gradients"].all()
side_by_side.style.format({"MiB saved": "{:.0f}", "seconds": "{:.1f}"})

# %% [markdown]
# Every gradient is the same to the last bit. And the guide's kind would not be worth having: the non-linearity alone holds a few percent of what is saved. It runs again while everything around it stays.
#
# So what does Unsloth do? Count on the real thing.

# %% tags=["nbval-ignore-output"]
from helpers import training

unsloth_model, _ = training.load(training.Recipe(gradient_checkpointing="unsloth", max_length=512), checkpoint)
unsloth_model.train()
with memory.counted(unsloth_model, "q_proj", "act_fn") as calls:
    unsloth_model(input_ids=ids, labels=ids).loss.backward()
per_layer = calls["q_proj"] / len(unsloth_model.get_base_model().model.layers)
print(dict(calls), "calls in one step,", per_layer, "for each layer")

# %% [markdown]
# Twice: the whole layer runs again. Is it so on a GPU, where Unsloth compiles the layers and a hook on a module may see nothing? There the profiler counted matrix products of `q_proj`'s shape instead. One a layer is
# no run of `q_proj` at all but the gradient through `o_proj`, which has the same shape; it is taken off.

# %% tags=["nbval-ignore-output"]
counted = measured("calls").set_index("tokens")
on_gpu = (counted["products"] / counted["layers"] - 1).max()
print(counted[["products", "layers"]])
per_act = calls["act_fn"] / len(unsloth_model.get_base_model().model.layers)
verdict("15-selective-checkpointing", measured=per_layer, act=per_act, gpu=on_gpu)

# %% [markdown]
# Matrix products run again on either machine. On a GPU, where nothing else is in the way, the four ways cost this (one row of 1,024 tokens, plain PyTorch):

# %% tags=["nbval-ignore-output"]
ways = measured("modes", attention="sdpa", tokens=1024)
pandas.DataFrame({
    "MiB above the model": ((ways["peak_bytes"] - ways["static_bytes"]) / 2**20).round().astype(int), "q_proj calls": [c["q_proj"] for c in ways["calls"]],
    "milliseconds": (1000 * ways["seconds"]).round().astype(int), "largest change of a gradient": (ways["gradient_difference"] / ways["gradient_scale"]).map("{:.1%}".format),
}).set_index(ways["mode"].rename("keeps"))  # fmt: skip

# %% [markdown]
# With SDPA on a GPU gradients move by a percent of the largest, with or without checkpointing, because its backward pass adds up in no fixed order. With eager attention they are identical there as well, except where tensors
# travel through the host and come back in another memory layout.

# %% [markdown]
# ## 3.4 · When Unsloth offloads
#
# The guide does not speak of offloading, but Unsloth's pages do, and its checkpointing brings it along: activations wait in the host's memory. Always?
#
# **Your bet:** for a batch of how many tokens is the first activation copied to the host?

# %%
bet_offload = exercises.bet("offload-tokens", "tokens in a batch from which layer inputs go to the host", low=0, high=4096, step=128)

# %% [markdown]
# On a GPU, four layers of width 640 were run through Unsloth's own checkpoint function, with batches of different size, and the profiler's copies between GPU and host counted.

# %% tags=["nbval-ignore-output"]
copies = measured("offload")
to_host = [c["DtoH"] for c in copies["copies"]]
figure, axis = plt.subplots(figsize=(7.5, 2.8))
axis.plot(copies["tokens"], to_host, "o", color=plots.OKABE_ITO[0])
axis.axvline(2 * 2**20 / (640 * 2), color="black", linestyle="--", linewidth=1)
axis.text(2 * 2**20 / (640 * 2) + 30, 1.4, "2 MiB an activation", fontsize=9)
axis.set(xlabel="tokens in the batch", ylabel="copies to the host, 4 layers", xscale="log", ylim=(-0.3, 3.6))
axis.set_xticks(copies["tokens"][[0, 1, 3, 6, 7]], copies["tokens"][[0, 1, 3, 6, 7]])
axis.minorticks_off()
offloaded = int(copies["tokens"][[n > 0 for n in to_host]].min())
plots.show(figure, f"No copy up to 1,638 tokens; from {offloaded:,} on every layer's input but the last goes to the host and comes back.")
verdict("16-always-offloads", measured=offloaded)

# %% [markdown]
# **Why.** Unsloth moves an activation only if it is larger than 2 MiB, and never the last one, which is needed again at once. With 640 bfloat16 numbers a token that is more than 1,638 tokens. Below, its mode
# "unsloth" is plain checkpointing. A model eight times as wide crosses the line at 205 tokens, which is where the feature pays.

# %% [markdown]
# ## 3.5 · Sequence length: which curve bends
#
# > It turns a $O(N^2)$ memory bottleneck (where $N$ is sequence length) into a more manageable $O(N)$ profile.
#
# **Your bet:** with checkpointing at every layer and eager attention, the memory above the model grows from N = 2,048 to 4,096 by a factor of

# %%
bet_growth = exercises.bet("growth", "memory at N = 4,096 ÷ at N = 2,048, checkpointed, eager", low=1.0, high=5.0, step=0.25)

# %% [markdown]
# Eager attention makes a float32 matrix (4 heads, N, N) in each layer: 16·N² bytes, four times as many for twice the length. The ledger on `meta` shows what that does, for a loss on 64 labels, so that the logits stay out of the way.

# %% tags=["nbval-ignore-output"]
lengths = (128, 256, 512, 1024, 2048, 4096)
static = ledger.peak.by("category")["weights"] + ledger.peak.by("category")["adapters"]
eager = {}
for mode in ("none", "layer"):
    steps = [checkpointing.step(ghost, checkpointing.random_ids(ghost, 1, n), mode, "response", labelled=64) for n in lengths]
    eager[mode] = [step["ledger"].peak.total - static for step in steps]
scores = memory.score_bytes(1024)
print(f"one layer's scores at 1,024 tokens: {scores / 2**20:.0f} MiB")

# %% [markdown]
# SDPA never makes that matrix. `meta` has no such kernel, so these two curves are the GPU's; its eager steps are drawn beside the ledger's.

# %% tags=["nbval-ignore-output"]
figure, axis = plt.subplots(figsize=(8, 4))
for (mode, name), colour in zip((("none", "no checkpointing"), ("layer", "every layer")), plots.OKABE_ITO):
    axis.plot(lengths, [b / 2**20 for b in eager[mode]], "-", color=colour, label=f"eager, {name}: ledger")
    for attention, marker, line in (("eager", "o", ""), ("sdpa", "s", "--")):
        seen = measured("modes", attention=attention, mode=mode)
        axis.plot(seen["tokens"], (seen["peak_bytes"] - seen["static_bytes"]) / 2**20, marker + line, color=colour, markersize=5, label=f"{attention}, {name}: GPU")
axis.set(xscale="log", yscale="log", xlabel="tokens N", ylabel="MiB above the model")
axis.set_xticks(lengths, lengths)
axis.minorticks_off()
axis.legend(fontsize=8)


def growth(attention, mode):
    """Memory above the model at 4,096 tokens over that at 2,048, on the GPU."""
    above = {r["tokens"]: r["peak_bytes"] - r["static_bytes"] for r in measured("modes", attention=attention, mode=mode).to_dict("records")}
    return above[4096] / above[2048]


grown = {f"{a}, {m}": growth(a, m) for a in ("eager", "sdpa") for m in ("none", "layer")}
plots.show(figure, "Checkpointing shifts the curves down, SDPA straightens them. From 2,048 to 4,096 tokens memory grows " + ", ".join(f"{name} ×{g:.1f}" for name, g in grown.items()) + ".")

# %%
verdict("17-n-squared-to-n", measured=grown["eager, layer"], plain=grown["eager, none"], sdpa=grown["sdpa, layer"])

# %% [markdown]
# **Why.** Checkpointing removes what *layers* keep, so the factor is about the number of layers. While a layer runs again, its own scores are there in full, and they grow with N². What makes attention linear in memory is a
# kernel that works through the scores in tiles, which is FlashAttention's idea and SDPA's way. With it, the curve is a line with or without checkpointing.

# %% [markdown]
# ## 3.6 · The logits
#
# The guide's section on memory speaks of activations. Its readers will ask what else there is, so this is our question: it does not mention what the vocabulary of 262,144 makes of the last of them.
#
# **Your bet:** at 2,048 tokens, which share of the memory above the model is there only because logits are computed at every position?

# %%
bet_logits = exercises.bet("logits-share", "share of the memory that logits at every position take", low=0, high=100, step=5, unit="%")

# %% [markdown]
# Three ways to the same loss on 64 labels: *full* computes logits everywhere and ignores most; *chunked* computes those of 128 labels at a time and again for the gradient; *response* computes them at the labels, once. Their values agree:

# %%
values = {loss: checkpointing.loss_of(model, ids, loss, labelled=64).item() for loss in checkpointing.LOSSES}
assert max(values.values()) - min(values.values()) < 1e-3 * values["full"]
print(memory.logits_bytes(1) / 2**20, "MiB of float32 logits a token; three losses agree to a thousandth")

# %% tags=["nbval-ignore-output"]
losses = measured("losses")
losses["above"] = (losses["peak_bytes"] - losses["static_bytes"]) / 2**20
figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.6), sharey=True)
for axis, few in zip(axes, (True, False)):
    shown = losses[(losses["labelled"] == 64) == few]
    for (loss, group), colour, marker in zip(shown.groupby("loss", sort=False), plots.OKABE_ITO, plots.MARKERS):
        axis.plot(group["tokens"], group["above"], marker=marker, color=colour, label=loss)
    axis.set(xscale="log", yscale="log", xlabel="tokens N", title="loss on 64 tokens" if few else "loss on all tokens")
    axis.set_xticks(lengths, lengths)
    axis.minorticks_off()
axes[0].set(ylabel="MiB above the model (GPU, SDPA)")
axes[0].legend()
at = losses[(losses["tokens"] == 2048) & (losses["labelled"] == 64)].set_index("loss")["above"]
logits_share = 1 - at["response"] / at["full"]
plots.show(figure, f"At 2,048 tokens logits at every position are {logits_share:.0%} of the memory above the model. With few labels both cures remove them; with labels everywhere only chunks do.")
verdict("18-what-the-hog-is", measured=100 * logits_share)

# %% [markdown]
# **Why.** A hidden state has 640 numbers a token, logits have 262,144: 410 times as many, in float32, and their gradient once more. Layers keep a great deal of small things, the loss a few of this size. A model with a small body and a large vocabulary is
# the worst case. Training on the response only makes the cure free, since nobody needs the logits of the prompt; notebook 04 trains that way on a CPU.

# %% [markdown]
# ## 3.7 · Unsloth against plain TRL and PEFT
#
# > Unsloth utilizes **Triton Kernels** to rewrite the most expensive part of the transformer: the **Backward Pass**.
#
# **Your bet:** of every 100 kernels that a training step of Gemma 3 starts under Unsloth, how many are hand-written Triton?

# %%
bet_kernels = exercises.bet("handwritten-kernels", "hand-written Triton kernels among 100 launches", low=0, high=100, step=5)

# %% [markdown]
# Thirty steps of four rows from the course's training data on one GPU, each way in a process of its own, from the same adapter, with the same rows in the same order. The plain process checks that Unsloth was never imported.

# %% tags=["nbval-ignore-output"]
runs = measured("run")
runs["way"] = runs["library"] + runs["checkpointing"].map({"False": "", "True": ", layers", "unsloth": ", offload"})
runs = runs.sort_values("way").set_index("way")
assert not runs.loc[["plain", "plain, layers"], "unsloth_imported"].any()
pandas.DataFrame({
    "ms a step (median)": (1000 * runs["median_seconds"]).round().astype(int), "first two steps, s": [round(sum(s[:2]), 1) for s in runs["seconds"]],
    "peak, GiB": [round(max(p) / 2**30, 2) for p in runs["peaks"]], "last loss": [round(float(np.mean(x[-5:])), 3) for x in runs["losses"]],
})  # fmt: skip

# %% tags=["nbval-ignore-output"]
figure, axes = plt.subplots(1, 2, figsize=(10, 3.4))
for (way, run), colour, marker in zip(runs.iterrows(), plots.OKABE_ITO, plots.MARKERS):
    axes[0].plot(run["losses"], color=colour, marker=marker, markersize=3, linewidth=1, label=way)
    axes[1].plot(np.cumsum(run["seconds"]), color=colour, marker=marker, markersize=3, linewidth=1)
axes[0].set(xlabel="step", ylabel="loss", yscale="log")
axes[1].set(xlabel="step", ylabel="seconds since the start")
axes[0].legend(fontsize=8)
plain, fast = runs.loc["plain"], runs.loc["unsloth"]
faster = plain["median_seconds"] / fast["median_seconds"]
pays = (sum(fast["seconds"][:2]) - sum(plain["seconds"][:2])) / (plain["median_seconds"] - fast["median_seconds"])
plots.show(figure, f"The losses lie on top of each other. Once compiled, a step of Unsloth is {faster:.1f} times as fast; compiling costs as much as it saves in {pays:.0f} steps.")

# %% [markdown]
# How close is that? The five losses start from the same adapter, so at step 0 they differ by rounding alone. From there each trains on its own rounding errors.

# %% tags=["nbval-ignore-output"]
curves = np.array(runs["losses"].tolist())  # (5 ways, 30 steps)
spread = curves.max(0) - curves.min(0)
print(f"apart at step 0: {spread[0]:.4f} of {curves[:, 0].mean():.2f}; median over steps {np.median(spread):.3f}; most, at step {spread.argmax()}: {spread.max():.3f} of {curves[:, spread.argmax()].mean():.2f}")
assert spread[0] < 0.01 and np.median(spread) < 0.05
cpu = {r["way"]: r for r in reference.load("cpu_step").results}
print(f"on two CPU cores: Trainer + PEFT {cpu['Trainer + PEFT']['median_seconds']:.1f} s a step, Unsloth {cpu['Unsloth']['median_seconds']:.1f} s (scripts/experiments/benchmark_step.py)")

# %% [markdown]
# One run of each, so a difference of a tenth in speed means little. Four of the runs share a host, whose CPUs had other work; "unsloth" was repeated on a second host of the same kind, where it was
# given more time to compile. On another CPU compiling takes longer or shorter.
#
# Is the backward pass the most expensive part? Here are both passes on a GPU, nothing checkpointed, without and with Unsloth.

# %% tags=["nbval-ignore-output"]
passes = measured("passes").set_index(["library", "batch", "tokens"])
passes = passes[["forward_seconds", "step_seconds"]]
passes["backward"] = 1 - passes["forward_seconds"] / passes["step_seconds"]
display(passes.style.format({"backward": "{:.0%}"}, precision=3))
plain_share, fast_share = (passes.loc[library, "backward"] for library in ("plain", "unsloth"))
ends = {"least": plain_share.min(), "most": plain_share.max()}
ends |= {"fast_least": fast_share.min(), "fast_most": fast_share.max()}
verdict("47-backward-most-expensive", measured=100 * plain_share.loc[(8, 1024)], **ends)

# %% [markdown]
# **Why.** Training all weights, a backward pass does twice the arithmetic of a forward pass: a gradient for the inputs and one for the weights. Here the weights are frozen, so the second half is done for the small adapters only. The times are
# medians of twenty on one host; a step of one row waits for kernels to start more than it computes, and moves by a fifth from run to run.
#
# Where does the speed come from? The profiler names every kernel of one step of 1,024 tokens, and the name tells the author: Inductor, which is `torch.compile`, begins its Triton kernels with `triton_`; hand-written ones
# have the names that Unsloth's files pass to `triton.jit`. A small Llama is counted the same way, so that a count of none would mean something.

# %% tags=["nbval-ignore-output"]
profiles = {r["library"]: r for r in gpu.results if r["kind"] == "kernels"}
counts = pandas.DataFrame({name: {origin: p["origins"].get(origin, {"count": 0})["count"] for origin in ("library", "torch.compile", "Triton by hand", "copy")} for name, p in profiles.items()})
counts = counts.rename(columns={"plain": "Gemma 3, plain", "unsloth": "Gemma 3, Unsloth", "llama": "small Llama, Unsloth"})
print("by hand on Gemma 3:", ", ".join(profiles["unsloth"]["origins"]["Triton by hand"]["names"]))
print("by hand on Llama:  ", ", ".join(profiles["llama"]["origins"]["Triton by hand"]["names"]))
counts

# %% tags=["nbval-ignore-output"]
by_hand = 100 * counts.loc["Triton by hand", "Gemma 3, Unsloth"] / counts["Gemma 3, Unsloth"].sum()
triton = counts.loc[["Triton by hand", "torch.compile"], "Gemma 3, Unsloth"].sum() / counts["Gemma 3, Unsloth"].sum()
micro = {origin: told["microseconds"] for origin, told in profiles["unsloth"]["origins"].items()}
of_time = (micro["Triton by hand"] + micro["torch.compile"]) / sum(micro.values())
verdict("14-unsloth-triton-backward", measured=by_hand, triton=triton, time=of_time)

# %% [markdown]
# **Why.** For Llama, Unsloth has hand-written norms, rotary embeddings and activations, and the counter sees them. Gemma 3 takes another path: the model's layers go through `torch.compile`, which writes Triton itself, and only the loss, a
# fused head and cross-entropy, is written by hand. It never makes the whole logits, which is why Unsloth's peak above is lower than the plain one before any checkpointing.
#
# What the ledger cannot follow is what compiled code allocates. The allocator's own recording can: who held the memory at the peak of that step?

# %% tags=["nbval-ignore-output"]
def at_peak(library):
    """MiB at the peak by holder; 'model' is what was there before the step."""
    p = profiles[library]
    named = {"model and gradients" if c == "before" else f"{m}: {k}": size / 2**20 for c, m, k, size in p["holders"]}
    return pandas.Series(named).round().astype(int).head(5), p["peak_bytes"] / p["history_bytes"]


for library in ("plain", "unsloth"):
    named, explained = at_peak(library)
    print(f"{library}: {profiles[library]['peak_bytes'] / 2**20:.0f} MiB, {min(explained, 1):.0%} of it named\n{named.to_string()}\n")

# %% [markdown]
# Under Unsloth half of the peak is buffers of compiled code and 64 MiB a buffer of the fused loss. In plain PyTorch the backward pass of the loss alone holds two copies of the logits' size.
#
# That step had 1,024 tokens, too few for Unsloth to offload anything. Here is one row of 4,096 in all three of its modes, each in a process of its own.

# %% tags=["nbval-ignore-output"]
held = measured("held").set_index("checkpointing").rename({"False": "none", "True": "layers", "unsloth": "offload"})
sizes = [(way, "model" if c == "before" else "compiled code" if m == "compiled code" else "other", size) for way, row in held["holders"].items() for c, m, _, size in row]
at_4096 = pandas.DataFrame(sizes, columns=["checkpointing", "holder", "bytes"]).pivot_table(index="checkpointing", columns="holder", values="bytes", aggfunc="sum")
at_4096 = at_4096.loc[["none", "layers", "offload"], ["model", "compiled code", "other"]]
at_4096["peak"] = held["peak_bytes"]
explained = at_4096[["model", "compiled code", "other"]].sum(axis=1) / at_4096["peak"]
assert explained.between(0.99, 1).all()
print(f"named: {explained.min():.2%} of each peak or more; copies to the host in a step:", {way: held["copies"][way]["DtoH"] for way in at_4096.index})
at_4096.style.format(lambda size: f"{size / 2**20:,.0f} MiB")

# %% [markdown]
# What the ledger cannot see has one name: buffers of compiled code. They are nearly all that a step adds to the model, 2,792 MiB without checkpointing, an eighth of it with layers. Offloading moves the inputs of 17 of 18 layers, 5 MiB each,
# and takes 58 MiB from those buffers, not 85; where the other 27 MiB are was not traced. Two buffers of 5 MiB that the copies go through stay on the GPU and count as model here. The three copies
# that are left in every mode are not of layer inputs.
#
# **What it cannot conclude.** One row, one step, one GPU. The record names who asked for the memory, not which of the many tensors inside the compiled code it holds.

# %% [markdown]
# ## 3.8 · Half precision on a T4
#
# The guide names no GPU. Colab's free one, a T4, has no bfloat16, and the usual way out is float16. That is not the guide's claim but the reader's question. float16 ends at 65,504. **Your bet:** the largest number that one layer hands to the next, over ordinary Arabic and English text

# %%
bet_largest = exercises.bet("largest-activation", "largest activation between layers, in thousands", low=0, high=200, step=5, unit="thousand")

# %% tags=["nbval-ignore-output"]
from helpers import checkpoints, dataset
from helpers.probes import architecture

texts = dataset.retention()
tokenizer, precise = checkpoints.load_tokenizer(checkpoint), checkpoints.load_model(checkpoint, dtype="float32", device="cpu")
batches = {f"{language} {i + 1}": tokenizer(text, return_tensors="pt").input_ids for language in ("arabic", "english") for i, text in enumerate(texts[language][:4])}
largest = {name: architecture.largest_activations(precise, [batch])["residual"] for name, batch in batches.items()}  # 18 numbers each
figure, axis = plt.subplots(figsize=(7.5, 3.2))
for name, values in largest.items():
    arabic = name.startswith("arabic")
    axis.plot(range(1, 19), values, color=plots.OKABE_ITO[not arabic], marker=plots.MARKERS[not arabic], markersize=4, linewidth=1, label=name.split()[0] if name.endswith("1") else None)
axis.axhline(65_504, color="black", linestyle="--", linewidth=1, label="largest float16 number")
axis.set(xlabel="layer", ylabel="largest |activation|", yscale="log")
axis.set_xticks(range(1, 19, 2))
axis.legend(fontsize=8)
tops = pandas.Series({name: max(values) for name, values in largest.items()})
plots.show(figure, f"Over eight passages the stream between layers reaches {tops.min():,.0f} to {tops.max():,.0f}; {(tops > 65_504).sum()} of them goes past float16's 65,504.")

# %% [markdown]
# In float16 such a number is infinite, and an infinity that meets a norm becomes NaN. So take the passage with the largest number and the one with the smallest, in float16:

# %%
precise = precise.half()
for name in (tops.idxmax(), tops.idxmin()):
    with torch.no_grad():
        logits = precise(input_ids=batches[name]).logits
    print(f"largest number {'over' if tops[name] > 65_504 else 'under'} 65,504: {logits.isnan().float().mean().item():.0%} of the logits are NaN")

# %% [markdown]
# All or nothing: one row in a batch is enough, and the loss of the whole step is gone. On a GPU 40 passages of each language were read in three dtypes.

# %% tags=["nbval-ignore-output"]
ranges = measured("range")
ranges["largest between layers"] = [max((v for v in r["residual"] if v is not None), default=float("nan")) if None not in r["residual"] else float("inf") for r in ranges["largest"]]
print(ranges[["dtype", "language", "passages", "largest between layers"]].to_string(index=False))
over = ranges[ranges["dtype"] == "float32"]["largest between layers"].max()
verdict("37-fp16-on-t4", measured=over / 65_504)

# %% [markdown]
# **What Unsloth does.** It keeps a list of model families that must not be trained in plain float16:

# %%
from unsloth_zoo.model_lists import FORCE_FLOAT32

print([name for name in FORCE_FLOAT32 if "gemma3" in name.replace("_", "")])
precise = unsloth_model = model = None  # their memory is wanted below

# %% [markdown]
# On a GPU without bfloat16, Unsloth 2026.10.9 gives these families a *mixture*, whatever dtype is asked for: the frozen weights and their matrix
# products stay in float16, where a T4 has fast units for them; the norms, the LoRA factors and the stream between layers, the one that overflows, are
# float32. The mixture is made by replacing Gemma 3's classes for the whole process. A plain float32 model in the same process then stops with
# *expected m1 and m2 to have the same dtype*. A test of the course loads a small Gemma 3 both ways and sees both (`tests/helpers/test_training.py`).
#
# **What this course does on a T4.** It asks for float32 and takes Gemma 3 off that list while it loads. Unsloth then trains as it was asked to, in float32
# throughout, and says so. Three reasons. Notebook 04 holds plain models beside the trained one, and both must run. What a T4 measures is then
# what two cores measure. And the price can be paid: of a T4's 14.7 GiB the weights take 1.07 GB instead of 0.54.
# What it costs in time is not known, because no T4 was at hand: a T4's float16 units are rated eight times as fast as its float32 ones (NVIDIA's T4 data
# sheet: 65 and 8.1 TFLOPS), and how much of that the mixture would win here was not measured. For a model of your own that is trained alone
# Unsloth's mixture may well be the better choice. `fp16=True` in a trainer of your own, without Unsloth, is the wrong one: it puts the stream into float16 as well.

# %% [markdown]
# ## 3.9 · NF4 from nothing
#
# Four bits name 16 numbers. Which 16? QLoRA's authors take weights to be normally distributed, and put the levels at *quantiles* of a normal distribution, so that each is used
# about as often as any other. Two details make it NF4. Zero must be a level, so the two sides are cut apart: seven levels below zero, eight above. And the outermost
# quantile cannot be at probability 1, where it would be infinite. It is at $1 - \delta$, where δ is the mean of 1/32 and 1/30: the middle of the outermost of 16, and of 15, equal cells.

# %%
import bitsandbytes.functional as bnb
from scipy.stats import bootstrap, norm
from tqdm import tqdm

from helpers import environment, scoring
from helpers.probes import quantization

# %%
outermost = 1 - (1 / 32 + 1 / 30) / 2
positive = norm.ppf(torch.linspace(0.5, outermost, 9))[1:]  # 8 of them; the first of nine is 0
negative = -norm.ppf(torch.linspace(0.5, outermost, 8))[:0:-1]  # 7, ascending
levels = torch.tensor([*negative, 0.0, *positive])  # (16,)
levels = (levels / levels.max()).float()
table = bnb.get_4bit_type("nf4", device="cpu")
print("levels below, at and above zero:", *((levels < 0).sum().item(), (levels == 0).sum().item(), (levels > 0).sum().item()))
print("bitsandbytes' table, to 1e-6:", bool((levels - table).abs().max() < 1e-6), "  the course's helper:", torch.equal(levels, quantization.nf4_levels()))

# %% [markdown]
# The levels reach from −1 to 1 and the weights do not. So a matrix is cut into blocks of 64 weights, each block is divided by its largest absolute value, the *scale*, and each weight
# becomes the number of the nearest level. We do it to a real matrix, and let bitsandbytes do it too. It packs two codes into a byte.

# %%
base = checkpoints.ensure("gemma")  # the packaged base, on every machine: section 3.10 needs to know its grid
exact = checkpoints.load_model(base, dtype="float32", device="cpu").requires_grad_(False)
W = exact.model.layers[0].mlp.gate_proj.weight  # (2048, 640)


def quantize(x, levels, block=64):
    """Numbers of the nearest levels (x's shape) and the scales (blocks,)."""
    blocks = x.reshape(-1, block)  # (blocks, 64)
    scales = blocks.abs().amax(1)
    between = (levels[:-1] + levels[1:]) / 2  # (15,): where one level's cell ends and the next begins
    return torch.bucketize(blocks / scales[:, None], between).reshape(x.shape), scales


def dequantize(codes, scales, levels):
    """What the codes stand for."""
    return (levels[codes].reshape(len(scales), -1) * scales[:, None]).reshape(codes.shape)


# %%
codes, scales = quantize(W, table)
packed, state = bnb.quantize_4bit(W, blocksize=64, quant_type="nf4", compress_statistics=False)
ours = dequantize(codes, scales, table)
print("codes and scales:", torch.equal((codes.flatten()[0::2] << 4 | codes.flatten()[1::2]).to(torch.uint8), packed.flatten()), torch.equal(scales, state.absmax))
print("and back:", torch.equal(ours, bnb.dequantize_4bit(packed, state)), "  the course's helper:", torch.equal(ours, quantization.round_trip(W, table)))

# %% [markdown]
# Equal to the bit, there and back.

# %% [markdown]
# ## 3.10 · Does it fit real weights?
#
# > NF4 assumes the weights follow a normal distribution and maps them to 16 discrete levels.
#
# *Assumes* can be tested. The levels should beat an even grid of 16 on normal numbers, lose to it on uniform ones, and beat it on the weights of this model. We count in decibels of signal-to-noise
# ratio, $10 \log_{10}(\sum w^2 / \sum (w - \hat w)^2)$: 3 dB is half the squared error.
#
# **Your bet:** on this model's weights, how many dB is NF4 ahead of the even grid?

# %%
bet_gain = exercises.bet("nf4-ahead", "dB that NF4 is ahead of an even grid on real weights", low=-3.0, high=6.0, step=0.25, unit="dB")

# %% [markdown]
# First a bias. Our base came out of a file that was [quantized](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md#quantization) already, mostly to Q5_0: integers from −16 to 15, with one scale for 32 weights, whose largest is −16. Such weights show it. Divide each
# block of 32 by a sixteenth of its largest, and they are whole numbers.

# %% tags=["nbval-ignore-output"]
linears = {name: m.weight for name, m in exact.named_modules() if isinstance(m, torch.nn.Linear) and m is not exact.lm_head}
cells = {name: quantization.q5_0_cells(w) for name, w in linears.items()}
on_grid = {name: c for name, c in cells.items() if c is not None}
share = sum(linears[name].numel() for name in on_grid) / sum(w.numel() for w in linears.values())
steps = W.flatten()[:32] / (W.flatten()[:32].abs().max() / 16)
print("32 weights of the first row:", [round(v, 1) for v in steps[:16].tolist()], "…")
print(f"{len(on_grid)} of {len(linears)} matrices, {share:.0%} of their weights, lie on the grid of Q5_0")

# %% [markdown]
# Whole multiples of one number are not what NF4 meets in a model that was never quantized. So each weight is moved, at random, within the cell it was rounded into (*dithered*): that is where it came from, as far as
# anyone can tell. Both versions are measured, so that the bias is seen. On the left all weights of the matrix, after division by their block's scale; on the right how often each level is used.

# %% tags=["nbval-ignore-output"]
even = quantization.uniform_levels()  # 16 evenly spaced levels, the baseline
off_grid = quantization.dithered(W, on_grid["model.layers.0.mlp.gate_proj"], seed=0)
used = {name: np.bincount(quantize(off_grid, grid)[0].flatten(), minlength=16) / W.numel() for name, grid in (("NF4", table), ("even grid", even))}
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.2))
for x, name, colour, filled in ((W, "as packaged", plots.OKABE_ITO[4], "stepfilled"), (off_grid, "dithered", "black", "step")):
    inside = (x.reshape(-1, 64) / x.reshape(-1, 64).abs().amax(1, keepdim=True)).flatten()
    left.hist(inside.numpy(), bins=200, density=True, histtype=filled, color=colour, alpha=0.7, label=name)
for (name, grid), y, marker, colour in zip((("NF4", table), ("even grid", even)), (-0.25, -0.6), plots.MARKERS, plots.OKABE_ITO):
    left.plot(grid, torch.full((16,), y), marker, color=colour, markersize=5)
    right.plot(range(16), used[name], marker=marker, markersize=4, color=colour, label=name)
left.set(xlabel="weight / scale of its block (marks: the levels)", ylabel="density")
right.axhline(1 / 16, color="black", linewidth=0.8)
right.set(xlabel="number of the level", ylabel="share of the weights", ylim=(0, None))
left.legend(fontsize=8)
right.legend()
most = {name: share.max() for name, share in used.items()}
plots.show(figure, f"As packaged the weights are a comb, dithered a bell. NF4's busiest level takes {most['NF4']:.0%} of them, the even grid's {most['even grid']:.0%}; equal shares would be {1 / 16:.0%}.")

# %% [markdown]
# Now four kinds of numbers and two grids. An interval is over 24 draws for the synthetic ones, and over matrices for the real ones, whose dither is averaged over three seeds.

# %% tags=["nbval-ignore-output"]
def both(x):
    """SNR in dB with NF4 and with the even grid: (2,)."""
    return np.array([quantization.snr(x, quantization.round_trip(x, grid)) for grid in (table, even)])


def random(seed, kind):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(2**18, generator=draw) if kind == "normal" else 2 * torch.rand(2**18, generator=draw) - 1


ratios = {kind: np.array([both(random(seed, kind)) for seed in range(24)]) for kind in ("normal", "uniform")}  # (24, 2)
rows = {"as packaged": [], "dithered": []}
for name, c in tqdm(on_grid.items(), desc="quantizing", unit="matrix", file=sys.stdout):
    rows["as packaged"].append(both(linears[name]))
    rows["dithered"].append(np.mean([both(quantization.dithered(linears[name], c, seed)) for seed in range(3)], axis=0))
ratios |= {f"real, {kind}": np.array(found) for kind, found in rows.items()}  # (matrices, 2)

# %% [markdown]
# In the figure a point is a mean; its interval is narrower than the mark for the synthetic numbers.

# %% tags=["nbval-ignore-output"]
def interval(values, statistic=np.mean):
    """(mean, low, high): 95 %, percentile bootstrap over the first axis."""
    found = bootstrap((values,), statistic, method="percentile", n_resamples=2000, rng=0).confidence_interval
    return float(statistic(values)), float(found.low), float(found.high)


figure, axis = plt.subplots(figsize=(7.5, 2.8))
for column, (name, marker) in enumerate(zip(("NF4", "even grid"), plots.MARKERS)):
    found = np.array([interval(r[:, column]) for r in ratios.values()])  # (4, 3)
    reach = np.abs(found[:, 1:] - found[:, :1]).T
    axis.errorbar(found[:, 0], range(4), xerr=reach, fmt=marker, color=plots.OKABE_ITO[column], capsize=3, label=name)
axis.set(xlabel="signal-to-noise ratio, dB (more is better)", yticks=range(4), yticklabels=list(ratios), ylim=(3.5, -0.5))
axis.legend()
ahead = {kind: interval(r[:, 0] - r[:, 1]) for kind, r in ratios.items()}
plots.show(figure, "NF4 minus the even grid: " + ", ".join(f"{kind} {mean:+.2f} dB" for kind, (mean, _, _) in ahead.items()) + ".")
assert ahead["normal"][1] > 0 > ahead["uniform"][2] and ahead["real, as packaged"][1] > ahead["real, dithered"][2]

# %% tags=["nbval-ignore-output"]
print("  ".join(f"{kind} {mean:+.2f} [{low:.2f}, {high:.2f}]" for kind, (mean, low, high) in ahead.items()))
real, low, high = ahead["real, dithered"]
verdict("19-nf4-sixteen-levels", measured=real, low=low, high=high, normal=ahead["normal"][0], uniform=ahead["uniform"][0])

# %% [markdown]
# **Why more on real weights than on normal ones?** Perhaps because their tails are heavier: a few large weights stretch a block's scale, and the rest huddle near zero, where NF4 has its levels. That can be looked at.

# %% tags=["nbval-ignore-output"]
def reach(x):
    """Largest of a block over its root mean square, averaged over blocks of 64."""
    blocks = x.reshape(-1, 64)
    return float((blocks.abs().amax(1) / blocks.square().mean(1).sqrt()).mean())


of_matrices = interval(np.array([reach(quantization.dithered(linears[name], c, 0)) for name, c in on_grid.items()]))
print(f"largest weight of 64, in root mean squares: normal {reach(random(0, 'normal')):.2f}, real {of_matrices[0]:.2f} [{of_matrices[1]:.2f}, {of_matrices[2]:.2f}]")

# %% [markdown]
# The bias was real as well: on the old grid NF4 looks better than it is, and the even grid worse.
#
# *Made for* is not *best for*. Quantiles give each level the same share of the weights, which is not the same as the least squared error. Levels fitted to normal blocks by Lloyd's
# iterations, and judged on other draws:

# %% tags=["nbval-ignore-output"]
fitted = quantization.fitted_levels(torch.cat([random(seed, "normal") for seed in range(100, 104)]))
fitted_ahead = interval(np.array([quantization.snr(x, quantization.round_trip(x, fitted)) for x in (random(seed, "normal") for seed in range(24))]) - ratios["normal"][:, 0])
print(f"fitted levels, on normal numbers: {fitted_ahead[0]:+.2f} dB [{fitted_ahead[1]:.2f}, {fitted_ahead[2]:.2f}] over NF4; they have a level at 0: {bool((fitted == 0).any())}")
print(f"on layer 0's gate_proj: {quantization.snr(off_grid, quantization.round_trip(off_grid, fitted)) - both(off_grid)[0]:+.2f} dB over NF4")

# %% [markdown]
# They give up two things that NF4 keeps: an exact zero, and the block's largest weight.

# %% [markdown]
# ## 3.11 · What does double quantization really save?
#
# > quantizing the quantization constants themselves, saving an extra 0.5 bits per parameter
#
# Each block of 64 weights carries a scale of 32 bits. Before counting bytes, count on your fingers: what do the scales cost a weight?
#
# **Your bet:** how many bits per weight does double quantization save?

# %%
bet_saving = exercises.bet("dq-saving", "bits per weight that double quantization saves", low=0.0, high=0.6, step=0.05, unit="bits")

# %% [markdown]
# We ask the library that does it. `quantize_4bit` returns a `QuantState` with all that is needed to undo it. Its tensors are the overhead, and tensors can be weighed.

# %%
states = {double: bnb.quantize_4bit(W, blocksize=64, quant_type="nf4", compress_statistics=double)[1] for double in (False, True)}
parts = {double: quantization.state_bytes(state) for double, state in states.items()}
double = states[True]
print(f"plain:  {tuple(states[False].absmax.shape)} scales of {states[False].absmax.dtype}")
print(f"double: {tuple(double.absmax.shape)} of {double.absmax.dtype}, {tuple(double.state2.absmax.shape)} of {double.state2.absmax.dtype} for blocks of {double.state2.blocksize}, and an offset of {double.offset.dtype}")
print("bytes:", parts)

# %% [markdown]
# So the scales, once their mean is taken off, are quantized themselves: to 8 bits, in blocks of 256.
#
# $$ \frac{32}{64} - \left(\frac{8}{64} + \frac{32}{64 \cdot 256}\right) = 0.5 - 0.127 = 0.373 \text{ bits.} $$

# %%
def overhead(double, *kinds):
    """Bits per weight that a QuantState's parts take."""
    return 8 * sum(parts[double][kind] for kind in kinds) / W.numel()


saved = overhead(False, "scales") - overhead(True, "scales", "second level")
print(f"bits per weight: {4 + overhead(False, 'scales'):.3f} plain, {4 + overhead(True, 'scales', 'second level'):.3f} double")
print(f"by the formula:  {quantization.bits_per_parameter():.3f} plain, {quantization.bits_per_parameter(scale_bits=8, second_block=256):.3f} double")

# %% [markdown]
# Byte by byte, what stands on top of the four bits:

# %%
figure, axis = plt.subplots(figsize=(7.5, 1.9))
left = np.zeros(2)
for kind, colour, hatch in zip(("scales", "second level", "tables"), plots.OKABE_ITO, plots.HATCHES):
    width = np.array([overhead(d, kind) for d in (False, True)])
    axis.barh(["plain", "double"], width, left=left, color=colour, hatch=hatch, edgecolor="white", label=kind)
    left += width
axis.axvline(0.5, color="black", linewidth=0.8)
axis.set(xlabel="bits per weight on top of the 4")
axis.invert_yaxis()
axis.legend(ncols=3, loc="lower right", fontsize=8)
plots.show(figure, f"Half a bit is what the scales cost before. Doubly quantized they cost {overhead(True, 'scales', 'second level'):.3f}: {saved:.3f} bits are saved, not 0.5.")

# %%
verdict("20-double-quantization", measured=round(saved, 4), plain=4 + overhead(False, "scales"), double=4 + overhead(True, "scales", "second level"))

# %% [markdown]
# **Why not 0.5?** To save half a bit, the scales would have to become free. Three quarters of it is what 8-bit scales save. One thing more is kept: a lookup table of 1 KiB for the second level, which in this library belongs to each
# matrix. The smallest here has 163,840 weights, so the table alone takes 0.05 bits of each.
#
# What is the price in accuracy?

# %% tags=["nbval-ignore-output"]
for d in (False, True):
    print("double" if d else "plain ", f"{quantization.snr(W, bnb.dequantize_4bit(*bnb.quantize_4bit(W, blocksize=64, quant_type='nf4', compress_statistics=d))):.3f} dB")

# %% [markdown]
# A hundredth of a decibel. Double quantization is close to free; it is only smaller than said.

# %% [markdown]
# ## 3.12 · Does 4-bit loading help here?
#
# "If you use 4-bit", says the guide, and not why one would. Readers do it so that a model fits.
#
# **Your bet:** bfloat16 takes 16 bits a weight, NF4 a little over 4. After a 4-bit load of this model, how many percent of its bytes are left?

# %%
bet_left = exercises.bet("bytes-left", "of the bfloat16 bytes are left after a 4-bit load", low=20, high=100, step=5, unit="%")

# %% [markdown]
# The real model, loaded twice through transformers and bitsandbytes, on a CPU: it takes seconds. One thing first. A CPU with AVX512-BF16 repacks every weight at the first forward pass, which rounds scales to
# bfloat16 and undoes the double quantization. `load_4bit` switches that off, as Unsloth does, so that all machines measure the same.

# %%
full = checkpoints.load_model(base, dtype="bfloat16", device="cpu").requires_grad_(False)
nf4, nf4_double = (quantization.load_4bit(base, double).requires_grad_(False) for double in (False, True))
models = {"bfloat16": full, "NF4": nf4, "NF4, double": nf4_double}
for name, model in models.items():
    print(f"{name:<12} get_memory_footprint {model.get_memory_footprint() / 1e6:6.1f} MB   4-bit matrices {len(quantization.linears(model))}")

# %% [markdown]
# The two 4-bit models have the same footprint, to the byte. Should double quantization not show? `get_memory_footprint` counts parameters and buffers, and a `QuantState` is neither: the scales are left out. So we weigh every part.

# %%
weights = pandas.DataFrame({name: quantization.model_bytes(model) for name, model in models.items()}).T  # bytes
weights.loc["bfloat16", "linear layers"] = sum(2 * w.numel() for w in linears.values())
weights.loc["bfloat16", "other"] -= weights.loc["bfloat16", "linear layers"]
weights["linear layers"] = weights["linear layers"].fillna(weights["packed"])
weights = weights[["embedding", "linear layers", "scales", "other"]]
left_of = weights.sum(axis=1) / weights.loc["bfloat16"].sum()
(weights / 1e6).round(2).assign(total=(weights.sum(axis=1) / 1e6).round(1), left=left_of.map("{:.1%}".format))

# %%
figure, axis = plt.subplots(figsize=(7.5, 2.1))
start = np.zeros(3)
for kind, colour, hatch in zip(weights, plots.OKABE_ITO, plots.HATCHES):
    axis.barh(weights.index, weights[kind] / 1e6, left=start, color=colour, hatch=hatch, edgecolor="white", label=kind)
    start += weights[kind].to_numpy() / 1e6
axis.set(xlabel="MB")
axis.invert_yaxis()
axis.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=8)
shrunk = weights.loc["bfloat16", "linear layers"] / weights.loc["bfloat16"].sum()
plots.show(figure, f"The embedding, untouched, is {weights.loc['NF4', 'embedding'] / weights.loc['NF4'].sum():.0%} of the 4-bit model. The linear layers were {shrunk:.0%} of the bytes; {left_of['NF4, double']:.0%} of all bytes are left.")

# %% [markdown]
# ### What it costs, in two languages
#
# Bytes are one side. The other is how far the 4-bit model's next-token distribution is from the bfloat16 model's: their KL divergence in nats, over the whole vocabulary, at every token of every second of the 40 English and 40 Arabic passages of
# `retention.yaml`. bfloat16 is itself a rounding, so the third line is a control: bfloat16 against float32.

# %%
tokenizer = checkpoints.load_tokenizer(base)
texts = dataset.retention()
passages = {language: [tokenizer("<bos>" + text, add_special_tokens=False, return_tensors="pt").input_ids for text in texts[language]] for language in ("english", "arabic")}


def logits(model, ids):
    """(N, V)"""
    with torch.no_grad():
        return model(ids).logits[0].float()


def kl(p_logits, q_logits):
    """KL(p ‖ q) at every position: (N,)."""
    log_p, log_q = p_logits.log_softmax(-1), q_logits.log_softmax(-1)  # (N, V)
    return (log_p.exp() * (log_p - log_q)).sum(-1)


# %% tags=["nbval-ignore-output"]
def divergences(reference, others, every=1):
    """{name: {language: (KL summed over each passage's tokens, tokens of each passage)}}, over every n-th passage."""
    found = {name: {language: ([], []) for language in passages} for name in others}
    chosen = [(language, ids) for language, all_of_it in passages.items() for ids in all_of_it[::every]]
    for language, ids in tqdm(chosen, desc="passages", unit="passage", file=sys.stdout):
        p = logits(reference, ids)
        for name, other in others.items():
            found[name][language][0].append(kl(p, logits(other, ids)).sum().item())
            found[name][language][1].append(ids.shape[1])
    return {name: {language: tuple(map(np.array, pair)) for language, pair in each.items()} for name, each in found.items()}


shifts = divergences(full, {"NF4": nf4, "NF4, double": nf4_double}, every=2)
shifts |= divergences(exact, {"bfloat16 (control)": full}, every=8)
sample = logits(full, passages["arabic"][0]), logits(nf4, passages["arabic"][0])
print("the helper agrees:", torch.allclose(kl(*sample), scoring.token_kl(*sample)))

# %% [markdown]
# Two questions are left. Would *our* NF4 give the same logits? We write it into a copy of the model and compare with bitsandbytes. And what does the old grid do to these figures? The weights that lie on it are dithered
# in a second copy, and the first is quantized from that, once to NF4 and once to the even grid. Every sixth passage will do.

# %% tags=["nbval-ignore-output"]
exact = None  # the float32 linear layers stay
nf4_double = models = model = None
copy, dithered = (checkpoints.load_model(base, dtype="bfloat16", device="cpu").requires_grad_(False) for _ in range(2))


def rewritten(source, grid):
    """The copy, every linear layer of it quantized from the source's to a grid and back."""
    for name in linears:
        copy.get_submodule(name).weight.copy_(quantization.round_trip(source.get_submodule(name).weight, grid))
    return copy


same = (logits(rewritten(full, table), passages["arabic"][0]) - logits(nf4, passages["arabic"][0])).abs().max().item()
print("largest difference between our model's logits and bitsandbytes':", same)
assert same < 0.5  # exactly 0 where the matrix products are the same
for name, c in on_grid.items():
    dithered.get_submodule(name).weight.copy_(quantization.dithered(linears[name], c, seed=0))
shifts |= divergences(dithered, {"NF4, dithered": rewritten(dithered, table)}, every=6)
shifts |= divergences(dithered, {"even grid, dithered": rewritten(dithered, even)}, every=6)

# %% [markdown]
# Tokens of one passage are not independent, so for the intervals whole passages are drawn again.

# %% tags=["nbval-ignore-output"]
def per_token(sums, tokens):
    """(mean per token, low, high): 95 %, percentile bootstrap over passages. With another model's sums for tokens: a ratio of the two."""
    found = bootstrap((sums, tokens), lambda s, n, axis: s.sum(axis) / n.sum(axis), paired=True, method="percentile", n_resamples=2000, rng=0)
    return float(sums.sum() / tokens.sum()), float(found.confidence_interval.low), float(found.confidence_interval.high)


distance = {(name, language): per_token(*pair) for name, each in shifts.items() for language, pair in each.items()}
pandas.DataFrame({language: {name: "{:.4f} [{:.4f}, {:.4f}]".format(*distance[name, language]) for name in shifts} for language in passages})

# %% tags=["nbval-ignore-output"]
figure, axis = plt.subplots(figsize=(7.5, 3.4))
for shift, language, marker, colour in zip((-0.15, 0.15), passages, plots.MARKERS, plots.OKABE_ITO):
    for y, (name, each) in enumerate(shifts.items()):
        sums, tokens = each[language]
        mean, low, high = distance[name, language]
        axis.plot(sums / tokens, np.full(len(sums), y + shift), marker, color=colour, alpha=0.2, markersize=4)
        axis.errorbar(mean, y + shift, xerr=[[mean - low], [high - mean]], fmt=marker, color=colour, capsize=3, label=None if y else language)
axis.set(xscale="log", xlabel="KL in nats per token (faint: one passage each)", yticks=range(len(shifts)), yticklabels=list(shifts))
axis.invert_yaxis()
axis.legend(loc="lower left")
against = {language: f"{distance['NF4', language][0]:.2f}" for language in passages}
times = distance["NF4", "arabic"][0] / distance["NF4", "english"][0]
plots.show(figure, f"NF4 moves Arabic {times:.1f} times as far as English ({against['arabic']} against {against['english']} nats a token); double quantization lies on top of it, an even grid well beyond, bfloat16's own rounding far below.")

# %% [markdown]
# The same as ratios, paired by passage: double against plain, dithered against packaged, the even grid against NF4.

# %% tags=["nbval-ignore-output"]
def ratio(a, b, language, every=1):
    return per_token(shifts[a][language][0], shifts[b][language][0][::every])


pairs = {"double / plain": ("NF4, double", "NF4"), "dithered / as packaged": ("NF4, dithered", "NF4", 3), "even grid / NF4": ("even grid, dithered", "NF4, dithered")}
ratios_of = {name: {language: ratio(*pair[:2], language, *pair[2:]) for language in passages} for name, pair in pairs.items()}
pandas.DataFrame({language: {name: "{:.3f} [{:.3f}, {:.3f}]".format(*each[language]) for name, each in ratios_of.items()} for language in passages})

# %% [markdown]
# That little more than a decibel of section 3.10 is worth a lot in the model. In English the old grid flatters NF4, so the first two rows of the figure are too low there; in Arabic seven passages cannot tell. Arabic stays further away than English with it and without. The verdict is about
# bytes; this was the price.

# %% tags=["nbval-ignore-output"]
assert distance["NF4", "arabic"][1] > distance["NF4", "english"][2] and distance["NF4, dithered", "arabic"][1] > distance["NF4, dithered", "english"][2]
freed = weights.loc["bfloat16"].sum() - weights.loc["NF4, double"].sum()
print(f"freed: {freed / 1e6:.0f} MB, what the float32 logits of {freed / (4 * full.config.vocab_size):.0f} tokens take; noise in the quantized weights: {10 ** (-ratios['real, dithered'][:, 0].mean() / 20):.1%} of their size")
verdict("21-four-bit-helps", measured=float(left_of["NF4, double"]), times=times)

# %% [markdown]
# **Why so little?** bitsandbytes quantizes linear layers. In a model of seven billion parameters they are nearly all of it; here the embedding, which is also the output head, is 63 % of the parameters and stays as it was. What is
# freed is small beside what a training step keeps for its logits, and in exchange the frozen weights are wrong by nearly a tenth of their size before training starts.
#
# **What it cannot conclude.** KL on plain passages says how far the base model moves, not how many calls a fine-tuned one gets right: an adapter trained on 4-bit weights can learn to make up for them. The passages of the two
# languages are not translations of each other. On a GPU other kernels run, and speed was not measured.

# %% [markdown]
# ## 3.13 · Does Unsloth use double quantization?
#
# > Unsloth then uses **Double Quantization**, quantizing the quantization constants themselves
#
# **Your bet:** of this model's 126 quantized matrices, how many have scales that are quantized themselves?

# %%
bet_nested = exercises.bet("nested", "of 126 matrices, with nested scales", low=0, high=126, step=1)

# %% [markdown]
# We load the model as a reader of the guide would, with `load_in_4bit=True` and nothing else, and read the configuration that Unsloth built. A flag is only a wish, so we also count the weights whose scales really are nested.

# %%
from unsloth import FastModel

full = copy = dithered = nf4 = None
with environment.quiet():
    unsloths, _ = FastModel.from_pretrained(base.path, max_seq_length=512, load_in_4bit=True)
asked = unsloths.config.quantization_config
quantized = quantization.linears(unsloths)
nested = sum(m.weight.quant_state.nested for m in quantized.values())
print(f"{asked.bnb_4bit_quant_type}, bnb_4bit_use_double_quant {asked.bnb_4bit_use_double_quant}; {nested} of {len(quantized)} weights have nested scales")

# %% [markdown]
# On a CPU this ran Unsloth's CPU loader; a GPU takes another path through its code. So we also read the source, and list every 4-bit configuration that its loaders construct.

# %%
import ast
import importlib.util
import pathlib

constructed = {}
for package, file in (("unsloth_zoo", "cpu/loader.py"), ("unsloth", "models/llama.py"), ("unsloth", "models/vision.py")):
    folder = importlib.util.find_spec(package).submodule_search_locations[0]
    calls = [n for n in ast.walk(ast.parse((pathlib.Path(folder) / file).read_text(encoding="utf-8"))) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "BitsAndBytesConfig"]
    given = [{k.arg: k.value.value for k in call.keywords if isinstance(k.value, ast.Constant)} for call in calls]
    constructed[f"{package}/{file}"] = [g.get("bnb_4bit_use_double_quant", False) for g in given if g.get("load_in_4bit")]
print(constructed)
assert all(flags and all(flags) for flags in constructed.values())

# %% [markdown]
# All of them set it.

# %%
scales_freed = weights.loc["NF4", "scales"] - weights.loc["NF4, double", "scales"]
print(f"what it saves in this model: {scales_freed / 1e6:.1f} MB of {weights.loc['bfloat16'].sum() / 1e6:.0f} MB")
verdict("41-uses-double-quantization", measured=(asked.bnb_4bit_use_double_quant, nested, len(quantized)))

# %% [markdown]
# **So the guide is right that it is used**, and wrong about what it saves: 0.373 bits for each of 37 % of the parameters.

# %% [markdown]
# ## 3.14 · Exercises

# %% [markdown]
# <!-- exercise 3.1 -->
# **Exercise 3.1 · Whose bytes are they?** (★★☆, 10 minutes)
#
# Write `held_bytes(tensors)`: the bytes that a list of tensors keeps alive. Several may be views of one storage, and a view keeps all of it.
#
# <details><summary>Hint 1</summary>
#
# `t.untyped_storage()` is what a tensor is a view of; it has `data_ptr()` and `nbytes()`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Put the storages into a dict by their address, then sum.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def held_bytes(tensors):
#     storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
#     return sum(storages.values())
# ```
#
# </details>

# %%
def held_bytes(tensors):
    ...


exercises.check("3.1", held_bytes)

# %% [markdown]
# <!-- exercise 3.2 -->
# **Exercise 3.2 · Will it travel?** (★☆☆, 5 minutes)
#
# Unsloth moves a layer's input to the host if its bfloat16 numbers take more than 2 MiB. Write `is_offloaded(tokens, hidden)` for a batch of so many tokens and a model of that width.
#
# <details><summary>Hint 1</summary>
#
# bfloat16 takes two bytes a number.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# A MiB is 2²⁰ bytes, and *more than* leaves out equality.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def is_offloaded(tokens, hidden):
#     return tokens * hidden * 2 > 2 * 2**20
# ```
#
# </details>

# %%
def is_offloaded(tokens, hidden):
    ...


exercises.check("3.2", is_offloaded)

# %% [markdown]
# <!-- exercise 3.3 -->
# **Exercise 3.3 · A block by hand** (★★☆, 10 minutes)
#
# Write `nf4_block(x, levels)`: one block of weights, x of shape (n,), quantized to the 16 `levels` and back, without a helper.
#
# <details><summary>Hint 1</summary>
#
# The scale is `x.abs().max()`; after dividing by it every weight lies between -1 and 1.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `(x[:, None] / scale - levels).abs()` is (n, 16): the distance of each weight from each level.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def nf4_block(x, levels):
#     scale = x.abs().max()
#     nearest = (x[:, None] / scale - levels).abs().argmin(1)
#     return levels[nearest] * scale
# ```
#
# </details>

# %%
def nf4_block(x, levels):
    ...


exercises.check("3.3", nf4_block)

# %% [markdown]
# <!-- exercise 3.4 -->
# **Exercise 3.4 · Bits per parameter** (★☆☆, 5 minutes)
#
# Write `bits(block, second_block)`: bits per parameter of 4-bit weights with an 8-bit scale for every `block` weights and a 32-bit one for every `second_block` scales.
#
# <details><summary>Hint 1</summary>
#
# One 8-bit scale shared by `block` weights costs each of them 8 / block bits.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# One 32-bit number shared by `second_block` scales is shared by `block * second_block` weights.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def bits(block, second_block):
#     return 4 + 8 / block + 32 / (block * second_block)
# ```
#
# </details>

# %%
def bits(block, second_block):
    ...


exercises.check("3.4", bits)

# %% [markdown]
# ## 3.15 · Recap
#
# Your bets beside what was measured.

# %% tags=["nbval-ignore-output"]
exercises.recap({
    "inputs-kept": inputs_kept,
    "projection-calls": per_layer,
    "offload-tokens": offloaded,
    "growth": grown["eager, layer"],
    "logits-share": 100 * logits_share,
    "handwritten-kernels": by_hand,
    "largest-activation": over / 1000,
    "nf4-ahead": ahead["real, dithered"][0],
    "dq-saving": saved,
    "bytes-left": 100 * left_of["NF4, double"],
    "nested": nested,
})

# %% [markdown]
# **What this notebook cannot tell.** Times and peaks are those of one kind of GPU, a large one, and of single runs; which way is fastest on a T4 was not measured. The ledger counts tensors, so what an allocator loses between blocks
# does not appear in it.
#
# **Quiz 1.** A step with plain PyTorch runs out of memory at 2,048 tokens. Labels are on the last 60. What helps most, at no cost in time?
#
# <details><summary>A · Checkpointing at every layer.</summary>
#
# It helps, but each layer then runs twice, and the logits, the larger part here, stay.
#
# </details>
# <details><summary>B · Logits at the labels only.</summary>
#
# Yes. Logits of 2,048 positions are 2 GiB in float32, with their gradient twice that; 60 of them are 60 MiB.
#
# </details>
# <details><summary>C · Loading the model in 4 bits.</summary>
#
# The linear layers take 200 MB in bfloat16. All that could be saved there is a tenth of the logits.
#
# </details>
#
# **Quiz 2.** You double the sequence length. With checkpointing at every layer and eager attention, memory nearly quadruples. Why?
#
# <details><summary>A · Checkpointing is not on: it makes memory linear.</summary>
#
# It divides what the layers keep. It does not change what one layer needs while it runs.
#
# </details>
# <details><summary>B · The layer inputs grow with N².</summary>
#
# They grow with N: 1,280 bytes a token and layer.
#
# </details>
# <details><summary>C · The layer that is being run again makes its N × N scores.</summary>
#
# Yes. One layer's are enough. SDPA or FlashAttention never makes them.
#
# </details>
#
# **Quiz 3.** A model of seven billion parameters is loaded with NF4 and double quantization. About how much does double quantization save?
#
# <details><summary>A · 0.44 GB: half a bit for each parameter.</summary>
#
# Half a bit is what the scales cost without it. They do not become free.
#
# </details>
# <details><summary>B · 0.33 GB.</summary>
#
# Yes: 0.373 bits times seven billion, divided by eight. There, nearly all parameters are in linear layers.
#
# </details>
# <details><summary>C · Nothing that matters, as in this notebook.</summary>
#
# Here it is a few megabytes, since the model is small and most of it is an embedding. It grows with the linear layers.
#
# </details>
#
# **To read:** *Training Deep Nets with Sublinear Memory Cost* (arXiv 1604.06174); *FlashAttention* (arXiv 2205.14135); *QLoRA* (arXiv 2305.14314); *Cut Your Losses in Large-Vocabulary Language Models* (arXiv 2411.09009).
#
# The weights are provided under and subject to the [Gemma Terms of Use](https://ai.google.dev/gemma/terms).
