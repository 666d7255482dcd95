"""What those who write templates need before a mail leaves: a first draft, a check, a comparison of two versions."""
