"""Compare any two tables or files."""
