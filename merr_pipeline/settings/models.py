"""Settings of the models that are asked, and of what may be spent on them."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from merr_pipeline.settings.section import Role, Section, SettingsError


class ModelSettings(Section):
    """A model behind an OpenAI-compatible server, as one role asks it.

    Roles that name the same server, key and model share its limits: the smallest counts.
    """

    base_url: str | None = Field(
        None,
        description="Where the server's API begins, for instance http://localhost:8000/v1; null is "
        "the server of llm.text, with its key.",
    )
    model: str | None = Field(None, description="Name of the model, as the server spells it.")
    revision: str = Field(
        "",
        description="What is served under that name, if it may change: a commit, a quantisation. "
        "Another revision asks everything anew.",
    )
    key_env: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="Name of the environment variable that holds the key; null sends none.",
    )
    temperature: float | None = Field(
        0.0, ge=0, le=2, description="Null leaves it to the server; some models take no other."
    )
    seed: int | None = Field(0, description="Null sends none.")
    max_tokens: int = Field(1024, ge=1, description="Length at which an answer is cut.")
    limit_name: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens", description="How the server calls it; OpenAI's reasoning models: the latter."
    )
    json_mode: Literal["schema", "object", "none"] = Field(
        "schema",
        description="How the server is made to answer in JSON: by a schema, as any JSON object, by "
        "the prompt alone. A server that says it cannot is asked in the next way.",
    )
    audio_part: Literal["input_audio", "audio_url"] = Field(
        "input_audio", description="How sound is sent; some servers take only one of the two."
    )
    extra: dict[str, Any] = Field(
        default_factory=dict,
        description="More fields of the request, for instance {top_k: 20, chat_template_kwargs: "
        "{enable_thinking: false}}.",
    )
    concurrency: int = Field(16, ge=1, le=1000, description="Calls in flight at once.")
    requests_per_minute: float | None = Field(None, gt=0, description="Null sets no limit.")
    tokens_per_minute: float | None = Field(
        None, gt=0, description="Of prompts and answers together; null sets no limit."
    )
    timeout_s: float = Field(
        120.0, gt=0, description="Time limit for one try, until its last byte."
    )
    retries: int = Field(5, ge=0, le=20, description="Tries after the first, if the server fails.")
    backoff_s: float = Field(
        1.0,
        gt=0,
        description="Longest wait before the second try; doubles with each, up to max_wait_s.",
    )
    max_wait_s: float = Field(
        120.0,
        gt=0,
        description="Longest wait between two tries, also where the server asks for more "
        "(Retry-After).",
    )

    @field_validator("base_url")
    @classmethod
    def _holds_no_key(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must begin with http:// or https:// and name a host")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("must hold no user, password, query or fragment; see key_env")
        return url.rstrip("/")

    @field_validator("extra")
    @classmethod
    def _says_nothing_twice(cls, extra: dict[str, Any]) -> dict[str, Any]:
        ours = {"model", "messages", "stream", "n", "response_format", "seed", "temperature"}
        ours |= {"max_tokens", "max_completion_tokens"}
        if taken := sorted(ours & extra.keys()):
            raise ValueError(f"cannot hold {', '.join(taken)}: the pipeline says that itself")
        return extra


class LlmSettings(Section):
    """The models that are asked, by what for, and what may be spent (``llm``)."""

    text: ModelSettings = ModelSettings()
    vision: ModelSettings = ModelSettings()
    audio: ModelSettings = ModelSettings()
    second: ModelSettings = ModelSettings()
    max_usd: float | None = Field(
        None, ge=0, description="No call starts that may bring a run above it; null sets no limit."
    )
    max_calls: int | None = Field(
        None, ge=0, description="Requests a run may send, failed ones too; null sets no limit."
    )

    def of(self, role: Role) -> ModelSettings:
        """The settings of a role; what it leaves to ``llm.text`` is filled in.

        Raises:
            SettingsError: it has no model or no server.
        """
        own: ModelSettings = getattr(self, role)
        if own.base_url is None:
            own = own.model_copy(
                update={"base_url": self.text.base_url, "key_env": self.text.key_env}
            )
        missing = [name for name in ("base_url", "model") if getattr(own, name) is None]
        if missing:
            wanted = " and ".join(f"llm.{role}.{name}" for name in missing)
            raise SettingsError(
                f"{wanted} must be set: something in this profile asks a model for {role}.\n"
                "For instance --set llm.text.base_url=http://localhost:8000/v1, and the model's "
                "name as that server spells it."
            )
        return own
