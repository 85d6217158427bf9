"""What only a GPU can tell: every fused path against float64 and against PyTorch, and what everything costs.

    python -m benchmarks.gpu --out DIR [--only layers,job] [--quick]

Each family of measurements runs in a process of its own with a time limit, so that a hang or a fault loses one family
only, and saves every row when it is there.  ``DIR`` gets a log and the rows of each family, and ``gpu.md`` and
``gpu.json`` with everything.

    program.py     the families one after the other, and the tables
    families.py    which families there are, and their limits
    places.py      on which device, in which sizes; poisoned memory
    rows.py        what was found, saved as it comes
    clock.py       milliseconds between two events
    reference.py   one layer's numbers in any library, and how far results are from float64
    check.py       families: values and gradients of every fused path over a grid of shapes
    layers.py      families: RNN, GRU, LSTM against cuDNN and against a loop over cells
    loops.py       family: the recurrence written step by step
    job.py         family: the main job, its speed and its curve
    optimisers.py  family: clipping and updates
    host.py        family: what it costs the host to issue a layer and a step of the main job, with profiles
    micro.py       family: what a call costs, and the speed of memory
    latency.py     family: what it takes to signal between blocks
    tilings.py     family: the ways to cut the persistent kernels
    sanitize.py    a little of everything, to be run under compute-sanitizer
    bounds.py      what a step must take at least
    tables.py      Markdown

Where there is no GPU, ``--dry-run`` runs all of it in small sizes on the CPU.
"""
