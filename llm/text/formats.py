"""How a question, a step and a critic's question are presented to one model, as token ids.

A format never tokenises again what a model wrote: a state is the prompt's ids and the ids generated since, and a
critique is ids that are appended to those. A child therefore begins with its parent's tokens, and prefix caches hit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from ...planning.files import write_whole
from ..engines.base import Tokens
from ..engines.messages import Cut
from ..engines.step_splitter import decode
from .answers import AnswerAfterMark
from .encoding import encode_text, verdict_tokens
from .markers import MARK
from .prompts import CRITIQUE, EXAMPLES, NO, YES, system_text

SETTINGS_FILE = "forethought.json"
"""The file in a model folder that holds the format the model was trained on."""

DATE = datetime(2024, 7, 26)
"""The date that templates print, the same every day, so that a run can be resumed and a tape replayed."""

DELIMITERS: dict[str, tuple[Cut, str]] = {
    "line": ("line", "\n"),
    "paragraph": ("paragraph", "\n\n"),
    "sentence": ("sentence", "\n"),
}
"""Kinds of steps by name, each with a text that surely ends one."""

ANSWER_AFTER_MARK = AnswerAfterMark()

MAX_STEP_TOKENS, MAX_STEPS = 512, 40
"""Limits of models that this package has not trained; few solutions of grade-school problems reach them."""

FORMAT_VERSION = 1
"""The version of that file's layout, its key `format_version`."""


class Format(Protocol):
    """How one model is prompted and asked for verdicts.

    delimiter, cut: what a step is, `Sampling.stop` and `Sampling.cut`. ends, answered: which step is the last, as in
    `Sampling`. max_step_tokens, max_steps: defaults for this model. last_to_end: whether the last step that the limit
    allows runs to the end of the turn. yes, no: ids of the first token of the two verdicts, in their spellings.
    eos_answers: whether a solution that ends with the end of sequence is answered by its last number (GSM8K's rule for
    a model that ends its turn); otherwise it is a dead end. critique_tokens: the critic's question, to append to a
    state whose last step ended with the delimiter.
    """

    delimiter: str
    cut: Cut
    ends: tuple[str, ...]
    answered: Callable[[str], bool] | None
    last_to_end: bool
    max_step_tokens: int
    max_steps: int
    yes: Tokens
    no: Tokens
    eos_answers: bool
    critique_tokens: Tokens

    def prompt_tokens(self, question: str) -> Tokens:
        """The ids of the prompt; the solution of `question` follows them."""
        ...

    def critique(self, step: Tokens) -> Tokens:
        """The critic's question as ids, to append to a state whose last step is `step`."""
        ...

    def ask(self, question: str, step: Tokens) -> Tokens:
        """Any question as ids, to append to a state whose last step is `step`; its answer follows them."""
        ...


class PlainFormat:
    """Plain text: the question, then one step a line. For the built-in model and for base models.

    prompt: contains `{question}`. critique: stands on its own line after the steps. yes, no: one spelling or several;
    those that are one token are used, or the first token of each where none is.
    """

    eos_answers = last_to_end = False

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
        cut: Cut = "text",
        answered: Callable[[str], bool] | None = None,
    ) -> None:
        if "{question}" not in prompt:
            raise ValueError(f"a prompt must hold {{question}}, got {prompt[-80:]!r}")
        if not delimiter:
            raise ValueError("a delimiter must hold at least one character")
        self._tokenizer, self._prompt = tokenizer, prompt
        self.delimiter, self.ends, self.cut, self.answered = delimiter, tuple(ends), cut, answered
        self.max_step_tokens, self.max_steps = max_step_tokens, max_steps
        self.critique_tokens = encode_text(tokenizer, critique)
        self._delimiter_tokens = encode_text(tokenizer, delimiter)
        self.yes, self.no = verdict_tokens(tokenizer, yes, no)

    def prompt_tokens(self, question: str) -> Tokens:
        """The prompt, with the tokenizer's begin of sequence and without its end of sequence."""
        ids = self._tokenizer.encode(self._prompt.replace("{question}", question))
        if ids and ids[-1] == getattr(self._tokenizer, "eos_token_id", None):
            ids.pop()
        return tuple(ids)

    def critique(self, step: Tokens) -> Tokens:
        """The critique; a delimiter comes first where the step ended without one, at the end of sequence."""
        return self._missing_delimiter(step) + self.critique_tokens

    def ask(self, question: str, step: Tokens) -> Tokens:
        """The question on its own line; a delimiter comes first where the step lacks one."""
        return self._missing_delimiter(step) + encode_text(self._tokenizer, question)

    def _missing_delimiter(self, step: Tokens) -> Tokens:
        complete = not step or self.delimiter in decode(self._tokenizer, step)
        return () if complete else self._delimiter_tokens


