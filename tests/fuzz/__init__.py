"""A model is untrusted input: valid models are mutated, and every outcome is an answer or an error of ours.

    python -m tests.fuzz --minutes 30 --seed 1

``seeds`` makes the valid models, the modules named ``mutate_*`` spoil them, ``worker`` runs what comes out within
limits and ``runner`` watches it, ``campaign`` lets Hypothesis choose and shrink.  Findings are kept in ``regressions``.
"""
