"""Sound: the waveform and its files, spectra, loudness, MIDI and synthesis."""