class ChatFormat:
    """A model with a chat template: steps continue one assistant message, the critique is the user's next turn.

    system: the instruction; it is put before the question where the template has no system role. examples: earlier
    turns as (question, solution), none for zero-shot.

    Errors: ValueError where the template drops the assistant's message or cannot render a turn after it.
    """

    eos_answers = last_to_end = True
    ends: tuple[str, ...] = (MARK,)

    def __init__(
        self,
        tokenizer: Any,
        system: str = system_text("line"),
        critique: str = CRITIQUE,
        examples: Sequence[tuple[str, str]] = (),
        max_step_tokens: int = MAX_STEP_TOKENS,
        max_steps: int = MAX_STEPS,
        delimiter: str = "\n",
        cut: Cut = "line",
        answered: Callable[[str], bool] | None = ANSWER_AFTER_MARK,
    ) -> None:
        self._tokenizer, self._system, self._examples = tokenizer, system, tuple(examples)
        self.max_step_tokens, self.max_steps = max_step_tokens, max_steps
        self.delimiter, self.cut, self.answered = delimiter, cut, answered
        self._turn = self._user_turn()
        self.critique_tokens = self.ask(critique, ())
        self.yes, self.no = verdict_tokens(tokenizer, YES, NO)

    def prompt_tokens(self, question: str) -> Tokens:
        """The conversation up to the beginning of the assistant's message."""
        return encode_text(self._tokenizer, self._render([("user", question)]))

    def critique(self, step: Tokens) -> Tokens:
        """The critique as the user's next turn; it does not depend on the step."""
        return self.critique_tokens

    def ask(self, question: str, step: Tokens) -> Tokens:
        """The question as the user's next turn, and the beginning of the assistant's answer."""
        return encode_text(self._tokenizer, question.strip().join(self._turn))

    def _user_turn(self) -> tuple[str, str]:
        """The template's text between an assistant's message and the user's next, and between that and the answer."""
        assistant, user = "SAID-BY-THE-ASSISTANT", "ASKED-BY-THE-USER"
        text = self._render([("user", "question"), ("assistant", assistant), ("user", user)])
        _, found, after = text.rpartition(assistant)
        if not found or user not in after:
            raise ValueError("the chat template cannot continue a conversation after the assistant's message")
        before, _, answer = after.partition(user)
        return before, answer

    def _render(self, turns: Sequence[tuple[str, str]]) -> str:
        shots = [turn for asked, said in self._examples for turn in (("user", asked), ("assistant", said))]
        talk = [*shots, *turns]
        try:
            return self._apply_template([("system", self._system), *talk])
        except Exception:  # each template raises its own kind of error when it refuses a system role
            return self._apply_template([(talk[0][0], f"{self._system}\n\n{talk[0][1]}"), *talk[1:]])

    def _apply_template(self, talk: Sequence[tuple[str, str]]) -> str:
        messages = [{"role": role, "content": content} for role, content in talk]
        return str(
            self._tokenizer.apply_chat_template(
                messages,
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=False,
                strftime_now=DATE.strftime,
                date_string=DATE.strftime("%d %b %Y"),
            )
        )


def few_shot_format(
    tokenizer: Any,
    examples: Sequence[tuple[str, str]] = EXAMPLES,
    delimiter: str = "line",
    answered: Callable[[str], bool] | None = ANSWER_AFTER_MARK,
) -> PlainFormat:
    """Few-shot prompting for base models without a chat template. delimiter: see `steps_of`."""
    shots = "".join(f"Question: {asked}\nAnswer:\n{said}\n\n" for asked, said in examples)
    cut, text = steps_of(delimiter)
    return PlainFormat(
        tokenizer,
        prompt=shots + "Question: {question}\nAnswer:\n",
        delimiter=text,
        critique="\nQuestion: Are the steps of the last answer correct so far, Yes or No?\nAnswer:",
        yes=YES,
        no=NO,
        ends=(MARK,),
        max_step_tokens=MAX_STEP_TOKENS,
        max_steps=MAX_STEPS,
        cut=cut,
        answered=answered,
    )


