"""Draws docs/demo.svg: a real run of `costscope demo`, one moment of it and its end. Run it: python docs/draw_demo.py.

rich draws its pictures with a font from the network; here the reader's own fixed-width font does.
"""

import asyncio
import contextlib
import io
import re
import tempfile
from pathlib import Path

from rich.console import Console

from costscope.cli.demo.orchestration import run_demo
from costscope.cli.demo.scenario import Scenario
from costscope.cli.demo.screen import final_view, live_view
from costscope.stores import open_store
from costscope_valkey.embedded import stop_server

FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def main() -> None:
    """Run the demo with its defaults and draw what it shows at 100 columns."""
    screen = Console(
        record=True, width=100, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    drawn = False

    def show(progress: object) -> None:
        nonlocal drawn
        if not drawn and any("serves what" in text for _, text in progress.events):
            drawn = True
            screen.print("$ costscope demo\n", style="bold", highlight=False)
            screen.print(live_view(progress, screen))

    with tempfile.TemporaryDirectory() as folder:
        books = Path(folder) / "books"
        url = f"embedded://{books}"
        scenario = Scenario(
            processes=4, tasks=16, calls=240, budget_nano=15_360_000_000, seed=1, lease_s=3.0, victim=3
        )
        with contextlib.closing(open_store(url)) as store:
            verdict = asyncio.run(run_demo(scenario, store, url, show))
        stop_server(books)
    screen.print()
    screen.print(*final_view(verdict, screen), sep="\n")
    picture = FONT.sub("", screen.export_svg(title="costscope demo"))
    plain = picture.replace("Fira Code, ", "").replace("Fira Code", "monospace")
    Path(__file__).with_name("demo.svg").write_text(plain, encoding="utf-8")


if __name__ == "__main__":
    main()
