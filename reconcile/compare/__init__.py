"""Compare two sides inside one engine, exactly, in one statement."""
