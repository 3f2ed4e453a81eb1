# %% [markdown]
# # 03 · Memory surgery: every byte of a training step
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/arabic-functiongemma-course/blob/main/notebooks/03_memory_surgery.ipynb)
#
# **After this notebook you can** say for every byte of a training step what it is for, choose a way of checkpointing by what it keeps and what it computes again, tell when the logits are what fills the memory,
# and rebuild NF4 and double quantization from a normal distribution.
#
# **You need** notebooks 00 and 02. **Time**: MINUTES minutes on two CPU cores. **Memory**: GIGABYTES GB.
# A T4's minutes have not been measured.
#
# It follows section 3 of the guide and settles claims 14-21, 37, 39 and 41. What needs a GPU was measured on one by `scripts/memory_runs.py` and is read from `assets/reference/memory.json`.
# Terms are explained in the course's [glossary](https://github.com/OWNER/arabic-functiongemma-course/blob/main/docs/glossary.md), in English and Arabic.

# %% tags=["nbval-ignore-output"]
# Setup, the same in every notebook: find the course (or fetch it), install what is missing, show what we run on.
import pathlib, subprocess, sys

REPOSITORY = "https://github.com/OWNER/arabic-functiongemma-course"
here = pathlib.Path.cwd()
root = next((p for p in (here, *here.parents, here / "course") if (p / "src" / "helpers").is_dir()), None)
if root is None:
    subprocess.run(["git", "clone", "--depth=1", REPOSITORY, "course"], check=True)
    root = here / "course"
sys.path.insert(0, str(root / "src"))
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

from helpers import checkpointing, memory

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
# `helpers.memory.saved` does the same and remembers each tensor's shape and module. The two must agree.

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
import numpy

from helpers import plots

plots.style()
timeline = numpy.array(ledger.timeline) / 2**30  # (operations, 7) GiB
figure, axis = plt.subplots(figsize=(9, 3.6))
stack = axis.stackplot(range(len(timeline)), timeline.T, labels=memory.CATEGORIES, colors=plots.OKABE_ITO)
for part, hatch in zip(stack, plots.HATCHES):
    part.set(hatch=hatch, edgecolor="white", linewidth=0)
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
# Is the ledger right? On a GPU the allocator keeps its own account. `scripts/memory_runs.py` took the same step on one and compared.

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
# > Standard checkpointing discards all activations and recomputes them in the backward pass.
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
inputs_kept = sum(t["shape"] == (1, 256, 640) and t["dtype"] == "bfloat16" and t["module"].startswith("layers") for t in found.tensors)
print("layer inputs kept:", inputs_kept)
verdict("39-checkpointing-discards-all", measured=inputs_kept)

# %% [markdown]
# **Why.** To run a layer again one needs what went into it. That is 1,280 bytes a token and layer in bfloat16, against several hundred kilobytes that a layer would keep otherwise. So memory still grows with the number of
# layers and with N, only from a much lower start. Chen et al. (2016) place checkpoints every √L layers to trade further; PyTorch's users place one at every layer.

# %% [markdown]
# ## 3.3 · What is computed again
#
# > Unsloth's selective checkpointing recomputes only the GeGLU non-linearity, not the large matrix products.
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
# Now four ways side by side, on the same 256 tokens: nothing, every layer, the non-linearity alone, and every layer with what is kept moved to the host's memory. Gradients must not change.

# %% tags=["nbval-ignore-output"]
import time

rows, first = [], None
for mode in checkpointing.MODES:
    started = time.perf_counter()
    step = checkpointing.step(model, ids, mode, "response", labelled=64)
    seconds = time.perf_counter() - started
    first = first or step["gradients"]
    equal = all(torch.equal(step["gradients"][name], first[name]) for name in first)
    with checkpointing.checkpointing(model, mode), memory.saved(model) as found:
        checkpointing.loss_of(model, ids, "response", labelled=64)
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
verdict("15-selective-checkpointing", measured=per_layer)

# %% [markdown]
# Twice: the whole layer runs again, matrix products included. On a GPU, where nothing else is in the way, the four ways cost this (one row of 1,024 tokens, plain PyTorch):

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
# > Activations are offloaded asynchronously to system RAM.
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
# > Gradient checkpointing reduces memory from O(N²) to O(N) in the sequence length.
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
verdict("17-n-squared-to-n", measured=grown["eager, layer"])

# %% [markdown]
# **Why.** Checkpointing removes what *layers* keep, so the factor is about the number of layers. While a layer runs again, its own scores are there in full, and they grow with N². What makes attention linear in memory is a
# kernel that works through the scores in tiles, which is FlashAttention's idea and SDPA's way. With it, the curve is a line with or without checkpointing.

# %% [markdown]
# ## 3.6 · The logits
#
# > Activations are the primary memory bottleneck in fine-tuning.
#
# The guide counts hidden states. It does not mention what the vocabulary of 262,144 makes of the last of them.
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
# > Unsloth manually rewrites the backward pass in Triton.
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
    "peak, GiB": [round(max(p) / 2**30, 2) for p in runs["peaks"]], "last loss": [round(float(numpy.mean(x[-5:])), 3) for x in runs["losses"]],
})  # fmt: skip

