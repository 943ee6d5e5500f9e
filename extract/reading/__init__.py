"""One reading of one post: the record, its post id, and how counters are read from text."""
