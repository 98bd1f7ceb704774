"""Who is asked: the model of each role, with its connection and limits; roles may share both."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import openai

from merr_pipeline.llm.limits import Limiter
from merr_pipeline.schema import MerrError
from merr_pipeline.settings import LlmSettings, ModelSettings, Role

JSON_MODES = ("schema", "object", "none")  # each asks less of the server than the one before
NO_KEY = "none"  # the SDK sends some key in any case
DOWN_AFTER = 10  # questions in a row, at least
LEARNING = 0.1  # weight of the newest answer in the expected length


class ModelState:
    """What is learnt of one model on one server while it is asked."""

    def __init__(self, limiter: Limiter, max_tokens: int) -> None:
        self.limiter = limiter
        self.lacking: set[str] = set()  # JSON modes that the server said it has not
        self.expected_completion = float(max_tokens)
        self.seen = False
        self.given_up = 0  # questions in a row for which it failed at every try


@dataclass(frozen=True)
class Asked:
    """The model of one role."""

    role: Role
    settings: ModelSettings
    client: openai.AsyncOpenAI
    secret: str  # the key; for no log, message, cache or fingerprint
    state: ModelState

    def __repr__(self) -> str:
        return f"Asked({self.role}, {self.model})"

    @property
    def model(self) -> str:
        """Its name."""
        return self.settings.model or ""

    @property
    def limiter(self) -> Limiter:
        """Its limits, shared with the other roles that ask it."""
        return self.state.limiter

    @property
    def json_mode(self) -> str:
        """The best JSON mode that the settings allow and the server has not refused."""
        allowed = JSON_MODES[JSON_MODES.index(self.settings.json_mode) :]
        return next(mode for mode in allowed if mode not in self.state.lacking)

    def step_down(self, mode: str) -> None:
        """Remember that this server has not that JSON mode."""
        self.state.lacking.add(mode)

    @property
    def expected_completion(self) -> int:
        """How many tokens an answer is likely to take: a moving mean, at first ``max_tokens``."""
        return round(self.state.expected_completion)

    @property
    def is_down(self) -> bool:
        """Whether it failed so many questions in a row that asking more only takes time."""
        return self.state.given_up >= max(DOWN_AFTER, 2 * self.settings.concurrency)

    def give_up(self) -> None:
        """A question has had all its tries."""
        self.state.given_up += 1

    def answered(self, completion: int) -> None:
        """Learn from an answer of this many tokens."""
        state = self.state
        state.given_up = 0
        weight = LEARNING if state.seen else 1.0
        state.expected_completion += weight * (completion - state.expected_completion)
        state.seen = True


def open_servers(
    settings: LlmSettings, roles: Collection[Role], environment: Mapping[str, str]
) -> dict[Role, Asked]:
    """The model of each role. Nothing is sent yet.

    Raises:
        MerrError: a role has no model or no server, or the variable with its key is not set.
    """
    models = {role: settings.of(role) for role in sorted(set(roles))}
    places = {role: (m.base_url, m.key_env, m.model) for role, m in models.items()}
    states: dict[tuple[str | None, ...], ModelState] = {}
    clients: dict[tuple[str | None, ...], openai.AsyncOpenAI] = {}
    asked: dict[Role, Asked] = {}
    for role, model in models.items():
        place, secret = places[role], _key(role, model, environment)
        if place not in states:
            sharing = [models[other] for other in models if places[other] == place]
            states[place] = ModelState(_shared_limiter(sharing), model.max_tokens)
        if place[:2] not in clients:
            clients[place[:2]] = _client(model, secret)
        asked[role] = Asked(role, model, clients[place[:2]], secret, states[place])
    return asked


def _shared_limiter(models: Sequence[ModelSettings]) -> Limiter:
    return Limiter(
        min(model.concurrency for model in models),
        _least([model.requests_per_minute for model in models]),
        _least([model.tokens_per_minute for model in models]),
    )


def _least(limits: Sequence[float | None]) -> float | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _key(role: Role, model: ModelSettings, environment: Mapping[str, str]) -> str:
    if model.key_env is None:
        return ""
    key = environment.get(model.key_env, "").strip()
    if not key:
        raise MerrError(
            f"llm.{role}.key_env names the environment variable {model.key_env}, which is not set "
            "or empty.\nPut the key into it, or unset key_env for a server that wants none."
        )
    return key


def _client(model: ModelSettings, secret: str) -> openai.AsyncOpenAI:
    """The SDK's client, without its own retries: the door alone decides what is sent again.

    Of the SDK's two ways to speak HTTP the one by aiohttp: the other looks at every idle connection
    with each request, which at 128 calls at once costs more than the request. Its warning that a
    body of more than 1 MB (sound, pictures) is written in one piece is of no use to anybody here.
    """
    warnings.filterwarnings("ignore", "Sending a large body directly", ResourceWarning)
    return openai.AsyncOpenAI(
        base_url=model.base_url,
        api_key=secret or NO_KEY,
        max_retries=0,
        http_client=openai.DefaultAioHttpClient(),
    )
