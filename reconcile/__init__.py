"""Prove that each incremental dbt model holds exactly what a full refresh would build; report and repair what differs.

Knows dbt's artefacts and SQL, and nothing of what the tables mean: it works on any dbt project.
"""

VERSION = "0.1.0"
