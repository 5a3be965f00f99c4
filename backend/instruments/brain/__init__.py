"""Brain: music reconstructed from fMRI, with a simulated listener where no scan is at hand."""
