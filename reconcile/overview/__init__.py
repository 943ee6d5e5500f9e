"""The state of a project over time, from stored verdicts and reports."""
