"""The four scheduled jobs: their steps, one run, the schedule."""
