"""What mkdocs runs after it has built the site."""

import re
import shutil
from pathlib import Path
from typing import Any

_SLATE = re.compile(r"\[data-md-color-scheme=slate\]\{([^}]*--md-default-bg-color:[^}]*)\}")
_DARK = """
@media screen and (prefers-color-scheme: dark) {
  .no-js [data-md-color-scheme="default"] { --md-hue: 232; %s; --md-typeset-a-color: #00ccb8 }
}
"""


_PRE = re.compile(r"(<pre.*?</pre>)", re.DOTALL)


def on_post_page(output: str, **_: Any) -> str:
    """Templates leave a fifth of a page as space at the ends of lines: not in what is typed."""
    parts = _PRE.split(output)
    parts[::2] = [re.sub(r"\s*\n\s*", "\n", part) for part in parts[::2]]
    return "".join(parts)


def on_post_build(config: Any) -> None:
    """Takes out what no page asks for: the theme's script bundle, its dictionaries for other
    languages, source maps. Without JavaScript nobody sets the theme's dark scheme, so its
    variables are given to the light one where the system is dark."""
    assets = Path(config["site_dir"]) / "assets"
    shutil.rmtree(assets / "javascripts")
    for path in assets.rglob("*.map"):
        path.unlink()
    (palette,) = assets.glob("stylesheets/palette.*.css")
    slate = _SLATE.search(palette.read_text())
    if slate is None:
        raise ValueError(f"{palette}: no scheme slate, from which dark without JavaScript is made")
    with (assets / "site.css").open("a") as sheet:
        sheet.write(_DARK % slate.group(1))
