"""Colours and type: ink, ivory and brass. One look whatever the system prefers, with AA contrast everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

if TYPE_CHECKING:
    import plotly.graph_objects as go

INK = "#11131a"
PANEL = "#191c26"
RAISED = "#222634"
LINE = "#363c4e"
IVORY = "#f1ebdf"
MIST = "#aeb2c0"
BRASS = "#e3b565"
BRASS_LIGHT = "#f0c987"
REED = "#7cc7b2"

SANS = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")

_COLOURS = {
    "body_background_fill": INK,
    "body_text_color": IVORY,
    "body_text_color_subdued": MIST,
    "background_fill_primary": PANEL,
    "background_fill_secondary": INK,
    "border_color_primary": LINE,
    "border_color_accent": BRASS,
    "border_color_accent_subdued": LINE,
    "color_accent_soft": RAISED,
    "link_text_color": BRASS,
    "link_text_color_hover": BRASS_LIGHT,
    "link_text_color_active": BRASS_LIGHT,
    "link_text_color_visited": BRASS,
    "code_background_fill": RAISED,
    "block_background_fill": "transparent",
    "block_border_color": LINE,
    "block_border_width": "0px",
    "block_shadow": "none",
    "block_info_text_color": MIST,
    "block_label_background_fill": RAISED,
    "block_label_border_color": LINE,
    "block_label_text_color": IVORY,
    "block_title_text_color": IVORY,
    "panel_background_fill": PANEL,
    "panel_border_color": LINE,
    "accordion_text_color": IVORY,
    "table_text_color": IVORY,
    "table_border_color": LINE,
    "table_even_background_fill": PANEL,
    "table_odd_background_fill": PANEL,
    "checkbox_background_color": INK,
    "checkbox_background_color_hover": RAISED,
    "checkbox_background_color_focus": RAISED,
    "checkbox_background_color_selected": BRASS,
    "checkbox_border_color": MIST,
    "checkbox_border_color_focus": BRASS,
    "checkbox_border_color_hover": BRASS,
    "checkbox_border_color_selected": BRASS,
    "checkbox_label_background_fill": PANEL,
    "checkbox_label_background_fill_hover": RAISED,
    "checkbox_label_background_fill_selected": RAISED,
    "checkbox_label_border_color": LINE,
    "checkbox_label_border_color_hover": MIST,
    "checkbox_label_border_color_selected": BRASS,
    "checkbox_label_text_color": IVORY,
    "checkbox_label_text_color_selected": IVORY,
    "error_background_fill": "#3a1f24",
    "error_border_color": "#e08585",
    "error_text_color": "#ffd9d6",
    "input_background_fill": "#0d0f15",
    "input_background_fill_focus": "#0d0f15",
    "input_background_fill_hover": "#0d0f15",
    "input_border_color": "#4a5167",
    "input_border_color_focus": BRASS,
    "input_border_color_hover": MIST,
    "input_placeholder_color": "#9499ab",
    "input_shadow": "none",
    "input_shadow_focus": f"0 0 0 1px {BRASS}",
    "stat_background_fill": RAISED,
    "slider_color": BRASS,
    "loader_color": BRASS,
    "button_primary_background_fill": BRASS,
    "button_primary_background_fill_hover": BRASS_LIGHT,
    "button_primary_border_color": BRASS,
    "button_primary_text_color": INK,
    "button_primary_text_color_hover": INK,
    "button_secondary_background_fill": RAISED,
    "button_secondary_background_fill_hover": LINE,
    "button_secondary_border_color": "#4a5167",
    "button_secondary_text_color": IVORY,
    "button_secondary_text_color_hover": IVORY,
    "button_cancel_background_fill": "transparent",
    "button_cancel_background_fill_hover": "#3a1f24",
    "button_cancel_border_color": "#e08585",
    "button_cancel_text_color": "#f2b3ad",
    "button_cancel_text_color_hover": "#ffd9d6",
}

_ONCE = {
    "color_accent": BRASS,
    "block_title_text_weight": "600",
    "block_radius": "14px",
    "button_transition": "all .15s ease",
}


def theme() -> gr.themes.Base:
    """The theme, with the same colours in gradio's light and dark mode."""
    brass = gr.themes.Color(
        c50="#fdf6e8", c100="#f9e8c9", c200="#f5dba8", c300=BRASS_LIGHT, c400="#e9be75", c500=BRASS,
        c600="#c4934a", c700="#94703a", c800="#66502d", c900="#413521", c950="#2a2318",
    )  # fmt: skip
    base = gr.themes.Base(
        primary_hue=brass, secondary_hue=brass, neutral_hue=gr.themes.colors.slate, font=SANS, font_mono=MONO,
        radius_size=gr.themes.sizes.radius_lg,
    )  # fmt: skip
    both = _COLOURS | {f"{name}_dark": value for name, value in _COLOURS.items()}
    return base.set(**both, **_ONCE)


def dress(figure: go.Figure, height: int = 230) -> go.Figure:
    """A figure in the page's colours, transparent, low enough that two fit beside a player; changed in place."""
    figure.update_layout(
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor=INK, font={"color": MIST, "family": ", ".join(SANS)}, height=height,
        margin={"l": 8, "r": 8, "t": 36, "b": 8}, title={"font": {"size": 14, "color": IVORY}, "x": 0, "xref": "paper"},
    )  # fmt: skip
    glow = [[0, INK], [0.35, "#3b3a55"], [0.65, "#8a6a6c"], [0.85, BRASS], [1, IVORY]]
    figure.update_traces(colorscale=glow, selector={"type": "heatmap"})
    return figure
