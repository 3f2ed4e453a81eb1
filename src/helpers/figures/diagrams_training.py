"""Diagrams of training: checkpointing, a step's bytes, the labels of a conversation."""

from __future__ import annotations


def checkpointing():
    """What three ways of checkpointing keep of the layers, and what they run again. Returns the figure."""


def step_bytes(held: dict):
    """Where bytes are."""


def label_mask():
    """Mask."""
