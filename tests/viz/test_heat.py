"""Arrays as HTML: the numbers shown are the numbers of the array, whatever it is, and nothing grows with its size."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.support.strict_html import parsed
from tinygrad_rnn.tape.observe.values import Summary
from tinygrad_rnn.viz import heat, markup

KINDS = [np.float16, np.float32, np.float64, np.int8, np.int64, np.uint64, np.bool_, np.complex64, np.complex128]
LIMITS = st.sampled_from([np.nan, np.inf, -np.inf, -0.0, 5e-324, 1e-30, 800.0])


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    kind = np.dtype(draw(st.sampled_from(KINDS)))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=7))
    found = draw(hnp.arrays(kind, shape))
    if kind.kind == "f" and found.size:
        with np.errstate(all="ignore"):
            found.reshape(-1)[draw(st.integers(0, found.size - 1))] = draw(LIMITS)
    return found


@given(arrays())
def test_each_entry_is_in_its_cell_with_all_its_digits(x: np.ndarray[Any, Any]) -> None:
    shown = heat.heat(x)
    if shown is None:
        assert not x.size or x.size > 400
        return
    page = parsed(shown)
    assert len(page.cells) == x.size
    for cell, (place, entry) in zip(page.cells, np.ndenumerate(x), strict=True):
        assert cell.title.startswith(f"[{', '.join(map(str, place))}] = " if place else "")
        with np.errstate(all="ignore"):
            read = np.array([{"True": 1, "False": 0}.get(cell.value, cell.value)]).astype(x.dtype)[0]
        assert read.tobytes() == entry.tobytes() or (read != read and entry != entry)
        assert cell.text == heat.number(entry.item())


@given(arrays())
def test_whatever_is_shown_is_sound(x: np.ndarray[Any, Any]) -> None:
    page = parsed(heat.show(x))
    assert f"{x.dtype.name}{list(x.shape)}" in page.text or (x.ndim == 0 and len(page.cells) == 1)


def test_what_is_not_finite_is_marked_without_colour_too() -> None:
    page = parsed(heat.show(np.array([1.0, np.nan, -np.inf])))
    assert [("dashed" in cell.style, cell.text) for cell in page.cells] == [(False, "1"), (True, "nan"), (True, "-inf")]
    page = parsed(heat.show(np.r_[np.ones(500), np.nan, np.inf, -np.inf, 0.0]))
    assert "min 0, mean 0.998, max 1, 1 nan, 2 inf, 1 of 504 are 0" in page.text


def test_depth_is_proportional_to_size_and_sign_has_a_colour() -> None:
    page = parsed(heat.show(np.array([-2.0, -1.0, 0.0, 1.0])))
    found = [re.search(r"background:(?:rgba\(([\d,]+),([\d.]+)\)|none)", cell.style) for cell in page.cells]
    depths = [float(match[2] or 0) for match in found if match]
    assert depths == [0.5, 0.25, 0.0, 0.25]
    assert [match[1] for match in found if match] == [heat.NEGATIVE, heat.NEGATIVE, None, heat.POSITIVE]


def contrast(colour: tuple[float, ...], other: tuple[float, ...]) -> float:
    """The contrast of two colours, as accessibility guidelines (WCAG 2.2) define it."""

    def luminance(rgb: tuple[float, ...]) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in rgb)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted([luminance(colour), luminance(other)], reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("tint", [heat.NEGATIVE, heat.POSITIVE, heat.STRANGE])
@pytest.mark.parametrize(
    ("page", "text"),
    [((255, 255, 255), (33, 33, 33)), ((17, 17, 17), (224, 224, 224)), ((30, 30, 30), (212, 212, 212))],
)
def test_text_on_the_deepest_colour_can_be_read_in_light_and_dark(
    tint: str, page: tuple[float, ...], text: tuple[float, ...]
) -> None:
    """Of JupyterLab and VS Code; 4.5 is what the guidelines ask for."""
    depth = 0.3 if tint == heat.STRANGE else heat.DEEPEST
    mixed = tuple(depth * int(t) + (1 - depth) * p for t, p in zip(tint.split(","), page, strict=True))
    assert contrast(mixed, text) >= 4.5


def test_a_ring_is_around_the_entry_that_it_is_for() -> None:
    page = parsed(heat.heat(np.arange(24.0).reshape(2, 3, 4), ringed=[(1, 0, 2)]) or "")
    assert [cell.title for cell in page.cells if "3px" in cell.style] == ["[1, 0, 2] = 14.0"]


def test_entries_that_are_muted_keep_their_number_in_the_title() -> None:
    x = np.array([[1.0, 2.0]])
    page = parsed(heat.heat(x, muted=x == 1, dotted=True) or "")
    assert [(cell.text, cell.value) for cell in page.cells] == [("·", "1.0"), ("2", "2.0")]


def test_the_largest_table_has_bounded_html() -> None:
    assert len(heat.show(np.random.default_rng(0).standard_normal((20, 20)))) < 75_000


@pytest.mark.parametrize("shape", [(1000, 3), (3, 1000), (2000, 3000), (10**6,), (50, 50, 50), (21, 20)])
def test_large_arrays_have_short_html(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    shown = heat.show(x)
    assert len(shown) < 60_000  # the picture of a matrix has at most 96 by 96 squares of 4 bytes
    page = parsed(shown)
    assert not page.cells
    assert f"min {x.min():.4g}, mean {x.mean(dtype=np.float64):.4g}, max {x.max():.4g}" in page.text


def counts_of(x: np.ndarray[Any, Any]) -> list[int]:
    """The numbers in the bins of a histogram, and what is said of it."""
    ((svg, alt),) = parsed(heat.histogram(x) or "").pictures
    titles = [title.text or "" for title in svg.iter("{http://www.w3.org/2000/svg}title")]
    counts = [int(title.rpartition(": ")[2]) for title in titles]
    assert f"at most {max(counts)} entries" in alt
    assert len(counts) == 1 or [float(title.split()[0]) for title in titles] == sorted(
        {float(t.split()[0]) for t in titles}
    )
    return counts


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_the_bins_of_a_histogram_hold_all_entries(low: float, high: float) -> None:
    x = low + np.random.default_rng(0).random(500) * (high / 4 - low / 4)
    ((svg, _),) = parsed(heat.histogram(x) or "").pictures
    titles = [title.text or "" for title in svg.iter("{http://www.w3.org/2000/svg}title")]
    assert sum(int(title.rpartition(": ")[2]) for title in titles) == x.size


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64])
def test_the_bins_are_those_of_numpy(kind: type) -> None:
    x = (np.random.default_rng(1).standard_normal(5000) * 1000).astype(kind)
    assert counts_of(x) == np.histogram(x.astype(np.float64), bins=heat.BINS)[0].tolist()


def test_the_mean_of_entries_whose_sum_is_beyond_the_range() -> None:
    assert heat.figures(np.full(500, 1.5e308)).mean == pytest.approx(1.5e308)
    assert heat.figures(np.full(500, 6e4, np.float16)).mean == 6e4


def test_a_histogram_of_a_sample_says_so() -> None:
    x = np.zeros(heat.SAMPLED + 10)
    x[::2] = 1
    page = parsed(heat.histogram(x) or "")
    assert "of every 2. entry" in page.pictures[0][1] and "of every 2. entry" in page.text


def test_one_bad_entry_among_many_is_seen_in_the_picture() -> None:
    x = np.zeros((1000, 1000))
    x[501, 77] = -3.0
    blocks, (down, across) = heat._blocks(x)
    assert blocks.shape == (91, 91) and blocks[501 // down, 77 // across] == -3.0 and (blocks != 0).sum() == 1
    x[500, 78] = np.nan
    assert np.isnan(heat._blocks(x)[0]).sum() == 1


def test_a_summary_says_what_was_kept() -> None:
    page = parsed(heat.show(Summary.of(np.arange(100.0))))
    assert "float64[100]" in page.text and "min 0, max 99" in page.text
    assert [cell.text for cell in page.cells] == [str(k) for k in range(8)]
    assert "the shape alone" in parsed(heat.show(Summary.shape_alone(np.ones(3)))).text


def test_arrays_on_a_device_are_shown_from_there(device_xp: Any) -> None:
    small, large = np.arange(6.0).reshape(2, 3), np.linspace(-1, 2, 1000)
    assert heat.show(device_xp.asarray(small)) == heat.show(small)
    assert heat.show(device_xp.asarray(large)) == heat.show(large)


# markup --------------------------------------------------------------------------------------------------------------


@given(st.text(), st.text())
def test_whatever_text_is_put_in_comes_out_as_text(inside: str, attribute: str) -> None:
    page = parsed(markup.tag("td", inside, title=attribute, style="color:red"))
    (cell,) = page.cells
    assert (cell.text, cell.title) == tuple(re.sub("\r\n?", "\n", markup.visible(t)) for t in (inside, attribute))


def test_what_is_html_is_not_escaped_again_and_everything_else_is() -> None:
    assert markup.tag("b", "<", markup.tag("i", "&")) == "<b>&lt;<i>&amp;</i></b>"
    assert markup.joined("<b>", markup.Html("<b>"), None, 3) == "&lt;b&gt;<b>3"
    assert markup.tag("b", title=markup.Html('"<b>"')) == '<b title="&quot;&lt;b&gt;&quot;"></b>'


@pytest.mark.parametrize(
    "wrong",
    ["<b>", "</b>", "<b><i></b></i>", "<script></script>", "<svg></svg>", "<b>&</b>", "<b>a < b</b>", "<img src='x'>"]
    + ["<b onclick='x'></b>", "<style>b {}</style>", "<b style='background:url(x)'></b>", "<!-- x -->", "<p><b>x</b>"],
)
def test_what_is_not_sound_is_found(wrong: str) -> None:
    with pytest.raises(AssertionError):
        parsed(wrong)
