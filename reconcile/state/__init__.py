"""What is remembered between runs: our schema, verdicts, run files, proofs."""
