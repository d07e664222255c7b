"""The public names of `forethought.llm`."""

from .critics import (
    ClosableCritic,
    CompositeCritic,
    Critic,
    CriticDeps,
    Judgement,
    LogProb,
    NoCritic,
    Oracle,
    ProcessReward,
    Rating,
    RecordedCritic,
    Rollout,
    SelfCritique,
    SiblingCritic,
    Vote,
    Weighted,
    make_critic,
)
from .critics.reward_formats import RewardFormat
from .engines.base import Engine
from .engines.http.openai import OpenAIEngine
from .engines.messages import EngineCounters, EngineGone, Generation, Sampling, Score
from .engines.replay import ReplayEngine
from .engines.replicas import ReplicatedEngine
from .engines.transformers.engine import TransformersEngine
from .engines.vllm.engine import VllmEngine
from .importing.import_trees import ImportSummary, import_trees
from .load import load_text_model
from .prm.pipeline import RewardTask, train_reward_model
from .reasoning.propose import ProposeModel
from .reasoning.rap import RapModel
from .tape.sqlite import TapeFile
from .tape.tape import MemoryStore, Tape
from .text.answers import Answer, AnswerCheck, check_answer, extract_answer, gold_answer, read_answer
from .text.formats import ChatFormat, Format, PlainFormat, format_for
from .text.state import TextState
from .text.steps import Step
from .text_model import TextModel

__all__ = [  # noqa: RUF022, grouped by use
    # the language model as a model to plan with
    "load_text_model",
    "TextModel",
    "TextState",
    "Step",
    "ProposeModel",
    "RapModel",
    # formats and answers
    "Format",
    "PlainFormat",
    "ChatFormat",
    "format_for",
    "Answer",
    "AnswerCheck",
    "read_answer",
    "extract_answer",
    "gold_answer",
    "check_answer",
    # critics
    "Critic",
    "SiblingCritic",
    "ClosableCritic",
    "CompositeCritic",
    "CriticDeps",
    "Judgement",
    "make_critic",
    "SelfCritique",
    "Rating",
    "Vote",
    "LogProb",
    "Rollout",
    "ProcessReward",
    "RewardFormat",
    "Oracle",
    "NoCritic",
    "RecordedCritic",
    "Weighted",
    # engines
    "Engine",
    "TransformersEngine",
    "VllmEngine",
    "OpenAIEngine",
    "ReplayEngine",
    "ReplicatedEngine",
    "Sampling",
    "Generation",
    "Score",
    "EngineCounters",
    "EngineGone",
    # tapes
    "Tape",
    "TapeFile",
    "MemoryStore",
    "import_trees",
    "ImportSummary",
    # process reward models
    "RewardTask",
    "train_reward_model",
]
