"""docs/reference/mqtt.md: its example runs, and it names every code that a client's mistake can have."""

from __future__ import annotations

import re
from pathlib import Path

from tests.unit.mqtt.wire import load_vectors

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "mqtt.md").read_text("utf-8")


def test_example_of_the_page_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(example, "mqtt.md", "exec"), {})


def test_every_code_of_the_fault_vectors_is_on_the_page() -> None:
    codes = {row["reason_code"] for row in load_vectors("faults.json")}
    assert codes <= set(re.findall(r"^\| ([89][0-9A-F]) ", PAGE, re.MULTILINE))
