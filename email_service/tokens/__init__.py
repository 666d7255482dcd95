"""Single-use secrets that prove that somebody reads an address: links and codes, bound to a purpose and a subject."""
