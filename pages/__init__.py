"""What people see: the only folder that imports gradio. `PAGES` is the one list of tabs."""

from pages import brain, calm, genre_transfer, home, neurons, text_to_music, violin
from pages.parts import Page

PAGES: tuple[Page, ...] = (
    home.PAGE, text_to_music.PAGE, violin.PAGE, brain.PAGE, genre_transfer.PAGE, calm.PAGE, neurons.PAGE,
)  # fmt: skip
