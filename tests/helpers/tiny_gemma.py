"""Random Gemma 3 models of two layers, small enough for a unit test."""


def tiny_config(**changes):
    """A ``Gemma3TextConfig`` of a sliding and a full layer, 32 wide; ``changes`` replace its values."""
    from transformers import Gemma3TextConfig

    sizes = {
        "vocab_size": 128,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "sliding_window": 8,
        "layer_types": ["sliding_attention", "full_attention"],
    }
    return Gemma3TextConfig(**sizes | changes)
