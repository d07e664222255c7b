"""What an action over text is: the step format of `--reasoning`.

`propose.py`      `ProposeModel`: one call lists several next steps (Tree of Thoughts' thought generator "propose").
`rap.py`          `RapModel`: a sub-question and its most frequent answer (Reasoning via Planning).
`usage_meter.py`  the usage of an expansion that takes several requests.

The third, `steps`, is `TextModel` itself: an action is a sampled next line.
"""

from __future__ import annotations

from ..text_model import TextModel
from .propose import ProposeModel
from .rap import RapModel

REASONING: dict[str, type[TextModel]] = {"steps": TextModel, "propose": ProposeModel, "rap": RapModel}
"""Text models by the name that `--reasoning` takes."""


def reasoning_named(name: str) -> type[TextModel]:
    """The text model of that name; ValueError that lists what exists."""
    if name not in REASONING:
        raise ValueError(f"no reasoning {name!r}; there are {', '.join(REASONING)}")
    return REASONING[name]


__all__ = ["REASONING", "ProposeModel", "RapModel", "reasoning_named"]
