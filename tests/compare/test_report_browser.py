"""The report page, driven in a browser: nothing is loaded, tables sort, cells tell, sound plays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, Page, expect

import audiocls
from audiocls.compare.grid import compare
from audiocls.data.synth import write_dataset
from audiocls.training import Recipe

GROUPS = r"([^/]+)/[^/]+?_([A-G]s?[0-9])_"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of two models after an epoch, which make mistakes; of recordings that exist."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("report")
    write_dataset(folder / "data", clips_per_class=14, n_classes=4)
    audiocls.extract(folder / "data", feature="mfcc", out=folder / "mfcc")
    recipe = Recipe(epochs=1, batch_size=16)
    done = compare(
        [folder / "mfcc"], ["lstm", "newcnn"], recipe=recipe, group_by=GROUPS, out=folder / "out"
    )
    return done.report


@pytest.fixture(params=[(1280, "light"), (360, "dark")], ids=["desktop", "phone"])
def page(request: pytest.FixtureRequest, browser: Browser, report: Path) -> Iterator[Page]:
    """The page, open; at the end it must have been silent and have asked for nothing."""
    width, scheme = request.param
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, has_touch=width < 500
    )
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    yield page
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [report.as_uri()]
    context.close()


def test_it_fits_and_can_be_read(page: Page) -> None:
    width = page.viewport_size["width"] if page.viewport_size else 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    expect(page.locator("h1")).to_contain_text("is the choice of validation")
    # Of everything that is shown, no letter is smaller than 8 px on the screen.
    smallest = page.evaluate(
        """Math.min(...[...document.querySelectorAll("main *")]
            .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())
                           && e.checkVisibility() && !["SCRIPT", "STYLE"].includes(e.tagName))
            .map((e) => parseFloat(getComputedStyle(e).fontSize)
                 * (e.ownerSVGElement ? e.ownerSVGElement.getScreenCTM().a : 1)))"""
    )
    assert smallest >= 8
    hidden = page.locator("#scores tbody td:not(:visible)")
    assert hidden.count() == 0, "no column is left out on a small screen"


def test_text_stands_out_in_light_and_dark(page: Page) -> None:
    """Contrast of text, soft text and links with the ground, as WCAG 2.2 defines it: 4.5 at
    least.
    """
    contrasts = page.evaluate(
        """() => {
            const light = (name) => {
                const probe = document.body.appendChild(document.createElement("i"));
                probe.style.color = `var(--${name})`;
                const parts = getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3);
                probe.remove();
                const [r, g, b] = parts.map((x) => x / 255)
                    .map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4));
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const back = light("back");
            return ["text", "soft", "accent", "other", "good", "warn"].map(light)
                .map((x) => (Math.max(x, back) + 0.05) / (Math.min(x, back) + 0.05));
        }"""
    )
    assert min(contrasts[:3]) >= 4.5
    assert min(contrasts) >= 3


def test_tables_sort(page: Page) -> None:
    table = page.locator("#classes table")
    for title, column in (("recordings", 2), ("class", 0), ("recall", 1)):
        head = table.locator("thead button", has_text=title).first
        seen = []
        for _ in range(2):
            head.click()
            cells = table.locator(f"tbody tr > :nth-child({column + 1})")
            values = cells.evaluate_all("all => all.map((c) => c.dataset.value ?? c.textContent)")
            keys = [v if column == 0 else float(v) for v in values]
            seen.append(keys)
        assert sorted(seen[0]) in (seen[0], seen[1])
        assert seen[0][0] >= seen[0][-1] or seen[1][0] >= seen[1][-1]
        expect(table.locator("[aria-sort]")).to_have_count(1)
    order = page.locator("#scores tbody tr")
    before = order.all_inner_texts()
    page.locator("#scores thead button", has_text="parameters").click()
    page.locator("#scores thead button", has_text="parameters").click()
    assert sorted(order.all_inner_texts()) == sorted(before)


def test_a_cell_names_its_recordings(page: Page) -> None:
    matrix = page.locator(".matrix[data-unit=recordings]")
    detail = matrix.locator(".detail")
    wrong = matrix.locator("td:not(.hit) button").first
    wrong.click()
    expect(detail).to_contain_text(" taken for ")
    expect(detail).to_contain_text(".wav")
    shown = detail.inner_text()
    # One stop of the Tab key for the matrix; the arrow keys go on to another cell.
    assert matrix.locator("button[tabindex='0']").count() == 1
    before = page.evaluate("document.activeElement.dataset.at")
    for key in ("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"):
        wrong.focus()
        page.keyboard.press(key)
        if page.evaluate("document.activeElement.dataset.at") != before:
            break
    else:
        pytest.fail("no arrow key leaves the cell")
    expect(detail).not_to_have_text(shown)


def test_mistakes_are_heard(page: Page) -> None:
    plays = page.locator(".play")
    assert plays.count() >= 2
    for i in range(2):
        audio = plays.nth(i).locator("+ audio")
        plays.nth(i).click()
        page.wait_for_function(
            "(a) => a.currentTime > 0 && a.error === null", arg=audio.element_handle()
        )
        assert 0.05 < audio.evaluate("a => a.duration") <= 2.0
        assert page.locator("audio").evaluate_all("all => all.filter((a) => !a.paused).length") <= 1
    loaded = page.locator(".picture img").evaluate_all("all => all.map((i) => i.naturalWidth)")
    assert min(loaded) > 1


def test_it_prints(browser: Browser, report: Path) -> None:
    page = browser.new_page()
    page.goto(report.as_uri())
    folded = page.locator("details:not([open])")
    assert folded.count() > 0
    assert page.pdf(format="A4").startswith(b"%PDF")
    assert folded.count() == 0, "what is folded on the screen is unfolded on paper"
    page.close()
