r"""By 2019 machine translation had turned from RNNs to Transformers, which have up to 24 layers: facts, with sources.

A background page. Nothing here is computed, so nothing can fail; each figure stands with the place where it was read.
That a figure is quoted here does not mean that it was counted again.

- **Reports of the Conference on Machine Translation.** CS224N (2019), lecture 7, counts words: the report of 2016
  (Bojar et al. 2016) has "RNN" 44 times; that of 2018 (Bojar et al. 2018) has "RNN" 9 times and "Transformer" 63 times.
  Later editions of the lecture add 2019 (Barrault et al. 2019): 7 and 105.
- **Layers of RNNs.** Britz et al. (2017) found 2 to 4 layers best for the encoder and 4 for the decoder of a
  translation system; deeper ones needed skip connections (items 21, 22 and 26).
- **Layers of Transformers.** The first had 6 in the encoder and 6 in the decoder (Vaswani et al. 2017), the larger BERT
  has 24, of 1,024 units and 16 heads, with 340 million parameters (Devlin et al. 2019). Around each layer stands a skip
  connection: the answer to vanishing gradients in depth that items 21 and 22 measure.
- **Hardware.** "A million-fold" from 1991 to 2015, says S3; item 43 computes what that buys.

What did not change is the subject of this laboratory. A Transformer has no recurrence in time, so its gradients do not
vanish over time; in depth they would, without the skips.

## Try it
>>> L, H, words, positions = 24, 1024, 30_522, 512      # the larger BERT
>>> layer = 4 * H * H + 2 * 4 * H * H                   # attention (4 matrices), then two layers of 4 H
>>> round((L * layer + (words + positions) * H) / 1e6)  # in millions, without biases; the paper says 340
334

## It would be false if
someone counted again and found other figures. Most are counts of words, which say what was written about, not what was
better.

## Exercise
A million-fold in 24 years is a doubling every so many months? At that rate, when will a plain RNN reach 100 steps
further than in 2015, by item 43?
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_rnn.diagnostics.result import COLOURS

from ..experiment import Result, Size, experiment

# lab: begin
COUNTS = {  # year: (RNN, Transformer); None: not given
    "2016": (44, None),
    "2018": (9, 63),
    "2019": (7, 105),
}
# lab: end


def draw(figure: Any) -> None:
    """Bars of the counts."""
    ax = figure.subplots()
    places = np.arange(len(COUNTS))
    for k, name in enumerate(("RNN", "Transformer")):
        counts = [pair[k] for pair in COUNTS.values()]
        heights = [count or 0 for count in counts]
        bars = ax.bar(places + 0.4 * k - 0.2, heights, 0.36, color=COLOURS[k], hatch=["", "//"][k], label=f'"{name}"')
        ax.bar_label(bars, ["not given" if count is None else str(count) for count in counts], color=COLOURS[k])
    ax.set_xticks(places, list(COUNTS))
    ax.set_xlabel("report of the Conference on Machine Translation (year)")
    ax.set_ylabel("how often the word stands in it")
    ax.legend()


@experiment(
    50,
    "Background",
    source="CS224N 2019, lecture 7, and later editions; encyclopaedia S3; Britz et al. 2017; Vaswani et al. 2017; "
    "Devlin et al. 2019",
    seconds=0.1,
    full_seconds=0.1,
)
def run(size: Size, seed: int) -> Result:
    """Figures that are quoted, not measured."""
    numbers = {
        **{f'"RNN" in the report of {year}': rnn for year, (rnn, _) in COUNTS.items()},
        **{f'"Transformer" in the report of {year}': t for year, (_, t) in COUNTS.items() if t is not None},
        "layers of the larger BERT": 24,
        "layers of RNNs for translation, encoder": "2 to 4",
        "hardware, 1991 to 2015": "about 1,000,000 times",
    }
    because = (
        'the word "RNN" stands 44 times in the report of 2016 and 9 times in that of 2018, by the lecture\'s count'
    )
    return Result([], "historical", because, numbers, {}, draw)
