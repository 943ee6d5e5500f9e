"""Every expected failure, one class per kind; the command line maps all of them to exit code 2."""

from __future__ import annotations


class ReconcileError(Exception):
    """An expected failure: one sentence with symptom, place and fix."""


class ProjectError(ReconcileError):
    """The dbt project, its profile or its selection cannot be used."""


class ConnectionFailed(ReconcileError):
    """The database cannot be reached or refuses us. Never holds a password."""


class EvaluationFailed(ReconcileError):
    """The database refused one of our statements."""


class RowsHidden(EvaluationFailed):
    """A row security policy hides rows from this role, so no statement of ours may read the table."""


class NotSetUp(ReconcileError):
    """What holds in dbt's session of a build cannot be set up in ours, so its definition cannot be evaluated."""


class Refused(ReconcileError):
    """A guard stopped a repair before anything was written."""


class NotComparable(ReconcileError):
    """Two sides that cannot be compared as requested."""
