"""The embedded task: grade-school problems drawn by a program that knows the truth of every step.

    world         the vocabulary: who has what, and how it is said
    arithmetic    how a line is computed, misread, and drawn by itself
    chain         a problem in structured form, and its worked solution as text
    difficulty    the generator's knobs, and their bounds
    story         draws named amounts and the relations between them
    questions     draws what is asked about them, and the steps that answer it
    generate      draws one whole problem
    splits        which problems belong to which split
    truth         judges steps, whoever wrote them
    task          all this behind the interface that tasks share
    tfds_builder  the same problems as a TFDS dataset on disk

Only the packaged tiny base needs

    slips         solutions with one slip
    corpus        what the base has read before it meets the task
"""
