"""Scores and drum performances become arranged, rendered, captioned training clips; splits by piece."""
