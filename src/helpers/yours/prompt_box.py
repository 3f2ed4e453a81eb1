"""Ask a model and see what it is sure of: the call that it writes, its arguments, the probability of every token."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from .. import chat, generation
from ..calls import parse
from ..dataset import conversation
from ..dispatch import check_call
from ..errors import CourseError

_TOKEN = (
    '<span dir="ltr" style="display:inline-block;text-align:center;margin:.15em;padding:0 .25em;border:{border}">'
    "<bdi>{piece}</bdi><br><small>{percent}</small></span>"
)


@dataclass(frozen=True)
class Answer:
    """What a model wrote: its text, its tokens, and each token's probability given all before it."""

    text: str
    pieces: tuple[str, ...]
    probabilities: tuple[float, ...]

    @property
    def least(self) -> int:
        """The place of the token that the model was least sure of."""
        return min(range(len(self.probabilities)), key=self.probabilities.__getitem__)


def answer(model, tokenizer, request: str, tools: list[dict], max_new_tokens: int = 96) -> Answer:
    """What a model writes for a request, greedily, with the softmax probability of each token that it chose."""
    import torch

    prompt = chat.render(conversation(request, []), tools, add_generation_prompt=True)
    (written,) = generation.generate_texts(model, tokenizer, [prompt], max_new_tokens)
    ids, new = tokenizer(prompt, add_special_tokens=False).input_ids, list(written.token_ids)
    with torch.inference_mode():
        together = torch.tensor([ids + new], device=model.device)
        logits = model(input_ids=together, logits_to_keep=len(new) + 1).logits[0, :-1].float()  # (new, V)
    chosen = torch.tensor(new, device=logits.device)
    probabilities = logits.softmax(-1).gather(1, chosen[:, None])[:, 0].tolist()
    pieces = [tokenizer.convert_ids_to_tokens(i).replace("▁", " ") for i in new]
    return Answer(written.text, tuple(pieces), tuple(probabilities))


def verdict(text: str, tools: list[dict]) -> str:
    """One line on a model's text: the calls that may run, why one may not, or that nothing is called."""
    try:
        found = parse(text)
        for call in found:
            check_call(call, tools)
    except CourseError as error:
        return f"not to be run: {error.problem}"
    told = [f"{c.name}({', '.join(f'{key}={value!r}' for key, value in c.arguments.items())})" for c in found]
    return "; ".join(told) or "nothing is called"


def shown(one: Answer, tools: list[dict]):
    """An answer as HTML: what may run, then every token over its probability; a thick border where it is under half."""
    from IPython.display import HTML

    drawn = []
    for piece, probability in zip(one.pieces, one.probabilities, strict=True):
        border = "3px solid #D55E00" if probability < 0.5 else "1px solid currentColor"
        text = html.escape(piece.replace("\n", "⏎"))
        drawn.append(_TOKEN.format(border=border, piece=text, percent=f"{probability:.0%}"))
    return HTML(
        f'<p dir="ltr"><bdi>{html.escape(verdict(one.text, tools))}</bdi></p><div dir="ltr">{"".join(drawn)}</div>'
    )


def table(model, tokenizer, requests: Sequence[str], tools: list[dict]) -> list[dict]:
    """Requests asked one by one, for ``plots.text_table``: what is called, and the token it was least sure of."""
    rows = []
    for request in requests:
        one = answer(model, tokenizer, request, tools)
        unsure = f"{one.pieces[one.least].strip() or '␣'} ({one.probabilities[one.least]:.0%})" if one.pieces else ""
        rows.append({"request": request, "called": verdict(one.text, tools), "least sure of": unsure})
    return rows


def box(model, tokenizer, tools: list[dict], first: str):
    """A field to type a request into, with what the model makes of it below; ``first`` stands in it.

    Returns a widget, or, where there are none (``COURSE_WIDGETS=0``, a page that is only read), the first answer.
    """
    if os.environ.get("COURSE_WIDGETS", "1") == "0" or not find_spec("ipywidgets"):
        return shown(answer(model, tokenizer, first, tools), tools)
    import ipywidgets

    field = ipywidgets.Text(value=first, layout={"width": "100%"})
    button, below = ipywidgets.Button(description="Ask"), ipywidgets.Output()

    def ask(_) -> None:
        with below:
            below.clear_output(wait=True)
            from IPython.display import display

            display(shown(answer(model, tokenizer, field.value.strip() or first, tools), tools))

    button.on_click(ask)
    ask(None)
    return ipywidgets.VBox([field, button, below])
