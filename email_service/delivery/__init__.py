"""How an accepted message leaves the house: claimed, rendered, sent, and its outcome written down."""
