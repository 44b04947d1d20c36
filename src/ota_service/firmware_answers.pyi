from .agent_answers import Agent
from .resumable import ResumableSession

async def open_firmware(
    agent: Agent, token: str, session: ResumableSession
) -> tuple[bytes, int]: ...
