"""The two nearest peers, each in a virtual environment of its own, answering the chat.

Neither has an echo. fastapi-openai-compat calls a function of ours, which gives the user's
words back; LiteLLM's proxy answers with its own mock, a text from its configuration.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from servers import Server, uvicorn
from workloads import CHAT, Workload

__all__ = ["FOLDER", "servers"]

FOLDER = Path(tempfile.gettempdir()) / "llmount-bench-peers"
_SERVER = ("uvicorn", "httptools", "uvloop")


def servers(folder: Path) -> list[Server]:
    """The peers, installed; the configuration of LiteLLM goes into `folder`."""
    compat = _environment("compat", "fastapi-openai-compat", *_SERVER)
    litellm = _environment("litellm", "litellm[proxy]", *_SERVER)
    return [
        uvicorn("fastapi-openai-compat", "peer_compat:app", python=str(compat / "python")),
        _litellm(litellm, folder),
    ]


def _litellm(programs: Path, folder: Path) -> Server:
    config = folder / "litellm.yaml"
    model = {"model": "openai/echo", "api_key": "none", "mock_response": _asked(CHAT[0])}
    # JSON is YAML.
    config.write_text(json.dumps({"model_list": [{"model_name": "echo", "litellm_params": model}]}))
    command = [str(programs / "litellm"), "--config", str(config), "--host", "127.0.0.1"]
    command += ["--port", "{port}", "--num_workers", "1", "--telemetry", "False"]
    settings = {
        "LITELLM_LOG": "ERROR",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        # The others ask for no key either, and it listens to this machine only.
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    }
    return Server("LiteLLM's proxy", command, patience=120, environment=settings)


def _asked(workload: Workload) -> str:
    return str(workload.body["messages"][-1]["content"])


def _environment(name: str, *packages: str) -> Path:
    """The folder of the programs of a virtual environment with these packages."""
    place = FOLDER / name
    programs = place / ("Scripts" if sys.platform == "win32" else "bin")
    if not (place / "installed").exists():
        print(f"Installing {packages[0]} into {place} ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        subprocess.run(
            [str(programs / "python"), "-m", "pip", "install", "--quiet", *packages], check=True
        )
        (place / "installed").touch()
    return programs
