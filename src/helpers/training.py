"""The masked training run: LoRA on the real model with Unsloth's FastModel and TRL's SFTTrainer, on CPU and GPU."""

from __future__ import annotations

import gc
import hashlib
import json
import pickle
import re
import shutil
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from . import masking, packing
from .checkpoints import Checkpoint, check_adapter, without_adapter
from .environment import SEED, in_float32_throughout, peak_bytes, profile, quiet, seed_everything
from .errors import CourseError
from .paths import cache_folder, set_aside

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
SAVE_EVERY = 10  # steps between two checkpoints, at least


@dataclass(frozen=True)
class Recipe:
    """How to train. The defaults are the guide's (r=32, α=64, lr 1e-3, cosine); None means the profile's size.

    ``warmup`` is a share of the steps. ``mask_prompt``, ``mask_tool_results`` and ``label_stops`` say which tokens
    carry loss; ``label_logits_only`` computes logits where there is a label and nowhere else. ``rows_per_prompt`` rows
    in a row that declare the same tools share the work on their prompt (``helpers.packing``; it needs
    ``label_logits_only``). Both leave the loss as it is. ``start`` is the folder of an adapter to go on from, of the
    same rank, alpha and modules.
    """

    rank: int = 32
    alpha: float = 64
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    warmup: float = 0.1
    max_steps: int | None = None
    batch_size: int | None = None
    accumulation: int = 1
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    target_modules: tuple[str, ...] = PROJECTIONS
    dtype: str | None = None
    load_in_4bit: bool = False
    gradient_checkpointing: bool | str = False
    max_length: int = 1024
    mask_prompt: bool = True
    mask_tool_results: bool = True
    label_stops: bool = True
    label_logits_only: bool = True
    rows_per_prompt: int | None = None
    start: str | None = None
    seed: int = SEED


@dataclass
class Run:
    """A finished training run.

    ``adapter`` is the folder of the saved LoRA adapter (safetensors); ``history`` one dict per step (step, loss,
    learning_rate, grad_norm, seconds: nan for steps before an interruption); ``seconds`` wall time of the steps;
    ``peak_bytes`` of the device's memory (on a CPU, of the process); ``audit`` what was found in the labels;
    ``computed_in`` the dtype of the head's product as the steps computed it, autocast included ("" where nothing was
    computed: a finished run started again). ``model`` and ``tokenizer`` are ready to generate.
    """

    adapter: str
    history: list[dict]
    seconds: float
    peak_bytes: int
    audit: masking.Audit
    computed_in: str
    model: object = field(repr=False, default=None)
    tokenizer: object = field(repr=False, default=None)


def load(recipe: Recipe, checkpoint: Checkpoint):
    """Unsloth's model with a fresh LoRA adapter on it, and the tokenizer. Returns ``(model, tokenizer)``."""
    import torch
    from unsloth import FastModel

    chosen = profile()
    dtype = recipe.dtype or chosen.dtype
    with quiet(), in_float32_throughout(dtype):
        model, tokenizer = FastModel.from_pretrained(
            checkpoint.path,
            max_seq_length=recipe.max_length,
            dtype=getattr(torch, dtype),
            load_in_4bit=recipe.load_in_4bit,
        )
        if chosen.device == "cpu":
            model.set_attn_implementation("eager")  # at a few hundred tokens plain products are the faster ones
        elif _rows_per_prompt(recipe) > 1 and model.config._attn_implementation == "flex_attention":
            model.set_attn_implementation("sdpa")  # flex, Unsloth's choice from Ampere on, takes no mask drawn by hand
        model = add_unsloth_adapter(
            model, recipe.rank, recipe.alpha, recipe.gradient_checkpointing, recipe.target_modules, recipe.seed
        )
    if recipe.start:
        _continue(model, recipe, recipe.start, checkpoint)
    return model, tokenizer


def _continue(model, recipe: Recipe, start: str, checkpoint: Checkpoint) -> None:
    """Give a fresh adapter the weights of the one to go on from."""
    from peft import LoraConfig, load_peft_weights, set_peft_model_state_dict

    check_adapter(start, checkpoint)
    told = LoraConfig.from_pretrained(start)
    if (told.r, told.lora_alpha, set(told.target_modules)) != (recipe.rank, recipe.alpha, set(recipe.target_modules)):
        remedy = f"train with rank={told.r}, alpha={told.lora_alpha} and its target_modules"
        raise CourseError(f"{Path(start).name} is of another shape than the recipe", remedy)
    set_peft_model_state_dict(model, load_peft_weights(start, device="cpu"))


