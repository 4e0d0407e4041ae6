"""What a problem is: loading, steps, answers, grading and token forms."""
