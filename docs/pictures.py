"""The pictures of README.md: a report of `compare` and the page of `demo`.

    python docs/pictures.py REPORT.html MODEL RECORDING

writes docs/report.png and docs/demo.png.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]


def main(report: Path, model: str, recording: Path) -> None:
    """Takes both pictures with a headless Chromium."""
    found = subprocess.run([ROOT / ".ci" / "chromium"], capture_output=True, text=True, check=True)
    demo = subprocess.Popen(
        [sys.executable, "-m", "audiocls", "demo", model, "--port", "0", "--no-browser", "--json"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert demo.stdout is not None
    url = json.loads(demo.stdout.readline())["url"]
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=found.stdout.strip(), args=["--no-sandbox"]
            )
            page = browser.new_page(viewport={"width": 1000, "height": 620})
            page.goto(report.resolve().as_uri())
            page.screenshot(path=ROOT / "docs" / "report.png")
            page.goto(url)
            page.locator("input[type=file]").first.set_input_files(recording)
            page.locator("[data-testid$='-confidence-set']").first.wait_for()
            page.wait_for_timeout(4000)  # until pictures are drawn
            page.screenshot(path=ROOT / "docs" / "demo.png")
            browser.close()
    finally:
        demo.terminate()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
