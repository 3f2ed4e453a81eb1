"""Figures of one notebook each, so that its cells stay readable."""
