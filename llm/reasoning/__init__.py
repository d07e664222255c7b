"""Ways of reasoning: what an action over text is. `steps` is `TextModel` itself, each other way one small file here."""

from __future__ import annotations

from ..text_model import TextModel
from .propose import ProposeModel
from .rap import RapModel

WAYS: dict[str, type[TextModel]] = {"steps": TextModel, "propose": ProposeModel, "rap": RapModel}
"""`steps`: a slot is a sampled next line. `propose`: a slot is an item of a list that one call wrote. `rap`: a slot is
a sub-question, which the model then answers several times."""


def way_named(name: str) -> type[TextModel]:
    """The text model of that way of reasoning; ValueError that lists what exists."""
    if name not in WAYS:
        raise ValueError(f"no way of reasoning {name!r}; there are {', '.join(WAYS)}")
    return WAYS[name]


__all__ = ["WAYS", "ProposeModel", "RapModel", "way_named"]
