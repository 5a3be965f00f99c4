"""What people see: the only folder that imports gradio. `PAGES` is the one list of tabs."""

from pages import calm, home, text_to_music
from pages.parts import Page

PAGES: tuple[Page, ...] = (home.PAGE, text_to_music.PAGE, calm.PAGE)
