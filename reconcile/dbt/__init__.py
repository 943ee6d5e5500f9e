"""The only package that knows dbt: parse, select, compile, read the profile."""
