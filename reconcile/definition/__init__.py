"""A model's definition: its own SQL with every upstream model spliced in."""
