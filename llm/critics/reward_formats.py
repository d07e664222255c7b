"""How published reward models read a solution, and where each step's score is read.

Every format yields the same two things: for each step the token ids up to the position at which its score is read, and
two labels whose probabilities there mean right and wrong. Ids are made as on the model's card, from the whole text at
once, so that scores equal the card's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ..engines.base import Tokens
from ..text.encoding import encode_text


class RewardFormat(Protocol):
    """labels: the right one and the wrong one, as token ids or as rows of a classification head."""

    labels: tuple[int, int]

    def score_prefixes(self, question: str, steps: Sequence[str]) -> list[Tokens]:
        """Per step the ids up to where its score is read; each begins with the one before where possible."""
        ...


class StepTagFormat:
    """Label tokens at a tag after each step: Math-Shepherd (Wang et al. 2024; peiyi9979/math-shepherd-mistral-7b-prm).

    Steps are numbered, as that model was trained. ValueError where the tokenizer lacks the tag or the labels.
    """

    def __init__(self, tokenizer: Any, tag: str = "ки", right: str = "+", wrong: str = "-") -> None:
        self._tokenizer, self._tag = tokenizer, tag
        self._tag_id = _tag_token(tokenizer, f"2 {tag}", tag)
        labels = tokenizer.encode(f"{right} {wrong}", add_special_tokens=False)
        if len(labels) != 2 or labels[0] == labels[1]:
            raise ValueError(f"the tokenizer has no single tokens for the labels {right!r} and {wrong!r}")
        self.labels = (labels[0], labels[1])

    def score_prefixes(self, question: str, steps: Sequence[str]) -> list[Tokens]:
        """Scores are read at the tags; tags within the question and the steps are removed."""
        lines = [f"Step {n}: {step.replace(self._tag, '')} {self._tag}" for n, step in enumerate(steps, 1)]
        asked = question.replace(self._tag, "")
        return _up_to_each(self._tokenizer.encode(f"{asked} " + "\n".join(lines)), self._tag_id)


class CritiqueFormat:
    """A critique after each line, answered by a label token. The critique is no part of what later lines follow.

    This is the built-in reasoner's own critique, and what `forethought train prm` teaches a model by default
    (`llm/prm/`). ValueError where the tokenizer has no single tokens for the labels.
    """

    def __init__(self, tokenizer: Any, tag: str = "Right?", right: str = " yes", wrong: str = " no") -> None:
        self._tokenizer, self._critique = tokenizer, encode_text(tokenizer, tag)
        self.labels = _label_tokens(tokenizer, right, wrong)

    def score_prefixes(self, question: str, steps: Sequence[str]) -> list[Tokens]:
        """Scores are read after the critique that follows each line."""
        ids = list(self._tokenizer.encode(f"{question}\n"))
        if ids and ids[-1] == getattr(self._tokenizer, "eos_token_id", None):
            ids.pop()
        prefixes = []
        for step in steps:
            ids += encode_text(self._tokenizer, f"{step}\n")
            prefixes.append((*ids, *self._critique))
        return prefixes


class ChatRewardFormat:
    """A conversation in which each step is a user's turn and the assistant answers plus or minus: RLHFlow
    (RLHFlow/Llama3.1-8B-PRM-Deepseek-Data; Xiong et al. 2024). Earlier steps are answered with plus, as on its card.
    """

    def __init__(self, tokenizer: Any, right: str = "+", wrong: str = "-") -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise ValueError("this reward format is a chat, and the tokenizer has no chat template")
        self._tokenizer, self._right = tokenizer, right
        labels = [tokenizer.encode(label, add_special_tokens=False)[-1] for label in (right, wrong)]
        if labels[0] == labels[1]:
            raise ValueError(f"the tokenizer does not tell the labels {right!r} and {wrong!r} apart")
        self.labels = (labels[0], labels[1])

    def score_prefixes(self, question: str, steps: Sequence[str]) -> list[Tokens]:
        """Scores are read where the assistant's answer to each step begins."""
        talk: list[dict[str, str]] = []
        prefixes = []
        for n, step in enumerate(steps):
            talk.append({"role": "user", "content": step if n else f"{question} {step}"})
            text = self._tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
            prefixes.append(encode_text(self._tokenizer, text))
            talk.append({"role": "assistant", "content": self._right})
        return prefixes


