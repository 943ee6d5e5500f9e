"""The sources: each asks differently and yields the same attempts."""
