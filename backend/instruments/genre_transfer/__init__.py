"""Genre transfer: what a classifier hears in a clip, and one clip's song in another clip's clothes."""
