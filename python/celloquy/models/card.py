"""The card of a saved model, which is its ``README.md``."""

from __future__ import annotations

from collections.abc import Mapping

PLACE = "path/to/this/directory"
"""What stands for the place of the model in its card."""


def model_card(kind: str, facts: Mapping[str, str], provenance: Mapping[str, str]) -> str:
    """Return the card of a model in Markdown: what it is, how to use it and how it was made.

    Parameters
    ----------
    kind
        Name of the model's class.
    facts
        What it is, as :meth:`celloquy.Model.describe` tells it, and its fingerprint.
    provenance
        How it was made.
    """
    card = f"""# A celloquy model

{_table(facts)}
```python
import celloquy as cq

model = cq.{kind}.from_pretrained("{PLACE}")
cq.embed(adata, model=model)
```
"""
    return card + (f"\n## How it was made\n\n{_table(provenance)}" if provenance else "")


def _table(rows: Mapping[str, str]) -> str:
    return "| | |\n|---|---|\n" + "".join(f"| {key} | {value} |\n" for key, value in rows.items())
