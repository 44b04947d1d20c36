"""The watched agent as lines for a pipe, a file or a log."""

from datetime import UTC, datetime

from ota_cli.watch.view import View


def summary_line(view: View, now: float) -> str:
    """One line, `name=number` after the time. now: of the view's clock."""
    clock = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if view.trouble is not None:
        return f"{clock} no answer for {now - view.heard:.0f} s, trying again: {view.trouble}"
    totals = view.sessions.totals
    more = "+" if view.is_least else ""
    return (
        f"{clock} boards={view.sessions.count} sending={view.sending}{more}"
        f" bytes_per_s={view.bytes_per_s:.0f}{more} sent={totals.sent}"
        f" up_to_date={totals.up_to_date} refused={totals.refused} failed={totals.failed}"
        f" turned_away={totals.turned_away}"
    )
