"""Calm: roads between two pieces, new ones, and whole sessions, by a variational autoencoder over bars."""
