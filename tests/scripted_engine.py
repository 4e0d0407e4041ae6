"""In place of the engine: what each fork says is given, and jobs end in a scrambled order."""

import random

from glore_jax.sampling.engine import Completion, Stats


class Scripted:
    """`says(job, fork)` -> text, or None for a text that runs out of length.

    `trunks` lists those of the jobs in the order in which they were drawn, `ran` the questions of
    the jobs that ended. With `fail_after` the run breaks off after so many, as if it were killed.
    """

    trunks_at_once = 2

    def __init__(self, says, fail_after=None):
        self.says = says
        self.fail_after = fail_after
        self.ran = []
        self.trunks = []
        self.stats = Stats()

    def run(self, jobs, sampling):
        self.sampling = sampling
        jobs = list(jobs)
        self.trunks += [job.trunk for job in jobs]
        random.Random(0).shuffle(jobs)
        for job in jobs:
            if len(self.ran) == self.fail_after:
                raise KeyboardInterrupt
            while job.waiting:
                fork = job.waiting.popleft()
                text = self.says(job, fork)
                completion = Completion((5,) * len(text or ""), text or "", -1.5, text is not None)
                self.stats.slot_steps += 2 * len(completion.tokens)
                job.completions[fork] = completion
                job.waiting.extend(job.done(fork, completion))
            self.ran.append(job.question_id)
            yield job
