"""Change capture on Postgres: which keys may have drifted since a table was proven level.

A logical slot is read over plain SQL with the server's own pgoutput. Changed rows of a model's sources and of its table
become dirty keys (``slot``, ``decode``, ``mapping``); a model whose every change is known is vouched for (``vouch``),
and a check compares its dirty keys alone.
"""
