"""How the exercises of notebook 01 are judged: each check returns ``CORRECT`` or says what is wrong."""

from __future__ import annotations

from . import CORRECT, returned

#: Where keys first change when a norm returns zeros: (blocks later, position). A slow test holds it to the model.
SHOWS = {
    "q_norm": (1, 1),
    "k_norm": (0, 0),
    "input_layernorm": (0, 0),
    "post_attention_layernorm": (1, 0),
    "pre_feedforward_layernorm": (1, 0),
    "post_feedforward_layernorm": (1, 0),
}
_OWN = "input_layernorm and k_norm stand before the keys of their own layer: they show there"
_NEXT = "nothing that {} makes goes into the keys of its own layer: the next layer is the first to hear of it"
_ALONE = "the first token looks at itself alone, with a weight of 1 whatever the score: q_norm cannot move it"


def check_shows(shows) -> str:
    """Judge ``shows(norm, layer)``, a pair (layer, position), for all six norms. Returns a str."""
    for norm, (later, position) in SHOWS.items():
        got = returned(shows, norm, 7)
        if not isinstance(got, tuple | list) or len(got) != 2:
            return f"give a pair (layer, position): for {norm} came {got!r}"
        if got[0] != 7 + later:
            return _NEXT.format(norm) if later else _OWN
        if got[1] != position:
            return _ALONE if position else f"{norm} works on each token by itself, the first one (position 0) included"
    if shows("q_norm", 3)[0] != 4:
        return "the layer is counted from the one that was broken"
    return CORRECT


def check_window(largest_window) -> str:
    """Judge ``largest_window(n, budget)``, in tokens, at 4,096 tokens and 16 MiB. Returns a str."""
    got = returned(largest_window, 4096, 16 * 2**20)
    tokens, kept = 16 * 2**10, 3 * 4096  # a KiB each
    want = (tokens - kept) // 15 + 1
    if got == want:
        return CORRECT
    if got == want - 1:
        return "nearly: a window of W keeps W − 1 tokens, so the window may be one wider"
    if got in (tokens // 15 + 1, tokens // 15):
        return "the three global layers keep all n tokens: their bytes go off first"
    if got in (tokens // 18 + 1, tokens // 18):
        return "only 15 layers have a window: three keep all n tokens"
    if got in ((2 * tokens - kept) // 15 + 1, (2 * tokens - kept) // 15):
        return "keys and values are both kept, 256 numbers of 2 bytes each"
    if isinstance(got, float):
        return "a window is a whole number of tokens, rounded down: a larger one would not fit"
    return f"at n = 4096 and 16 MiB a window of {want} just fits; yours is {got}"


def _stand_in():
    """Two blocks with norms of the names that Gemma gives them, each a weight of zeros: module."""
    import torch

    class Norm(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.full((4,), 2.0), requires_grad=False)

    def block():
        attention = torch.nn.ModuleDict({name: Norm() for name in SHOWS if name in ("q_norm", "k_norm")})
        others = {name: Norm() for name in SHOWS if name not in attention}
        return torch.nn.ModuleDict({"self_attn": attention, **others})

    return torch.nn.ModuleDict({"layers": torch.nn.ModuleList([block(), block()]), "norm": Norm()})


def check_shift(shift) -> str:
    """Judge ``shift(model, kind, by)`` on two blocks of norms whose weights are 2. Returns a str."""
    model = _stand_in()
    got = returned(shift, model, "q_norm", -1.0)
    weights = {name: weight.mean().item() for name, weight in model.named_parameters()}
    changed = {name for name, value in weights.items() if value != 2}
    wanted = {name for name in weights if name.endswith(".q_norm.weight")}
    if changed == set(weights):
        return "that changes every norm: only those whose name ends with the kind"
    if not changed:
        return "no weight changed: += on module.weight works in place, a new tensor does not"
    if changed != wanted:
        return f"asked for q_norm of two blocks, these changed: {', '.join(sorted(changed))}"
    if {weights[name] for name in wanted} != {1.0}:
        return "add: a weight of 2 shifted by −1 is 1, so that a shift by +1 puts it back"
    if shift(model, "input_layernorm", -1.0) != 2 or got != 2:
        return "return how many norms were changed: one in each block"
    return CORRECT


def check_reach(reach) -> str:
    """Judge ``reach(blocks, window, n)``, a position, for sliding and global blocks. Returns a str."""
    got = {blocks: returned(reach, blocks, 16, 200) for blocks in (1, 3, 5, 6, 18)}
    want = {1: 15, 3: 45, 5: 75, 6: 199, 18: 199}
    if got[1] == 16:
        return "a window of 16 counts the query itself: it reaches 15 back"
    if got[1] == 15 and got[3] == 15:
        return "the second block reads what the first one wrote: the reaches add up"
    if got[6] == 200:
        return "positions count from 0: the last of n is n − 1"
    if got[5] == 75 and got[6] != 199:
        return "the sixth block is global: after it every position can have changed"
    if got != want:
        wrong = next(blocks for blocks in want if got[blocks] != want[blocks])
        return f"after {wrong} blocks with a window of 16, of 200 tokens: {want[wrong]}, yours is {got[wrong]}"
    if reach(4, 512, 700) != 699:
        return "no position lies behind the last: after 4 blocks of 512, of 700 tokens, it is 699"
    return CORRECT
