from pathlib import Path

import pytest

from tests.deploy.documented import make_tree
from tests.deploy.manifests import OVERLAYS, Manifests, kustomize


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with secrets; tests change nothing in it."""
    folder = tmp_path_factory.mktemp("clone")
    make_tree(folder)
    return folder


@pytest.fixture(scope="session", params=OVERLAYS)
def manifests(tree: Path, request: pytest.FixtureRequest) -> Manifests:
    return kustomize(tree / "deploy" / "kubernetes", request.param)
