"""Load readings into the staging schema: tables, pipeline, validation, quarantine."""
