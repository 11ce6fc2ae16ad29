"""One port for all tests here, as the plugin has one for all tests of a session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llmount.testing.reference.connections import Port
from llmount.testing.reference.server import ReferenceServer


@pytest.fixture(scope="package")
def port() -> Iterator[Port]:
    with Port(ReferenceServer().app) as port:
        yield port


@pytest.fixture
def server(port: Port) -> ReferenceServer:
    return ReferenceServer(port)
