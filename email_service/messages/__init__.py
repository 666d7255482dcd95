"""Accepted messages: what was asked for, what became of it, and the facts in between."""
