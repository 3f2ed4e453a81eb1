"""Measurements, one subject a module: what the notebooks take apart and weigh."""
