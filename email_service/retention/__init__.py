"""What is forgotten when: everything old goes, in small batches, and what never finished stays."""
