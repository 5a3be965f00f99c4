"""Neurons: sound that excites chosen neurons of an artificial ear, live."""
