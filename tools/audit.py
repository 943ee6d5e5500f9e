"""Look the pinned packages up in the list of known weaknesses, with pip-audit.

    uv run --no-project tools/audit.py

Exit codes: 0 none is known, or the list could not be read (it says so); 1 weaknesses are known, each on a line.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TOOL = (
    "uvx",
    "--quiet",
    "pip-audit==2.10.1",
    "--requirement",
    "requirements.lock",
    "--require-hashes",
    "--disable-pip",
)


def main() -> int:
    try:
        done = subprocess.run(
            [*TOOL, "--format", "json", "--progress-spinner", "off"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        found = json.loads(done.stdout)["dependencies"]
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError):
        print("audit: not audited: pip-audit or its list of weaknesses could not be reached from here")
        return 0
    return report(found)


def report(found: list[dict[str, Any]]) -> int:
    """Say what pip-audit's ``dependencies`` come to; the exit code."""
    known = [
        f"audit: {package['name']} {package['version']}: {weakness['id']}, fixed in {fixed or 'no release yet'}"
        for package in found
        for weakness in package.get("vulns") or []
        for fixed in [", ".join(weakness.get("fix_versions") or [])]
    ]
    skipped = sum("skip_reason" in package for package in found)
    for line in known:
        print(line)
    if skipped:
        print(f"audit: {skipped} of {len(found)} packages could not be looked up from here")
    print(f"audit: {len(found) - skipped} of {len(found)} packages looked up, {len(known)} weaknesses known")
    return 1 if known else 0


if __name__ == "__main__":
    sys.exit(main())
