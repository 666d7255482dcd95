"""The same request, sent twice under one Idempotency-Key, happens once and gets one answer."""
