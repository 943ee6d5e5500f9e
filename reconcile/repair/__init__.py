"""Plan a repair, apply it, and undo it."""