class SeparatorFormat:
    """A classification head read at a token between the steps of a chat's answer: Qwen2.5-Math-PRM (Zhang et al. 2025).

    Row 1 of the head means right and row 0 wrong. ValueError where the tokenizer lacks the separator.
    """

    labels = (1, 0)
    system = "Please reason step by step, and put your final answer within \\boxed{}."

    def __init__(self, tokenizer: Any, separator: str = "<extra_0>") -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise ValueError("this reward format is a chat, and the tokenizer has no chat template")
        self._tokenizer, self._separator = tokenizer, separator
        self._separator_id = _tag_token(tokenizer, separator, separator)

    def score_prefixes(self, question: str, steps: Sequence[str]) -> list[Tokens]:
        """Scores are read at the separators; separators within the question and the steps are removed."""
        answer = "".join(step.replace(self._separator, "") + self._separator for step in steps)
        turns = (("system", self.system), ("user", question.replace(self._separator, "")), ("assistant", answer))
        talk = [{"role": role, "content": content} for role, content in turns]
        text = self._tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=False)
        return _up_to_each(self._tokenizer.encode(text, add_special_tokens=False), self._separator_id)


class LineEndFormat:
    """A classification head read at the line end after each step of a plain text: Skywork-o1-Open-PRM.

    The model's one logit is the engine's row 1 against a 0 in row 0, which equals the sigmoid of its card.
    """

    labels = (1, 0)

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._line_end = tokenizer.encode("\n", add_special_tokens=False)[-1:]

    def score_prefixes(self, question: str, steps: Sequence[str]) -> list[Tokens]:
        """Scores are read at the line ends."""
        begin = getattr(self._tokenizer, "bos_token", None) or ""
        ids = list(self._tokenizer.encode(f"{begin}{question}\n", add_special_tokens=False))
        prefixes = []
        for step in steps:
            ids += [*self._tokenizer.encode(step, add_special_tokens=False), *self._line_end]
            prefixes.append(tuple(ids))
        return prefixes


def _label_tokens(tokenizer: Any, right: str, wrong: str) -> tuple[int, int]:
    """The single tokens of two labels; ValueError where one takes several, or where they are the same."""
    ids = [encode_text(tokenizer, label) for label in (right, wrong)]
    if any(len(one) != 1 for one in ids) or ids[0] == ids[1]:
        raise ValueError(f"the tokenizer has no single tokens for the labels {right!r} and {wrong!r}")
    return ids[0][0], ids[1][0]


def _tag_token(tokenizer: Any, text: str, tag: str) -> int:
    """The id of the tag at the end of `text`; ValueError where it is not one token."""
    last = int(tokenizer.encode(text, add_special_tokens=False)[-1])
    if tokenizer.decode([last]).strip() != tag:
        raise ValueError(f"the reward model's tokenizer has no token {tag!r}; choose another reward format")
    return last


def _up_to_each(ids: Sequence[int], tag: int) -> list[Tokens]:
    """The ids up to and including each occurrence of `tag`."""
    return [tuple(ids[: at + 1]) for at, token in enumerate(ids) if token == tag]


REWARD_FORMATS: dict[str, Callable[[Any], RewardFormat]] = {
    "math_shepherd": StepTagFormat,
    "rlhflow": ChatRewardFormat,
    "qwen": SeparatorFormat,
    "skywork": LineEndFormat,
    "builtin": CritiqueFormat,
}
"""Reward formats by the name that `--reward-format` takes."""

HEAD_FORMATS = ("qwen", "skywork")
"""Formats whose scores come from a classification head."""
