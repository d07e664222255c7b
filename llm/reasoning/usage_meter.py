"""The usage of an expansion that takes several requests, such as a sub-question and its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ...planning.usage import FLOPS, PROMPT_TOKENS, SECONDS, VALUE_TOKENS, Usage
from ..critics import Judgement
from ..engines.base import Generation, Sampling, Tokens
from ..engines.flops import UNKNOWN_FLOPS, DecoderFlops
from ..step_result import EvaluatedStep, GeneratedStep, UsageRow, spent_on
from ..tape.cached_engine import CachedEngine
from ..text.steps import Step


@dataclass
class UsageMeter:
    """Sums the requests of one expansion.

    charged, spent: [units], one node each to begin with. flops: floating-point operations of the model that writes.
    """

    flops: DecoderFlops = UNKNOWN_FLOPS
    charged: Usage = field(default_factory=lambda: np.array(UsageRow(nodes=1)))
    spent: Usage = field(default_factory=lambda: np.array(UsageRow(nodes=1)))

    def charge_request(
        self, prompt: int, new: int, steps: Sequence[Step], computed: Sequence[Generation | None]
    ) -> None:
        """Add one generation request after `prompt` tokens, the last `new` of which this planner's tree had not
        computed.

        steps: what it wrote, as recorded. computed: what the engine generated just now, None where the tape answered.
        """
        written = sum(len(step.tokens) for step in steps)
        self.charged += UsageRow(
            model_calls=1,
            generated_tokens=written,
            prompt_tokens=new,
            cached_tokens=prompt - new,
            seconds=sum(step.seconds for step in steps),
            flops=self.flops.of_tokens(prompt - new, new + written),
        )
        for one in computed:
            self.spend(prompt, one)

    def spend(self, prompt: int, computed: Generation | None) -> None:
        """Add what the engine generated just now after `prompt` tokens; nothing where the tape answered."""
        if computed is not None:
            self.spent += spent_on(prompt, computed, self.flops)

    def charge_prompt(self, start: int, new: int) -> None:
        """Charge `new` prompt tokens after `start` ones; a later request computes them."""
        self.charged[PROMPT_TOKENS] += new
        self.charged[FLOPS] += self.flops.of_tokens(start, new)


@dataclass(slots=True)
class MeteredStep(GeneratedStep):
    """A written step whose usage was summed over several requests."""

    meter: UsageMeter = field(default_factory=UsageMeter)

    def judged(self, judgement: Judgement) -> EvaluatedStep:
        """The expansion's result, with the metered usage and the critic's."""
        charged, spent = self.meter.charged.copy(), self.meter.spent.copy()
        charged[[VALUE_TOKENS, SECONDS, FLOPS]] += judgement.tokens, judgement.seconds, judgement.flops
        spent[[VALUE_TOKENS, SECONDS, FLOPS]] += judgement.tokens_spent, judgement.seconds_spent, judgement.flops_spent
        is_open = not self.child.ended
        reward, value = (0.0, judgement.value) if is_open else (judgement.value, 0.0)
        return EvaluatedStep(self.child, reward, float(is_open), value, charged, spent)


async def generate_lines(
    cached: CachedEngine, prompt: Tokens, sampling: Sampling, stream: int, most: int, room: int
) -> tuple[list[Step], list[Generation | None]]:
    """Up to `most` lines of together at most `room` tokens after `prompt`, from one request.

    The tape keeps the lines one by one, and a request is made only for those it lacks. Returns the lines, and for each
    what the engine generated just now or None.
    """
    steps: list[Step] = []
    computed: list[Generation | None] = []
    text = prompt
    while len(steps) < most and (left := room - (len(text) - len(prompt))) > 0:
        step, generation = await cached.step(text, sampling, stream, most - len(steps), left)
        steps.append(step)
        computed.append(generation)
        text += step.tokens
        if step.ended != "stop":
            break
    return steps, computed
