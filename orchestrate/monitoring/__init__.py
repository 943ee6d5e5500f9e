"""Health and status of the pipeline."""
