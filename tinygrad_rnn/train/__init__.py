"""The training program: a character-level language model and its command line.

Nothing else in the package imports this; it uses the public API as any other program would.

    config.py             the hyper-parameters and their valid values
    text.py               the text, its alphabet, its split into training and validation, its layout in streams
    model.py              embedding, recurrent layers, linear output; bits per character of a text
    trainer.py            the update, and the whole state between two updates
    sampling.py           text generation
    run_folder.py         the files of a run, and their consistency
    checkpoint_checks.py  validation of a checkpoint before anything is built from it
    interrupt.py          Ctrl-C, kill, a closed terminal
    loop.py               the training loop
    plot.py               the picture of a run (matplotlib, if it is installed)
    diagnosis.py          how far back gradients reach while a run trains, and the picture of it
    commands.py           the commands train and sample
    doctor.py             the command doctor: facts about the installation, and remedies
    cli.py                the command line: options and exit status
    restart.py            the settings that OpenBLAS reads when NumPy is imported
"""
