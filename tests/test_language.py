"""Plain technical English: words that a reader cannot guess from their usual meaning are found before they land."""

from __future__ import annotations

import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT

# what to write instead is in the message; each word is found in any form of upper and lower case
BANNED = {
    r"\b(stands?|stood|standing)\b": "is, exists, is listed, stays",
    r"\bmend(s|ed|ing)?\b": "fix, repair, correct",
    r"\balike\b": "equal",
    r"\b(hangs?|hung) on\b": "depends on",
    r"\bvouch\w*\b": "confirm, capture",
    r"\b(is|are|was|were) told\b": "is reported, is given",
    r"\bof (its|their|our|one's) own\b": "separate, own",
    r"\bnobody\b": "no user, no process",
    r"\bwhatever became\b": "what happened to",
    r"\b(thereof|whereby|whither|hither|thither|wherein|therein)\b": "a plain pronoun",
    r"\bof (its|their) own accord\b": "automatically",
}
# posts of the local site and a pattern for hooks: data in a person's own words, not ours
DATA = {"extract/site/account.py", "dbt_project/macros/hooks.sql"}
LONGEST_NAME = 75


def _tracked(*patterns: str) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in listed.stdout.split("\n") if name and (ROOT / name).exists()]


def _prose(path: Path) -> Iterator[tuple[int, str]]:
    """The text of a file that a person reads, with its line: of Python the strings and comments, else all.

    Names are no prose: what is in backquotes, and a string of one word.
    """
    text = re.sub(r"``?[^`\n]+``?", "", path.read_text(encoding="utf-8"))
    if path.suffix != ".py":
        yield from enumerate(text.splitlines(), 1)
        return
    kinds = (tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING))
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in kinds and not re.fullmatch(r"""['"]\w+['"]""", token.string):
            yield from enumerate(token.string.splitlines(), token.start[0])


FILES = [
    name
    for name in _tracked("*.py", "*.md", "*.yml", "*.sql", "*.html", "*.js")
    if name not in DATA and name != "tests/test_language.py" and "/snapshots/" not in name
]


def test_no_text_uses_a_banned_word() -> None:
    any_word = re.compile("|".join(BANNED), re.IGNORECASE)
    found = [
        f"{name}:{line}: {text.strip()} (write {better})"
        for name in FILES
        for line, text in _prose(ROOT / name)
        if any_word.search(text)
        for word, better in BANNED.items()
        if re.search(word, text, re.IGNORECASE)
    ]
    assert not found, "\n".join(found)


def test_python_strings_and_comments_are_read_and_names_are_not(tmp_path: Path) -> None:
    file = tmp_path / "m.py"
    lines = ("stands = 1  # a comment", "", "", "def f():", '    x["standing"]', '    """A', '    docstring."""')
    file.write_text("\n".join((*lines, '    return f"found {stands}"', "")))
    read = list(_prose(file))
    assert (1, "# a comment") in read
    assert (7, '    docstring."""') in read
    assert not any("stands = 1" in text or "standing" in text for _, text in read)


def test_test_names_are_at_most_75_characters() -> None:
    named = re.compile(r"^\s*def (test_\w+)", re.MULTILINE)
    names = [name for file in _tracked("tests/*.py") for name in named.findall((ROOT / file).read_text())]
    assert [name for name in names if len(name) > LONGEST_NAME] == []
