from pathlib import Path

import pytest

from tests.packaging import built


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel, built from the sdist, and the sdist."""
    wheel, sdist = built.build(built.ROOT, tmp_path_factory.mktemp("dist"))
    return wheel, sdist


@pytest.fixture
def wheel(artifacts: tuple[Path, Path]) -> Path:
    return artifacts[0]


@pytest.fixture
def sdist(artifacts: tuple[Path, Path]) -> Path:
    return artifacts[1]


@pytest.fixture(scope="session")
def offline(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which pip finds our dependencies, and nothing else."""
    return built.index(tmp_path_factory.mktemp("index"))
