"""The API of Text Generation Inference, as a dialect of one's own."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from llmount.contract import Operation
from llmount.dialects.completion import gather
from llmount.dialects.plain import Pieces
from llmount.dialects.protocol import Codec, Drawing, Headers, Reply, Request, Run
from llmount.dialects.sampling import sampling
from llmount.errors import ApiError, BackendError, BadRequest, Overloaded, RateLimited
from llmount.jsontext import dumps
from llmount.types import JSON, Backend, Event, Finish, Prompt, Quota, TextDelta


class TGI:
    """Continues texts with one model of a backend. A `Dialect`."""

    contract = str(Path(__file__).with_name("tgi.yaml"))

    def __init__(self, backend: Backend, model: str) -> None:
        self.backend, self.model, self.backends = backend, model, (backend,)
        self.handlers = {
            "complete": self.complete,
            "generate": self.generate,
            "generateStream": self.generate,
        }

    async def complete(self, request: Request) -> Reply:
        return self._run(request.body, stream=request.body["stream"], listed=True)

    async def generate(self, request: Request) -> Reply:
        return self._run(request.body, stream=request.operation.stream is not None)

    def _run(self, body: JSON, *, stream: bool, listed: bool = False) -> Run:
        asked = {name: value for name, value in body["parameters"].items() if value is not None}
        by_chance = asked.get("do_sample") or any(name in asked for name in _CHANCE)
        asked.setdefault("temperature", 1.0 if by_chance else 0.0)
        prompt = Prompt(
            model=self.model,
            text=body["inputs"],
            sampling=sampling(asked, *_SAME, **_RENAMED),
            format=asked.get("grammar", {}).get("value"),
        )
        codec = _Generation(body["inputs"], asked, listed)
        return Run(self.backend.generate(prompt), codec, stream)

    def draw(self, error: ApiError, operation: Operation | None) -> Drawing:
        status, content = _drawn(error)
        return Drawing.of(error, content, status=status)

    def draw_item(self, error: ApiError, codec: Codec) -> Iterable[JSON]:
        return [{"data": dumps(_drawn(error)[1])}]

    def headers(self, started: int, quota: Quota | None) -> Headers:
        return ()


_CHANCE = ("temperature", "top_k", "top_p", "typical_p")
_SAME = (*_CHANCE, "frequency_penalty", "seed", "stop")
_RENAMED = {"max_tokens": "max_new_tokens", "repeat_penalty": "repetition_penalty"}


class _Generation(Pieces):
    """The codec: a token for each piece of text and, in a stream, an empty one for the end."""

    def __init__(self, inputs: str, asked: JSON, listed: bool) -> None:
        super().__init__()
        self._asked, self._listed = asked, listed
        self._prefix = inputs if asked.get("return_full_text") else ""
        self._said: list[str] = []

    def item(self, text: str, finish: Finish | None) -> JSON:
        self._said.append(text)
        step = {
            "index": len(self._said),
            "token": _token(text, special=finish is not None),
            "generated_text": finish and self._prefix + "".join(self._said),
            "details": finish and self._details(finish, input_length=finish.usage.prompt),
        }
        return {"data": dumps(step)}

    def whole(self, events: Sequence[Event]) -> JSON:
        answer = gather(events)
        tokens = [_token(each.text) for each in events if isinstance(each, TextDelta) and each.text]
        details = self._details(answer.finish, prefill=[], tokens=tokens)
        told = {"details": details} if details else {}
        generation = {"generated_text": self._prefix + answer.text, **told}
        return [generation] if self._listed else generation

    def _details(self, finish: Finish, **others: JSON) -> JSON:
        if not self._asked.get("details"):
            return None
        reason = "length" if finish.reason == "length" else "eos_token"
        seed = self._asked.get("seed")
        return {
            "finish_reason": reason,
            "generated_tokens": finish.usage.completion,
            "seed": None if seed is None else int(seed),
            **others,
        }


def _token(text: str, special: bool = False) -> JSON:
    return {"id": 0, "text": text, "logprob": None, "special": special}


_KINDS = (
    (BadRequest, 422, "validation", "Input validation error: {}"),
    ((Overloaded, RateLimited), 429, "overloaded", "Model is overloaded"),
    (BackendError, 424, "generation", "Request failed during generation: {}"),
)


def _drawn(error: ApiError) -> tuple[int, JSON]:
    for kinds, status, name, text in _KINDS:
        if isinstance(error, kinds):
            return status, {"error": text.format(error.message), "error_type": name}
    name = "request" if error.status < 500 else "incomplete_generation"
    return error.status, {"error": error.message, "error_type": name}
