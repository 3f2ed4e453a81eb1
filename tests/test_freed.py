"""What a notebook freed says which section makes it again, however it is used, and holds nothing."""

import copy
import weakref

import numpy as np
import pytest
import torch

from helpers.errors import CourseError
from helpers.freed import Freed

gone = Freed("4.4")
USES = {
    "call": lambda: gone(1),
    "attribute": lambda: gone.config.vocab_size,
    "set attribute": lambda: setattr(gone, "training", True),
    "item": lambda: gone["a"],
    "set item": lambda: gone.__setitem__("a", 1),
    "loop": lambda: list(gone),
    "length": lambda: len(gone),
    "membership": lambda: 1 in gone,
    "truth": lambda: bool(gone),
    "number": lambda: float(gone),
    "numpy": lambda: np.asarray(gone),
    "numpy function": lambda: np.abs(gone),
    "minus": lambda: gone - 1,
    "from the right": lambda: 1 - gone,
    "array from the left": lambda: np.ones(2) - gone,
    "tensor from the left": lambda: torch.ones(2) @ gone,
    "product": lambda: gone @ torch.ones(2),
    "comparison": lambda: gone > 1,
    "torch's function": lambda: torch.softmax(gone, -1),
    "torch's function, in a list": lambda: torch.cat([torch.ones(1), gone]),
    "torch's function, by name": lambda: torch.allclose(torch.ones(1), other=gone),
}


@pytest.mark.parametrize("use", USES, ids=str)
def test_every_use_names_the_section(use):
    with pytest.raises(CourseError, match=r"freed to save memory → run section 4\.4 again"):
        USES[use]()


def test_it_can_be_looked_at_and_replaced():
    assert repr(gone) == "<freed, made by section 4.4>"
    assert repr(copy.copy(gone)) == repr(gone)
    assert not hasattr(gone, "_repr_html_")  # what Jupyter asks before it prints


def test_the_object_goes():
    class Large:
        pass

    model = other = Large()
    seen = weakref.ref(model)
    model = other = Freed("4.4")
    assert seen() is None and model is other
