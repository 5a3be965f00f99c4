"""Text to music: a sentence becomes ten seconds of sound (MusicLM, arXiv 2301.11325)."""
