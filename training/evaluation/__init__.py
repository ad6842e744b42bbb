"""How good a model is, beside the simple answers that it has to beat."""