def steps_of(delimiter: str) -> tuple[Cut, str]:
    """What a step is and the text that ends it: "line", "paragraph", "sentence", or any text as a delimiter.

    Errors: ValueError for an empty text.
    """
    if not delimiter:
        raise ValueError("a delimiter must hold at least one character")
    return DELIMITERS.get(delimiter, ("text", delimiter))


def format_for(
    tokenizer: Any,
    folder: str | Path | None = None,
    examples: Sequence[tuple[str, str]] | None = None,
    *,
    system: str | None = None,
    delimiter: str | None = None,
    answered: Callable[[str], bool] | None = ANSWER_AFTER_MARK,
) -> Format:
    """The format of a model: from its folder's `forethought.json`, else its chat template, else few-shot.

    examples: worked ones as (question, solution), by default `EXAMPLES`; with a chat template they are earlier turns.
    system: the instruction of a chat, by default `system_text`. delimiter: see `steps_of`, by default lines.
    answered: which steps with `####` end a solution.

    Where there is a `forethought.json`, examples and `answered` are ignored, because a trained model is prompted as it
    was trained.

    Errors: ValueError for a `forethought.json` that cannot be used, with the reason, and for an instruction or a
    delimiter where there is one.
    """
    path = Path(folder) / SETTINGS_FILE if folder is not None else None
    if path is not None and path.is_file():
        if system is not None or delimiter is not None:
            raise ValueError(f"{path} says how this model is prompted; an instruction or a delimiter cannot be set")
        return _from_settings(tokenizer, path)
    shown = EXAMPLES if examples is None else examples
    if not getattr(tokenizer, "chat_template", None):
        if system is not None:
            raise ValueError("an instruction needs a model with a chat template, and this one has none")
        return few_shot_format(tokenizer, shown, delimiter or "line", answered)
    cut, text = steps_of(delimiter or "line")
    instruction = system_text(cut) if system is None else system
    return ChatFormat(tokenizer, instruction, examples=shown, delimiter=text, cut=cut, answered=answered)


def read_settings(path: Path) -> dict[str, Any]:
    """The contents of a `forethought.json`: "format" ("plain" or "chat") and the arguments of that class.

    Errors: ValueError for a file that is no JSON object with a "format", and for one of another format version.
    """
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        kind, version = settings["format"], settings.pop("format_version", None)
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise ValueError(f'{path}: not a JSON object with a "format": {error}') from None
    if version != FORMAT_VERSION:
        found = "has no format_version, so it is older" if version is None else f"has format_version {version!r}"
        raise ValueError(
            f"{path} {found}; this release reads format_version {FORMAT_VERSION}: train or export the model again, or "
            f'add "format_version": {FORMAT_VERSION} if you wrote the file yourself'
        )
    if not isinstance(kind, str) or kind not in FORMATS:
        raise ValueError(f"{path}: no format {kind!r}; there are {', '.join(FORMATS)}")
    return dict(settings)


def write_settings(path: Path, settings: dict[str, Any]) -> None:
    """Write a `forethought.json` with the current format version."""
    write_whole(path, json.dumps({"format_version": FORMAT_VERSION} | settings, indent=1) + "\n")


def _from_settings(tokenizer: Any, path: Path) -> Format:
    settings = read_settings(path)
    kind = FORMATS[settings.pop("format")]
    for name, value in settings.items():
        if not _fits(name, value):
            raise ValueError(f"{path}: {name} cannot be {json.dumps(value)[:80]}")
    try:
        return kind(tokenizer, **settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def _fits(name: str, value: Any) -> bool:
    """Whether a setting has the type of its name: a number, a list of texts, or a text."""
    if name.startswith("max_"):
        return type(value) is int and 0 < value < 1 << 31
    if name == "examples":
        pairs = value if isinstance(value, list) else [value]
        return all(
            isinstance(pair, list) and len(pair) == 2 and all(isinstance(x, str) for x in pair) for pair in pairs
        )
    texts = value if isinstance(value, list) and name in ("yes", "no", "ends") else [value]
    return all(isinstance(text, str) for text in texts) and (name != "ends" or texts is value)


FORMATS: dict[str, type[PlainFormat] | type[ChatFormat]] = {"plain": PlainFormat, "chat": ChatFormat}
"""Formats by the name that `forethought.json` gives them."""
