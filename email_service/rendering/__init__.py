"""Finds, checks and renders the mail templates; knows no message, no recipient and no Flask."""
