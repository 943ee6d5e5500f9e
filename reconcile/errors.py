"""Every expected failure, one class a kind of trouble; the command line maps them all to exit code 2 in one place."""

from __future__ import annotations


class ReconcileError(Exception):
    """An expected failure: one sentence that says what, where and what to do."""


class ProjectError(ReconcileError):
    """The dbt project, its profile or its selection cannot be used."""


class ConnectionFailed(ReconcileError):
    """The database cannot be reached or refuses us. Never holds a password."""


class EvaluationFailed(ReconcileError):
    """The database refused a statement of ours."""


class Refused(ReconcileError):
    """A guard stopped a repair before anything was written."""


class NotComparable(ReconcileError):
    """Two sides that cannot be compared as asked."""
