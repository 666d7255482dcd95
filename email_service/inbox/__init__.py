"""Captured mail and how to look at it. Exists only while nothing is really sent, and never hands mail on."""
