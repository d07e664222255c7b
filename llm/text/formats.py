"""How a question, a step and the critic's question look to a given model, as token ids.

A format never re-tokenises what a model wrote: a state is the prompt's ids and the ids generated since, and a critique
is ids to append to those. So a child begins with its parent's tokens, and prefix caches hit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from ..engines.base import Tokens
from ..engines.stops import decode

SETTINGS = "forethought.json"
"""The file in a model folder that says how the model was trained to be asked."""

ENDS = ("####", "The answer is", "the answer is", "\\boxed{")
"""Texts after which a model that was not trained by us has answered."""

SYSTEM = (
    "Solve the math problem step by step. Write one short step per line. "
    "When you are done, write a last line `#### n`, where n is the answer as a plain number."
)
CRITIQUE = (
    "Look at the steps so far, whether or not the solution is finished. Is every step correct and useful for answering "
    "the question? Reply with one word, Yes or No."
)
YES = ("Yes", "yes", " Yes", " yes", "YES")
NO = ("No", "no", " No", " no", "NO")
EXAMPLES: tuple[tuple[str, str], ...] = (
    (
        "Mara buys 3 boxes of 8 pencils and gives 5 pencils to her brother. How many pencils does she keep?",
        "Mara buys 3 * 8 = 24 pencils.\nShe keeps 24 - 5 = 19 pencils.\n#### 19",
    ),
    (
        "A baker sells 40 rolls in the morning and half as many in the afternoon. A roll costs $2. How much money does "
        "he take?",
        "In the afternoon he sells 40 / 2 = 20 rolls.\nIn all he sells 40 + 20 = 60 rolls.\n"
        "He takes 60 * 2 = $120.\n#### 120",
    ),
    (
        "A tank for 90 liters is one third full. A pump adds 6 liters a minute. How many minutes until it is full?",
        "There are 90 / 3 = 30 liters in the tank.\nIt lacks 90 - 30 = 60 liters.\n"
        "The pump needs 60 / 6 = 10 minutes.\n#### 10",
    ),
)
"""Our own, in the style of GSM8K and from none of its splits."""


class Format(Protocol):
    """What the text model needs to know of a way to ask.

    delimiter: ends a step. ends: a step that holds one is the last. max_step_tokens, max_steps: defaults for this
    model. yes, no: ids of the first token of the critic's two answers, in their spellings. eos_answers: whether a
    solution that just stops is answered by its last number (GSM8K's rule for a model that ends its turn), else it is a
    dead end.
    critique_tokens: the critic's question, to append to a state whose last step ended with the delimiter.
    """

    delimiter: str
    ends: tuple[str, ...]
    max_step_tokens: int
    max_steps: int
    yes: Tokens
    no: Tokens
    eos_answers: bool
    critique_tokens: Tokens

    def prompt_tokens(self, question: str) -> Tokens:
        """The ids a solution of `question` is written after."""
        ...

    def critique(self, step: Tokens) -> Tokens:
        """The critic's question as ids, to append to a state whose last step is `step`."""
        ...

    def ask(self, question: str, step: Tokens) -> Tokens:
        """Any question as ids, to append to a state whose last step is `step`; what comes next is the answer."""
        ...


class PlainFormat:
    """Text in, text on: the question, then the steps, one a line. For the built-in model and for base models.

    prompt: holds `{question}`. critique: stands on a line of its own after the steps. yes, no: one spelling each or
    several, of which those that are one token count; where none is, the first token of each.
    """

    eos_answers = False

    def __init__(
        self,
        tokenizer: Any,
        prompt: str = "{question}\n",
        delimiter: str = "\n",
        critique: str = "Right?",
        yes: str | Sequence[str] = " yes",
        no: str | Sequence[str] = " no",
        ends: Sequence[str] = ("####",),
        max_step_tokens: int = 64,
        max_steps: int = 10,
    ) -> None:
        if "{question}" not in prompt:
            raise ValueError(f"a prompt must hold {{question}}, got {prompt[-80:]!r}")
        if not delimiter:
            raise ValueError("a delimiter must hold at least one character")
        self._tokenizer, self._prompt = tokenizer, prompt
        self.delimiter, self.ends = delimiter, tuple(ends)
        self.max_step_tokens, self.max_steps = max_step_tokens, max_steps
        self.critique_tokens = _ids(tokenizer, critique)
        self._end_line = _ids(tokenizer, delimiter)
        self.yes, self.no = _verdicts(tokenizer, yes, no)

    def prompt_tokens(self, question: str) -> Tokens:
        ids = encoded(self._tokenizer, self._prompt.replace("{question}", question))
        if ids and ids[-1] == getattr(self._tokenizer, "eos_token_id", None):
            ids.pop()
        return tuple(ids)

    def critique(self, step: Tokens) -> Tokens:
        """A step that ended without the delimiter, at the end of sequence, gets one first."""
        return self._after(step) + self.critique_tokens

    def ask(self, question: str, step: Tokens) -> Tokens:
        """The question on a line of its own, after a line end where the step lacks it."""
        return self._after(step) + _ids(self._tokenizer, question)

    def _after(self, step: Tokens) -> Tokens:
        ended = not step or self.delimiter in decode(self._tokenizer, step)
        return () if ended else self._end_line


class ChatFormat:
    """A model with a chat template; steps continue one partial assistant message, the critique is the user's next turn.

    system: the instruction, put before the question where the template has no system role. examples: earlier turns,
    none for zero-shot.

    Errors: ValueError where the template drops what the assistant said, or renders no turn after it.
    """

    eos_answers = True
    ends: tuple[str, ...] = ENDS
    delimiter = "\n"

    def __init__(
        self,
        tokenizer: Any,
        system: str = SYSTEM,
        critique: str = CRITIQUE,
        examples: Sequence[tuple[str, str]] = (),
        max_step_tokens: int = 100,
        max_steps: int = 12,
    ) -> None:
        self._tokenizer, self._system, self._examples = tokenizer, system, tuple(examples)
        self.max_step_tokens, self.max_steps = max_step_tokens, max_steps
        self._turn = self._user_turn()
        self.critique_tokens = self.ask(critique, ())
        self.yes, self.no = _verdicts(tokenizer, YES, NO)

    def prompt_tokens(self, question: str) -> Tokens:
        return _ids(self._tokenizer, self._render([("user", question)]))

    def critique(self, step: Tokens) -> Tokens:
        return self.critique_tokens

    def ask(self, question: str, step: Tokens) -> Tokens:
        """The question as the user's next turn, and the begin of the assistant's answer."""
        return _ids(self._tokenizer, question.strip().join(self._turn))

    def _user_turn(self) -> tuple[str, str]:
        """The template's text between an assistant's message and the user's next one, and from there to the answer."""
        said, asked = "SAID-BY-THE-ASSISTANT", "ASKED-BY-THE-USER"
        text = self._render([("user", "question"), ("assistant", said), ("user", asked)])
        _, found, after = text.rpartition(said)
        if not found or asked not in after:
            raise ValueError("the chat template cannot continue a conversation after the assistant's message")
        before, _, answer = after.partition(asked)
        return before, answer

    def _render(self, turns: Sequence[tuple[str, str]]) -> str:
        shots = [turn for asked, said in self._examples for turn in (("user", asked), ("assistant", said))]
        talk = [*shots, *turns]
        try:
            return self._template([("system", self._system), *talk])
        except Exception:  # templates refuse a system role with errors of their own
            return self._template([(talk[0][0], f"{self._system}\n\n{talk[0][1]}"), *talk[1:]])

    def _template(self, talk: Sequence[tuple[str, str]]) -> str:
        messages = [{"role": role, "content": content} for role, content in talk]
        return str(
            self._tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
        )


def few_shot_format(tokenizer: Any, examples: Sequence[tuple[str, str]] = EXAMPLES) -> PlainFormat:
    """Few-shot prompting for base models without a chat template."""
    shown = "".join(f"Question: {asked}\nAnswer:\n{said}\n\n" for asked, said in examples)
    return PlainFormat(
        tokenizer,
        prompt=shown + "Question: {question}\nAnswer:\n",
        critique="\nQuestion: Are the steps of the last answer correct so far, Yes or No?\nAnswer:",
        yes=YES,
        no=NO,
        ends=ENDS,
        max_step_tokens=100,
        max_steps=12,
    )


def format_for(
    tokenizer: Any, folder: str | Path | None = None, examples: Sequence[tuple[str, str]] | None = None
) -> Format:
    """The way to ask this model: its folder's `forethought.json`, else its chat template, else few-shot.

    examples: worked ones as (question, solution); None shows none with a chat template and our own without.
    `forethought.json` has the last word: a model trained on a format is asked in it.
    """
    settings = Path(folder) / SETTINGS if folder is not None else None
    if settings is not None and settings.is_file():
        return _from_settings(tokenizer, settings)
    if getattr(tokenizer, "chat_template", None):
        return ChatFormat(tokenizer, examples=examples or ())
    return few_shot_format(tokenizer, EXAMPLES if examples is None else examples)


def _from_settings(tokenizer: Any, path: Path) -> Format:
    kinds: dict[str, type[PlainFormat] | type[ChatFormat]] = {"plain": PlainFormat, "chat": ChatFormat}
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        kind = settings.pop("format")
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ValueError(f'{path}: not a JSON object with a "format": {error}') from None
    if kind not in kinds:
        raise ValueError(f"{path}: no format {kind!r}; there are {', '.join(kinds)}")
    try:
        return kinds[kind](tokenizer, **settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def encoded(tokenizer: Any, text: str) -> list[int]:
    """`tokenizer.encode(text)`, by the tokenizers library itself where transformers would add nothing but half of the
    time: to a class that encodes in its usual way, with nothing set that it would have to take back first."""
    if _usual(tokenizer.__class__):
        library = tokenizer.backend_tokenizer
        set_ = library.truncation, library.padding, library.encode_special_tokens, tokenizer.split_special_tokens
        if not any(set_):
            return list(library.encode(text).ids)
    return list(tokenizer.encode(text))


@lru_cache
def _usual(kind: Any) -> bool:
    """Whether tokenizers of this class encode as transformers' own that are made of a tokenizers library's."""
    ways = (getattr(getattr(kind, name, None), "__qualname__", "") for name in ("encode", "_encode_plus"))
    return [*ways] == ["PreTrainedTokenizerBase.encode", "TokenizersBackend._encode_plus"]


def _ids(tokenizer: Any, text: str) -> Tokens:
    return tuple(tokenizer.encode(text, add_special_tokens=False))


def _verdicts(tokenizer: Any, yes: str | Sequence[str], no: str | Sequence[str]) -> tuple[Tokens, Tokens]:
    """The ids that say yes and those that say no, less those that say both; ValueError where none is left."""
    ayes, nays = _first(tokenizer, yes), _first(tokenizer, no)
    both = set(ayes) & set(nays)
    ayes, nays = tuple(i for i in ayes if i not in both), tuple(i for i in nays if i not in both)
    if not ayes or not nays:
        raise ValueError(f"the tokenizer's first tokens of {yes!r} and of {no!r} do not tell yes from no")
    return ayes, nays


def _first(tokenizer: Any, spellings: str | Sequence[str]) -> Tokens:
    """The ids of those spellings that are one token, each once; where none is, the first token of each."""
    ids = [_ids(tokenizer, spelling) for spelling in ([spellings] if isinstance(spellings, str) else spellings)]
    single = [one[0] for one in ids if len(one) == 1]
    return tuple(dict.fromkeys(single or [one[0] for one in ids if one]))
