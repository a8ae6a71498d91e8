"""A shield for each test; its HAProxy starts with the first apply."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.agent.builders import Shield


@pytest.fixture
async def shield() -> AsyncIterator[Shield]:
    with tempfile.TemporaryDirectory(prefix="la-") as folder:
        made = Shield.new(Path(folder))
        try:
            yield made
        finally:
            await made.stop()
