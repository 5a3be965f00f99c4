"""The generator that text to music, violin and brain share: MuLan, semantic tokens, codec, stages, training."""
