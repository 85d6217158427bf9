"""The training program: a character-level language model, and the command line round it.

Nothing else in the package imports this; it uses the public API as any other program would.

    config.py        the hyper-parameters, and which values make sense
    text.py          the text, its alphabet, its split into training and validation, its layout in streams
    model.py         embedding, recurrent layers, linear output; bits per character of a text
    trainer.py       one update after the other, and the whole state between two of them
    sampling.py      text out of the model
    run_folder.py    the files that a run leaves, and how they stay consistent
    saved.py         what a checkpoint must hold, looked at before anything is built of it
    interrupt.py     Ctrl-C, kill, a closed terminal
    loop.py          all of it together
    plot.py          the picture of a run (matplotlib, if it is there)
    commands.py      what the two commands do
    doctor.py        what this installation runs on, and what would mend it
    cli.py           options in, exit status out
    restart.py       one thread for matrix products, set before NumPy is loaded
"""
