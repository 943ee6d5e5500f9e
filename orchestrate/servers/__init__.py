"""This machine's servers: the embedded Postgres and the lake."""
