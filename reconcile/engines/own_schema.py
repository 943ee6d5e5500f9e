"""The schema for our own tables in a user's database: journal, verdicts, change capture."""

SCHEMA = "reconcile"
PASSING = "plan_"  # prefix of temporary plan tables: the command that makes one drops it
