"""Write the exact pins: hashes to requirements.lock, the same versions to [tool.uv] in pyproject.toml.

    uv run --no-project tools/lock.py             resolve again, keeping the pins that still fit
    uv run --no-project tools/lock.py --upgrade   take the newest versions that the requirements allow

uv.lock names registry hosts, so it is not in git; these two files pin as much without naming any.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
PYPROJECT = ROOT / "pyproject.toml"
MARKER = "# --- pins: written by tools/lock.py, never by hand ---\n"


def pins(lock_text: str) -> list[str]:
    """The ``name==version[; marker]`` lines of a compiled lock, without hashes, in the lock's order."""
    found = re.findall(r"^([A-Za-z0-9][\w.\-]*==[^\s\\;]+)( ; [^\\\n]+?)?(?= \\|$)", lock_text, flags=re.MULTILINE)
    return [name + marker.replace('"', "'") for name, marker in found]


def render(lock_text: str) -> str:
    """The ``[tool.uv]`` table that holds the lock's pins."""
    lines = "".join(f'  "{pin}",\n' for pin in pins(lock_text))
    return f"{MARKER}[tool.uv]\nconstraint-dependencies = [\n{lines}]\n"


def main() -> None:
    head = PYPROJECT.read_text().split(MARKER)[0]
    PYPROJECT.write_text(head)  # old pins must not constrain the resolution; the lock file itself is the preference
    command = ["uv", "pip", "compile", "pyproject.toml", "--group", "dev", "--universal", "--generate-hashes"]
    command += ["--no-header", "--no-annotate", "--quiet", "-o", LOCK.name, *sys.argv[1:]]
    done = subprocess.run(command, cwd=ROOT, check=False)
    PYPROJECT.write_text(head + render(LOCK.read_text()) if LOCK.exists() else head)
    if done.returncode:
        sys.exit("lock: uv could not resolve the requirements (its message is above); the pins are unchanged")
    print(f"lock: {len(pins(LOCK.read_text()))} packages pinned")


if __name__ == "__main__":
    main()