# %% tags=["nbval-ignore-output"]
figure, axes = plt.subplots(1, 2, figsize=(10, 3.4))
for (way, run), colour, marker in zip(runs.iterrows(), plots.OKABE_ITO, plots.MARKERS):
    axes[0].plot(run["losses"], color=colour, marker=marker, markersize=3, linewidth=1, label=way)
    axes[1].plot(numpy.cumsum(run["seconds"]), color=colour, marker=marker, markersize=3, linewidth=1)
axes[0].set(xlabel="step", ylabel="loss", yscale="log")
axes[1].set(xlabel="step", ylabel="seconds since the start")
axes[0].legend(fontsize=8)
plain, fast = runs.loc["plain"], runs.loc["unsloth"]
ahead = plain["median_seconds"] / fast["median_seconds"]
pays = (sum(fast["seconds"][:2]) - sum(plain["seconds"][:2])) / (plain["median_seconds"] - fast["median_seconds"])
plots.show(figure, f"The losses lie on top of each other. Once compiled, a step of Unsloth is {ahead:.1f} times as fast; compiling costs as much as it saves in {pays:.0f} steps.")

# %% [markdown]
# Largest difference between two ways' losses at any step, and where it is: rounding, not mathematics.

# %% tags=["nbval-ignore-output"]
curves = numpy.array(runs["losses"].tolist())  # (5 ways, 30 steps)
spread = curves.max(0) - curves.min(0)
print(f"at step {spread.argmax()}: {spread.max():.3f} of {curves[:, spread.argmax()].mean():.2f}; median over steps {numpy.median(spread):.3f}")
assert numpy.median(spread) < 0.05
cpu = {r["way"]: r for r in reference.load("cpu_step").results}
print(f"on two CPU cores: Trainer + PEFT {cpu['Trainer + PEFT']['median_seconds']:.1f} s a step, Unsloth {cpu['Unsloth']['median_seconds']:.1f} s (scripts/benchmark_step.py)")

# %% [markdown]
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
verdict("14-unsloth-triton-backward", measured=by_hand)

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

# %% [markdown]
# ## 3.8 · Half precision on a T4
#
# > On a T4, which has no bfloat16, training uses float16.
#
# float16 ends at 65,504. **Your bet:** the largest number that one layer hands to the next, over ordinary Arabic and English text

# %%
bet_largest = exercises.bet("largest-activation", "largest activation between layers, in thousands", low=0, high=200, step=5, unit="thousand")

# %% tags=["nbval-ignore-output"]
import yaml

from helpers import architecture, checkpoints
from helpers.paths import ASSETS

passages = yaml.safe_load((ASSETS / "data" / "retention.yaml").read_text(encoding="utf-8"))
tokenizer, exact = checkpoints.load_tokenizer(checkpoint), checkpoints.load_model(checkpoint, dtype="float32", device="cpu")
batches = {language: [tokenizer(text, return_tensors="pt").input_ids for text in passages[language][:4]] for language in ("arabic", "english")}
largest = {language: architecture.largest_activations(exact, ids)["residual"] for language, ids in batches.items()}
figure, axis = plt.subplots(figsize=(7.5, 3.2))
for (language, values), colour, marker in zip(largest.items(), plots.OKABE_ITO, plots.MARKERS):
    axis.plot(range(1, 19), values, color=colour, marker=marker, label=f"{language}, float32, here")
axis.axhline(65_504, color="black", linestyle="--", linewidth=1, label="largest float16 number")
axis.set(xlabel="layer", ylabel="largest |activation|", yscale="log")
axis.set_xticks(range(1, 19, 2))
axis.legend(fontsize=8)
over = max(max(v) for v in largest.values())
where = 1 + min(i for v in largest.values() for i, size in enumerate(v) if size > 65_504)
plots.show(figure, f"The stream between layers grows to {over:,.0f}, past float16's 65,504, from layer {where} on.")

# %% [markdown]
# In float16 that number is infinite, and an infinity that meets a norm becomes NaN. One passage shows it:

# %%
with torch.no_grad():
    half = exact.half()(input_ids=batches["arabic"][0]).logits
print("logits in float16 that are NaN:", f"{half.isnan().float().mean().item():.0%}")
verdict("37-fp16-on-t4", measured=over / 65_504)

# %% [markdown]
# **What Unsloth does.** It keeps a list of model families that it computes in float32 wherever bfloat16 is missing:

# %%
from unsloth.models.loader import FORCE_FLOAT32

print([name for name in FORCE_FLOAT32 if "gemma3" in name.replace("_", "")])
exact, unsloth_model = None, None  # their memory is wanted below

# %% [markdown]
# So a T4 trains Gemma 3 with float32 arithmetic, slower than its float16 units could, and right. Nobody has to do anything about it; whoever writes `fp16=True` into a trainer of their own does.
