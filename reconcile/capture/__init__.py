"""Change capture on Postgres: which keys may have drifted since a table was proven level.

A logical slot is read over plain SQL with the server's own pgoutput (``slot``, ``pgoutput``). Changed rows of a
model's sources and of its table become dirty keys (``changed_keys``, ``key_mapping``, ``key_proof``). A model is
captured once a sweep proved it level (``coverage``), as long as the state on which the proof rests does not change
(``proof_state``); a check then compares its dirty keys and a few random ones.
"""
