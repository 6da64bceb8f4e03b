"""The status page in a real browser, over a real farm: what it shows, that it keeps itself true, how it reads."""
import pytest
from browser import Browser

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(300)]

ROW = "[...document.querySelectorAll('#images tbody tr')].find((r) => r.cells[0].innerText.startsWith('%s'))"
# The contrast of every badge's and every text's colour with what is behind it (WCAG 2: 4.5 for text).
CONTRAST = """(() => {
  const numbers = (c) => c.match(/[\\d.]+/g).map(Number);
  const light = (c) => numbers(c).slice(0, 3).map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if ((numbers(c)[3] ?? 1) > 0) return c; } };
  return [...document.querySelectorAll('.state, .why, .mark, .tag, td, th, a, #facts li, #attention li, footer')].map((e) => {
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
    return [(a + 0.05) / (b + 0.05), e.className || e.tagName];
  }).filter(([c]) => c < 4.5);
})()"""


@pytest.fixture
def page(history):
    """The page, open and filled."""
    browser = Browser(history.farm.path("browser"), history.farm.env)
    try:
        browser.shape(1280, 1000)
        browser.open(history.sheafd.status_url + "/")
        browser.wait("document.querySelectorAll('#images tbody tr').length > 5 && document.querySelectorAll('#sources tbody tr').length > 5"
                     " && document.getElementById('link').innerText == 'live'")
        yield browser
    finally:
        browser.stop()


def row(page, track):
    """The texts of one track's row, heading first; a cell of a platform that it has not is empty."""
    return page.look(f"[...({ROW % track}).cells].map((c) => c.innerText.trim())")


def test_it_shows_images_by_platforms_with_state_and_reasons(history, page):
    heads = page.look("[...document.querySelectorAll('#images thead th')].map((h) => h.innerText)")
    assert heads == ["Track", "State", "amd64", "arm64", "Published"]
    base = row(page, "base@master")
    assert base[0].split() == ["base@master", "latest"] and "published" in base[1] and "up to date" in base[2] and "on board-1" in base[2]
    assert base[3] == "" and base[4].endswith("ago")
    assert "failed" in row(page, "bad@master")[2] and "exit status 1" in row(page, "bad@master")[2]
    assert "waiting for a board" in row(page, "far@master")[3] and "no board offers linux/arm64" in row(page, "far@master")[3]
    assert "dormant" in row(page, "tagged@v1.0.0")[1] and "cancelled" in row(page, "slow@master")[1]
    owned = page.look("[...document.querySelectorAll('#images .tag:not(.other)')].map((t) => t.innerText)")
    assert owned.count("1.1.0") == 1 and "1.0.0" not in owned, "a tag that a track has not now looks different"
    assert "running" in row(page, "ticking@master")[2] and "waits for the first look for" in row(page, "gone")[1]
    text = page.look("document.body.innerText")
    assert "1 of " in text and "boards online" in text and "has not connected yet" in text and "Connection refused" in text
    link = page.look(f"({ROW % 'bad@master'}).querySelector('a').href")
    assert not page.errors
    page.open(link)
    page.wait("document.body && document.body.innerText.includes('oh no')")


def test_it_keeps_itself_true(history, page):
    """What happens is shown in the page that is open: nobody loads it anew."""
    page.look("window.mine = 1")
    page.look(f"({ROW % 'bad@master'}).querySelector('a').focus()")
    build = history.sheafd.ctl_json("rebuild", "quick")["build"]
    page.wait(f"({ROW % 'quick@master'}).cells[2].innerText.includes('running') && document.title.includes('2 running')")
    page.wait(f"({ROW % 'quick@master'}).cells[1].innerText.includes('published')")
    page.wait(f"document.getElementById('builds').innerText.includes('#{build}')")
    assert page.look("window.mine") == 1
    assert page.look("document.activeElement.tagName") == "A", "the keyboard's place is kept"
    assert not page.errors
    history.sheafd.stop()
    page.wait("document.getElementById('link').className == 'away'")
    history.sheafd.start()
    page.wait("document.getElementById('link').innerText == 'live'")
    assert page.look("window.mine") == 1


@pytest.mark.parametrize("dark", [False, True])
def test_it_reads_well(page, dark):
    for width in (1280, 700, 360):
        page.shape(width, 800, dark=dark)
        assert page.look("document.documentElement.scrollWidth <= window.innerWidth"), f"wider than a window of {width}"
        assert page.look(CONTRAST) == [], width
    # In a narrow window each cell says what it is.
    assert page.look("getComputedStyle(document.querySelector('#images td'), '::before').content") == '"State"'
