"""Settings are added to yml files as text; the parsed file differs by the setting alone, or there is no edit."""

from __future__ import annotations

import pytest

from reconcile.dbt.yaml_edit import Entry, NotEditable, with_setting

STEPS = ("models", Entry("name", "m"), "config", "meta", "reconcile", "ignore")
NEW = "config: {meta: {reconcile: {ignore: [b]}}}"
# a file -> the lines that are new, and the line after which they come
EDITED = {
    "a name with a comment": ("models:\n  - name: m # x\n    columns: []\n", f"    {NEW}\n", "# x\n"),
    "another key first": ("models:\n  - columns:\n      - name: a\n    name: m\n", f"    {NEW}\n", "    name: m\n"),
    "a config": (
        "models:\n  - name: m\n    config:\n      tags: [x]  # why\n\n  - name: n\n",
        "      meta: {reconcile: {ignore: [b]}}\n",
        "# why\n",
    ),
    "a list of lines": (
        "models:\n  - name: m\n    config:\n      meta:\n        reconcile:\n          ignore:\n            - q # c\n",
        "            - b\n",
        "# c\n",
    ),
    "Windows line ends": ("models:\r\n  - name: m\r\n    tests: []\r\n", f"    {NEW}\r\n", "name: m\r\n"),
    "no value on one line": (
        "models:\n  - description: |\n      text\n    name: >-\n      m\n",
        f"    {NEW}\n",
        "      text\n",
    ),
    "an unlisted model": ("models:\n  - name: n\n", f"  - name: m\n    {NEW}\n", "name: n\n"),
}
INLINE = {
    "models: [{name: m}]\n": f"models: [{{name: m, {NEW}}}]\n",
    "models:\n- {name: m, config: {meta: {reconcile: {ignore: [a]}}}} # c\n": (
        "models:\n- {name: m, config: {meta: {reconcile: {ignore: [a, b]}}}} # c\n"
    ),
    "models: [{name: m, config: {meta: {reconcile: {ignore: a}}}}]": (
        "models: [{name: m, config: {meta: {reconcile: {ignore: [a, b]}}}}]"
    ),
    "models:\n  - name: m\n    config:\n": f"models:\n  - name: m\n    {NEW}\n",
}
REFUSED = {
    "an alias": "x: &x {meta: {}}\nmodels:\n  - name: m\n    config: *x\n",
    "two keys of one name": "models:\n  - name: n\nmodels:\n  - name: m\n    config: {}\n",
    "text that is no yml": "models:\n  - name: {{ m }}\n",
    "an empty file": "",
    "two documents": "models:\n  - name: m\n---\nmodels: []\n",
    "a setting that is no list": "models: [{name: m, config: {meta: {reconcile: {ignore: {a: b}}}}}]\n",
    "a list in the middle of the file": "models:\n  - name: n\nseeds:\n  - name: s\n",
}


@pytest.mark.parametrize("case", EDITED)
def test_one_line_is_added_and_the_rest_stays(case: str) -> None:
    text, new, after = EDITED[case]
    head, tail = text.split(after, 1)

    assert with_setting(text, STEPS, ["b"]) == head + after + new + tail


@pytest.mark.parametrize("text", INLINE)
def test_a_file_in_one_line_is_edited_in_its_line(text: str) -> None:
    assert with_setting(text, STEPS, ["b"]) == INLINE[text]


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_proven_is_not_edited(case: str) -> None:
    with pytest.raises(NotEditable):
        with_setting(REFUSED[case], STEPS, ["b"])


def test_a_name_that_yaml_would_read_as_a_value_is_quoted() -> None:
    assert with_setting("models: [{name: m}]", STEPS, ["on", "A b"]).endswith('{ignore: ["on", "A b"]}}}}]')
