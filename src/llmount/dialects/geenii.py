"""The geenii gateway's `/ai/v1`: `provider:model` picks who answers.

`geenii_answer` writes what is answered, `geenii_errors` what went wrong.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias, TypeVar

from ..contract import Operation
from ..errors import ApiError, BackendError, BackendUnavailable, ModelNotFound
from ..media import (
    Audio,
    ImageBackend,
    ImagePrompt,
    SpeechBackend,
    SpeechPrompt,
    TranscriptionBackend,
    TranscriptionPrompt,
)
from ..types import JSON, Backend, Message, Model, Prompt, Quota, Sampling, TextPart
from .geenii_answer import CompletionCodec, envelope, picture, recording
from .geenii_errors import Failure, draw
from .openai_request import bytes_of
from .protocol import Answer, Codec, Drawing, Handler, Headers, Reply, Request, Run, quota_headers

__all__ = ["Geenii", "Lists", "Survey"]

P = TypeVar("P")


class Lists(Protocol):
    """Who says which models there are."""

    async def models(self) -> Sequence[Model]: ...


Survey: TypeAlias = Callable[[Sequence[Lists]], Awaitable[Sequence[Sequence[Model] | None]]]
"""The models of each, in their order; None for one that does not say."""


async def one_by_one(providers: Sequence[Lists]) -> Sequence[Sequence[Model] | None]:
    """The plain `Survey`: each has to say."""
    return [await provider.models() for provider in providers]


class Geenii:
    """Completions, images and sound over named providers. A `Dialect`.

    survey: how the models of all providers are found out.
    """

    contract = "ai/geenii"

    def __init__(
        self,
        providers: Mapping[str, Backend],
        images: Mapping[str, ImageBackend] | None = None,
        speech: Mapping[str, SpeechBackend] | None = None,
        transcription: Mapping[str, TranscriptionBackend] | None = None,
        *,
        survey: Survey = one_by_one,
    ) -> None:
        self.providers = providers
        self.images = images or {}
        self.speech = speech or {}
        self.transcription = transcription or {}
        self._survey = survey
        self._kinds: Mapping[str, Mapping[str, Lists]] = {
            "text-completion": self.providers,
            "image-generation": self.images,
            "audio-generation": self.speech,
            "audio-transcription": self.transcription,
        }

    @property
    def backends(self) -> Sequence[object]:
        return [each for kind in self._kinds.values() for each in kind.values()]

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {
            "completion": self.completion,
            "imageGenerate": self.image_generate,
            "audioSpeech": self.audio_speech,
            "audioTranscribe": self.audio_transcribe,
            "audioTranslate": self.audio_translate,
            "models": self.models,
        }

    async def completion(self, request: Request) -> Reply:
        body = request.body
        provider, model, backend = self._pick(body, self.providers, "AICompletionProvider")
        messages = [Message("user", (TextPart(body["prompt"]),))]
        if body.get("system"):
            messages.insert(0, Message("system", (TextPart(body["system"]),)))
        output_format = body.get("output_format")
        if output_format not in (None, "json", "json_object"):
            raise Failure(
                f"Unsupported format: {output_format[:64]}. Supported formats are: 'json'."
            )
        limit = body.get("max_tokens")
        prompt = Prompt(
            model=model,
            messages=tuple(messages),
            sampling=Sampling(
                max_tokens=None if limit is None else int(limit),
                temperature=body.get("temperature"),
                top_p=body.get("top_p"),
            ),
            format="json" if output_format else None,
        )
        codec = CompletionCodec(provider, model, body["prompt"], request.started)
        return Run(backend.generate(prompt), codec, body["stream"])

    async def image_generate(self, request: Request) -> Reply:
        body = request.body
        provider, model, backend = self._pick(body, self.images, "AIImageGeneratorProvider")
        width, _, height = (body.get("size") or "auto").partition("x")
        try:
            images = await backend.draw(
                ImagePrompt(
                    model=model,
                    text=body["prompt"],
                    width=int(width) if height else None,
                    height=int(height) if height else None,
                )
            )
        except ModelNotFound:
            text = f"Model {model} is not supported by AIProvider(name={provider})."
            raise Failure(text) from None
        if not images:
            raise BackendError("the image backend gave no image")
        by_url = body.get("response_format") == "url"
        output = [picture(image, by_url=by_url) for image in images]
        return Answer(envelope(provider, model, prompt=body["prompt"], output=output))

    async def audio_speech(self, request: Request) -> Reply:
        body = request.body
        provider, model, backend = self._pick(body, self.speech, "AIAudioGeneratorProvider")
        audio = await backend.speak(
            SpeechPrompt(
                model=model,
                text=body["text"],
                voice=body.get("voice"),
                speed=body["speed"],
                sample_rate=int(body["sample_rate"]),
                max_duration=body["duration"],
            )
        )
        return Answer(envelope(provider, model, text=body["text"], output=[recording(audio)]))

    async def audio_transcribe(self, request: Request) -> Reply:
        return await self._write_down(request.body, "AIAudioTranscriptionProvider", None)

    async def audio_translate(self, request: Request) -> Reply:
        body = request.body
        return await self._write_down(body, "AIAudioTranslationProvider", body["target_lang"])

    async def _write_down(self, body: JSON, interface: str, target: str | None) -> Answer:
        provider, model, backend = self._pick(body, self.transcription, interface)
        said = await backend.transcribe(
            TranscriptionPrompt(
                model=model, audio=_audio(body), language=body["source_lang"], target=target
            )
        )
        return Answer(envelope(provider, model, output_text=said.text))

    async def models(self, request: Request) -> Reply:
        asked = [
            (kind, provider, backend)
            for kind, providers in self._kinds.items()
            for provider, backend in providers.items()
        ]
        found = await self._survey([backend for _, _, backend in asked])
        if asked and all(models is None for models in found):
            raise BackendUnavailable
        return Answer(
            [
                {
                    "name": model.name,
                    "provider": provider,
                    "type": kind,
                    "description": model.description,
                }
                for (kind, provider, _), models in zip(asked, found, strict=True)
                for model in models or ()
            ]
        )

    def _pick(self, body: JSON, wanted: Mapping[str, P], interface: str) -> tuple[str, str, P]:
        """Provider and model of a request, and who answers it. Raises `Failure`."""
        provider, colon, model = body["model"].partition(":")
        if not colon:
            raise Failure(
                f"Invalid model ID format: {provider[:128]}. Expected 'provider:model_name'."
            )
        provider, model = provider.strip(), model.strip()
        if provider in wanted:
            return provider, model, wanted[provider]
        if any(provider in providers for providers in self._kinds.values()):
            raise Failure(
                f"Invalid AI: {provider} provider does not support {interface} interface."
            )
        raise Failure(f"Unsupported provider: {provider[:128]}")

    def draw(self, error: ApiError, operation: Operation | None) -> Drawing:
        return draw(error, operation)

    def draw_item(self, error: ApiError, codec: Codec) -> Iterable[JSON]:
        assert isinstance(codec, CompletionCodec)
        return codec.failed(error)

    def headers(self, started: int, quota: Quota | None) -> Headers:
        return quota_headers(quota)


def _audio(body: JSON) -> Audio:
    if (blob := body.get("input_blob")) is not None:
        return Audio(bytes_of(blob, "input_blob"), "application/octet-stream")
    url = body["input_file"]
    media_type = url.removeprefix("data:").partition(";")[0]
    return Audio(bytes_of(url, "input_file"), media_type)
