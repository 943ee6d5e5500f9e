"""Read posts' engagement, judge each reading, load what holds into staging. Knows nothing of dbt or reconcile."""

VERSION = "0.1.0"  # stamped on every reading as extractor_version