def lora_config(rank: int, alpha: float | None = None, targets=PROJECTIONS, **options):
    """PEFT's ``LoraConfig`` with its defaults, but for ``options``; ``alpha`` is twice the rank unless given."""
    from peft import LoraConfig

    return LoraConfig(r=rank, lora_alpha=alpha or 2 * rank, target_modules=list(targets), **options)


def add_adapter(model, rank: int, alpha: float | None = None, targets=PROJECTIONS, **options):
    """A fresh LoRA adapter by stock PEFT on a frozen model (see ``lora_config``). Returns the PeftModel."""
    from peft import get_peft_model

    return get_peft_model(model, lora_config(rank, alpha, targets, **options))


def add_unsloth_adapter(model, rank: int, alpha: float, checkpointing, targets=PROJECTIONS, seed: int = SEED):
    """A fresh LoRA adapter by Unsloth on a model of its loader; ``checkpointing`` is False, True or "unsloth"."""
    from unsloth import FastModel

    return FastModel.get_peft_model(
        model,
        r=rank,
        lora_alpha=alpha,
        lora_dropout=0,
        bias="none",
        target_modules=list(targets),
        use_gradient_checkpointing=checkpointing,
        random_state=seed,
    )


def tokenize(rows, tokenizer, recipe: Recipe):
    """Data rows -> a ``datasets.Dataset`` of ``input_ids`` and ``labels``, and the audit of all labels.

    Labels come from ``masking.encode``; rows that share a prompt are packed behind it, as many as the recipe says.
    """
    from datasets import Dataset

    encoded = masking.encode(rows, tokenizer, recipe.mask_prompt, recipe.mask_tool_results, recipe.label_stops)
    ids, labels = encoded.ids, encoded.labels
    found = masking.audit(ids, labels, encoded.texts, recipe.max_length)
    size = _rows_per_prompt(recipe)
    if size == 1:
        return Dataset.from_dict({"input_ids": ids, "labels": labels}), found
    cuts = packing.runs([row["tools"] for row in rows], size)
    packed = [packing.pack(ids[cut], labels[cut]) for cut in cuts]
    return Dataset.from_list(packed), found


def _rows_per_prompt(recipe: Recipe) -> int:
    """Rows packed behind one prompt: the recipe's, else the profile's; 1 where every position needs logits."""
    return (recipe.rows_per_prompt or profile().rows_per_prompt) if recipe.label_logits_only else 1


def train(recipe: Recipe, rows, checkpoint: Checkpoint, folder: str | Path | None = None) -> Run:
    """Fine-tune and save the adapter.

    Parameters
    ----------
    rows : data rows (``helpers.dataset.load``)
    folder : where checkpoints and the adapter go; by default one under the course's cache, named by recipe and rows.
        A run that was interrupted goes on from its last checkpoint when it is started again.

    Raises
    ------
    CourseError : rows that teach nothing or the wrong thing (see ``masking.audit``), and too little memory.
    """
    import torch
    from unsloth import FastModel

    seed_everything(recipe.seed)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    model, tokenizer = load(recipe, checkpoint)
    tokenizer.padding_side = "right"
    data, found = tokenize(rows, tokenizer, recipe)
    folder = Path(folder) if folder else cache_folder() / "runs" / _fingerprint(recipe, data, checkpoint)
    trainer = _trainer(recipe, model, tokenizer, data, folder)
    computed_in = _watch_dtype(model)
    started, last = time.perf_counter(), _last_checkpoint(folder)
    try:
        trainer.train(resume_from_checkpoint=last)
    except (torch.OutOfMemoryError, MemoryError) as error:
        size = recipe.batch_size or profile().batch_size
        raise CourseError(
            f"out of memory: {str(error).splitlines()[0]}",
            f"halve batch_size (now {size}) or max_length, or close other programs",
        ) from None
    except (pickle.UnpicklingError, EOFError) as error:  # torch reads tensors and refuses everything else
        told = f"{Path(last or folder).name} is damaged or holds more than tensors: {str(error).splitlines()[0][:120]}"
        raise CourseError(told, f"delete {folder} and train again") from None
    seconds = time.perf_counter() - started
    gc.collect()  # a trainer and its model point at each other
    for leftover in folder.glob("checkpoint-*"):
        shutil.rmtree(leftover)
    model.save_pretrained(folder / "adapter")
    FastModel.for_inference(model)
    model.eval()
    return Run(
        str(folder / "adapter"), _history(trainer), seconds, peak_bytes(), found, "".join(computed_in), model, tokenizer
    )


def _watch_dtype(model) -> set[str]:
    """A set that fills with the dtype of the head's products."""
    seen = set()  # filled by a hook: label_loss calls the head from outside all compiled code, so it disturbs nothing
    head = without_adapter(model).lm_head
    head.register_forward_hook(lambda module, arguments, product: seen.add(str(product.dtype).removeprefix("torch.")))
    return seen


