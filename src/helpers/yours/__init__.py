"""A reader's own tools: requests read and checked, the loop around a model, what is kept, and what is carried away."""
