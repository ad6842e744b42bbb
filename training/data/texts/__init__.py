"""Texts: reading them, splitting them into tokens, and batches of similar length."""
