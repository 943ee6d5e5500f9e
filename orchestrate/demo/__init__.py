"""The demo: the whole loop on generated posts."""