def _fingerprint(recipe: Recipe, data, checkpoint: Checkpoint) -> str:
    told = json.dumps([asdict(recipe), asdict(profile()), checkpoint.name, data["input_ids"][:]], default=str)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _last_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that is whole; a newer one that is not (its state file is written last) is set aside.

    The name does not begin with "checkpoint-": transformers would count it among its own and delete it.
    """
    found = [path for path in folder.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]
    for checkpoint in sorted(found, key=lambda path: int(path.name.split("-")[1]), reverse=True):
        try:
            if isinstance(json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8")), dict):
                return str(checkpoint)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            pass
        except OSError as error:
            raise CourseError(f"{checkpoint} cannot be read: {error.strerror}", "name another folder") from None
        set_aside(checkpoint, f"damaged-{checkpoint.name}")
    return None


def _history(trainer) -> list[dict]:
    kept = ("step", "loss", "learning_rate", "grad_norm")
    rows = [
        {key: float(row[key]) if key != "step" else row[key] for key in kept}
        for row in trainer.state.log_history
        if "loss" in row
    ]
    return [row | {"seconds": trainer.step_seconds.get(row["step"], float("nan"))} for row in rows]


def _trainer(recipe: Recipe, model, tokenizer, data, folder: Path):
    from transformers import DataCollatorForSeq2Seq
    from transformers.trainer_callback import PrinterCallback, ProgressCallback
    from trl import SFTConfig, SFTTrainer

    class LabelLogitsTrainer(SFTTrainer):
        """TRL's trainer with ``masking.label_loss`` in place of logits at every position."""

        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            loss = masking.label_loss(model, inputs, num_items_in_batch)
            return (loss, None) if return_outputs else loss

    chosen = profile()
    steps = recipe.max_steps or chosen.max_steps
    arguments = SFTConfig(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=recipe.batch_size or chosen.batch_size,
        gradient_accumulation_steps=recipe.accumulation,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.schedule,
        warmup_steps=round(recipe.warmup * steps),
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        optim="adamw_torch",
        bf16=(recipe.dtype or chosen.dtype) == "bfloat16",
        fp16=False,
        seed=recipe.seed,
        data_seed=recipe.seed,
        logging_steps=1,
        save_strategy="steps",
        save_steps=max(SAVE_EVERY, steps // 4),
        save_total_limit=1,
        report_to="none",
        max_length=recipe.max_length,
        dataset_num_proc=1,
        dataset_kwargs={"skip_prepare_dataset": True},
        disable_tqdm=True,
        gradient_checkpointing=False,  # TRL turns it on by default; what the recipe asks for is set on the model
        dataloader_pin_memory=False,
        remove_unused_columns=False,
    )
    if "branch" in data.column_names:
        collator = packing.Collator(tokenizer.pad_token_id, model.config.sliding_window, model.dtype)
    else:
        collator = DataCollatorForSeq2Seq(tokenizer, padding=True, label_pad_token_id=masking.IGNORED)
    progress = _progress(steps)
    with quiet():
        trainer = (LabelLogitsTrainer if recipe.label_logits_only else SFTTrainer)(
            model=model, processing_class=tokenizer, train_dataset=data, args=arguments,
            data_collator=collator,
            callbacks=[progress],
        )  # fmt: skip
    for printer in (PrinterCallback, ProgressCallback):  # the bar shows the loss, history keeps all of it
        trainer.remove_callback(printer)
    trainer.step_seconds = progress.seconds
    return trainer


def _progress(steps: int):
    """A callback that draws one bar of plain text with the latest loss."""
    from tqdm import tqdm
    from transformers import TrainerCallback

    class Bar(TrainerCallback):
        bar, begun = None, 0.0

        def __init__(self):
            self.seconds = {}  # step -> wall time

        def on_step_begin(self, args, state, control, **kwargs):
            self.begun = time.perf_counter()

        def on_train_begin(self, args, state, control, **kwargs):
            self.bar = tqdm(total=steps, initial=state.global_step, desc="training", unit="step", file=sys.stdout)

        def on_log(self, args, state, control, logs=None, **kwargs):
            if logs and "loss" in logs:
                self.bar.set_postfix_str(f"loss {float(logs['loss']):.3f}", refresh=False)

        def on_step_end(self, args, state, control, **kwargs):
            self.seconds[state.global_step] = time.perf_counter() - self.begun
            self.bar.update()

        def on_train_end(self, args, state, control, **kwargs):
            self.bar.close()

    return Bar()
