"""What a problem is: loading, steps, answers and grading."""
