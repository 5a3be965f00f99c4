"""MusicVAE in torch, faithful to Magenta's (Roberts et al. 2018, arXiv 1803.05428, https://arxiv.org/abs/1803.05428).

What is computed is what ``magenta.models.music_vae.TrainedModel`` computes from the same checkpoint: a test holds both
together for all four configurations (encoder mean and decoder logits within 1e-4, the same greedy notes). A track's
one-hot vectors are kept as the index of their one, so an input projection is a row of the kernel. Four departures, none
of which changes a note: temperature 0 is the greedy choice, which Magenta lacks; noise is drawn by inverting the
cumulative distribution, from a generator, so that one seed can serve a whole path; `slerp` of two parallel vectors is
their straight line, where Magenta divides by zero; and windows of a piece come in order of time and all of them, where
Magenta puts them through a set and keeps five. Only `import_checkpoint` knows TensorFlow, in a process of its own.
"""
