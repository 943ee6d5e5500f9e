"""The commands, by what they do; reconcile/cli.py puts them together."""
