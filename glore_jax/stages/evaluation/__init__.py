"""What stage `evaluate` consists of; its life is drawn in docs/architecture.md.

choices          what is chosen on dev before a test question is touched
in_force         the values that decide, from there or from the config
refinements      where `[BAD]` stands, and the texts that are written
untrained        the base in the refiner's role
candidates       the solutions of a question, and the system's choice
outcomes         the system and its rivals, question by question
split_records    all that is written and scored of a split
measures         figures and worked examples of a split: draft_, sample_ and gain_figures
"""
