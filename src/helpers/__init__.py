"""Helpers of the Arabic FunctionGemma course. Importing the package is cheap; each module loads what it needs."""

__version__ = "0.2.0"
