"""What is remembered between runs: our schema, verdicts, builds, proofs, reports."""
