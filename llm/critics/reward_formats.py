"""How published reward models want to read a solution, and where in it each step's score stands.

Every shape comes down to the same: for each step the ids up to a certain position, and two labels whose chances there
say right and wrong. Ids are made as the model's card makes them, the whole text at once, so that scores are the
card's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ..engines.base import Tokens


class RewardFormat(Protocol):
    """labels: the right one and the wrong one: token ids, or the rows of a classification head."""

    labels: tuple[int, int]

    def readings(self, question: str, steps: Sequence[str]) -> list[Tokens]:
        """Per step the ids up to where its score is read, each beginning with the one before as far as it can."""
        ...


class StepTag:
    """Label tokens at a tag after each step: Math-Shepherd (Wang et al. 2024; peiyi9979/math-shepherd-mistral-7b-prm).

    Steps are numbered, as that model was trained. ValueError where the tokenizer lacks the tag or the labels.
    """

    def __init__(self, tokenizer: Any, tag: str = "ки", right: str = "+", wrong: str = "-") -> None:
        self._tokenizer, self._tag = tokenizer, tag
        self._mark = _one(tokenizer, f"2 {tag}", tag)
        labels = tokenizer.encode(f"{right} {wrong}", add_special_tokens=False)
        if len(labels) != 2 or labels[0] == labels[1]:
            raise ValueError(f"the tokenizer has no single tokens for the labels {right!r} and {wrong!r}")
        self.labels = (labels[0], labels[1])

    def readings(self, question: str, steps: Sequence[str]) -> list[Tokens]:
        told = [f"Step {n}: {step.replace(self._tag, '')} {self._tag}" for n, step in enumerate(steps, 1)]
        asked = question.replace(self._tag, "")
        return _up_to(self._tokenizer.encode(f"{asked} " + "\n".join(told)), self._mark)


class Asked:
    """A word after each line asks whether all is right so far: the built-in reasoner's own critique, and what
    `forethought train prm` teaches any model by default (`llm/prm/`). The word is no part of what later lines follow.

    ValueError where the tokenizer has no single tokens for the labels.
    """

    def __init__(self, tokenizer: Any, tag: str = "Right?", right: str = " yes", wrong: str = " no") -> None:
        self._tokenizer, self._tag = tokenizer, _plain(tokenizer, tag)
        self.labels = _pair(tokenizer, right, wrong)

    def readings(self, question: str, steps: Sequence[str]) -> list[Tokens]:
        ids = list(self._tokenizer.encode(f"{question}\n"))
        if ids and ids[-1] == getattr(self._tokenizer, "eos_token_id", None):
            ids.pop()
        found = []
        for step in steps:
            ids += _plain(self._tokenizer, f"{step}\n")
            found.append((*ids, *self._tag))
        return found


class Chat:
    """A conversation in which each step is a user's turn and the assistant answers plus or minus: RLHFlow
    (RLHFlow/Llama3.1-8B-PRM-Deepseek-Data; Xiong et al. 2024). Steps before are answered with plus, as on its card.
    """

    def __init__(self, tokenizer: Any, right: str = "+", wrong: str = "-") -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise ValueError("this reward format is a chat, and the tokenizer has no chat template")
        self._tokenizer, self._right = tokenizer, right
        labels = [tokenizer.encode(label, add_special_tokens=False)[-1] for label in (right, wrong)]
        if labels[0] == labels[1]:
            raise ValueError(f"the tokenizer does not tell the labels {right!r} and {wrong!r} apart")
        self.labels = (labels[0], labels[1])

    def readings(self, question: str, steps: Sequence[str]) -> list[Tokens]:
        talk: list[dict[str, str]] = []
        found = []
        for n, step in enumerate(steps):
            talk.append({"role": "user", "content": step if n else f"{question} {step}"})
            text = self._tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
            found.append(tuple(self._tokenizer.encode(text, add_special_tokens=False)))
            talk.append({"role": "assistant", "content": self._right})
        return found


class Separator:
    """A classification head read at a token between the steps of a chat's answer: Qwen2.5-Math-PRM (Zhang et al. 2025).

    The head's row 1 says right and row 0 wrong. ValueError where the tokenizer lacks the separator.
    """

    labels = (1, 0)
    system = "Please reason step by step, and put your final answer within \\boxed{}."

    def __init__(self, tokenizer: Any, separator: str = "<extra_0>") -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise ValueError("this reward format is a chat, and the tokenizer has no chat template")
        self._tokenizer, self._separator = tokenizer, separator
        self._mark = _one(tokenizer, separator, separator)

    def readings(self, question: str, steps: Sequence[str]) -> list[Tokens]:
        answer = "".join(step.replace(self._separator, "") + self._separator for step in steps)
        turns = (("system", self.system), ("user", question.replace(self._separator, "")), ("assistant", answer))
        talk = [{"role": role, "content": content} for role, content in turns]
        text = self._tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=False)
        return _up_to(self._tokenizer.encode(text, add_special_tokens=False), self._mark)


class Lines:
    """A classification head read at the line end after each step of a plain text: Skywork-o1-Open-PRM.

    Its one logit is the engine's row 1 against a 0 in row 0, which is the sigmoid of its card.
    """

    labels = (1, 0)

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._line_end = tokenizer.encode("\n", add_special_tokens=False)[-1:]

    def readings(self, question: str, steps: Sequence[str]) -> list[Tokens]:
        begin = getattr(self._tokenizer, "bos_token", None) or ""
        ids = list(self._tokenizer.encode(f"{begin}{question}\n", add_special_tokens=False))
        found = []
        for step in steps:
            ids += [*self._tokenizer.encode(step, add_special_tokens=False), *self._line_end]
            found.append(tuple(ids))
        return found


def _plain(tokenizer: Any, text: str) -> Tokens:
    return tuple(tokenizer.encode(text, add_special_tokens=False))


def _pair(tokenizer: Any, right: str, wrong: str) -> tuple[int, int]:
    """The single tokens of two labels; ValueError where one is not, or where they are the same."""
    ids = [_plain(tokenizer, label) for label in (right, wrong)]
    if any(len(one) != 1 for one in ids) or ids[0] == ids[1]:
        raise ValueError(f"the tokenizer has no single tokens for the labels {right!r} and {wrong!r}")
    return ids[0][0], ids[1][0]


def _one(tokenizer: Any, text: str, tag: str) -> int:
    """The id of the tag at the end of `text`; ValueError where it is not one token."""
    last = int(tokenizer.encode(text, add_special_tokens=False)[-1])
    if tokenizer.decode([last]).strip() != tag:
        raise ValueError(f"the reward model's tokenizer has no token {tag!r}; choose another reward format")
    return last


def _up_to(ids: Sequence[int], mark: int) -> list[Tokens]:
    """The ids up to each occurrence of `mark`, that included."""
    return [tuple(ids[: at + 1]) for at, token in enumerate(ids) if token == mark]


REWARD_FORMATS: dict[str, Callable[[Any], RewardFormat]] = {
    "math_shepherd": StepTag,
    "rlhflow": Chat,
    "qwen": Separator,
    "skywork": Lines,
    "builtin": Asked,
}
"""Reward formats by name."""

HEADS = ("qwen", "skywork")
"""Those that read a classification head."""
