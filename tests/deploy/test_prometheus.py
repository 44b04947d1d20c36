"""The rules: taken by promtool, about metrics there are, and they fire when they should."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from dice_auth.metrics import Metrics
from ota_agent.asking import Findings
from ota_agent.counts import Counts
from ota_agent.exposition import exposition as agent_exposition
from tests.deploy.documented import DEPLOY, ROOT

PROMETHEUS = DEPLOY / "prometheus"


def promtool(*words: str | Path) -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    done = subprocess.run(
        [program, *words], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_takes_rules_and_configuration() -> None:
    assert "SUCCESS" in promtool("check", "rules", PROMETHEUS / "alerts.yaml")
    promtool("check", "config", "--syntax-only", PROMETHEUS / "prometheus.yaml")


def test_rules_fire_when_they_should(tmp_path: Path) -> None:
    cases = (Path(__file__).parent / "alert_cases.yaml").read_text()
    (tmp_path / "cases.yaml").write_text(cases.replace("ALERTS", str(PROMETHEUS / "alerts.yaml")))
    assert "SUCCESS" in promtool("test", "rules", tmp_path / "cases.yaml")


def test_every_rule_has_a_case() -> None:
    cases = (Path(__file__).parent / "alert_cases.yaml").read_text()
    assert alerts() == set(re.findall(r"alertname: (\w+)", cases))


def test_every_rule_has_its_line_in_the_docs() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    assert alerts() <= set(re.findall(r"`(\w+)`", page))


def test_rules_are_about_metrics_and_jobs_there_are() -> None:
    text = (PROMETHEUS / "alerts.yaml").read_text()
    exposed = set(re.findall(r"^(dice_auth_\w+)", Metrics().exposition().decode(), re.MULTILINE))
    assert set(re.findall(r"dice_auth_\w+", text)) <= exposed
    of_agent = agent_exposition(Counts(), Findings(), "0").decode()
    expected = set(re.findall(r"^# TYPE (ota_agent_\w+)", of_agent, re.MULTILINE))
    assert set(re.findall(r"ota_agent_\w+", text)) <= expected
    scraped = yaml.safe_load((PROMETHEUS / "prometheus.yaml").read_text())["scrape_configs"]
    jobs = {each["job_name"] for each in scraped}
    assert set(re.findall(r'job="([^"]+)"', text)) == jobs


def alerts() -> set[str]:
    rules = yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text())
    return {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
