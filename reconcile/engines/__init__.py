"""The engines: everything that knows one kind of database, behind one protocol."""
